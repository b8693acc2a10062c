"""The plots of tools about codes: Compress, Anomaly, Holes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from playground.families.base import Look
from playground.tasks.holes import ROWS
from playground.tasks.oddities import KINDS
from playground.ui.figures.base import GREY, dressed, figure, stacked

SKY, ORANGE, PURPLE, VERMILION, YELLOW = "#56B4E9", "#E69F00", "#CC79A7", "#D55E00", "#F0E442"
ROC_COLOURS = ("#0072B2", VERMILION, GREY, SKY, PURPLE)


@figure("compress")
def compress_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """PSNR against bytes for the code, principal components, JPEG and WebP; the code size chosen is a dotted line."""
    plot = go.Figure()
    ways = (
        ("code", "Autoencoder", look.colour, "circle"),
        ("pca", "PCA", GREY, "square"),
        ("jpeg", "JPEG", ORANGE, ""),
        ("webp", "WebP", SKY, ""),
    )
    for name, words, colour, symbol in ways:
        plot.add_scatter(
            x=facts[f"{name}_bytes"], y=facts[f"{name}_psnr"], name=words, mode="lines+markers" if symbol else "lines",
            line={"color": colour, "width": 2}, marker={"size": 8, "symbol": symbol or "circle"},
            hovertemplate=f"{words}<br>%{{x}} bytes<br>%{{y:.1f}} dB<extra></extra>",
        )  # fmt: skip
    plot.add_vline(x=facts["bytes"], line={"color": GREY, "dash": "dot"})
    ticks = [2, 4, 8, 16, 32, 64, 128, 256]
    plot.update_xaxes(
        type="log", tickvals=ticks, ticktext=[str(tick) for tick in ticks], range=[0.2, 2.5], title_text="bytes of this picture (log scale)"
    )
    plot.update_yaxes(title_text="PSNR in dB", range=[10, 42])
    return dressed(plot)


@figure("anomaly")
def anomaly_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """Above: errors of the test pictures, the threshold, and this picture. Below: ROC against each kind of odd picture."""
    plot = stacked("test pictures by error (▼ this one)", "ROC: odd against test pictures", spacing=0.22, shared=False)
    edges, counts = facts["edges"], facts["counts"]
    middles = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    colours = [ORANGE if middle > facts["limit"] else look.colour for middle in middles]
    bars = go.Bar(
        x=middles, y=counts, width=edges[1] - edges[0], marker={"color": colours, "line": {"width": 0}}, showlegend=False,
        hovertemplate="error %{x:.1f}<br>%{y:.0f} test pictures<extra></extra>",
    )  # fmt: skip
    plot.add_trace(bars, row=1, col=1)
    plot.add_vline(x=facts["limit"], line={"color": ORANGE, "dash": "dot"}, row=1, col=1)
    mark = go.Scatter(
        x=[facts["score"]], y=[0.06 * max(counts)], mode="markers", showlegend=False,
        marker={"symbol": "triangle-down", "size": 14, "color": VERMILION, "line": {"color": "white", "width": 1}},
        hovertemplate="this picture: %{x:.1f}<extra></extra>",
    )  # fmt: skip
    plot.add_trace(mark, row=1, col=1)
    for kind, curve, area, colour in zip(KINDS, facts["roc"], facts["auc"], ROC_COLOURS, strict=True):
        line = go.Scatter(
            x=facts["false_alarms"], y=curve, mode="lines", name=f"{kind} · AUC {area:.3f}", line={"color": colour, "width": 2},
            hovertemplate=f"{kind}<br>%{{y:.0%}} stopped<br>with %{{x:.0%}} of the test pictures<extra></extra>",
        )  # fmt: skip
        plot.add_trace(line, row=2, col=1)
    plot.update_xaxes(title_text="error in grey levels", row=1, col=1)
    plot.update_xaxes(title_text="test pictures stopped", range=[0, 1.01], tickformat=".0%", row=2, col=1)
    plot.update_yaxes(title_text="test pictures", row=1, col=1)
    plot.update_yaxes(title_text="odd ones stopped", range=[0, 1.02], tickformat=".0%", row=2, col=1)
    plot = dressed(plot, 520)
    legend = {"orientation": "v", "x": 0.99, "xanchor": "right", "y": 0.02, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"}
    return plot.update_layout(legend=legend, bargap=0)


@figure("holes")
def holes_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """Distances to the nearest test picture for each way of drawing codes, and for test pictures themselves."""
    plot = go.Figure()
    drawn = zip(ROWS, facts["distance"], (VERMILION, ORANGE, look.colour, "#0072B2"), strict=False)  # the last only beside a sibling
    for words, values, colour in reversed([*drawn, ("test pictures", facts["test_distance"], GREY)]):
        plot.add_box(
            x=values, name=words, orientation="h", marker={"color": colour, "size": 3}, line={"width": 1.5}, boxpoints="outliers",
            hovertemplate="%{x:.1f}<extra></extra>",
        )  # fmt: skip
    plot.update_xaxes(title_text="distance (test pictures: 1)", rangemode="tozero")
    plot = dressed(plot, 300)
    return plot.update_layout(showlegend=False, margin={"l": 150})
