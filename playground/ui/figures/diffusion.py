"""The plots of diffusion's tools, and of Vary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from playground.families.base import Look
from playground.ui.figures.base import GREY, dressed, figure

BLUE, GREEN, PINK, RED, SKY = "#0072B2", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"
ALIKE = {"color": GREY, "dash": "dot", "width": 1}


def pair(left: str, right: str) -> go.Figure:
    """Two plots side by side, each with a title of its own."""
    plot = make_subplots(rows=1, cols=2, subplot_titles=(left, right), horizontal_spacing=0.1)
    plot.update_annotations(font_size=13)
    return plot


def curve(
    x: list[float], y: list[float], colour: str, told: str, name: str = "", mode: str = "lines+markers", **options: Any
) -> go.Scatter:
    """Points and the line through them; `told` is what stands at the pointer."""
    return go.Scatter(
        x=x, y=y, mode=mode, name=name, showlegend=bool(name), line={"color": colour, "width": 2}, marker={"size": 6, "color": colour},
        hovertemplate=f"{told}<extra>{name}</extra>", **options,
    )  # fmt: skip


@figure("trajectory")
def trajectory_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """Left: how close each guess is to the finished picture. Right: how much picture there is in the noise."""
    steps = list(range(1, len(facts["time"]) + 1))
    plot = pair("predicted x₀ against the finished picture", "picture against noise in x_t")
    plot.add_trace(curve(steps[:-1], facts["to_final_db"], look.colour, "step %{x}<br>%{y:.1f} dB"), row=1, col=1)
    plot.add_trace(curve(steps, facts["snr_db"], BLUE, "step %{x}<br>%{y:.1f} dB"), row=1, col=2)
    plot.add_hline(y=0, line=ALIKE, row=1, col=2)
    plot.update_xaxes(title_text="step", range=[0.5, len(steps) + 0.5])
    plot.update_yaxes(title_text="PSNR in dB", row=1, col=1)
    plot.update_yaxes(title_text="signal / noise in dB", row=1, col=2)
    return dressed(plot, 280)


@figure("schedulers")
def schedulers_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """PSNR to the last picture of the row against the number of steps, a line for each scheduler."""
    plot, steps = go.Figure(), facts["steps"]
    for (name, row), colour in zip(facts["to_last_db"].items(), (GREY, BLUE, SKY, PINK, look.colour, GREEN), strict=False):
        plot.add_trace(curve(steps, row, colour, "%{x} steps: %{y:.1f} dB", name))
    plot.update_xaxes(title_text="steps (log scale)", type="log", tickvals=steps, ticktext=[str(count) for count in steps])
    plot.update_yaxes(title_text=f"PSNR to {facts['most_steps']} steps, in dB")
    return dressed(plot, 280)


@figure("noising")
def noising_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """Left: ᾱ and σ. Middle: log-SNR. Right: how well the picture is guessed from a single look."""
    plot = make_subplots(rows=1, cols=3, subplot_titles=("ᾱ and σ", "log-SNR", "predicted x₀"), horizontal_spacing=0.1)
    plot.update_annotations(font_size=13)
    times = facts["times"]
    plot.add_trace(
        curve(times, facts["alpha_bar"], look.colour, "t = %{x:.2f}: %{y:.3f}", "ᾱ, share of picture (squared)", "lines"), row=1, col=1
    )
    plot.add_trace(curve(times, facts["sigma"], BLUE, "t = %{x:.2f}: %{y:.3f}", "σ, noise", "lines"), row=1, col=1)
    plot.add_trace(curve(times, facts["log_snr"], GREEN, "t = %{x:.2f}: %{y:.2f}", mode="lines"), row=1, col=2)
    plot.add_hline(y=0, line=ALIKE, row=1, col=2)
    plot.add_trace(curve(facts["time"], facts["guess_db"], look.colour, "t = %{x:.2f}: %{y:.1f} dB"), row=1, col=3)
    plot.update_xaxes(title_text="t")
    for column, words in enumerate(("", "ln(ᾱ / σ²)", "PSNR in dB"), 1):
        plot.update_yaxes(title_text=words, row=1, col=column)
    plot.update_yaxes(range=[0, min(60.0, 1.1 * max(facts["guess_db"]))], row=1, col=3)
    return dressed(plot, 280)


@figure("vary")
def vary_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """How sure the classifier is, and how far apart pictures lie, against the knob; a line marks where it stands."""
    plot, told = pair("sureness of the classifier", f"variety of {facts['pictures']} pictures"), f"{facts['knob']} %{{x:g}}<br>"
    sure = [100 * share for share in facts["sure"]]
    plot.add_trace(curve(facts["values"], sure, look.colour, told + "%{y:.1f} %"), row=1, col=1)
    plot.add_trace(curve(facts["values"], facts["variety"], look.colour, told + "%{y:.2f}"), row=1, col=2)
    plot.add_hline(y=facts["variety_of_test"], line=ALIKE, annotation_text="test pictures", annotation_font_size=11, row=1, col=2)
    plot.add_vline(x=facts["now"], line={"color": GREY, "width": 1})
    plot.update_xaxes(title_text=facts["knob"])
    plot.update_yaxes(title_text="average, in %", rangemode="tozero", row=1, col=1)
    plot.update_yaxes(title_text="mean distance of features", rangemode="tozero", row=1, col=2)
    return dressed(plot, 280)


@figure("quality")
def quality_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """Fréchet distance, and precision, recall and coverage, against the number of steps; a line marks the steps that are set."""
    plot, steps = pair("Fréchet distance ↓", "precision, recall, coverage ↑"), facts["steps"]
    if "classifier_fd" in facts:
        plot.add_trace(curve(steps, facts["classifier_fd"], look.colour, "%{x} steps: %{y:.2f}"), row=1, col=1)
    for name, colour in (("precision", BLUE), ("recall", PINK), ("coverage", GREEN)):
        if name in facts:
            plot.add_trace(curve(steps, facts[name], colour, "%{x} steps: %{y:.3f}", name), row=1, col=2)
    plot.add_vline(x=facts["now"], line={"color": RED, "width": 2, "dash": "dot"})
    marks = steps or [1, 2, 5, 10, 20, 50, 100]
    plot.update_xaxes(title_text="steps (log scale)", type="log", tickvals=marks, ticktext=[str(count) for count in marks])
    if not steps:
        plot.add_annotation(
            text="not measured yet", x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"color": GREY, "size": 14}
        )
    plot.update_yaxes(title_text="in the classifier's features", type="log", row=1, col=1)
    plot.update_yaxes(title_text="share", range=[0, 1.02], row=1, col=2)
    return dressed(plot, 300)
