"""Neighbours: the training pictures most like a new one. Was it copied?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from playground.families.base import Model
from playground.images import Pictures, from_uint8, to_uint8
from playground.knobs import MAX_SEED, Knob, Knobs, Seed
from playground.latent import Latent, Noise, seed_recipe
from playground.tasks.base import Bench, Sheet, Task, register

Space = Literal["pixels", "features"]
YARDSTICK = 1_000
"""Test pictures whose nearest training picture says how near real ones lie."""
CHUNK = 250


@register
class Neighbours(Task):
    """Generated pictures, each in a row with its nearest training pictures; and how near test pictures lie to theirs.

    A model that stores what it saw makes pictures much nearer to its training pictures than other real ones are. Distances among pixels
    are root mean squares in grey levels, among features Euclidean. Source: Meehan, Chaudhuri & Dasgupta, arXiv 2004.05675.
    """

    name: ClassVar[str] = "neighbours"
    title: ClassVar[str] = "Neighbours"
    measures: ClassVar[bool] = True
    says: ClassVar[str] = (
        "Is it copied? Each picture, then the training pictures most like it. 10,000 of the 60,000 are searched; "
        "a copy of one of the others would not be found."
    )
    common: ClassVar[bool] = False
    picture: Latent = Knob(
        Latent.parse("test:0"), label="First row", help="A test picture, which no model has learnt from, or one of yours.", widget="latent"
    )
    num_samples: int = Knob(3, label="New pictures", help="How many rows of generated pictures follow.", ge=0, le=7, step=1)
    seed: int = Seed()
    by: Space = Knob(
        "pixels",
        label="Likeness",
        help="By pixels: the same grey at the same place. By features: what a classifier looks at, wherever it lies.",
        choices={"pixels": "pixels", "features": "classifier features"},
    )
    num_nearest: int = Knob(6, label="Neighbours", help="How many training pictures stand beside each.", ge=1, le=10, step=1)

    @classmethod
    def live(cls, model: Model, params: Knobs) -> bool:
        return False  # all training pictures are looked at when first asked

    def run(self, bench: Bench) -> Iterator[Sheet]:
        rows, seeds = to_uint8(bench.picture(self.picture)), self._seeds()
        if seeds:
            asked = rows
            for pictures, share in bench.decode(bench.model.draw(bench.params, Noise(seeds)), seeds):
                rows = np.concatenate([asked, pictures])
                yield self._sheet(rows, progress=0.5 * share)
        for share in remembering(bench, self.by):
            yield self._sheet(rows, progress=0.5 + 0.49 * share)
        training = kept(bench, self.by, "training")
        real = bench.remembered(f"neighbours-{self.by}", lambda: nearest(kept(bench, self.by, "test"), training, 1)[0][:, 0])
        distances, indices = nearest(places(bench, rows, self.by), training, self.num_nearest)
        beside = bench.training_shelf.pictures[indices.numpy()]
        facts = {
            "names": self._names(),
            "nearest": [round(distance, 4) for distance in distances[:, 0].tolist()],
            "real": [round(distance, 4) for distance in real.tolist()],
            "searched": len(training),
            "by_pixels": self.by == "pixels",
        }
        yield self._sheet(rows, beside, distances.tolist(), facts=facts, says=told(facts))

    def _seeds(self) -> list[int]:
        return [(self.seed + index) % (MAX_SEED + 1) for index in range(self.num_samples)]

    def _asked(self) -> str:
        """The first row in words."""
        term = self.picture.terms[0]
        known = {"test": f"test picture {term.value}", "png": "your picture", "seed": f"seed {term.value}"}
        return known.get(term.kind, "the recipe") if len(self.picture.terms) == 1 else "the recipe"

    def _names(self) -> list[str]:
        return [self._asked(), *(f"seed {seed}" for seed in self._seeds())]

    def _sheet(self, rows: Pictures, beside: Pictures | None = None, far: Sequence[Sequence[float]] = (), **more: Any) -> Sheet:
        """A row for each of `rows` (R, H, W, C): it, then those `beside` it (R, K, H, W, C) and how `far` each is; black until found."""
        count, columns = len(rows), self.num_nearest + 1
        beside = np.zeros((count, self.num_nearest, *rows.shape[1:]), np.uint8) if beside is None else beside
        unit = " grey levels" if self.by == "pixels" else " in feature space"
        labels, latents = [], []
        for row, name in enumerate(self._names()):
            away = [f"{distance:.1f}" for distance in far[row]] if far else [""] * self.num_nearest
            labels += [f"{name}  ·  nearest at {', '.join(away)}{unit}" if far else name, *away]
            latents += [seed_recipe(self._seeds()[row - 1]) if row else "", *[""] * self.num_nearest]
        seeds = tuple(seed for seed in (0, *self._seeds()) for _ in range(columns))
        pictures = np.concatenate([rows[:, None], beside], axis=1).reshape(-1, *rows.shape[1:])
        return Sheet(pictures, columns, tuple(labels), tuple(latents), seeds, named=True, group=count, **more)


def told(facts: Mapping[str, Any]) -> str:
    """The sentence of an answer: which new picture lies nearest to a training picture, and how many real ones lie nearer."""
    names, real, unit = facts["names"], np.array(facts["real"]), " grey levels" if facts["by_pixels"] else " in feature space"
    which = min(range(len(names)), key=lambda row: (row == 0 and len(names) > 1, facts["nearest"][row]))
    distance = facts["nearest"][which]
    share = float((real < distance).mean())
    beside = f"{100 * share:.0f} % of {len(real):,} test pictures lie nearer to one."
    if share == 0:
        beside = f"None of {len(real):,} test pictures lies nearer to one: look whether it is a copy."
    return f"Nearest of {facts['searched']:,} training pictures: {distance:.1f}{unit} from {names[which]}. {beside}"


def places(bench: Bench, pictures: Pictures, by: Space) -> Tensor:
    """Points (N, D) whose Euclidean distance is that of the pictures (N, H, W, C): among pixels the root mean square in grey levels."""
    if by == "features":
        return bench.classifier.features(from_uint8(pictures))
    flat = torch.from_numpy(pictures.reshape(len(pictures), -1)).float()
    return flat / math.sqrt(flat.shape[1])


def nearest(points: Tensor, among: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` nearest of `among` (M, D) to each of `points` (N, D), nearest first: distances and indices, each (N, count).

    They are found by the quick way, |a|² + |b|² - 2ab, whose rounding would hide that two points are the same; so a few more than
    wanted are found, and measured again by their difference.
    """
    spare = min(count + 4, len(among))
    rough = torch.cat([torch.cdist(part, among).topk(spare, largest=False).indices for part in points.split(CHUNK)])
    exact = (points[:, None] - among[rough]).norm(dim=2)
    distances, order = exact.sort(dim=1, stable=True)
    return distances[:, :count], rough.gather(1, order)[:, :count]


def remembering(bench: Bench, by: Space) -> Iterator[float]:
    """Finds the places of all training pictures and of the test pictures they are compared with, part by part; the share done.

    What was found is remembered, so that who stops on the way and comes back goes on from there.
    """
    work = [(which, start) for which in ("training", "test") for start in range(0, len(_pictures(bench, which)), CHUNK)]
    for index, (which, start) in enumerate(work):
        parts = _parts(bench, by, which)
        if start not in parts:
            parts[start] = places(bench, _pictures(bench, which)[start : start + CHUNK], by)
            yield (index + 1) / len(work)


def kept(bench: Bench, by: Space, which: str) -> Tensor:
    """The places (N, D) that `remembering` has found."""
    parts = _parts(bench, by, which)
    return torch.cat([parts[start] for start in sorted(parts)])


def _parts(bench: Bench, by: Space, which: str) -> dict[int, Tensor]:
    return bench.remembered(f"neighbours-{by}-{which}", dict)


def _pictures(bench: Bench, which: str) -> Pictures:
    return bench.training_shelf.pictures if which == "training" else bench.shelf.pictures[:YARDSTICK]
