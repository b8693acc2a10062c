"""Directions: the first few principal directions of a latent space, side by side, and how much lies in each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch

from playground.families.capabilities import HasLayers, HasSpectra
from playground.knobs import Knob
from playground.latent import Latent
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.layers import FromLayer, ToLayer, span_of, span_words

SHOWN = 32
"""Eigenvalues in the plot."""


@register
class Directions(Task):
    """Rows are directions, columns steps along them in standard deviations; the middle column is the start.

    `pc`: principal components of w (Härkönen et al., arXiv 2004.02546). `sefa`: eigenvectors of the weights by which the layers read w
    (Shen & Zhou, arXiv 2007.06600): no picture is needed to find them.
    """

    name: ClassVar[str] = "directions"
    title: ClassVar[str] = "Directions"
    says: ClassVar[str] = (
        "One picture pushed along several directions, a row each, and how much lies in every direction. Take one to Traverse to walk "
        "it and name it."
    )
    needs: ClassVar[tuple[type, ...]] = (HasSpectra, HasLayers)
    common: ClassVar[bool] = False
    start: Latent = Knob(Latent.parse("seed:5"), label="Start", help="The middle of every row: a seed or a picture.", widget="latent")
    kind: Literal["pc", "sefa"] = Knob(
        "pc",
        label="Directions",
        help="By PCA: where latents vary most. By SeFa: what the layers listen to most, read off their weights alone.",
        choices={"pc": "PCA of w", "sefa": "SeFa of the layers"},
    )
    num_directions: int = Knob(5, label="Rows", help="How many directions are shown.", ge=1, le=10, step=1)
    span: float = Knob(
        3.0, label="Range", help="How far each row goes to both sides, in standard deviations of w.", ge=0.5, le=8.0, step=0.5, unit="±"
    )
    num_frames: int = Knob(7, label="Steps", help="Pictures in a row.", ge=3, le=11, step=2)
    from_layer: int = FromLayer(0, "The first layer that is moved: 0 is the coarsest. Shape sits in the first, shade in the last.")
    to_layer: int = ToLayer("The last layer that is moved.")

    def run(self, bench: Bench) -> Iterator[Sheet]:
        values = bench.able(HasSpectra).spectrum(self.kind).double()
        count = min(self.num_directions, len(values))
        layers = span_of(bench.model, self.from_layer, self.to_layer)
        middle = self.num_frames // 2
        places = [float(f"{self.span * (index - middle) / middle:.4g}") for index in range(self.num_frames)]
        names = [str(index + 1) for index in range(count)]
        start = bench.latent(self.start)
        z = torch.cat([start + place * bench.direction(self.kind, name, layers) for name in names for place in places])
        share = (values / values.sum()).tolist()
        facts = {
            "kind": self.kind,
            "eigenvalues": [float(f"{value:.5g}") for value in values[:SHOWN].tolist()],
            "share": [round(part, 5) for part in share[:SHOWN]],
            "shown": count,
        }
        says = self._told(bench.able(HasLayers), share, count)
        for pictures, done in bench.decode(z, [0] * len(z)):
            yield Sheet(
                pictures,
                len(places),
                tuple(f"{self.kind}:{name} · {place:+g} σ" if place else "start" for name in names for place in places),
                tuple(str(self.start.plus(place, self.kind, name, layers)) for name in names for place in places),
                (0,) * len(z),
                facts,
                done,
                says=says,
                heads=tuple(f"{place:+g}".replace("-", "−") if place else "start" for place in places),
                sides=tuple(f"{self.kind}:{name}  λ {values[index].item():.3g}" for index, name in enumerate(names)),
            )

    def _told(self, model: HasLayers, share: list[float], count: int) -> str:
        """How much lies in the directions shown, and which layers move."""
        layers = span_words(model, span_of(model, self.from_layer, self.to_layer))  # type: ignore[arg-type]
        half = next(index for index in range(len(share)) if sum(share[: index + 1]) >= 0.5) + 1
        what = "variance of w" if self.kind == "pc" else "eigenvalues of AᵀA (A: the weights by which layers read w)"
        held = (
            f"The {count} shown hold {100 * sum(share[:count]):.0f} % of the {what}; half of it lies in the first {half} of {len(share)}."
        )
        return f"{held} Moved: {layers}."
