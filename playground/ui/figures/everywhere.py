"""The plots of what every family is asked: likelihood by many models, and nearest neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from playground.families import FAMILIES
from playground.families.base import Look
from playground.ui.figures.base import GREY, dressed, figure, small

KINDS = {"exact": "exact", "bound": "a bound", "score": "a score"}


@figure("lens")
def lens_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """Bits/dim of each card that has a likelihood, on the spread of the test pictures; and the rank of the picture, for every card."""
    rows = list(range(len(facts["names"])))
    names = [facts["names"][row] for row in rows]
    colours = [FAMILIES[facts["families"][row]].look.colour for row in rows]
    likely = [row for row in rows if facts["kinds"][row] != "score"]
    plot = make_subplots(rows=1, cols=2, shared_yaxes=True, column_widths=[0.6, 0.4], horizontal_spacing=0.03)
    spread = go.Bar(
        y=[names[row] for row in likely],
        base=[facts["low"][row] for row in likely],
        x=[facts["high"][row] - facts["low"][row] for row in likely],
        orientation="h", width=0.5, marker={"color": "rgba(128,133,141,0.35)"}, name="90 % of test pictures",
        customdata=[[facts["low"][row], facts["high"][row], facts["ranked"][row]] for row in likely],
        hovertemplate="90 % of %{customdata[2]} test pictures:<br>%{customdata[0]:.2f} to %{customdata[1]:.2f} bits/dim<extra>%{y}</extra>",
    )  # fmt: skip
    middle = go.Scatter(
        x=[facts["middle"][row] for row in likely], y=[names[row] for row in likely], mode="markers", name="their median",
        marker={"symbol": "line-ns", "size": 12, "line": {"color": GREY, "width": 2}},
        hovertemplate="median of test pictures %{x:.2f} bits/dim<extra>%{y}</extra>",
    )  # fmt: skip
    own = go.Scatter(
        x=[facts["value"][row] for row in likely], y=[names[row] for row in likely], mode="markers", name="this picture",
        marker={"symbol": "diamond", "size": 11, "color": [colours[row] for row in likely]},
        customdata=[KINDS[facts["kinds"][row]] for row in likely],
        hovertemplate="this picture %{x:.2f} bits/dim (%{customdata})<extra>%{y}</extra>",
    )  # fmt: skip
    ranks = go.Bar(
        x=facts["rank"], y=names, orientation="h", width=0.6, marker={"color": colours}, showlegend=False,
        text=[word.replace(" bits/dim", "").replace("critic ", "") for word in facts["words"]],
        textposition="outside", textfont={"size": 11}, cliponaxis=False,
        customdata=[[facts["words"][row], KINDS[facts["kinds"][row]], facts["ranked"][row]] for row in rows],
        hovertemplate="%{customdata[0]} (%{customdata[1]}),<br>above %{x:.0f} % of %{customdata[2]} test pictures<extra>%{y}</extra>",
    )  # fmt: skip
    for trace in (spread, middle, own):
        plot.add_trace(trace, row=1, col=1)
    plot.add_trace(ranks, row=1, col=2)
    plot.update_xaxes(title_text="bits/dim", row=1, col=1)
    plot.update_xaxes(title_text="rank in %", range=[0, 150], tickvals=[0, 50, 100], row=1, col=2)
    plot.update_yaxes(categoryorder="array", categoryarray=names[::-1], automargin=True)
    plot = dressed(plot, 110 + 26 * len(names))
    plot.update_yaxes(showgrid=False)  # it would strike the words through
    return plot


@figure("neighbours")
def neighbours_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """How far real test pictures are from their nearest training picture, and where the pictures of the sheet stand among them."""
    unit = "grey levels, root mean square" if facts["by_pixels"] else "Euclidean, among classifier features"
    real = go.Histogram(
        x=facts["real"], nbinsx=50, name=f"{len(facts['real']):,} test pictures", marker={"color": "rgba(128,133,141,0.5)"},
        hovertemplate="%{y} test pictures at %{x}<extra></extra>",
    )  # fmt: skip
    plot = go.Figure(real)
    for row, (name, distance) in enumerate(zip(facts["names"], facts["nearest"], strict=True)):
        colour = look.colour if row else "#56B4E9"
        plot.add_vline(x=distance, line={"color": colour, "width": 2, "dash": "solid" if row else "dot"})
        mark = go.Scatter(
            x=[distance], y=[0], mode="markers", name="new pictures" if row else name, showlegend=row < 2,
            marker={"symbol": "triangle-up", "size": 11, "color": colour}, cliponaxis=False,
            hovertemplate=f"{name}: nearest at %{{x:.1f}}<extra></extra>",
        )  # fmt: skip
        plot.add_trace(mark)
    plot.update_xaxes(title_text="distance to the nearest training picture" + small(unit), rangemode="tozero")
    plot.update_yaxes(title_text="test pictures", rangemode="tozero")
    return dressed(plot, 280)
