"""What all plots share: a registry by task, and one look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import plotly.graph_objects as go

from playground.families.base import Look

GREY = "#80858d"
FAINT = "rgba(128,133,141,0.25)"
FONT = "system-ui, sans-serif"

Draw = Callable[[Mapping[str, Any], Look], go.Figure]
FIGURES: dict[str, Draw] = {}
"""The plot of each task that has one, made of its sheet's facts."""


def figure(task: str) -> Callable[[Draw], Draw]:
    """Makes a function the plot of the task of that name."""

    def register(draw: Draw) -> Draw:
        FIGURES[task] = draw
        return draw

    return register


def dressed(plot: go.Figure, height: int = 320) -> go.Figure:
    """The same plot in the page's look: system font, no background of its own, faint grid; `height` in pixels."""
    plot.update_layout(
        height=height,
        margin={"l": 52, "r": 12, "t": 32, "b": 44},
        font={"family": FONT, "size": 12},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    plot.update_xaxes(gridcolor=FAINT, zerolinecolor=FAINT)
    plot.update_yaxes(gridcolor=FAINT, zerolinecolor="rgba(128,133,141,0.5)")
    return plot
