"""The plots of tools about flows: Density, Steps."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import plotly.graph_objects as go

from playground.families.base import Look
from playground.tasks.density import GIVEN
from playground.ui.figures.base import GREY, dressed, figure

SKY, ORANGE = "#56B4E9", "#E69F00"
BIN = 0.25


@figure("density")
def density_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """Histograms of bits/dim of test pictures, training pictures and letters; each shown picture is a line with its name."""
    plot = go.Figure()
    for name, words, colour in (
        ("test", "test pictures", look.colour),
        ("train", "training pictures", SKY),
        ("letters", "letters and digits", ORANGE),
    ):
        if values := facts.get(f"{name}_bits"):
            plot.add_histogram(
                x=values, name=f"{len(values)} {words}", histnorm="percent", xbins={"start": 0, "end": 12, "size": BIN}, opacity=0.55,
                marker={"color": colour}, hovertemplate=f"{words}<br>%{{x}} bits/dim<br>%{{y:.1f}} %<extra></extra>",
            )  # fmt: skip
    for place, (name, bits) in enumerate(zip(facts["names"], facts["bits"], strict=True)):
        given = name == GIVEN
        plot.add_annotation(
            x=bits, y=1, yref="paper", yanchor="top", yshift=-14 * (place % 4), text=name, showarrow=False, xanchor="left", xshift=3,
            font={"size": 12 if given else 11},
        )  # fmt: skip
        plot.add_vline(
            x=bits, line={"color": look.colour if given else GREY, "width": 3 if given else 1, "dash": "solid" if given else "dot"}
        )
    plot.update_layout(barmode="overlay")
    plot.update_xaxes(title_text="bits per dimension: likelier to the left", rangemode="tozero")
    plot.update_yaxes(title_text="% of pictures")
    return dressed(plot)


@figure("steps")
def steps_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """The log-determinant of each step as a bar, and what they add up to as a line."""
    numbers = [*range(1, len(facts["nats"]) + 1)]
    plot = go.Figure()
    plot.add_bar(
        x=numbers, y=facts["nats"], name="this step", marker={"color": look.colour}, customdata=facts["names"],
        hovertemplate="step %{x}: %{customdata}<br>%{y:,.1f} nats<extra></extra>",
    )  # fmt: skip
    plot.add_scatter(
        x=numbers, y=[*accumulate(facts["nats"])], name="all steps so far", mode="lines+markers", line={"color": GREY, "width": 2},
        marker={"size": 5}, hovertemplate="up to step %{x}<br>%{y:,.0f} nats<extra></extra>",
    )  # fmt: skip
    plot.update_xaxes(title_text="step (1 is the logit)", range=[0.4, len(numbers) + 0.6], tickformat="d")
    plot.update_yaxes(title_text="log |det| in nats")
    return dressed(plot, 240)
