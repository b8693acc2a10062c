"""A panel: one task of one family on the page, its pictures beside its knobs, built from declarations alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from playground.cards import Card, find_card
from playground.engine import Engine, why
from playground.families import Model
from playground.knobs import KnobSpec
from playground.request import Request
from playground.result import Result
from playground.tasks import Task
from playground.tasks.vary import turnable
from playground.turns import Waiting, in_turn
from playground.ui.answers import follows, kept
from playground.ui.controls import ANY_SEED, Choices, direction_choices, to_knob, to_widget, widget
from playground.ui.figures import FIGURES
from playground.ui.views import map_view, sheet_view

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
PREVIEWS_PER_SECOND = 10


def text_of(event: gr.EventData, name: str) -> str:
    """A text that the browser sent with an event of our own; "" for anything else."""
    text = event._data.get(name) if isinstance(event._data, dict) else None
    return text if isinstance(text, str) else ""


@dataclass
class Panel:
    """One task of one family on the page: which model is chosen, its knobs' widgets by name, and where the answer goes."""

    family: type[Model]
    task: type[Task]
    card: gr.Dropdown
    widgets: dict[str, gr.components.Component] = field(default_factory=dict)
    specs: dict[str, KnobSpec] = field(default_factory=dict)
    sheet: gr.HTML | None = None
    plot: gr.Plot | None = None
    start: dict[str, Any] = field(default_factory=dict)
    """What its knobs are reset to where that is not their default."""

    def default(self, name: str, card: Card) -> Any:
        """What a knob is reset to."""
        return self.start.get(name, default_of(self.specs[name], card))

    @property
    def id(self) -> str:
        return f"{self.family.family}-{self.task.name}"

    @property
    def inputs(self) -> dict[str, gr.components.Component]:
        return {"card": self.card, **self.widgets}

    @property
    def outputs(self) -> list[gr.components.Component]:
        return [part for part in (self.sheet, self.plot) if part is not None]

    def request(self, engine: Engine, values: Mapping[str, Any]) -> Request:
        """What the widgets ask for. Raises a `PlaygroundError` with a sentence."""
        knobs = {name: to_knob(self.specs[name], value) for name, value in values.items() if name in self.specs}
        return Request.build(values["card"], self.task.name, cards=engine.cards, **knobs)

    def answers(self, engine: Engine, request: Request, visitor: str = "") -> Generator[Any, None, None]:
        """Previews at most ten times a second, then the kept answer, for `outputs`."""
        shown = -1000 / PREVIEWS_PER_SECOND  # the first is shown as soon as it is there
        for result in engine.stream(request, visitor):
            finished = result.sheet.progress >= 1
            if finished or result.timing.run_ms - shown > 1000 / PREVIEWS_PER_SECOND:
                shown = result.timing.run_ms
                with engine.meters.timed("encode"):
                    value = kept(result) | {"live": follows(engine, request)}
                yield value if self.plot is None else (value, self.figure(result))

    def waiting(self, how: Waiting) -> Any:
        """How the line stands, for `outputs`."""
        return how.words() if self.plot is None else (how.words(), gr.skip())

    def figure(self, result: Result) -> Any:
        """The task's plot of a result; nothing new while a preview has no facts yet."""
        facts = result.sheet.facts
        return FIGURES[self.task.name](facts, self.family.look) if facts else gr.skip()


def build_panel(engine: Engine, panel: Panel, cards: Sequence[Card], request: Request) -> None:
    """Builds it inside the current context, for one of the `cards` that it follows, with its knobs as the request has them."""
    entry = find_card(engine.cards or {}, request.card)
    first, model = engine.model(cards[0].id), engine.model(entry.id)
    panel.start = panel.task.beginnings(first)
    panel.specs = {spec.name: spec for spec in panel.task.specs_for(first)}
    used = [spec for spec in panel.family.Params.specs() if spec.stage is None or spec.stage in panel.task.stages]
    panel.specs |= {spec.name: spec for spec in used if spec.name not in panel.task.without}
    choices = Choices(panel.id, entry.id, model.image_size, model.directions(), model.classes, shelf_of(engine, entry), turnable(model))
    with gr.Row(equal_height=False):
        with gr.Column(scale=19, min_width=320, elem_classes="lp-result"):
            place = _result(panel, entry, model, request.to_query())
        with gr.Column(scale=10, min_width=280, elem_classes="lp-knobs"):
            gr.Markdown(panel.task.says, elem_classes="lp-says")
            resets = _knobs(panel, entry, request, choices, {spec.name for spec in (*panel.task.specs_for(first), *model.knobs())})
            buttons = _buttons(panel)
    _connect(panel, engine, resets, buttons, place)
    if len(cards) > 1:
        _follow_card(engine, panel, cards)


def _follow_card(engine: Engine, panel: Panel, cards: Sequence[Card]) -> None:
    """Another model has other directions, may lack a knob, and may have other defaults."""
    shown = [{spec.name for spec in engine.model(card.id).knobs()} for card in cards]
    some, tunes = set.union(*shown) - set.intersection(*shown), {name for card in cards for name in card.defaults}
    walks = [name for name, spec in panel.specs.items() if spec.widget == "direction"]
    choosy, tuned = [name for name in panel.specs if name in some], [name for name in panel.specs if name in tunes]

    own = {card.id for card in cards}

    def suited(card_id: str) -> dict[gr.components.Component, Any]:
        if card_id not in own:  # it gets a panel of its own
            return {panel.widgets[name]: gr.skip() for name in (*walks, *choosy)}
        model = engine.model(card_id)
        known, offered = {spec.name for spec in model.knobs()}, direction_choices(model.directions())
        updates = {panel.widgets[name]: gr.Dropdown(choices=offered) for name in walks}
        return updates | {panel.widgets[name]: gr.update(visible=name in known) for name in choosy}

    def defaults(card_id: str) -> dict[gr.components.Component, Any]:
        card = find_card(engine.cards or {}, card_id)
        return {panel.widgets[name]: default_of(panel.specs[name], card) for name in tuned}

    assert panel.sheet is not None
    if walks or choosy:
        panel.sheet.follow(suited, panel.card, [panel.widgets[name] for name in (*walks, *choosy)], queue=False, **PRIVATE)
    if tuned:  # only for a person's choice: a link brings its own values
        panel.sheet.tune(defaults, panel.card, [panel.widgets[name] for name in tuned], queue=False, **PRIVATE)


def _result(panel: Panel, card: Card, model: Model, opening: str) -> gr.HTML | None:
    task, place = panel.task, None
    view: dict[str, Any] = {
        "panel": panel.id,
        "card": card.id,
        "task": task.name,
        "title": task.title,
        "view": task.view,
        "names": ["card", *panel.specs],
        "opening": opening,
    }
    if task.view == "map":
        with gr.Row(elem_classes="lp-map-pair"):
            with gr.Column(scale=3, min_width=160):
                projection = str(panel.specs["projection"].default)
                place = map_view(panel=panel.id, card=card.id, classes=model.classes, projection=projection)
            with gr.Column(scale=2, min_width=140):
                panel.sheet = sheet_view(**view)
        return place
    panel.sheet = sheet_view(**view)
    if task.name in FIGURES:
        panel.plot = gr.Plot(show_label=False, elem_id=f"{panel.id}-plot")
    return place


def _knobs(panel: Panel, card: Card, request: Request, choices: Choices, shown: Collection[str]) -> dict[str, gr.Button]:
    resets, values = {}, {**request.task.to_plain(), **request.params.to_plain()}
    for name, spec in panel.specs.items():
        panel.widgets[name], reset = widget(spec, values[name], panel.default(name, card), choices, visible=name in shown)
        if reset is not None:
            resets[name] = reset
    return resets


@dataclass
class _Buttons:
    random_seed: gr.Button | None
    keep_seed: gr.Checkbox | None
    reset_all: gr.Button
    stop: gr.Button


def _buttons(panel: Panel) -> _Buttons:
    seeded = "seed" in panel.specs
    with gr.Row(elem_classes="lp-buttons"):
        random_seed = gr.Button("Random seed", variant="primary", size="sm", elem_id=f"{panel.id}-random") if seeded else None
        reset_all = gr.Button("Reset all", size="sm", elem_id=f"{panel.id}-reset")
        stop = gr.Button("Stop", size="sm", elem_id=f"{panel.id}-stop")
    note = "Random seed and Reset all leave the seed alone."
    keep_seed = gr.Checkbox(False, label="Keep seed", info=note, interactive=True, elem_id=f"{panel.id}-keep") if seeded else None
    return _Buttons(random_seed, keep_seed, reset_all, stop)


def _connect(panel: Panel, engine: Engine, resets: Mapping[str, gr.Button], buttons: _Buttons, place: gr.HTML | None) -> None:
    assert panel.sheet is not None
    inputs = list(panel.inputs.values())
    push = f"(...values) => window.playground.push('{panel.id}', values)"
    for moved in (panel.sheet.follow, *(component.change for component in panel.widgets.values())):
        moved(None, inputs, None, js=push, **PRIVATE)

    async def keep(http: gr.Request, **values: Any) -> AsyncIterator[Any]:
        visitor = str(http.session_hash or "")
        try:
            request = panel.request(engine, values)
            async with aclosing(in_turn(engine.line, visitor, lambda: panel.answers(engine, request, visitor))) as answers:
                async for answer in answers:
                    yield panel.waiting(answer) if isinstance(answer, Waiting) else answer
        except Exception as error:
            raise gr.Error(why(error), print_exception=False) from error

    made = panel.sheet.settle(
        keep, inputs_kwargs=panel.inputs, outputs=panel.outputs, trigger_mode="always_last", concurrency_limit=None, **PRIVATE
    )
    buttons.stop.click(None, None, None, cancels=[made], queue=False, **PRIVATE)
    _connect_resets(panel, engine, resets, buttons)
    if place is not None:
        place.select(_walked, None, [panel.widgets["x"], panel.widgets["y"]], queue=False, **PRIVATE)


def _walked(event: gr.EventData) -> tuple[float, float]:
    """Where the map was let go; whatever a browser sends, a place on the map."""
    place = []
    for name in ("x", "y"):
        value = event._data.get(name, 0.0) if isinstance(event._data, dict) else 0.0
        number = float(value) if isinstance(value, (int, float)) and value == value else 0.0
        place.append(round(min(1.2, max(-1.2, number)), 2))
    return place[0], place[1]


def _connect_resets(panel: Panel, engine: Engine, resets: Mapping[str, gr.Button], buttons: _Buttons) -> None:
    def default(card_id: str, name: str) -> Any:
        return to_widget(panel.specs[name], panel.default(name, find_card(engine.cards or {}, card_id)))

    def back_to(name: str) -> Any:
        return lambda card_id: default(card_id, name)

    for name, button in resets.items():
        button.click(back_to(name), panel.card, panel.widgets[name], queue=False, **PRIVATE)

    def reset_all(card_id: str, keep_seed: bool = False) -> list[Any]:
        return [gr.skip() if keep_seed and name == "seed" else default(card_id, name) for name in panel.specs]

    asked = [panel.card] if buttons.keep_seed is None else [panel.card, buttons.keep_seed]
    buttons.reset_all.click(reset_all, asked, [panel.widgets[name] for name in panel.specs], queue=False, **PRIVATE)
    if buttons.random_seed is not None and buttons.keep_seed is not None:
        seed, drawn = panel.widgets["seed"], f"(keep, seed) => keep ? seed : {ANY_SEED}"
        buttons.random_seed.click(None, [buttons.keep_seed, seed], seed, js=drawn, **PRIVATE)


def default_of(spec: KnobSpec, card: Card) -> Any:
    """A knob's default: the card's, else the declaration's."""
    return card.defaults.get(spec.name, spec.default)


def shelf_of(engine: Engine, card: Card) -> dict[str, Any]:
    """What a picker shows of a card's test pictures: which stand in the gallery, in how many columns, and their classes."""
    shelf = engine.shelf_of(card.id)
    indices = shelf.gallery()
    names = {str(index): shelf.classes[shelf.labels[index]] for index in range(len(shelf.labels))}
    return {"indices": indices, "columns": len(shelf.classes), "names": {str(i): names[str(i)] for i in indices}}
