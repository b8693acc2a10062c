"""A family's tab: its introduction, then a tab a task. A task's panel is built when its tab is first opened, by hand or by a link.

The browser's work at the start grows with components times events: all panels at once would take it several seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr

from playground.cards import Card, find_card
from playground.compare import Comparison
from playground.compare.comparison import NAME as COMPARED
from playground.engine import Engine, why
from playground.errors import PlaygroundError
from playground.families import Model
from playground.request import Request, read_query
from playground.tasks import TASKS, Task
from playground.ui.introduction import introduction
from playground.ui.panels import PRIVATE, Panel, build_panel


@dataclass(frozen=True)
class Place:
    """Where a task's panel is built: `opening` is "" until it is wanted, then the query string of its first request.

    The page's own `cards` share a panel, whose knobs follow the choice of the model. A model that somebody added may differ in
    anything (size, classes, knobs), so it gets a panel built for it.
    """

    family: type[Model]
    task: type[Task]
    cards: Sequence[Card]
    card: gr.Dropdown
    added: gr.Textbox
    """The id of the chosen model when it is none of the page's own, else ""."""
    tasks: gr.Tabs
    opening: gr.State

    def has(self, request: Request, engine: Engine) -> bool:
        """Whether a request is made here."""
        return request.task.name == self.task.name and find_card(engine.cards or {}, request.card).family == self.family.family

    def sharing(self, card: Card) -> Sequence[Card]:
        """The cards whose choice the panel of `card` follows."""
        return self.cards if card in self.cards else [card]

    @property
    def id(self) -> str:
        return f"{self.family.family}-{self.task.name}"

    def plain(self, engine: Engine, card: str) -> str:
        """The opening with every knob at its default, or where a model that somebody added can begin."""
        start = self.task.beginnings(engine.model(card)) if "/" in card else {}
        return Request.build(card, self.task.name, cards=engine.cards, **start).to_query()


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
        with gr.Column(scale=2, min_width=280):
            card = gr.Dropdown(
                [(entry.title, entry.id) for entry in cards],
                value=default.id,
                visible=len(cards) > 1,
                label="Model",
                show_label=False,
                container=False,
                elem_id=f"{family.family}-card",
            )
            added = gr.Textbox("", visible="hidden", elem_id=f"{family.family}-added")
    family_places = _places(engine, family, cards, card, added)
    _rebuild_for_added(engine, family_places, card, added)
    return family_places


def _places(engine: Engine, family: type[Model], cards: Sequence[Card], card: gr.Dropdown, added: gr.Textbox) -> list[Place]:
    default = cards[0]
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
                places.append(Place(family, task, cards, card, added, tasks, gr.State("")))
                _open_when_wanted(engine, places[-1], tab, link)
    return places


def _first_task(family: type[Model]) -> str:
    """The task that a family's tab opens with."""
    return next(name for name, task in TASKS.items() if task.missing(family) is None)


def _open_when_wanted(engine: Engine, place: Place, tab: gr.Tab, link: gr.Textbox) -> None:
    def wanted(card: str, query: str, opening: str) -> Any:
        if opening:
            return _reopened(engine, place, card, opening)
        if not query:
            return place.plain(engine, card)
        try:
            asked = _asked(engine, query)
        except PlaygroundError:
            return place.plain(engine, card)  # why is said by the page's own load event
        return asked.to_query() if isinstance(asked, Request) and place.has(asked, engine) else gr.skip()

    # Queued, all of it: the browser does not follow a state that changed outside the queue.
    inputs, js = [place.card, link, place.opening], _SELECTED.format(panel=place.id)
    tab.select(wanted, inputs, place.opening, js=js, concurrency_limit=None, **PRIVATE)

    @gr.render(inputs=[place.opening], triggers=[place.opening.change], show_progress="hidden")
    def panel(opening: str) -> None:
        if not opening:
            return
        try:
            request = Request.from_query(opening, cards=engine.cards)
            card = find_card(engine.cards or {}, request.card)
            engine.admit(place.task, card.id, engine.model(card.id))
            build_panel(engine, Panel(place.family, place.task, place.card), place.sharing(card), request)
        except PlaygroundError as error:
            gr.Markdown(why(error), elem_classes="lp-notice")


def _asked(engine: Engine, query: str) -> Request | Comparison:
    """What a link asks for. Raises a `PlaygroundError` with a sentence for one that cannot be opened."""
    if COMPARED in read_query(query):
        return Comparison.from_query(query, cards=engine.cards)
    request = Request.from_query(query, cards=engine.cards)
    engine.check(request)
    return request


def _rebuild_for_added(engine: Engine, places: Sequence[Place], card: gr.Dropdown, added: gr.Textbox) -> None:
    """Another model than the page's own, or back from one: the panels that were opened are built anew for it.

    The browser starts an event for every state among the outputs, changed or not; so it is asked only when `added` changed. It is told
    of by `select`, because the browser forgets a `change` once a panel that is built later has one of the same component.
    """
    openings = [place.opening for place in places]

    def moved(chosen: str, *opened: str) -> list[Any]:
        return [_reopened(engine, place, chosen, opening) for place, opening in zip(places, opened, strict=True)]

    card.select(None, card, added, js="(card) => card.includes('/') ? card : ''", queue=False, **PRIVATE)
    added.change(moved, [card, *openings], openings, concurrency_limit=None, **PRIVATE)


def _reopened(engine: Engine, place: Place, chosen: str, opening: str) -> Any:
    """The opening of a panel that is built anew for the chosen model; the same where it is not."""
    own = {card.id for card in place.cards}
    before = dict(parse_qsl(opening)).get("card", "")
    if not before or before == chosen or {before, chosen} <= own:
        return gr.skip()
    return place.plain(engine, chosen)


def offered(engine: Engine, family: type[Model], cards: Sequence[Card], guests: Sequence[str], chosen: str) -> Any:
    """The choice of a family's model: the page's own `cards`, then those that this visit added; `chosen` where it is still there."""
    known = engine.cards or {}
    added = [known[each] for each in guests if each in known and known[each].family == family.family]
    ids = [card.id for card in (*cards, *added)]
    value = chosen if chosen in ids else cards[0].id
    return gr.Dropdown(choices=[(card.title, card.id) for card in (*cards, *added)], value=value, visible=len(ids) > 1)


def welcome(engine: Engine, places: Sequence[Place], tabs: gr.Tabs, guests: gr.State, library: gr.HTML) -> None:
    """Lets a visit's own models be chosen in their family's tab, and opens the one that the list of models fires `open` with."""
    firsts = {place.card: place for place in reversed(places)}  # one place of each family
    choices, boxes = [*firsts], [place.added for place in firsts.values()]

    def offer(added: list[str], *chosen: str) -> list[Any]:
        offers = [offered(engine, place.family, place.cards, added, now) for place, now in zip(firsts.values(), chosen, strict=True)]
        return [*offers, *(now if now in added else "" for now in chosen)]

    def open_card(added: list[str], event: gr.EventData) -> dict[Any, Any]:
        card = (engine.cards or {}).get(str(event._data))
        place = next((place for place in firsts.values() if card is not None and place.family.family == card.family), None)
        if card is None or place is None:
            return {tabs: gr.skip()}
        choice = offered(engine, place.family, place.cards, added, card.id)
        return {tabs: gr.Tabs(selected=card.family), place.card: choice, place.added: card.id if card.id in added else ""}

    guests.change(offer, [guests, *choices], [*choices, *boxes], concurrency_limit=None, **PRIVATE)
    library.open(open_card, guests, [tabs, *choices, *boxes], concurrency_limit=None, **PRIVATE)


def restorer(
    engine: Engine, places: Sequence[Place], tabs: gr.Tabs, questions: gr.Tabs, notice: gr.Markdown, guests: gr.State
) -> tuple[Callable[[gr.Request], dict[Any, Any]], list[gr.components.Component]]:
    """The function for `page.load`, which turns to what a link asks for, and its outputs: notice, tabs and models.

    The pictures themselves are the turn of the tab that is selected by this. No place's `opening` is among the outputs: Gradio tells
    what changed by comparing before and after, and would tell it twice of one that the tab's own event changes meanwhile.
    """
    outputs: list[Any] = [
        notice,
        tabs,
        questions,
        guests,
        *dict.fromkeys(part for place in places for part in (place.tasks, place.card, place.added)),
    ]

    def restore(http: gr.Request) -> dict[Any, Any]:
        if {"card", "task", COMPARED}.isdisjoint(http.query_params):
            return {notice: gr.skip()}
        try:
            asked = _asked(engine, str(http.query_params))
        except PlaygroundError as error:
            return {notice: gr.Markdown(f"**This link could not be opened.** {why(error)}", visible=True)}
        if isinstance(asked, Comparison):
            question, brought = f"compare-{asked.question.name}", _added(engine, [pane.card for pane in asked.panes])
            return {tabs: gr.Tabs(selected="compare"), questions: gr.Tabs(selected=question), guests: brought}
        place = next(place for place in places if place.has(asked, engine))
        brought = _added(engine, [asked.card])
        return {
            tabs: gr.Tabs(selected=place.family.family),
            place.tasks: gr.Tabs(selected=place.id),
            place.card: offered(engine, place.family, place.cards, brought, asked.card),
            place.added: asked.card if brought else "",
            guests: brought,
        }

    return restore, outputs


def _added(engine: Engine, cards: Sequence[str]) -> list[str]:
    """Those of some cards that are not the page's own."""
    return [card for card in dict.fromkeys(cards) if card not in set(engine.cards or {})]
