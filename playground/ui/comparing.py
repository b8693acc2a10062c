"""The tab Compare: a tab a question, each with its board, its knobs and its panes; built when it is first opened."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from playground.cards import Card, find_card
from playground.compare import MAX_PANES, QUESTIONS, Comparison, Pane, Question
from playground.compare.sheets import DIAL, SEED
from playground.engine import Engine, why
from playground.errors import PlaygroundError
from playground.families import FAMILIES
from playground.knobs import KnobSpec
from playground.quiz import choices
from playground.turns import Waiting, in_turn
from playground.ui.boards import board_value
from playground.ui.controls import ANY_SEED, Choices, to_knob, widget
from playground.ui.figures.comparing import BOARD_FIGURES
from playground.ui.measured_tab import measured_tab
from playground.ui.panels import PREVIEWS_PER_SECOND, PRIVATE, default_of, shelf_of
from playground.ui.quizzing import quiz_view
from playground.ui.rendering import built_when
from playground.ui.views import board_view

_AT = "_of_pane_"
"""In the names of inputs, between a knob and the number of its pane; pane 0 is the question."""


@dataclass(frozen=True)
class Booth:
    """Where a question's panel is built: `opening` is "" until it is wanted, then the comparison that it is built with."""

    question: type[Question]
    opening: gr.State

    @property
    def id(self) -> str:
        return f"compare-{self.question.name}"


def compare_tab(engine: Engine, cards: Sequence[Card], guests: gr.State) -> gr.Tabs:
    """Builds the tab inside the current `gr.Tab`; returns the tabs of the questions. `guests` are ids of cards that this visit added."""
    told = [gr.Textbox("", visible=False) for _ in range(3)]  # places among the inputs of tabs: the browser fills them in
    with gr.Tabs(selected=f"compare-{next(iter(QUESTIONS))}", elem_id="compare-questions") as tabs:
        for question in QUESTIONS.values():
            name = f"compare-{question.name}"
            with gr.Tab(question.title, id=name, elem_id=f"tab-{name}") as tab:
                _open_when_wanted(engine, Booth(question, gr.State("")), tab, cards, told, guests)
        with gr.Tab("Measured", id="compare-measured", elem_id="tab-compare-measured") as tab:
            measured_tab(engine, tab)
        with gr.Tab("Quiz", id="compare-quiz", elem_id="tab-compare-quiz"):
            quiz_view(choices(engine))
    return tabs


# Tells the server what a selected question is to begin with: the page's link until a board is there, then what it held last, and
# the panes that were looked at last, whichever question they were asked.
_SELECTED = """(link, kept, panes, opening, guests) => {{
    const linked = /[?&]compare=/.test(location.search) && !document.querySelector(".lp-board");
    const here = window.playground?.panels["{id}"]?.kept?.query ?? "";
    window.playground?.shown("{id}");
    return [linked ? location.search : "", here, JSON.stringify(window.playground?.panes ?? []), opening, guests]; }}"""


def _open_when_wanted(engine: Engine, booth: Booth, tab: gr.Tab, cards: Sequence[Card], told: list[gr.Textbox], guests: gr.State) -> None:
    def wanted(link: str, kept: str, panes: str, opening: str, added: list[str]) -> Any:
        try:
            if link:
                linked = Comparison.from_query(link, cards=engine.cards)
                return f"{linked.to_query()}#0#{','.join(added)}" if isinstance(linked.question, booth.question) else gr.skip()
            now = opened(engine, booth.question, cards, kept, json.loads(panes))
            offers = ",".join(added)
            return f"{now}#0#{offers}" if now != kept or offers != opening.rpartition("#")[2] else gr.skip()
        except (PlaygroundError, ValueError, TypeError):  # a bad link is told of by the page's own load event
            return opening or f"{opened(engine, booth.question, cards, '', [])}#0#{','.join(added)}"

    tab.select(wanted, [*told, booth.opening, guests], booth.opening, js=_SELECTED.format(id=booth.id), concurrency_limit=None, **PRIVATE)

    @built_when([booth.opening.change], [booth.opening, guests])
    def panel(opening: str, added: list[str]) -> None:
        query, place, _ = opening.split("#") if opening else ("", "", "")
        try:
            if query:
                known = engine.cards or {}
                offers = [*cards, *(known[each] for each in added if each in known)]
                BoardPanel(engine, booth, offers, Comparison.from_query(query, cards=engine.cards), ",".join(added)).build(int(place))
        except PlaygroundError as error:
            gr.Markdown(f"**This comparison could not be opened.** {why(error)}", elem_classes="lp-notice")


def opened(engine: Engine, question: type[Question], cards: Sequence[Card], kept: str, panes: Sequence[str]) -> str:
    """What a question opens with: the comparison it `kept`, else its defaults; with those `panes` (links), where there are any."""
    first = [next(card.id for card in cards if card.family == family) for family in FAMILIES if family in {card.family for card in cards}]
    base = Comparison.from_query(kept, cards=engine.cards) if kept else Comparison.build(question.name, first, cards=engine.cards)
    return base.with_panes(panes, cards=engine.cards).to_query() if panes else base.to_query()


Change = Callable[[list[Pane], Mapping[str, Any]], int]
"""Changes panes in place, told the values of the inputs; the number of the pane that then stands unfolded, 0 for none."""


@dataclass
class BoardPanel:
    """A question on the page, with the panes of one comparison; another choice of cards is another panel."""

    engine: Engine
    booth: Booth
    cards: Sequence[Card]
    start: Comparison
    added: str
    """Ids of the cards among them that this visit added, with commas."""
    widgets: dict[str, gr.components.Component] = field(default_factory=dict)
    specs: dict[str, KnobSpec] = field(default_factory=dict)
    changes: list[tuple[Any, dict[str, Any], Change]] = field(default_factory=list)
    """Events that change the panes, what they take beside the knobs, and what they do."""

    def build(self, open_pane: int) -> None:
        """Builds it inside the current context, with the knobs of pane `open_pane` unfolded."""
        question, ids, plot = self.booth.question, [pane.card for pane in self.start.panes], None
        with gr.Row(equal_height=False):
            with gr.Column(scale=19, min_width=320, elem_classes="lp-result"):
                board = board_view(panel=self.booth.id, card=ids[0], title=question.title, rows=question.rows)
                if question.name in BOARD_FIGURES:
                    plot = gr.Plot(show_label=False, elem_id=f"{self.booth.id}-plot")
            with gr.Column(scale=10, min_width=280, elem_classes="lp-knobs"):
                gr.Markdown(question.says, elem_classes="lp-says")
                self._knobs(0, question.specs(), self.start.question.to_plain(), self.start.panes[0].card, {})
                stop = self._buttons()
                for place, pane in enumerate(self.start.panes, start=1):
                    self._pane(place, pane, place == open_pane)
                more = gr.Button("Add a pane", size="sm", elem_id=f"{self.booth.id}-add", interactive=len(ids) < MAX_PANES)
        self.changes.append((more.click, {}, self._add))
        self._connect(board, plot, stop)

    # -- widgets ----------------------------------------------------------------------------------------------------

    def _knobs(self, place: int, specs: Sequence[KnobSpec], values: Mapping[str, Any], card: str, defaults: Mapping[str, Any]) -> None:
        entry, model = find_card(self.engine.cards or {}, card), self.engine.model(card)
        panel = self.booth.id if place == 0 else f"{self.booth.id}-{place}"
        choices = Choices(panel, card, model.image_size, classes=model.classes, shelf=shelf_of(self.engine, entry), axes=self._axes())
        for spec in specs:
            name, default = f"{spec.name}{_AT}{place}", defaults.get(spec.name, spec.default)
            self.widgets[name], reset = widget(spec, values[spec.name], default, choices)
            self.specs[name] = spec
            if reset is not None:
                reset.click(lambda default=default: default, None, self.widgets[name], queue=False, **PRIVATE)

    def _axes(self) -> dict[str, str]:
        """What an axis of a sheet may be: diversity, the seed, and every knob of a family among the panes."""
        specs = [spec for pane in self.start.panes for spec in self.engine.model(pane.card).knobs()]
        return {DIAL: "Diversity (each family's own knob)", SEED: "Seed", **{spec.name: spec.label for spec in specs}}

    def _buttons(self) -> gr.Button:
        with gr.Row(elem_classes="lp-buttons"):
            if (seed := self.widgets.get(f"seed{_AT}0")) is not None:
                again = gr.Button("Random seed", variant="primary", size="sm", elem_id=f"{self.booth.id}-random")
                again.click(None, None, seed, js=f"() => {ANY_SEED}", **PRIVATE)
            return gr.Button("Stop", size="sm", elem_id=f"{self.booth.id}-stop")

    def _pane(self, place: int, pane: Pane, open: bool) -> None:
        card, look, name = find_card(self.engine.cards or {}, pane.card), pane.family.look, f"{self.booth.id}-{place}"
        with gr.Accordion(
            f"{place} · {look.glyph} {card.short_title}", open=open, elem_classes="lp-pane-knobs", elem_id=f"{self.booth.id}-{place}"
        ):
            chosen = gr.Dropdown(
                [(f"{FAMILIES[each.family].look.glyph} {each.title}", each.id) for each in self.cards],
                value=card.id, label="Model", interactive=True, elem_id=f"{name}-card",
            )  # fmt: skip
            specs = self.booth.question.pane_knobs(self.engine.model(card.id))
            self._knobs(place, specs, pane.params.to_plain(), card.id, {spec.name: default_of(spec, card) for spec in specs})
            away = gr.Button("Take it away", size="sm", elem_id=f"{name}-away", interactive=len(self.start.panes) > 1)

        def replace(panes: list[Pane], values: Mapping[str, Any]) -> int:
            panes[place - 1] = Comparison.build(self.booth.question.name, [values["chosen"]], cards=self.engine.cards).panes[0]
            return place

        def remove(panes: list[Pane], _: Mapping[str, Any]) -> int:
            del panes[place - 1]
            return 0

        self.changes += [(chosen.input, {"chosen": chosen}, replace), (away.click, {}, remove)]

    def _add(self, panes: list[Pane], _: Mapping[str, Any]) -> int:
        """The first card that no pane has yet; any when all are there."""
        taken = {pane.card for pane in panes}
        card = next((card.id for card in self.cards if card.id not in taken), self.cards[0].id)
        panes += Comparison.build(self.booth.question.name, [card], cards=self.engine.cards).panes
        return len(panes)

    # -- events -----------------------------------------------------------------------------------------------------

    def comparison(self, values: Mapping[str, Any]) -> Comparison:
        """What the widgets ask for. Raises a `PlaygroundError` with a sentence."""
        knobs: list[dict[str, Any]] = [{} for _ in range(len(self.start.panes) + 1)]
        for name in self.widgets:
            knob, _, place = name.partition(_AT)
            knobs[int(place)][knob] = to_knob(self.specs[name], values[name])
        panes = [(pane.card, {**pane.params.to_plain(), **own}) for pane, own in zip(self.start.panes, knobs[1:], strict=True)]
        return Comparison.build(self.booth.question.name, panes, cards=self.engine.cards, **knobs[0])

    def _connect(self, board: gr.HTML, plot: gr.Plot | None, stop: gr.Button) -> None:
        push = f"(...values) => window.playground.push('{self.booth.id}', values)"
        for component in self.widgets.values():
            component.change(None, [*self.widgets.values()], None, js=push, **PRIVATE)

        async def keep(http: gr.Request, **values: Any) -> AsyncIterator[Any]:
            visitor = str(http.session_hash or "")
            try:
                asked = self.comparison(values)
                async with aclosing(in_turn(self.engine.line, visitor, lambda: self.answers(asked, plot is not None, visitor))) as answers:
                    async for answer in answers:
                        words = answer.words() if isinstance(answer, Waiting) else None
                        yield answer if words is None else (words, gr.skip()) if plot is not None else words
            except Exception as error:
                raise gr.Error(why(error), print_exception=False) from error

        outputs = [board] if plot is None else [board, plot]
        made = board.settle(
            keep, inputs_kwargs=self.widgets, outputs=outputs, trigger_mode="always_last", concurrency_limit=None, **PRIVATE
        )
        for moved in (board.stir, stop.click):
            moved(None, None, None, cancels=[made], queue=False, **PRIVATE)
        for event, more, change in self.changes:
            event(self._rebuilt(change), inputs_kwargs={**self.widgets, **more}, outputs=self.booth.opening, **PRIVATE)

    def answers(self, comparison: Comparison, plotted: bool, visitor: str = "") -> Generator[Any, None, None]:
        """The board at most ten times a second, then whole, for the outputs; its plot comes with the whole."""
        shown = 0.0
        for board in comparison.stream(self.engine, visitor):
            finished = board.progress >= 1
            if finished or time.perf_counter() - shown > 1 / PREVIEWS_PER_SECOND:
                shown = time.perf_counter()
                value = board_value(self.engine, board)
                drawn = BOARD_FIGURES[board.comparison.question.name](board) if plotted and finished else None
                yield (value, gr.skip() if drawn is None else drawn) if plotted else value

    def _rebuilt(self, change: Change) -> Callable[..., str]:
        """A handler that has the panel built anew with its panes changed."""

        def handle(**values: Any) -> str:
            try:
                asked = self.comparison(values)
                panes = [*asked.panes]
                place = change(panes, values)
                return f"{Comparison(asked.question, tuple(panes)).to_query()}#{place}#{self.added}"
            except Exception as error:
                raise gr.Error(why(error), print_exception=False) from error

        return handle
