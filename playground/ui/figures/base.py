"""What all plots share: a registry by task, and one look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

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


def stacked(*titles: str, spacing: float = 0.12, shared: bool = True) -> go.Figure:
    """Plots one above the other, because phones are narrow, each with its title (or none) at the left; mostly they share what lies across.

    `spacing` is the share of the height between two.
    """
    plot = make_subplots(rows=len(titles), cols=1, shared_xaxes=shared, vertical_spacing=spacing, subplot_titles=titles)
    return plot.update_annotations(x=0, xanchor="left", font_size=13)


def small(words: str) -> str:
    """A second line under the title of an axis."""
    return f'<br><span style="font-size:11px">{words}</span>'


def dressed(plot: go.Figure, height: int = 320) -> go.Figure:
    """The same plot in the page's look: system font, no background of its own, faint grid; `height` in pixels."""
    more_lines = max((axis.title.text or "").count("<br>") for axis in plot.select_xaxes())
    plot.update_layout(
        height=height,
        margin={"l": 52, "r": 12, "t": 32, "b": 44 + 16 * more_lines},
        font={"family": FONT, "size": 12},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    plot.update_xaxes(gridcolor=FAINT, zerolinecolor=FAINT)
    plot.update_yaxes(gridcolor=FAINT, zerolinecolor="rgba(128,133,141,0.5)")
    return plot
