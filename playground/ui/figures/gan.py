"""The plots of the GAN's tools: Directions, Noise, Critic, Mode collapse."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from playground.families.base import Look
from playground.ui.figures.base import GREY, dressed, figure, small

BLUE, SKY, GREEN, ORANGE, PURPLE, YELLOW = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#F0E442"


@figure("directions")
def directions_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """The eigenvalues, falling; those of the rows shown are in the family's colour."""
    values, shown = facts["eigenvalues"], facts["shown"]
    names = [f"{facts['kind']}:{index + 1}" for index in range(len(values))]
    plot = go.Figure(
        go.Bar(
            x=names, y=values, customdata=[100 * share for share in facts["share"]],
            marker={"color": [look.colour if index < shown else GREY for index in range(len(values))]},
            hovertemplate="%{x}<br>eigenvalue %{y:.3g}<br>%{customdata:.1f} % of the sum<extra></extra>",
        )
    )  # fmt: skip
    what = "variance of w along it" if facts["kind"] == "pc" else "eigenvalue of AᵀA"
    plot.update_xaxes(
        title_text="direction, by falling eigenvalue" + small(f"coloured: shown above; the first {len(values)}"), type="category"
    )
    plot.update_yaxes(title_text=what, rangemode="tozero")
    plot.update_layout(bargap=0.25)
    return dressed(plot, 260)


@figure("noise")
def noise_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """How much each noise input moves a pixel by itself, and all together."""
    names, values = [*facts["names"], "all together"], [*facts["by_input"], facts["mean_levels"]]
    plot = go.Figure(
        go.Bar(
            x=values, y=names, orientation="h", marker={"color": [look.colour] * (len(names) - 1) + [GREY]},
            hovertemplate="%{y}<br>%{x:.2f} grey levels<extra></extra>",
        )
    )  # fmt: skip
    plot.update_xaxes(title_text="standard deviation in grey levels" + small("of a pixel, averaged over the picture"), rangemode="tozero")
    plot.update_yaxes(autorange="reversed", title_text="noise input")
    plot.update_layout(bargap=0.3)
    return dressed(plot, 240).update_layout(margin={"l": 130})


@figure("critic")
def critic_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """Histograms of the scores of real and of generated pictures, with their means."""
    edges = facts["edges"]
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    plot = go.Figure()
    groups = (("real", GREY, f"{facts['num_real']:,} real"), ("made", look.colour, f"{facts['num_made']:,} generated"))
    for name, colour, words in groups:
        plot.add_bar(
            x=middles, y=[100 * share for share in facts[f"{name}_share"]], width=edges[1] - edges[0], name=words, opacity=0.6,
            marker={"color": colour, "line": {"width": 0}}, hovertemplate=f"{words}<br>score %{{x:.2f}}<br>%{{y:.1f}} %<extra></extra>",
        )  # fmt: skip
        plot.add_vline(x=min(max(facts[f"{name}_mean"], edges[0]), edges[-1]), line={"color": colour, "dash": "dot", "width": 2})
    plot.update_layout(barmode="overlay", bargap=0)
    plot.update_xaxes(title_text="score of the critic, without unit" + small("dotted: means; the ends hold all beyond"))
    plot.update_yaxes(title_text="% of pictures", rangemode="tozero")
    return dressed(plot, 280)


@figure("collapse")
def collapse_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """The share of each class among the pictures of each card, beside that among real ones."""
    plot = go.Figure()
    colours = (look.colour, SKY, GREEN, PURPLE, ORANGE, YELLOW)
    for index, (name, share) in enumerate(zip(facts["names"], facts["share"], strict=True)):
        plot.add_bar(
            x=facts["classes"], y=[100 * part for part in share], name=name, marker={"color": colours[index % len(colours)]},
            hovertemplate=f"{name}<br>%{{x}} %{{y:.1f}} %<extra></extra>",
        )  # fmt: skip
    plot.add_scatter(
        x=facts["classes"], y=[100 * part for part in facts["real_share"]], name="test pictures", mode="markers",
        marker={"color": GREY, "symbol": "line-ew", "size": 16, "line": {"color": GREY, "width": 2}},
        hovertemplate="test pictures<br>%{x} %{y:.1f} %<extra></extra>",
    )  # fmt: skip
    plot.update_layout(barmode="group", bargap=0.25)
    plot.update_yaxes(title_text="% of the pictures", rangemode="tozero")
    return dressed(plot, 360)
