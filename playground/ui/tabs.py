"""A family's tab: its introduction, then a tab a task. A task's panel is built when its tab is first opened, by hand or by a link.

The browser's work at the start grows with components times events: all panels at once would take it several seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from playground.cards import Card
from playground.compare import Comparison
from playground.engine import Engine, why
from playground.errors import PlaygroundError
from playground.families import Model
from playground.request import Request
from playground.tasks import TASKS, Task
from playground.ui.introduction import introduction
from playground.ui.panels import PRIVATE, Panel, build_panel


@dataclass(frozen=True)
class Place:
    """Where a task's panel is built: `opening` is "" until it is wanted, then the query string of its first request."""

    family: type[Model]
    task: type[Task]
    cards: Sequence[Card]
    card: gr.Dropdown
    tasks: gr.Tabs
    opening: gr.State

    @property
    def id(self) -> str:
        return f"{self.family.family}-{self.task.name}"

    def plain(self, engine: Engine, card: str) -> str:
        """The opening with every knob at its default."""
        return Request.build(card, self.task.name, cards=engine.cards).to_query()


# Tells the server what a selected tab is to begin with: the link that the page came with, until it is opened, else the tab's model.
_SELECTED = """(card) => {{
    const linked = /[?&](card|task|compare)=/.test(location.search) && !document.querySelector(".lp-sheet");
    window.playground?.shown("{panel}");
    return [card, linked ? location.search : "", null]; }}"""


def family_tab(engine: Engine, family: type[Model], cards: Sequence[Card]) -> list[Place]:
    """Builds the tab of a family inside the current `gr.Tab`; returns the places of its panels."""
    default = cards[0]
    with gr.Row(equal_height=False, elem_classes="lp-family"):
        with gr.Column(scale=5, min_width=320):
            introduction(engine, family, default.id)
        with gr.Column(scale=2, min_width=280, visible=len(cards) > 1):
            card = gr.Dropdown(
                [(entry.title, entry.id) for entry in cards],
                value=default.id,
                label="Model",
                show_label=False,
                container=False,
                elem_id=f"{family.family}-card",
            )
    link = gr.Textbox("", visible=False)  # a place among the inputs of tabs: the browser fills it in
    model, places = engine.model(default.id), []
    with gr.Tabs(selected=f"{family.family}-{_first_task(family)}", elem_id=f"{family.family}-tasks") as tasks:
        for task in TASKS.values():
            if not task.common and task.missing(model) is not None:
                continue
            name = f"{family.family}-{task.name}"
            with gr.Tab(task.title, id=name, elem_id=f"tab-{name}") as tab:
                if (lack := task.missing(model)) is not None:
                    gr.Markdown(f"This family cannot {lack}, so {task.title} is not a question it can answer.")
                    continue
                places.append(Place(family, task, cards, card, tasks, gr.State("")))
                _open_when_wanted(engine, places[-1], tab, link)
    return places


def _first_task(family: type[Model]) -> str:
    """The task that a family's tab opens with."""
    return next(name for name, task in TASKS.items() if task.missing(family) is None)


def _open_when_wanted(engine: Engine, place: Place, tab: gr.Tab, link: gr.Textbox) -> None:
    def wanted(card: str, query: str, opening: str) -> Any:
        if opening or not query:
            return opening or place.plain(engine, card)
        try:
            request = Request.from_query(query, cards=engine.cards)
        except PlaygroundError:
            return gr.skip()  # said by the page's own load event
        mine = request.task.name == place.task.name and request.card in {each.id for each in place.cards}
        return request.to_query() if mine else gr.skip()

    # Queued, all of it: the browser does not follow a state that changed outside the queue.
    inputs, js = [place.card, link, place.opening], _SELECTED.format(panel=place.id)
    tab.select(wanted, inputs, place.opening, js=js, concurrency_limit=None, **PRIVATE)

    @gr.render(inputs=[place.opening], triggers=[place.opening.change], show_progress="hidden")
    def panel(opening: str) -> None:
        if opening:
            request = Request.from_query(opening, cards=engine.cards)
            build_panel(engine, Panel(place.family, place.task, place.card), place.cards, request)


def restorer(
    engine: Engine, places: Sequence[Place], tabs: gr.Tabs, questions: gr.Tabs, notice: gr.Markdown
) -> tuple[Callable[[gr.Request], dict[Any, Any]], list[gr.components.Component]]:
    """The function for `page.load`, which opens what a link asks for, and its outputs: notice, tabs, models and the first place."""
    first = places[0]
    outputs: list[Any] = [
        notice,
        tabs,
        questions,
        *dict.fromkeys(part for place in places for part in (place.tasks, place.card)),
        first.opening,
    ]

    def restore(http: gr.Request) -> dict[Any, Any]:
        query = str(http.query_params or "")
        try:
            if "compare" in http.query_params:
                name = Comparison.from_query(query, cards=engine.cards).question.name
                return {tabs: gr.Tabs(selected="compare"), questions: gr.Tabs(selected=f"compare-{name}")}
            if "card" not in http.query_params and "task" not in http.query_params:
                return {notice: gr.skip()}
            request = Request.from_query(query, cards=engine.cards)
            engine.check(request)
        except PlaygroundError as error:
            said = gr.Markdown(f"**This link could not be opened.** {why(error)}", visible=True)
            return {notice: said, first.opening: first.plain(engine, first.cards[0].id)}
        family = engine.model(request.card).family
        place = next(place for place in places if place.id == f"{family}-{request.task.name}")
        return {tabs: gr.Tabs(selected=family), place.tasks: gr.Tabs(selected=place.id), place.card: request.card}

    return restore, outputs
