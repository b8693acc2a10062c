"""What plots of measured figures share: the cards with what was measured of them, and the sentence where nothing was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import plotly.graph_objects as go

from playground.cards import Card
from playground.engine import Engine
from playground.errors import PlaygroundError
from playground.families import FAMILIES
from playground.ui.figures.base import GREY, dressed


def measured_cards(engine: Engine) -> list[tuple[Card, Mapping[str, Any]]]:
    """The generative cards with weights, in the order of the manifest, each with its `metrics.json`; those without one are left out."""
    cards = [card for card in (engine.cards or {}).values() if card.family in FAMILIES and card.files]
    return [(card, found) for card in cards if (found := told_of(engine.measured, card.id))]


def told_of(read: Callable[[str], Mapping[str, Any]], card: str) -> Mapping[str, Any]:
    """What `read` tells of a card; nothing where its folder cannot be had."""
    try:
        return read(card)
    except PlaygroundError:
        return {}


def name_of(card: Card) -> str:
    """A card's id without its data set."""
    return card.id.removesuffix(f"-{card.dataset}")


def nothing_measured() -> go.Figure:
    """A plot that says why it is empty."""
    plot = go.Figure()
    plot.add_annotation(
        text="not measured yet", x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"color": GREY, "size": 14}
    )
    plot.update_xaxes(visible=False)
    plot.update_yaxes(visible=False)
    return dressed(plot, 160)
