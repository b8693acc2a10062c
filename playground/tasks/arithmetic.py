"""Arithmetic: take one picture's latent, subtract a second, add a third."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch

from playground.errors import BadLatent
from playground.images import Pictures, from_uint8
from playground.knobs import Knob
from playground.latent import MAX_TERMS, Latent
from playground.tasks.base import Bench, Sheet, Task, register


@register
class Arithmetic(Task):
    """A + t·(C - B) for t from 0 to the largest strength, beside what A, B and C alone decode to.

    Source: Radford, Metz & Chintala, arXiv 1511.06434, section 6.3.2 (there with averages of three latents each).
    """

    name: ClassVar[str] = "arithmetic"
    title: ClassVar[str] = "Arithmetic"
    says: ClassVar[str] = (
        "What leads from B to C, added to A. Where directions mean the same everywhere, A changes as B does on its way to C."
    )
    view = "film"
    common: ClassVar[bool] = False
    terms: tuple[Latent, ...] = Knob(
        (Latent.parse("test:20"), Latent.parse("test:19"), Latent.parse("test:59")),
        label="A − B + C",
        help="Three of them, each a seed or a picture: A to begin with, B to take away, C to add.",
        widget="latents",
        min_length=3,
        max_length=3,
    )
    strength: float = Knob(
        2.0,
        label="Strength",
        help="How much of C − B the last frame adds; at 1 it is A − B + C, beyond that it exaggerates.",
        ge=0.5,
        le=4.0,
        step=0.5,
        unit="×",
    )
    mix: Literal["slerp", "lerp"] = Knob(
        "lerp",
        label="Way",
        help="Straight adds and subtracts number by number; round keeps the length of the latents that it mixes.",
        choices={"slerp": "round (slerp)", "lerp": "straight (lerp)"},
    )
    num_frames: int = Knob(9, label="Frames", help="Pictures from strength 0 to the largest.", ge=3, le=21, step=2)

    def run(self, bench: Bench) -> Iterator[Sheet]:
        strengths = [float(f"{self.strength * index / (self.num_frames - 1):.4g}") for index in range(self.num_frames)]
        a, b, c = self.terms
        recipes = [a, b, c, *(added(a, b, c, strength) for strength in strengths)]
        z = torch.cat([*(bench.latent(term) for term in self.terms), bench.latents(recipes[3:], self.mix)])
        cells = [row for row in range(3) for _ in strengths] + list(range(3, len(recipes)))
        labels = ("A", "− B", "+ C", *("A − B + C" if strength == 1 else f"A + {strength:g}·(C − B)" for strength in strengths))
        lengths = z.flatten(1).norm(dim=1).tolist()
        for pictures, share in bench.decode(z, [0] * len(z)):
            yield Sheet(
                pictures[cells],
                len(strengths),
                tuple(labels[cell] for cell in cells),
                tuple(str(recipes[cell]) if self._is_exact(cell) else "" for cell in cells),
                (0,) * len(cells),
                progress=share,
                says=self._told(bench, pictures, strengths, lengths) if share >= 1 else "",
                named=True,
                group=4,
            )

    def _is_exact(self, cell: int) -> bool:
        """A recipe says only one way of mixing: where A, B or C is itself a mixture, it was mixed the model's own way."""
        return cell >= 3 or len(self.terms[cell].sources) == 1

    def _told(self, bench: Bench, pictures: Pictures, strengths: list[float], lengths: list[float]) -> str:
        """What the classifier takes A, B, C and the result for, and how far from the middle the result lies."""
        if not bench.is_ours:
            return f"A, B and C have length {lengths[0]:.1f}, {lengths[1]:.1f} and {lengths[2]:.1f}."
        at = min(range(len(strengths)), key=lambda index: abs(strengths[index] - 1))
        seen = pictures[[0, 1, 2, 3 + at]]
        shares = bench.classifier(from_uint8(seen)).softmax(dim=1).max(dim=1)
        names = [bench.shelf.classes[index] for index in shares.indices.tolist()]
        return (
            f"{names[0]} − {names[1]} + {names[2]}: at strength {strengths[at]:g} the classifier sees {names[3]} "
            f"({100 * shares.values[3].item():.0f} %). Its latent has length {lengths[3 + at]:.1f}; A, B and C have "
            f"{lengths[0]:.1f}, {lengths[1]:.1f} and {lengths[2]:.1f}."
        )


def added(a: Latent, b: Latent, c: Latent, strength: float) -> Latent:
    """a + strength·(c - b) as one recipe. Raises `BadLatent` when it would be too long for one.

    What is subtracted comes last: mixing folds its sources one after the other, and no sum of weights on the way may be 0.
    """
    mixed = Latent.mix((a, c, b), (1.0, strength, -strength))
    if len(mixed.terms) > MAX_TERMS:
        raise BadLatent(
            f"A − B + C has {len(mixed.terms)} terms, more than {MAX_TERMS}.", "Choose seeds or pictures instead of long recipes."
        )
    return Latent(tuple(sorted(mixed.terms, key=lambda term: term.weight < 0)))
