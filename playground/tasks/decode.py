"""Decode: the one picture of a latent recipe. Every cell of every other sheet is one of these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from playground.knobs import Knob, Seed
from playground.latent import Latent
from playground.tasks.base import Bench, Sheet, Task, register


@register
class Decode(Task):
    """Shows what one recipe stands for."""

    name: ClassVar[str] = "decode"
    title: ClassVar[str] = "One picture"
    says: ClassVar[str] = "The picture of one latent recipe."
    latent: Latent = Knob(Latent.parse("seed:0"), label="Latent", help="A recipe such as seed:7, or test:12 + 1.5*pc:1.", widget="recipe")
    mix: Literal["slerp", "lerp"] = Knob(
        "slerp", label="Way", help="How several sources are mixed.", choices={"slerp": "round (slerp)", "lerp": "straight (lerp)"}
    )
    seed: int = Seed("Which noise is used after the latent, where a family has any.")

    def run(self, bench: Bench) -> Iterator[Sheet]:
        z = bench.latent(self.latent, self.mix)
        for pictures, share in bench.decode(z, [self.seed]):
            yield Sheet(pictures, 1, (str(self.latent),), (str(self.latent),), (self.seed,), progress=share)
