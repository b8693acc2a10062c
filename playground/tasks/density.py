"""Density: how likely a flow finds a picture, among those it knows, those it does not, and things that are no clothes at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from playground.families.capabilities import HasLikelihood
from playground.images import from_uint8, to_uint8
from playground.knobs import Knob, Seed
from playground.latent import Latent, Noise
from playground.nets.likelihood import bits_per_dim
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.oddities import flipped, inverted, letters, noise
from playground.tasks.shared import in_parts

NUM_SHELF = 256
"""Test pictures, and as many training pictures, that the histogram is of."""
GIVEN = "this one"


@register
class Density(Task):
    """The picture and seven odd ones, from the most to the least likely, on the histogram of test and training pictures and letters.

    log P is that of the 8-bit picture, with one uniform draw within each grey level; bits/dim are -log₂ P a pixel. The surprise is that of
    Nalisnick et al., arXiv 1810.09136.
    """

    name: ClassVar[str] = "density"
    title: ClassVar[str] = "Density"
    measures: ClassVar[bool] = True
    says: ClassVar[str] = (
        "How likely is a picture? Under each stand its bits per dimension: fewer mean likelier. What is likely need not look like what was "
        "learned: a density can be high where hardly any picture ever falls (Nalisnick et al., arXiv 1810.09136)."
    )
    needs: ClassVar[tuple[type, ...]] = (HasLikelihood,)
    stages = ()
    view = "plot"
    common: ClassVar[bool] = False
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")
    seed: int = Seed("Which noise and which letter stand among the odd pictures.")

    def run(self, bench: Bench) -> Iterator[Sheet]:
        shown = self._shown(bench)
        nats = self._log_prob(bench, torch.cat([*shown.values()]), self.seed)
        known: dict[str, Tensor] = {}
        for share in self._score(bench, known):
            yield self._sheet(shown, nats, known, share)

    def _shown(self, bench: Bench) -> dict[str, Tensor]:
        """The picture and odd ones by name, (1, C, H, W) each, as 8-bit pictures."""
        x = bench.picture(self.picture)
        alphabet = bench.remembered("density/letters", lambda: letters(x))
        made = {
            GIVEN: x,
            "flipped": flipped(x),
            "inverted": inverted(x),
            "all black": torch.full_like(x, -1.0),
            "all grey": torch.zeros_like(x),
            "all white": torch.ones_like(x),
            "noise": noise(x)[self.seed % len(noise(x))][None],
            "a letter": alphabet[self.seed % len(alphabet)][None].to(x),
        }
        return {name: from_uint8(to_uint8(picture)).to(x.device) for name, picture in made.items()}

    def _log_prob(self, bench: Bench, x: Tensor, seed: int = 0) -> Tensor:
        """log P in nats, float64 (B,) on the CPU; the same seed within the grey levels for every picture, so that they compare."""
        return bench.able(HasLikelihood).log_prob(x, Noise([seed] * len(x))).double().cpu()

    def _score(self, bench: Bench, known: dict[str, Tensor]) -> Iterator[float]:
        """Fills `known` with bits/dim of letters, test and training pictures, remembered; yields the share done."""
        sets = {
            "test": lambda: from_uint8(bench.shelf.pictures[:NUM_SHELF]),
            "train": lambda: from_uint8(bench.training_shelf.pictures[:NUM_SHELF]),
            "letters": lambda: bench.memory["density/letters"],
        }
        for place, (name, pictures) in enumerate(sets.items()):
            x = pictures().to(bench.model.device)

            def score(start: int, stop: int, x: Tensor = x) -> Tensor:
                found = bench.able(HasLikelihood).log_prob(x[start:stop], Noise(range(start, stop)))
                return bits_per_dim(-found.double().cpu(), x[0].numel())

            for bits, share in in_parts(bench, f"density/{name}", len(x), score):
                known[name] = bits
                yield (place + share) / len(sets)

    def _sheet(self, shown: dict[str, Tensor], nats: Tensor, known: dict[str, Tensor], share: float) -> Sheet:
        names, pictures = [*shown], torch.cat([*shown.values()])
        bits = bits_per_dim(-nats, pictures[0].numel())
        order = bits.argsort().tolist()
        facts = {"names": [names[i] for i in order], "bits": [round(bits[i].item(), 4) for i in order], "nats": nats[order].tolist()}
        facts |= {f"{name}_bits": [round(value, 4) for value in values.tolist()] for name, values in known.items()}
        labels = tuple(f"{names[i]}\n{bits[i].item():.2f}" for i in order)
        says = self._says(facts, known) if share >= 1 else "The other pictures are being scored…"
        return Sheet(
            to_uint8(pictures[order]), 4, labels, ("",) * len(order), (0,) * len(order), facts, progress=share, says=says, named=True
        )  # fmt: skip

    def _says(self, facts: dict[str, Any], known: dict[str, Tensor]) -> str:
        bits = dict(zip(facts["names"], facts["bits"], strict=True))
        nats = facts["nats"][facts["names"].index(GIVEN)]
        test, alphabet = known["test"], known["letters"]
        black = bits["all black"]
        words = [f"log P = {nats:,.0f} nats, that is {bits[GIVEN]:.2f} bits/dim: likelier than {_beaten(test, bits[GIVEN])}."]
        if black < bits[GIVEN]:
            words.append(f"The surprise: an empty black picture is likelier still, at {black:.2f}, than {_beaten(test, black)}.")
        else:
            words.append(f"An empty black picture has {black:.2f} bits/dim.")
        than = "likelier too" if alphabet.mean() < test.mean() else "less likely"
        words.append(
            f"Letters, which it never saw, are {than}: {alphabet.mean().item():.2f} on average; test pictures have "
            f"{test.mean().item():.2f}, training pictures {known['train'].mean().item():.2f}."
        )
        return " ".join(words).replace("= -", "= −")


def _beaten(others: Tensor, bits: float) -> str:
    share = (others > bits).double().mean().item()
    return f"{share:.0%} of {len(others)} test pictures"
