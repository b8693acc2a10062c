"""Sample: new pictures out of noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

from playground.families.base import Model
from playground.knobs import MAX_SEED, Knob, Seed
from playground.latent import Noise, seed_recipe
from playground.tasks.base import Bench, Sheet, Task, register

LARGE = 64
"""Pixels of a side beyond which a model that somebody added begins with few pictures: they may take minutes."""
FEW = 4


@register
class Sample(Task):
    """Draws latents from the prior and decodes them. Picture i is what seed + i draws alone."""

    name: ClassVar[str] = "sample"
    title: ClassVar[str] = "Sample"
    says: ClassVar[str] = "New pictures, each decoded from a random point of the latent space."
    decodes: ClassVar[bool] = True
    num_samples: int = Knob(16, label="Pictures", help="How many are drawn at once.", ge=1, le=64, step=1)
    seed: int = Seed()

    @classmethod
    def beginnings(cls, model: Model) -> dict[str, Any]:
        return {"num_samples": FEW} if model.image_size > LARGE else {}

    def run(self, bench: Bench) -> Iterator[Sheet]:
        seeds = [(self.seed + index) % (MAX_SEED + 1) for index in range(self.num_samples)]
        z = bench.model.draw(bench.params, Noise(seeds))
        latents = tuple(seed_recipe(seed) for seed in seeds)
        columns = math.ceil(math.sqrt(self.num_samples))
        labels = tuple(f"seed {seed}" for seed in seeds)
        for pictures, share in bench.decode(z, seeds):
            yield Sheet(pictures, columns, labels, latents, tuple(seeds), progress=share)
