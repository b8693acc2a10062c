"""A family's tab: its introduction, then one panel a task, built from declarations alone."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from playground.cards import Card, find_card
from playground.engine import Engine, Result, why
from playground.families import Model
from playground.knobs import MAX_SEED, KnobSpec
from playground.request import Request
from playground.tasks import TASKS, Task
from playground.tasks.vary import turnable
from playground.ui.answers import kept
from playground.ui.controls import Choices, direction_choices, to_knob, to_widget, widget
from playground.ui.figures import FIGURES
from playground.ui.introduction import introduction
from playground.ui.views import map_view, sheet_view

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
PREVIEWS_PER_SECOND = 10


@dataclass
class Panel:
    """One task of one family on the page: the tabs it is in, its knobs' widgets by name, and where the answer goes."""

    family: type[Model]
    task: type[Task]
    card: gr.Dropdown
    tasks: gr.Tabs
    widgets: dict[str, gr.components.Component] = field(default_factory=dict)
    specs: dict[str, KnobSpec] = field(default_factory=dict)
    sheet: gr.HTML | None = None
    plot: gr.Plot | None = None

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

    def answers(self, engine: Engine, request: Request) -> Iterator[Any]:
        """Previews at most ten times a second, then the kept answer, for `outputs`."""
        shown = 0.0
        for result in engine.stream(request):
            finished = result.sheet.progress >= 1
            if finished or result.timing.run_ms - shown > 1000 / PREVIEWS_PER_SECOND:
                shown = result.timing.run_ms
                value = kept(result)
                yield value if self.plot is None else (value, self.figure(result))

    def figure(self, result: Result) -> Any:
        """The task's plot of a result; nothing new while a preview has no facts yet."""
        facts = result.sheet.facts
        return FIGURES[self.task.name](facts, self.family.look) if facts else gr.skip()


def family_tab(engine: Engine, family: type[Model], cards: Sequence[Card]) -> list[Panel]:
    """Builds the tab of a family inside the current `gr.Tab`; returns its panels."""
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
    model, panels = engine.model(default.id), []
    with gr.Tabs(selected=f"{family.family}-{first_task(family)}", elem_id=f"{family.family}-tasks") as tasks:
        for task in TASKS.values():
            if not task.common and task.missing(model) is not None:
                continue
            with gr.Tab(task.title, id=f"{family.family}-{task.name}", elem_id=f"tab-{family.family}-{task.name}") as tab:
                if (lack := task.missing(model)) is not None:
                    gr.Markdown(f"This family cannot {lack}, so {task.title} is not a question it can answer.")
                    continue
                panel = Panel(family, task, card, tasks)
                _build(panel, engine, default, model)
                tab.select(None, None, None, js=f"() => window.playground.shown('{panel.id}')", **PRIVATE)
                panels.append(panel)
    if len(cards) > 1:
        _follow_card(engine, card, cards, panels)
    return panels


def _follow_card(engine: Engine, chosen: gr.Dropdown, cards: Sequence[Card], panels: Sequence[Panel]) -> None:
    """Another model has other directions, may lack a knob, and may have other defaults."""
    everything = [(panel.widgets[name], spec) for panel in panels for name, spec in panel.specs.items()]
    walks = [component for component, spec in everything if spec.widget == "direction"]
    shown = [{spec.name for spec in engine.model(card.id).knobs()} for card in cards]
    some = set.union(*shown) - set.intersection(*shown)
    choosy = [(component, spec) for component, spec in everything if spec.name in some]
    own = {name for card in cards for name in card.defaults}
    tuned = [(component, spec) for component, spec in everything if spec.name in own]

    def suited(card_id: str) -> Any:
        model = engine.model(card_id)
        known = {spec.name for spec in model.knobs()}
        offered = [gr.Dropdown(choices=direction_choices(model.directions())) for _ in walks]
        updates = [*offered, *(gr.update(visible=spec.name in known) for _, spec in choosy)]
        return updates[0] if len(updates) == 1 else updates

    def defaults(card_id: str) -> Any:
        card = next(card for card in cards if card.id == card_id)
        values = [default_of(spec, card) for _, spec in tuned]
        return values[0] if len(values) == 1 else values

    if walks or choosy:
        chosen.change(suited, chosen, [*walks, *(component for component, _ in choosy)], queue=False, **PRIVATE)
    if tuned:  # only for a person's choice: a link brings its own values
        chosen.input(defaults, chosen, [component for component, _ in tuned], queue=False, **PRIVATE)


def first_task(family: type[Model]) -> str:
    """The task that a family's tab opens with."""
    return next(name for name, task in TASKS.items() if task.missing(family) is None)


def _build(panel: Panel, engine: Engine, card: Card, model: Model) -> None:
    panel.specs = {spec.name: spec for spec in panel.task.specs_for(model)}
    used = [spec for spec in panel.family.Params.specs() if spec.stage is None or spec.stage in panel.task.stages]
    panel.specs |= {spec.name: spec for spec in used if spec.name not in panel.task.without}
    choices = Choices(panel.id, card.id, model.image_size, model.directions(), model.classes, _shelf(engine, card), turnable(model))
    with gr.Row(equal_height=False):
        with gr.Column(scale=19, min_width=320, elem_classes="lp-result"):
            place = _result(panel, card, model)
        with gr.Column(scale=10, min_width=280, elem_classes="lp-knobs"):
            gr.Markdown(panel.task.says, elem_classes="lp-says")
            resets = _knobs(panel, card, choices, {spec.name for spec in (*panel.task.specs_for(model), *model.knobs())})
            buttons = _buttons(panel)
    _connect(panel, engine, resets, buttons, place)


def _result(panel: Panel, card: Card, model: Model) -> gr.HTML | None:
    task, place = panel.task, None
    view: dict[str, Any] = {
        "panel": panel.id,
        "card": card.id,
        "task": task.name,
        "title": task.title,
        "view": task.view,
        "names": ["card", *panel.specs],
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


def _knobs(panel: Panel, card: Card, choices: Choices, shown: Collection[str]) -> dict[str, gr.Button]:
    resets = {}
    for name, spec in panel.specs.items():
        panel.widgets[name], reset = widget(spec, default_of(spec, card), choices, visible=name in shown)
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
    keep_seed = gr.Checkbox(False, label="Keep seed", info=note, elem_id=f"{panel.id}-keep") if seeded else None
    return _Buttons(random_seed, keep_seed, reset_all, stop)


def _connect(panel: Panel, engine: Engine, resets: Mapping[str, gr.Button], buttons: _Buttons, place: gr.HTML | None) -> None:
    assert panel.sheet is not None
    inputs = list(panel.inputs.values())
    push = f"(...values) => window.playground.push('{panel.id}', values)"
    for component in panel.inputs.values():
        component.change(None, inputs, None, js=push, **PRIVATE)

    def keep(**values: Any) -> Iterator[Any]:
        try:
            yield from panel.answers(engine, panel.request(engine, values))
        except Exception as error:
            raise gr.Error(why(error), print_exception=False) from error

    made = panel.sheet.settle(
        keep, inputs_kwargs=panel.inputs, outputs=panel.outputs, trigger_mode="always_last", concurrency_limit=4, **PRIVATE
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
        return to_widget(panel.specs[name], default_of(panel.specs[name], find_card(engine.cards or {}, card_id)))

    def back_to(name: str) -> Any:
        return lambda card_id: default(card_id, name)

    for name, button in resets.items():
        button.click(back_to(name), panel.card, panel.widgets[name], queue=False, **PRIVATE)

    def reset_all(card_id: str, keep_seed: bool = False) -> list[Any]:
        return [gr.skip() if keep_seed and name == "seed" else default(card_id, name) for name in panel.specs]

    asked = [panel.card] if buttons.keep_seed is None else [panel.card, buttons.keep_seed]
    buttons.reset_all.click(reset_all, asked, [panel.widgets[name] for name in panel.specs], queue=False, **PRIVATE)
    if buttons.random_seed is not None:

        def draw(keep_seed: bool) -> Any:
            return gr.skip() if keep_seed else random.randint(0, MAX_SEED)

        buttons.random_seed.click(draw, buttons.keep_seed, panel.widgets["seed"], queue=False, **PRIVATE)


def default_of(spec: KnobSpec, card: Card) -> Any:
    """A knob's default: the card's, else the declaration's."""
    return card.defaults.get(spec.name, spec.default)


def _shelf(engine: Engine, card: Card) -> dict[str, Any]:
    shelf = engine.shelf(card.dataset)
    indices = shelf.gallery()
    names = {str(index): shelf.classes[shelf.labels[index]] for index in range(len(shelf.labels))}
    return {"indices": indices, "columns": len(shelf.classes), "names": {str(i): names[str(i)] for i in indices}}
