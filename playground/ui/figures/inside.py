"""The plot of Inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from playground.families.base import Look
from playground.tasks.inside import DEAD_NATS
from playground.ui.figures.base import GREY, dressed, figure, stacked


@figure("inside")
def inside_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """μ ± σ and KL of every latent dimension, by falling average KL; dead ones are grey."""
    average = facts["average_kl_nats"]
    order = sorted(range(len(average)), key=lambda index: -average[index])
    names = [str(index + 1) for index in order]
    colours = [GREY if average[index] < DEAD_NATS else look.colour for index in order]
    plot = stacked("μ ± σ", "KL in nats (line: training average)")
    pick = {name: [facts[name][index] for index in order] for name in ("mu", "sigma", "kl_nats", "average_kl_nats")}
    mean = go.Scatter(
        x=names, y=pick["mu"], mode="markers", name="μ ± σ of this picture", marker={"color": colours, "size": 8},
        error_y={"type": "data", "array": pick["sigma"], "color": GREY, "thickness": 1.5},
        hovertemplate="dimension %{x}<br>μ %{y:.2f} ± %{error_y.array:.2f}<extra></extra>",
    )  # fmt: skip
    bars = go.Bar(
        x=names, y=pick["kl_nats"], name="KL of this picture", marker={"color": colours},
        hovertemplate="dimension %{x}<br>%{y:.2f} nats<extra></extra>",
    )  # fmt: skip
    line = go.Scatter(
        x=names, y=pick["average_kl_nats"], mode="lines+markers", name="average over the training pictures",
        line={"color": "#E69F00", "width": 2}, marker={"size": 4}, hovertemplate="average %{y:.2f} nats<extra></extra>",
    )  # fmt: skip
    plot.add_trace(mean, row=1, col=1)
    plot.add_trace(bars, row=2, col=1)
    plot.add_trace(line, row=2, col=1)
    plot.update_xaxes(type="category", title_text="latent dimension (grey: dead)", row=2, col=1)
    plot.update_layout(showlegend=False, bargap=0.25)
    return dressed(plot, 420)
