"""The plots of tools about posteriors: Rate, Posterior."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from playground.families.base import Look
from playground.ui.figures.base import GREY, dressed, figure

ORANGE = "#E69F00"
TURN = [2 * math.pi * step / 64 for step in range(65)]


@figure("rate")
def rate_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """Distortion against rate, a point a card; cards of the same network are joined, and a dotted line has the best sum of both."""
    plot, points = go.Figure(), [*zip(facts["rate"], facts["distortion"], facts["beta"], facts["num_bytes"], strict=True)]
    best, low, high = min(rate + distortion for rate, distortion, *_ in points), min(facts["rate"]), max(facts["rate"])
    room = max(2.0, 0.2 * (high - low))
    ends = [max(0.0, low - room), high + room]
    plot.add_scatter(
        x=ends, y=[best - end for end in ends], mode="lines", name="the best evidence bound",
        line={"color": GREY, "width": 1.5, "dash": "dot"}, hoverinfo="skip",
    )  # fmt: skip
    (most, _), *_ = Counter(facts["num_bytes"]).most_common()
    for same in (True, False):
        group = [point for point in points if (point[3] == most) == same]
        if not group:
            continue
        rate, distortion, beta, _ = zip(*group, strict=True)
        plot.add_scatter(
            x=rate, y=distortion, mode="lines+markers+text" if same else "markers+text", text=[f"β = {value:g}" for value in beta],
            textposition="top center", cliponaxis=False, name="one network, β differs" if same else "another network",
            line={"color": look.colour, "width": 2}, marker={"size": 11, "color": look.colour if same else ORANGE},
            hovertemplate="%{text}<br>rate %{x:.1f} nats<br>distortion %{y:,.0f} nats<extra></extra>",
        )  # fmt: skip
    plot.update_xaxes(title_text="rate: nats that the code takes", range=ends)
    plot.update_yaxes(title_text="distortion: nats that the pixels still take")
    return dressed(plot, 360)


@figure("aggregate")
def aggregate_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """A draw of each test picture's posterior on the two widest directions, circles of the prior, and this picture's own ellipses."""
    plot = go.Figure()
    across, up = facts["points"]
    plot.add_scatter(
        x=across, y=up, mode="markers", name="aggregate posterior: a draw for each test picture", hoverinfo="skip",
        marker={"color": look.colour, "size": 4, "opacity": 0.35},
    )  # fmt: skip
    for radius in (1, 2):
        plot.add_scatter(
            x=[radius * math.cos(angle) for angle in TURN], y=[radius * math.sin(angle) for angle in TURN], mode="lines",
            name="prior N(0, I): 1 σ and 2 σ", showlegend=radius == 1, line={"color": GREY, "width": 2, "dash": "dash"}, hoverinfo="skip",
        )  # fmt: skip
        ellipse = [
            [centre + radius * (value - centre) for value in line] for centre, line in zip(facts["centre"], facts["ellipse"], strict=True)
        ]
        plot.add_scatter(
            x=ellipse[0], y=ellipse[1], mode="lines", name="this picture's posterior: 1 σ and 2 σ", showlegend=radius == 1,
            line={"color": ORANGE, "width": 2.5}, hoverinfo="skip",
        )  # fmt: skip
    plot.update_xaxes(title_text="widest direction of the codes", scaleanchor="y")
    plot.update_yaxes(title_text="second widest")
    return dressed(plot, 420)
