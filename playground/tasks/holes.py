"""Holes: random codes, decoded. Why an autoencoder alone does not generate, and what a prior changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.families.base import Model
from playground.families.capabilities import Compresses, HasPosterior, LacksPrior
from playground.images import Pictures, from_uint8, to_uint8
from playground.knobs import Knob, Knobs, Seed
from playground.latent import Noise
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.shared import at_standard_prior, in_parts

NUM_MEASURED = 128
"""Random codes of each kind that are measured, whatever the seed of those shown."""
ROWS = ("N(0, I)", "box of the codes", "fitted prior", "N(0, I), VAE")
"""Where codes come from."""


@dataclasses.dataclass(frozen=True)
class Row:
    """Pictures of one kind of code: what it is called, the card that is said to make them, their recipes."""

    words: str
    pictures: Pictures
    card: str = ""
    recipes: tuple[str, ...] = ()


@register
class Holes(Task):
    """Codes from N(0, I), from the box that the codes fill, from the prior fitted to them; and a sibling whose prior is N(0, I)."""

    name: ClassVar[str] = "holes"
    title: ClassVar[str] = "Holes"
    measures: ClassVar[bool] = True
    says: ClassVar[str] = (
        "Random codes, decoded. Nothing told the autoencoder where codes should lie, so most places are holes that no picture trained. "
        "Away: from the nearest test picture; varied: from each other. Both in a classifier's features, where test pictures have 1 and 1."
    )
    needs: ClassVar[tuple[type, ...]] = (Compresses, LacksPrior)
    stages = ("decode",)
    common: ClassVar[bool] = False
    num_samples: int = Knob(7, label="Pictures a row", help="Random codes of each kind.", ge=2, le=12, step=1)
    seed: int = Seed("Which codes are drawn; the same seed gives the same codes.")

    @classmethod
    def live(cls, model: Model, params: Knobs) -> bool:
        return False  # the first answer at each code size is measured on a thousand pictures

    def run(self, bench: Bench) -> Iterator[Sheet]:
        rows = self._rows(bench, range(self.seed, self.seed + self.num_samples))
        real, shelf, waiting = torch.empty(0), bench.shelf.pictures, "The pictures are being compared with test pictures…"

        def look(start: int, stop: int) -> Tensor:
            return self._features(bench, from_uint8(shelf[start:stop]))

        for real, share in in_parts(bench, "holes/real", len(shelf), look):
            if len(real) < len(shelf):
                yield self._sheet(rows, {}, 0.5 * share, waiting)
        features: list[Tensor] = []
        for index in range(len(rows)):
            made = torch.empty(0)
            for made, share in self._measured(bench, index):  # noqa: B007 - the last is all of them
                yield self._sheet(rows, {}, 0.5 + 0.5 * (index + share) / (len(rows) + 1), waiting)
            features.append(made)
        some = real[:NUM_MEASURED]
        near, apart = bench.remembered("holes/floor", lambda: (_nearest(some, real, among=True), _apart(some)))
        distance = [_nearest(found, real) / near.mean() for found in features]
        facts = {
            "distance": [each.tolist() for each in distance],
            "test_distance": (near / near.mean()).tolist(),
            "mean_distance": [each.mean().item() for each in distance],
            "spread": [_apart(found) / apart for found in features],
        }
        yield self._sheet(rows, facts, 1.0, _says(facts))

    # -- pictures ---------------------------------------------------------------------------------------------------

    def _codes(self, bench: Bench, kind: int, noise: Noise) -> Tensor:
        """Codes of one kind of this model, (B, D)."""
        model = bench.able(LacksPrior)
        if kind == 0:
            return noise.normal(bench.model.latent.shape).to(bench.model.device)
        if kind == 2:
            return model.fitted(noise)
        low, high = model.code_range()
        return low + (high - low) * noise.uniform(low.shape, "box").to(low.device)

    def _made(self, bench: Bench, kind: int, seeds: range) -> Tensor:
        """Pictures (B, C, H, W) of one kind of code."""
        if kind < 3:
            return bench.decode_all(self._codes(bench, kind, Noise(seeds)), list(seeds))
        with at_standard_prior(bench, self._sibling(bench)) as other:
            return other.decode_all(other.model.draw(other.params, Noise(seeds)), list(seeds)).to(bench.model.device)

    def _sibling(self, bench: Bench) -> str:
        """The first card of the data set that has a prior of its own and an encoder; "" where there is none."""
        return next(iter(bench.able_siblings(HasPosterior)), "")

    def _rows(self, bench: Bench, seeds: range) -> list[Row]:
        rows = [Row(words, to_uint8(self._made(bench, kind, seeds))) for kind, words in enumerate(ROWS[:3])]
        recipes = tuple(f"seed:{seed}" for seed in seeds)
        with at_standard_prior(bench, bench.card) as plain:  # the same codes as a recipe: with the knobs that make a seed N(0, I)
            rows[0] = dataclasses.replace(rows[0], card=plain.card, recipes=recipes)
        if sibling := self._sibling(bench):
            with at_standard_prior(bench, sibling) as other:
                words = f"{other.model.title}, {ROWS[0]}"
            rows.append(Row(words, to_uint8(self._made(bench, 3, seeds)), sibling, recipes))
        return rows

    # -- measuring --------------------------------------------------------------------------------------------------

    def _features(self, bench: Bench, x: Tensor) -> Tensor:
        return torch.cat([bench.classifier.features(part.cpu()) for part in x.split(128)])

    def _measured(self, bench: Bench, kind: int) -> Iterator[tuple[Tensor, float]]:
        """The features of the measured pictures of one kind, (N, F)."""
        size = bench.able(Compresses).code_size(bench.params) if kind < 3 else 0
        return in_parts(
            bench, f"holes/{kind}/{size}", NUM_MEASURED,
            lambda start, stop: self._features(bench, from_uint8(to_uint8(self._made(bench, kind, range(start, stop))))),
        )  # fmt: skip

    # -- words ------------------------------------------------------------------------------------------------------

    def _sheet(self, rows: list[Row], facts: dict[str, Any], share: float, says: str) -> Sheet:
        count = self.num_samples
        titles = [row.words for row in rows]
        if facts:
            figures = zip(facts["mean_distance"], facts["spread"], strict=True)
            titles = [
                f"{words} · {distance:.1f} away, {spread:.1f} varied" for words, (distance, spread) in zip(titles, figures, strict=True)
            ]
        labels = tuple(
            title if index == 0 else f"{row.words} · {index + 1}" for row, title in zip(rows, titles, strict=True) for index in range(count)
        )
        return Sheet(
            np.concatenate([row.pictures for row in rows]),
            count,
            labels,
            tuple(recipe for row in rows for recipe in row.recipes or ("",) * count),
            tuple(self.seed + index for _ in rows for index in range(count)),
            facts,
            progress=share,
            cards=tuple(row.card for row in rows for _ in range(count)),
            says=says,
            named=True,
            group=len(rows),
        )


def _says(facts: dict[str, Any]) -> str:
    distance, spread = facts["mean_distance"], facts["spread"]
    plain, box, fitted, *prior = (f"{far:.1f} and {wide:.1f}" for far, wide in zip(distance, spread, strict=True))
    words = (
        f"Distance to the nearest test picture and variety, with 1 and 1 for test pictures themselves: N(0, I) {plain}, the box {box}, "
        f"the prior fitted afterwards {fitted}."
    )
    if not prior:
        return words
    verdict = "its prior leaves holes, too" if distance[3] > 1.2 * distance[2] else "its prior leaves few holes"
    return f"{words} A VAE, trained to make do with N(0, I): {prior[0]}; {verdict}."


def _nearest(features: Tensor, real: Tensor, among: bool = False) -> Tensor:
    """The Euclidean distance of each of `features` (N, F) to the nearest of `real` (M, F), (N,); to the nearest other one if among them."""
    distance = torch.cdist(features.double(), real.double())
    return distance.topk(2 if among else 1, largest=False).values[:, -1]


def _apart(features: Tensor) -> float:
    """The mean Euclidean distance between two of `features` (N, F)."""
    return torch.pdist(features.double()).mean().item()
