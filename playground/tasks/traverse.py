"""Traverse: walk from a point along an axis or a named direction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import torch
from pydantic import AfterValidator

from playground.errors import BadLatent
from playground.families.base import Model
from playground.families.capabilities import HasLayers
from playground.knobs import Knob, KnobSpec
from playground.latent import MAX_NAME, Latent, direction_name
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.layers import FromLayer, ToLayer, span_of, span_words

OF_LAYERS = ("from_layer", "to_layer", "direction_name")


def _named(value: str) -> str:
    try:
        return direction_name(value) if value else value
    except BadLatent as error:
        raise ValueError(str(error)) from error


@register
class Traverse(Task):
    """A filmstrip from -span to +span along one direction; the middle frame is the start itself."""

    name: ClassVar[str] = "traverse"
    title: ClassVar[str] = "Traverse"
    says: ClassVar[str] = "The same picture pushed back and forth along one direction of the latent space."
    view = "film"
    decodes: ClassVar[bool] = True
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
    from_layer: int = FromLayer(0, "The first layer that is moved: 0 is the coarsest. Early layers hold shape, late ones shade.")
    to_layer: int = ToLayer("The last layer that is moved.")
    direction_name: Annotated[str, AfterValidator(_named)] = Knob(
        "",
        label="Name",
        help="What you call this direction once you have seen what it does, such as sleeves; it goes into the recipe.",
        widget="name",
        max_length=MAX_NAME,
    )

    @classmethod
    def specs_for(cls, model: Model) -> tuple[KnobSpec, ...]:
        return tuple(spec for spec in cls.specs() if isinstance(model, HasLayers) or spec.name not in OF_LAYERS)

    def run(self, bench: Bench) -> Iterator[Sheet]:
        kind, _, value = self.direction.partition(":")
        layers = span_of(bench.model, self.from_layer, self.to_layer)
        offset = bench.direction(kind, value, layers)
        places = torch.linspace(-self.span, self.span, self.num_frames).tolist()
        if self.num_frames % 2:
            places[self.num_frames // 2] = 0.0
        places = [float(f"{place:.4g}") for place in places]
        z = torch.cat([bench.latent(self.start) + place * offset for place in places])
        latents = tuple(str(self.start.plus(place, kind, value, layers, self.direction_name)) for place in places)
        called = f"{self.direction_name} " if self.direction_name else ""
        labels = tuple(f"{called}{place:+.2f}" if place else "start" for place in places)
        seeds = (0,) * len(places)
        says = f"Moved: {span_words(bench.able(HasLayers), layers)}; the others stay." if layers else ""
        for pictures, share in bench.decode(z, seeds):
            yield Sheet(pictures, len(places), labels, latents, seeds, progress=share, says=says)
