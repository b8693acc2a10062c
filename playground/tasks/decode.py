"""Decode: the one picture of a latent recipe. Every cell of every other sheet is one of these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from playground.families.base import Model
from playground.knobs import Knob, KnobSpec, Seed
from playground.latent import Latent
from playground.tasks.base import Bench, Sheet, Task, register


@register
class Decode(Task):
    """Shows what one recipe stands for."""

    name: ClassVar[str] = "decode"
    title: ClassVar[str] = "Recipe"
    says: ClassVar[str] = "Any point of the latent space, written down: points mixed by weight, plus steps along directions."
    decodes: ClassVar[bool] = True
    latent: Latent = Knob(
        Latent.parse("test:0 + 2*pc:1"),
        label="Recipe",
        help="Points are seed:7, test:12, near:0.2,-0.4 or origin, steps dim:3, pc:1 or class:5, as in `0.5*seed:1 + 0.5*test:3 + 2*pc:1`.",
        widget="recipe",
    )
    mix: Literal["slerp", "lerp"] = Knob(
        "slerp", label="Way", help="How several sources are mixed.", choices={"slerp": "round (slerp)", "lerp": "straight (lerp)"}
    )
    seed: int = Seed("Which noise is used after the latent, where a family has any.")

    @classmethod
    def specs_for(cls, model: Model) -> tuple[KnobSpec, ...]:
        return tuple(spec for spec in cls.specs() if model.noisy or spec.name != "seed")

    def run(self, bench: Bench) -> Iterator[Sheet]:
        z = bench.latent(self.latent, self.mix)
        for pictures, share in bench.decode(z, [self.seed]):
            yield Sheet(pictures, 1, (str(self.latent),), (str(self.latent),), (self.seed,), progress=share)
