"""What was measured of every card, on one tab: quality against time, and strengths and weaknesses. Drawn when it is first opened."""

from __future__ import annotations

import gradio as gr

from playground.engine import Engine
from playground.ui.figures.frontier import frontier_figure
from playground.ui.figures.strengths import strengths_figure
from playground.ui.panels import PRIVATE
from playground.ui.rendering import built_when

COST = (
    "**What does quality cost?** Each point is a model, or a diffusion model with another number of steps: the time of a picture against "
    "its distance from real ones. No model lies below the line; one above it is beaten in both."
)
STRENGTHS = (
    "**What is each good at?** Each line is a model, each axis a figure that `python -m playground evaluate` measured; best is up "
    "(on a phone: to the right). Choose models in the legend."
)


def measured_tab(engine: Engine, tab: gr.Tab) -> None:
    """Builds its inside; plots are wide and narrow, of which the style sheet shows one."""
    opened = gr.State(False)
    tab.select(lambda: True, None, opened, concurrency_limit=None, **PRIVATE)

    @built_when([opened.change], [opened])
    def plots(is_open: bool) -> None:
        if not is_open:
            return
        for words, draw, name in ((COST, frontier_figure, "frontier"), (STRENGTHS, strengths_figure, "strengths")):
            gr.Markdown(words, elem_classes="lp-says")
            for narrow in (False, True):
                gr.Plot(
                    draw(engine, narrow), show_label=False, elem_id=f"compare-{name}{'-narrow' if narrow else ''}",
                    elem_classes="lp-narrow" if narrow else "lp-wide",
                )  # fmt: skip
