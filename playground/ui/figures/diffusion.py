"""The plots of diffusion's tools, and of Vary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from playground.families.base import Look
from playground.ui.figures.base import GREY, dressed, figure, stacked

BLUE, GREEN, PINK, RED, SKY = "#0072B2", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"
ALIKE = {"color": GREY, "dash": "dot", "width": 1}


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
    """Above: how close each guess is to the finished picture. Below: how much picture there is in the noise."""
    steps = list(range(1, len(facts["time"]) + 1))
    plot = stacked("predicted x₀ to the finished picture, in dB", "signal / noise in x_t, in dB")
    plot.add_trace(curve(steps[:-1], facts["to_final_db"], look.colour, "step %{x}<br>%{y:.1f} dB"), row=1, col=1)
    plot.add_trace(curve(steps, facts["snr_db"], BLUE, "step %{x}<br>%{y:.1f} dB"), row=2, col=1)
    plot.add_hline(y=0, line=ALIKE, row=2, col=1)
    plot.update_xaxes(range=[0.5, len(steps) + 0.5])
    plot.update_xaxes(title_text="step", row=2, col=1)
    return dressed(plot, 400)


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
    """ᾱ and σ; below, log-SNR; below that, how well the picture is guessed from a single look."""
    plot = stacked("", "log-SNR: ln(ᾱ / σ²)", "PSNR of predicted x₀, in dB", spacing=0.09)  # the first one's legend is its title
    times = facts["times"]
    plot.add_trace(curve(times, facts["alpha_bar"], look.colour, "t = %{x:.2f}: %{y:.3f}", "ᾱ, picture (squared)", "lines"), row=1, col=1)
    plot.add_trace(curve(times, facts["sigma"], BLUE, "t = %{x:.2f}: %{y:.3f}", "σ, noise", "lines"), row=1, col=1)
    plot.add_trace(curve(times, facts["log_snr"], GREEN, "t = %{x:.2f}: %{y:.2f}", mode="lines"), row=2, col=1)
    plot.add_hline(y=0, line=ALIKE, row=2, col=1)
    plot.add_trace(curve(facts["time"], facts["guess_db"], look.colour, "t = %{x:.2f}: %{y:.1f} dB"), row=3, col=1)
    plot.update_xaxes(title_text="t", row=3, col=1)
    plot.update_yaxes(range=[0, min(60.0, 1.1 * max(facts["guess_db"]))], row=3, col=1)
    return dressed(plot, 520)


@figure("vary")
def vary_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """How sure the classifier is, and how far apart pictures lie, against the knob; a line marks where it stands."""
    titles = ("sureness of the classifier, in %", f"variety of {facts['pictures']} pictures: distance of features")
    plot, told = stacked(*titles), f"{facts['knob']} %{{x:g}}<br>"
    sure = [100 * share for share in facts["sure"]]
    plot.add_trace(curve(facts["values"], sure, look.colour, told + "%{y:.1f} %"), row=1, col=1)
    plot.add_trace(curve(facts["values"], facts["variety"], look.colour, told + "%{y:.2f}"), row=2, col=1)
    plot.add_hline(
        y=facts["variety_of_test"], line=ALIKE, annotation_text="test pictures", annotation_position="bottom right", row=2, col=1
    )
    plot.add_vline(x=facts["now"], line={"color": GREY, "width": 1})
    plot.update_xaxes(title_text=facts["knob"], row=2, col=1)
    plot.update_yaxes(rangemode="tozero")
    return dressed(plot, 400)


@figure("quality")
def quality_figure(facts: Mapping[str, Any], look: Look) -> go.Figure:
    """Fréchet distance, and precision, recall and coverage, against the number of steps; a line marks the steps that are set."""
    plot, steps = stacked("Fréchet distance of features ↓", "", spacing=0.2), facts["steps"]  # the other's legend is its title
    if "classifier_fd" in facts:
        plot.add_trace(curve(steps, facts["classifier_fd"], look.colour, "%{x} steps: %{y:.2f}"), row=1, col=1)
    for name, colour in (("precision", BLUE), ("recall", PINK), ("coverage", GREEN)):
        if name in facts:
            plot.add_trace(curve(steps, facts[name], colour, "%{x} steps: %{y:.3f}", f"{name} ↑"), row=2, col=1)
    plot.add_vline(x=facts["now"], line={"color": RED, "width": 2, "dash": "dot"})
    marks = steps or [1, 2, 5, 10, 20, 50, 100]
    plot.update_xaxes(type="log", tickvals=marks, ticktext=[str(count) for count in marks])
    plot.update_xaxes(title_text="steps (log scale)", row=2, col=1)
    if not steps:
        plot.add_annotation(
            text="not measured yet", x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"color": GREY, "size": 14}
        )
    found = facts.get("classifier_fd") or [1.0]
    plot.update_yaxes(type="log", dtick="D2" if max(found) > 10 * min(found) else None, row=1, col=1)  # D2: 1, 2, 5, 10, 20, …
    plot.update_yaxes(range=[0, 1.02], row=2, col=1)
    return dressed(plot, 420).update_layout(legend_y=plot.layout.yaxis2.domain[1] + 0.01)
