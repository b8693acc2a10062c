"""Which layers of a network are meant: two knobs, and the words for them."""

from __future__ import annotations

from typing import Any

from playground.families.base import Model
from playground.families.capabilities import HasLayers
from playground.knobs import Knob
from playground.latent import Span

LAST = 5
"""The last layer that the knobs can name."""


def FromLayer(default: int, help: str) -> Any:
    """The knob for the first layer that is meant."""
    return Knob(default, label="From layer", help=help, ge=0, le=LAST, step=1)


def ToLayer(help: str) -> Any:
    """The knob for the last layer that is meant."""
    return Knob(LAST, label="To layer", help=help, ge=0, le=LAST, step=1)


def span_of(model: Model, one: int, other: int) -> Span | None:
    """The layers between two, in either order; None when that is all of them."""
    last = len(model.layer_sides()) - 1 if isinstance(model, HasLayers) else LAST
    low, high = min(one, other, last), min(max(one, other), last)
    return None if (low, high) == (0, last) else (low, high)


def span_words(model: HasLayers, span: Span | None) -> str:
    """`layers 3–5 (14×14 pixels)`; `all layers` for None."""
    if span is None:
        return "all layers"
    sides = sorted(set(model.layer_sides()[span[0] : span[1] + 1]))
    where = " and ".join(f"{side}×{side}" for side in sides)
    return (f"layer {span[0]}" if span[0] == span[1] else f"layers {span[0]}–{span[1]}") + f" ({where} pixels)"
