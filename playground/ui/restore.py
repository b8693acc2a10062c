"""Links: what the page must look like for the query string it was opened with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from playground.engine import Engine, why
from playground.errors import PlaygroundError
from playground.request import Request
from playground.ui.answers import kept
from playground.ui.controls import to_widget
from playground.ui.panels import Panel

SETTLE = {"settle": True}
"""Tells a sheet to make its own default picture after all."""


def restorer(
    engine: Engine, panels: Sequence[Panel], tabs: gr.Tabs, notice: gr.Markdown
) -> tuple[Callable[[gr.Request], list[Any]], list[gr.components.Component]]:
    """The function for `page.load`, and its outputs: tabs, the notice, and every knob and sheet."""
    outputs: list[Any] = [notice, tabs, *dict.fromkeys(panel.tasks for panel in panels)]
    for panel in panels:
        outputs += [*panel.inputs.values(), *panel.outputs]
    # An update without a value (`gr.skip()`) makes a custom component in a closed tab lose its own properties: send values.
    unchanged = {output: output.value if isinstance(output, gr.HTML) else gr.skip() for output in outputs}

    def restore(http: gr.Request) -> list[Any]:
        query = str(http.query_params or "")
        changes: dict[Any, Any] = {}
        if "card=" in query or "task=" in query:
            try:
                changes = _restored(engine, panels, tabs, query)
            except PlaygroundError as error:
                changes = {notice: gr.Markdown(f"**This link could not be opened.** {why(error)}", visible=True)}
                changes |= {panel.sheet: SETTLE for panel in panels}
        return [changes.get(output, unchanged[output]) for output in outputs]

    return restore, outputs


def _restored(engine: Engine, panels: Sequence[Panel], tabs: gr.Tabs, query: str) -> dict[Any, Any]:
    request = Request.from_query(query, cards=engine.cards)
    result = engine.run(request)
    family = engine.model(request.card).family
    panel = next(panel for panel in panels if panel.id == f"{family}-{request.task.name}")
    values = {**request.task.to_plain(), **request.params.to_plain(), "card": request.card}
    changes: dict[Any, Any] = {tabs: gr.Tabs(selected=family), panel.tasks: gr.Tabs(selected=panel.id)}
    for name, component in panel.inputs.items():
        if name in values:
            changes[component] = to_widget(panel.specs[name], values[name]) if name in panel.specs else values[name]
    changes[panel.sheet] = kept(result)
    if panel.plot is not None:
        changes[panel.plot] = panel.figure(result)
    return changes
