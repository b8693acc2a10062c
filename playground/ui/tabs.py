"""A family's tab: its introduction, then a tab a task. The tasks are built when the family is first turned to, a panel when its task is.

The browser's work at the start grows with components times events: all panels at once would take it several seconds. What is to be
built the browser says itself, through the tab's `opener` (see `static/families.js`), so that one answer builds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MethodType
from typing import Any

import gradio as gr
from gradio.context import get_blocks_context

from playground.cards import Card, find_card
from playground.compare import Comparison
from playground.compare.comparison import NAME as COMPARED
from playground.engine import Engine, why
from playground.errors import PlaygroundError
from playground.families import Model
from playground.request import Request, read_query
from playground.tasks import TASKS, Task, find_task
from playground.ui.document import OPENED
from playground.ui.introduction import introduction
from playground.ui.panels import PRIVATE, Panel, build_panel, text_of
from playground.ui.rendering import built_when
from playground.ui.views import family_opener


@dataclass(frozen=True)
class Place:
    """A family's tab.

    The page's own `cards` share its panels, whose knobs follow the choice of the model. A model that somebody added may differ in
    anything (size, classes, knobs), so the tasks are built anew for it.
    """

    family: type[Model]
    cards: Sequence[Card]
    card: gr.Dropdown
    opener: gr.HTML

    @property
    def name(self) -> str:
        return self.family.family

    def sharing(self, card: Card) -> Sequence[Card]:
        """The cards whose choice the panel of `card` follows."""
        return self.cards if card in self.cards else [card]

    def able(self, engine: Engine) -> list[type[Task]]:
        """The tasks that the family can do; the first is what its tab opens with."""
        model = engine.model(self.cards[0].id)
        return [task for task in TASKS.values() if task.missing(model) is None]


def plain(engine: Engine, card: str, task: type[Task]) -> Request:
    """The request with every knob at its default, or where a model that somebody added can begin."""
    start = task.beginnings(engine.model(card)) if "/" in card else {}
    return Request.build(card, task.name, cards=engine.cards, **start)


def family_tab(engine: Engine, family: type[Model], cards: Sequence[Card], tab: gr.Tab, is_first: bool = False) -> Place:
    """Builds the tab of a family inside the current `gr.Tab`; that of the family which the page opens with has its tasks already."""
    default = cards[0]
    engine.model(default.id)  # a family whose first model cannot be had says so at once
    introduction(engine, family, default.id)
    card = gr.Dropdown(
        [(entry.title, entry.id) for entry in cards],
        value=default.id,
        visible=len(cards) > 1,
        label="Model",
        show_label=False,
        container=False,
        elem_id=f"{family.family}-card",
        elem_classes="lp-card",
    )
    place = Place(family, cards, card, family_opener(family=family.family, tasks=[*TASKS], is_built=is_first))
    tab.select(None, None, None, js=f"() => window.playground?.visit('{place.name}')", **PRIVATE)
    # Only here, and by way of the browser: it forgets who else listens to a component once a panel that is built later does.
    card.change(None, card, None, js=f"(card) => window.playground.chosen('{place.name}', card)", **PRIVATE)
    card.input(None, None, None, js=f"() => window.playground.tuned('{place.name}')", **PRIVATE)

    @built_when([_fired(place.opener, "open")], card)
    def tasks(chosen: str, event: gr.EventData) -> None:
        try:
            query, name = text_of(event, "query"), text_of(event, "task")
            asked = Request.from_query(query, cards=engine.cards) if query else None
            _tasks(engine, place, asked.task.name if asked else name, asked.card if asked else chosen, asked)
        except PlaygroundError as error:
            gr.Markdown(why(error), elem_classes="lp-notice")

    if is_first:
        blocks = get_blocks_context()
        assert blocks is not None
        column = blocks.renderables[-1].container  # where `tasks` will build
        column.elem_id = OPENED  # where the page comes with a link, its document is without what is in there
        with column:
            _tasks(engine, place, "", default.id, None)
    return place


def _fired(component: gr.HTML, event: str) -> Any:
    """An event of our own, for `gr.render`, which wants it bound as those of Gradio's own components are."""
    return MethodType(getattr(component, event).func, component)


def _tasks(engine: Engine, place: Place, name: str, card: str, asked: Request | None) -> None:
    """A tab a task, turned to the one called `name`, else to the first; its panel begins with what is `asked` of it."""
    model, able = engine.model(place.cards[0].id), place.able(engine)
    first = next((task for task in able if task.name == name), able[0])
    with gr.Tabs(selected=f"{place.name}-{first.name}", elem_id=f"{place.name}-tasks"):
        for task in TASKS.values():
            if not task.common and task not in able:
                continue
            panel = f"{place.name}-{task.name}"
            with gr.Tab(task.title, id=panel, elem_id=f"tab-{panel}") as tab:
                if (lack := task.missing(model)) is not None:
                    gr.Markdown(f"This family cannot {lack}, so {task.title} is not a question it can answer.")
                    continue
                is_there = str(task is first).lower()
                tab.select(None, None, None, js=f"() => window.playground.turn('{place.name}', '{task.name}', {is_there})", **PRIVATE)
                if task is first:
                    _panel(engine, place, task, card, asked)
                else:
                    _panel_when_wanted(engine, place, task)


def _panel_when_wanted(engine: Engine, place: Place, task: type[Task]) -> None:
    @built_when([_fired(place.opener, f"open_{task.name}")], place.card)
    def panel(chosen: str) -> None:
        _panel(engine, place, task, chosen)


def _panel(engine: Engine, place: Place, task: type[Task], card: str, asked: Request | None = None) -> None:
    """The panel of a task for a card, or the sentence why there is none."""
    try:
        model = engine.model(card)
        engine.admit(task, card, model)
        entry = find_card(engine.cards or {}, card)
        build_panel(engine, Panel(place.family, task, place.card), place.sharing(entry), asked or plain(engine, card, task))
    except PlaygroundError as error:
        gr.Markdown(why(error), elem_classes="lp-notice")


def _asked(engine: Engine, query: str) -> Request | Comparison:
    """What a link asks for. Raises a `PlaygroundError` with a sentence for one that cannot be opened."""
    if COMPARED in read_query(query):
        return Comparison.from_query(query, cards=engine.cards)
    request = Request.from_query(query, cards=engine.cards)
    engine.check(request)
    return request


def _nearest(engine: Engine, first: Place, query: str) -> Request | Comparison:
    """What a link that cannot be opened comes nearest to, at defaults: its question, else its model, else what the page opens with."""
    beginning, values = plain(engine, first.cards[0].id, first.able(engine)[0]), dict[str, Any]()
    with suppress(PlaygroundError):
        values = read_query(query)
    with suppress(PlaygroundError):
        if COMPARED in values:
            return Comparison.build(str(values[COMPARED]), [beginning.card], cards=engine.cards)
    for name in (str(values.get("task")), beginning.task.name):
        with suppress(PlaygroundError):
            nearest = plain(engine, str(values.get("card")), find_task(name))
            engine.check(nearest)
            return nearest
    return beginning


def offered(engine: Engine, family: type[Model], cards: Sequence[Card], guests: Sequence[str], chosen: str) -> Any:
    """The choice of a family's model: the page's own `cards`, then those that this visit added; `chosen` where it is still there."""
    known = engine.cards or {}
    added = [known[each] for each in guests if each in known and known[each].family == family.family]
    ids = [card.id for card in (*cards, *added)]
    value = chosen if chosen in ids else cards[0].id
    return gr.Dropdown(choices=[(card.title, card.id) for card in (*cards, *added)], value=value, visible=len(ids) > 1)


# What is named, and empty again, so that the same can be named once more.
_TURN = """(names) => {
    const [tab, question] = names.split(" "), turned = (selected) => ({ __type__: "update", ...(selected && { selected }) });
    return [turned(tab), turned(question), ""]; }"""


def turner(tabs: gr.Tabs, questions: gr.Tabs) -> gr.Textbox:
    """Turns the page to the tab that is written into it, and with a second word to a question of Compare.

    Tabs are turned in the browser alone: as outputs of the server they would be copied whenever an event moves on (see `rendering`).
    """
    names = gr.Textbox(visible=False)
    names.change(None, names, [tabs, questions, names], js=_TURN, **PRIVATE)
    return names


def welcome(engine: Engine, places: Sequence[Place], turn: gr.Textbox, guests: gr.State, library: gr.HTML) -> None:
    """Lets a visit's own models be chosen in their family's tab, and opens the one that the list of models fires `open` with."""
    choices = [place.card for place in places]

    def offer(added: list[str], *chosen: str) -> list[Any]:
        return [offered(engine, place.family, place.cards, added, now) for place, now in zip(places, chosen, strict=True)]

    def open_card(added: list[str], event: gr.EventData) -> dict[Any, Any]:
        card = (engine.cards or {}).get(str(event._data))
        place = next((place for place in places if card is not None and place.name == card.family), None)
        if card is None or place is None:
            return {turn: gr.skip()}
        return {turn: card.family, place.card: offered(engine, place.family, place.cards, added, card.id)}

    guests.change(offer, [guests, *choices], choices, concurrency_limit=None, **PRIVATE)
    library.open(open_card, guests, [turn, *choices], concurrency_limit=None, **PRIVATE)


def restorer(
    engine: Engine, places: Sequence[Place], turn: gr.Textbox, notice: gr.Markdown, guests: gr.State
) -> tuple[Callable[[gr.Request], dict[Any, Any]], list[gr.components.Component]]:
    """The function for `page.load`, which turns to what a link asks for, and its outputs.

    Where the page came with a link, a family waits to be told by its opener's `link` what it begins with: "" is with what it likes.
    """
    outputs: list[Any] = [notice, turn, guests, *(part for place in places for part in (place.card, place.opener))]

    def restore(http: gr.Request) -> dict[Any, Any]:
        if {"card", "task", COMPARED}.isdisjoint(http.query_params):
            return {notice: gr.skip()}
        own: dict[Any, Any] = {place.opener: {"link": ""} for place in places}
        try:
            asked = _asked(engine, str(http.query_params))
        except PlaygroundError as error:
            own[notice] = gr.Markdown(f"**This link could not be opened.** {why(error)}", visible=True)
            asked = _nearest(engine, places[0], str(http.query_params))
        if isinstance(asked, Comparison):
            return own | {turn: f"compare compare-{asked.question.name}", guests: _added(engine, [pane.card for pane in asked.panes])}
        family = find_card(engine.cards or {}, asked.card).family
        place, brought = next((place for place in places if place.name == family), None), _added(engine, [asked.card])
        if place is None:  # its tab says why there is none
            return own | {turn: family}
        return own | {
            turn: family,
            place.opener: {"link": asked.to_query()},
            place.card: offered(engine, place.family, place.cards, brought, asked.card),
            guests: brought,
        }

    return restore, outputs


def _added(engine: Engine, cards: Sequence[str]) -> list[str]:
    """Those of some cards that are not the page's own."""
    return [card for card in dict.fromkeys(cards) if card not in set(engine.cards or {})]
