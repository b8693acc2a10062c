"""Traverse: walk from a point along an axis or a named direction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch

from playground.knobs import Knob
from playground.latent import Latent
from playground.tasks.base import Bench, Sheet, Task, register


@register
class Traverse(Task):
    """A filmstrip from -span to +span along one direction; the middle frame is the start itself."""

    name: ClassVar[str] = "traverse"
    title: ClassVar[str] = "Traverse"
    says: ClassVar[str] = "The same picture pushed back and forth along one direction of the latent space."
    view: ClassVar = "film"
    start: Latent = Knob(Latent.parse("test:0"), label="Start", help="Where the walk passes through: a seed or a picture.", widget="latent")
    direction: str = Knob(
        "pc:1",
        label="Direction",
        help="A latent number, a principal direction of the codes, or the way towards a class.",
        widget="direction",
        max_length=40,
    )
    span: float = Knob(
        3.0, label="Range", help="How far the walk goes to both sides: standard deviations, or multiples of the way to a class.",
        ge=0.25, le=8.0, step=0.25, unit="±"
    )  # fmt: skip
    num_frames: int = Knob(15, label="Frames", help="Pictures on the strip.", ge=3, le=41, step=2)

    def run(self, bench: Bench) -> Iterator[Sheet]:
        kind, _, value = self.direction.partition(":")
        offset = bench.direction(kind, value)
        places = torch.linspace(-self.span, self.span, self.num_frames).tolist()
        if self.num_frames % 2:
            places[self.num_frames // 2] = 0.0
        places = [float(f"{place:.4g}") for place in places]
        z = torch.cat([bench.latent(self.start) + place * offset for place in places])
        latents = tuple(str(self.start.plus(place, kind, value)) for place in places)
        labels = tuple(f"{place:+.2f}" if place else "start" for place in places)
        seeds = (0,) * len(places)
        for pictures, share in bench.decode(z, seeds):
            yield Sheet(pictures, len(places), labels, latents, seeds, progress=share)
