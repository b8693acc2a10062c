"""Interpolate: the pictures between two, three or four ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from playground.knobs import Knob
from playground.latent import Latent, grid_weights, path_weights
from playground.tasks.base import Bench, Sheet, Task, register


@register
class Interpolate(Task):
    """Two or three ends give a strip through all of them in turn, four the corners of a square grid."""

    name: ClassVar[str] = "interpolate"
    title: ClassVar[str] = "Interpolate"
    says: ClassVar[str] = "What lies between: every picture on the way is decoded from a mixture of the ends."
    view = "film"
    decodes: ClassVar[bool] = True
    ends: tuple[Latent, ...] = Knob(
        (Latent.parse("test:0"), Latent.parse("test:1")),
        label="Ends",
        help="Two to four: each a seed or a picture. Four span a square.",
        widget="latents",
        min_length=2,
        max_length=4,
    )
    mix: Literal["slerp", "lerp"] = Knob(
        "slerp",
        label="Way",
        help="Round keeps the usual distance from the middle; straight cuts through it, where pictures get blander.",
        choices={"slerp": "round (slerp)", "lerp": "straight (lerp)"},
    )
    num_frames: int = Knob(9, label="Frames", help="Pictures on the strip, or along each side of the square.", ge=3, le=33, step=1)

    def run(self, bench: Bench) -> Iterator[Sheet]:
        if len(self.ends) == 4:
            side = min(self.num_frames, 16)
            weights: list[tuple[float, ...]] = [*grid_weights(side)]
        else:
            side = self.num_frames
            weights = path_weights(len(self.ends), self.num_frames)
        recipes = [Latent.mix(self.ends, row) for row in weights]
        z = bench.latents(recipes, self.mix)
        labels = tuple(" · ".join(f"{100 * share:.0f} % {'ABCD'[end]}" for end, share in enumerate(row) if share > 5e-3) for row in weights)
        seeds = (0,) * len(recipes)
        for pictures, share in bench.decode(z, seeds):
            yield Sheet(pictures, side, labels, tuple(map(str, recipes)), seeds, progress=share)
