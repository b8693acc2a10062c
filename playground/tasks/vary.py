"""Vary: one knob of a family from end to end, on the same noise, with what that does to a few pictures in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.errors import BadKnob
from playground.families.base import Model
from playground.images import Pictures, from_uint8
from playground.knobs import Knob, KnobSpec, Seed
from playground.latent import Noise
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.halfway import seeds_from

YARDSTICK = 200
"""Test pictures whose variety the drawn ones are compared with."""


def turnable(model: Model | type[Model]) -> tuple[KnobSpec, ...]:
    """The knobs of a model that are numbers, those that run smoothly first."""
    specs = model.knobs() if isinstance(model, Model) else model.Params.specs()
    return tuple(spec for kind in ("float", "int") for spec in specs if spec.kind == kind)


@register
class Vary(Task):
    """A table: a row for each seed, a column for each value of the knob."""

    name: ClassVar[str] = "vary"
    title: ClassVar[str] = "Vary"
    says: ClassVar[str] = "One knob from end to end, all else the same: what it does to each picture, and to how alike they are."
    common: ClassVar[bool] = False
    knob: str = Knob("", label="Knob", help="Which of the knobs below is turned.", widget="knob", max_length=40)
    num_values: int = Knob(5, label="Columns", help="How many values, evenly from one end of the knob to the other.", ge=3, le=9, step=1)
    num_samples: int = Knob(4, label="Rows", help="How many pictures, each from noise of its own.", ge=2, le=12, step=1)
    seed: int = Seed("Which noise the rows are made of.")

    @classmethod
    def specs_for(cls, model: Model) -> tuple[KnobSpec, ...]:
        return tuple(spec for spec in cls.specs() if spec.name != "knob" or len(turnable(model)) > 1)

    @classmethod
    def missing(cls, family: type[Model] | Model) -> str | None:
        return None if turnable(family) else "be turned at any knob"

    def run(self, bench: Bench) -> Iterator[Sheet]:
        spec = self._spec(bench.model)
        values, seeds = _values(spec, self.num_values), seeds_from(self.seed, self.num_samples)
        shape = (len(values), len(seeds), bench.model.image_size, bench.model.image_size, bench.model.channels)
        made = np.zeros(shape, np.uint8)  # a column after the other
        for column, value in enumerate(values):
            here = bench.under(**{spec.name: value})
            for pictures, share in here.decode(here.model.draw(here.params, Noise(seeds)), seeds):
                made[column] = pictures
                yield self._sheet(bench, spec, values, seeds, made, (column + share) / len(values))

    def _spec(self, model: Model) -> KnobSpec:
        """The knob that is turned. Raises `BadKnob` for one that these weights do not have."""
        specs = turnable(model)
        found = [spec for spec in specs if spec.name == self.knob] if self.knob else specs
        if not found:
            raise BadKnob(f"{self.knob!r} is no knob that can be turned here.", f"Choose {' or '.join(spec.name for spec in specs)}.")
        return found[0]

    def _sheet(self, bench: Bench, spec: KnobSpec, values: Sequence[float], seeds: Sequence[int], made: Pictures, share: float) -> Sheet:
        pictures = made.swapaxes(0, 1).reshape(-1, *made.shape[2:])
        now = bench.params.to_plain()[spec.name]
        places = [(seed, value) for seed in seeds for value in values]
        labels = tuple(f"{spec.label} {value:g}, seed {seed}" for seed, value in places)
        latents = tuple(f"seed:{seed}" if value == now else "" for seed, value in places)
        facts = _facts(bench, spec, values, made) if share == 1 and bench.is_ours else {}
        heads = tuple(f"{value:g}" for value in values)
        told: dict[str, Any] = {
            "facts": facts,
            "says": _words(facts, spec) if facts else spec.help if share == 1 else "",
            "progress": share,
        }
        sides = tuple(f"seed {seed}" for seed in seeds)
        return Sheet(pictures, len(values), labels, latents, tuple(seed for seed, _ in places), heads=heads, sides=sides, **told)


def _values(spec: KnobSpec, count: int) -> list[float]:
    """`count` values from the lower bound to the upper one; fewer where whole numbers would come twice."""
    low, high = spec.ends()
    if spec.kind == "int":
        return [*dict.fromkeys(round(low + (high - low) * index / (count - 1)) for index in range(count))]
    return [float(f"{low + (high - low) * index / (count - 1):.4g}") for index in range(count)]


def _facts(bench: Bench, spec: KnobSpec, values: Sequence[float], made: Pictures) -> dict[str, Any]:
    features = [bench.classifier.features(from_uint8(column)) for column in made]
    sure = [bench.classifier.head(each).softmax(dim=1).max(dim=1).values.mean().item() for each in features]
    return {
        "knob": spec.label,
        "values": [float(value) for value in values],
        "now": float(bench.params.to_plain()[spec.name]),
        "sure": [round(value, 4) for value in sure],
        "variety": [round(_variety(each), 3) for each in features],
        "variety_of_test": round(bench.remembered("vary/test", lambda: _variety_of_test(bench)), 3),
        "pictures": made.shape[1],
        "same": bool((made == made[:1]).all()),
    }


def _variety(features: Tensor) -> float:
    """The mean distance between any two rows of features (N, D), N at least 2."""
    return float(torch.pdist(features).mean())


def _variety_of_test(bench: Bench) -> float:
    return _variety(bench.classifier.features(from_uint8(bench.shelf.pictures[:YARDSTICK])))


def _words(facts: dict[str, Any], spec: KnobSpec) -> str:
    if facts["same"]:
        return f"{spec.label} changes nothing beside the other knobs as they are. {spec.help}"
    (low, *_, high), sure, variety = facts["values"], facts["sure"], facts["variety"]
    return (
        f"{spec.label} from {low:g} to {high:g}: the classifier is {100 * sure[0]:.0f} % sure, then {100 * sure[-1]:.0f} %; "
        f"two pictures lie {variety[0]:.1f} apart, then {variety[-1]:.1f}, in its features "
        f"(test pictures: {facts['variety_of_test']:.1f})."
    )
