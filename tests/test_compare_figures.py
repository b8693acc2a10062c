"""The plots of Compare show the numbers that were measured, leave out what failed, and invent nothing."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.cards import Card
from playground.compare import Board, Comparison
from playground.engine import Engine, _Seat
from playground.families import FAMILIES
from playground.settings import PROJECT, Settings
from playground.ui.figures.comparing import BOARD_FIGURES, KINDS, names_of
from playground.ui.figures.frontier import FULL, Point, frontier, frontier_figure, paths, points_of
from playground.ui.figures.placing import Label, overlap, place
from playground.ui.figures.strengths import STRENGTHS, Scale, strengths_figure
from tests.tiny import TINY_CARDS, TinyEngine

FIVE = [f"{family}-tiny-28" for family in FAMILIES]
FAST = [card for card in FIVE if "diffusion" not in card]
QUICK = [card for card in FAST if "gan" not in card]
"""Without a search for latents."""
SHORT: dict[str, dict[str, Any]] = {"gesture": {"num_frames": 5}, "dial": {"num_samples": 1, "position": 60}, "trip": {"num_samples": 0}}
ROW = {"precision": 0.9, "recall": 0.5, "n": 200}


class MeasuredEngine(TinyEngine):
    """Every stop of every dial was measured; recall rises with the dial, precision falls."""

    def swept(self, card: str) -> Mapping[str, list[Mapping[str, Any]]]:
        dial = FAMILIES[TINY_CARDS[card].family].dial
        assert dial is not None
        rows = [
            {**ROW, "value": stop, "recall": 0.2 + 0.1 * index, "precision": 0.9 - 0.1 * index} for index, stop in enumerate(dial.stops)
        ]
        return {dial.knob: sorted(rows, key=lambda row: row["value"])}


class TornEngine(MeasuredEngine):
    """The VAE cannot be loaded."""

    def _load(self, card: Card) -> _Seat:
        if card.family == "vae":
            raise OSError("the disk is gone")
        return super()._load(card)


def ask(engine: Engine, question: str, panes: Any = FAST) -> Board:
    return Comparison.build(question, panes, cards=TINY_CARDS, **SHORT.get(question, {})).run(engine)


@pytest.fixture(scope="module")
def engine() -> MeasuredEngine:
    return MeasuredEngine()


@pytest.fixture(scope="module")
def boards(engine: MeasuredEngine) -> dict[str, Board]:
    return {question: ask(engine, question, QUICK if question in ("gesture", "trip") else FAST) for question in BOARD_FIGURES}


def draw(board: Board) -> go.Figure:
    plot = BOARD_FIGURES[board.comparison.question.name](board)
    assert plot is not None
    json.loads(plot.to_json())
    return plot


def by_name(plot: go.Figure) -> dict[str, Any]:
    """The traces that stand in the legend, by the name before the colon."""
    return {trace.name.partition(":")[0]: trace for trace in plot.data if trace.name and trace.showlegend is not False}


# -- boards ---------------------------------------------------------------------------------------------------------------


def test_a_gesture_draws_every_step_and_the_mean(boards: dict[str, Board]) -> None:
    plot = draw(boards["gesture"])
    lines = by_name(plot)
    for answer, name in zip(boards["gesture"].answers, ("ae", "vae", "flow"), strict=True):
        steps, line = answer.facts["steps"], lines[name]
        assert list(line.y) == steps and list(line.x) == [12.5, 37.5, 62.5, 87.5]
        assert f"{answer.facts['detour']:.1f}×" in line.name and line.line.color == answer.pane.family.look.colour
        mean = next(trace for trace in plot.data if trace.legendgroup == name and trace.showlegend is False)
        assert list(mean.y) == pytest.approx([sum(steps) / len(steps)] * 2)


def test_a_dial_draws_its_stops_and_where_it_stands(boards: dict[str, Board]) -> None:
    plot = draw(boards["dial"])
    for answer, name in zip(boards["dial"].answers, ("ae", "vae", "gan", "flow"), strict=True):
        line, stops = by_name(plot)[name], answer.facts["stops"]
        assert (list(line.x), list(line.y)) == (stops["recall"], stops["precision"])
        assert [told[1] for told in line.customdata] == ["200"] * len(stops["n"])
        now = next(trace for trace in plot.data if trace.legendgroup == name and trace.mode == "markers")
        assert [now.x[0], now.y[0]] == pytest.approx([0.2 + 0.4 * 0.6, 0.9 - 0.4 * 0.6]) and now.marker.size > line.marker.size
        assert f"{answer.facts['now']:g}" in line.name


def test_a_dial_that_falls_is_read_between_its_stops(engine: MeasuredEngine) -> None:
    plot = draw(ask(engine, "dial", [("diffusion-tiny-28", {"num_inference_steps": 1})]))
    line, now = plot.data
    assert list(line.x) == sorted(line.x, reverse=True)  # guidance falls as diversity rises
    assert [now.x[0], now.y[0]] == pytest.approx([0.44, 0.66])


def test_a_dial_beyond_what_was_measured_has_no_place(boards: dict[str, Board]) -> None:
    board = boards["dial"]
    (first, *rest) = board.answers
    stops = {name: values[:2] for name, values in first.facts["stops"].items()}
    part = dataclasses.replace(first, facts={**first.facts, "stops": stops, "now": 1.1})
    plot = draw(dataclasses.replace(board, answers=(part, *rest)))
    assert [trace.mode for trace in plot.data if trace.legendgroup == "ae"] == ["lines+markers"]


def test_scores_are_sorted_by_rank_and_say_their_kind(boards: dict[str, Board]) -> None:
    plot, found = draw(boards["score"]), {}
    for answer in boards["score"].answers:
        facts = {name: values[0] for name, values in answer.made[0].sheet.facts.items()}
        found[facts["families"]] = facts
    ranks = [bar.x[0] for bar in plot.data]
    assert ranks == sorted((facts["rank"] for facts in found.values()), reverse=True)
    words = [note.text for note in plot.layout.annotations]
    for bar in plot.data:
        facts = found[bar.name]
        told, pattern = KINDS[facts["kinds"]]
        assert (bar.x[0], bar.marker.pattern.shape) == (facts["rank"], pattern)
        assert f"{facts['words']}, {told}" in bar.hovertemplate and f"of {facts['ranked']}" in bar.hovertemplate
        assert any(bar.name in text and facts["words"] in text and told in text for text in words)
    assert len({pattern for _, pattern in KINDS.values()}) == len(KINDS)


def test_a_round_trip_draws_decibels_and_tells_the_rest(boards: dict[str, Board]) -> None:
    plot = draw(boards["trip"])
    notes = [note.text for note in plot.layout.annotations]
    for answer, bar, text in zip(boards["trip"].answers, plot.data, notes, strict=True):
        facts = answer.made[0].sheet.facts
        assert bar.x[0] == facts["psnr_db"] and bar.marker.color == answer.pane.family.look.colour
        assert re.search(rf"SSIM {facts['ssim']:.3f}, [\d.]+ m?s", text)
    assert plot.layout.xaxis.range[1] == 60  # a flow gives the picture back to the last bit


@pytest.mark.parametrize("question", BOARD_FIGURES)
def test_a_pane_that_failed_is_left_out(question: str) -> None:
    board = ask(TornEngine(), question, ["vae-tiny-28", "flow-tiny-28"])
    assert board.answers[0].errors
    plot = draw(board)
    assert "flow" in str([trace.name for trace in plot.data]) and "vae" not in plot.to_json()
    assert BOARD_FIGURES[question](ask(TornEngine(), question, ["vae-tiny-28"])) is None


@pytest.mark.parametrize("question", BOARD_FIGURES)
def test_a_board_without_results_has_no_plot(question: str, engine: MeasuredEngine) -> None:
    first = next(iter(Comparison.build(question, FAST, cards=TINY_CARDS).stream(engine)))
    assert BOARD_FIGURES[question](first) is None


def test_a_dial_that_was_never_measured_has_no_plot() -> None:
    assert BOARD_FIGURES["dial"](ask(TinyEngine(), "dial")) is None


def test_panes_that_are_alike_have_names_and_looks_of_their_own(engine: MeasuredEngine) -> None:
    turned: list[Any] = [("vae-tiny-28", {"prior": "standard"}), ("vae-tiny-28", {"temperature": 0.3})]  # which the dial sets anyway
    board = ask(engine, "dial", [*turned, "vae-tiny-28", "flow-tiny-28", "flow-transformer-tiny-28"])
    names = names_of(board)
    assert names[0] == "vae · prior standard" and names[3:] == ["flow", "flow-transformer"]
    assert names[1].endswith("(pane 2)") and len(set(names)) == 5
    looks = {(trace.line.color, trace.line.dash, trace.marker.symbol) for trace in by_name(draw(board)).values()}
    assert len(looks) == 5


def test_long_words_take_two_lines_above_a_bar(engine: MeasuredEngine) -> None:
    long, short = (draw(ask(engine, "score", panes)) for panes in (["flow-transformer-tiny-28"] * 2, ["flow-tiny-28"] * 2))
    assert "<br>" in long.layout.annotations[0].text and "<br>" not in short.layout.annotations[0].text
    assert long.layout.height == short.layout.height + 2 * 16


# -- what was measured ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundled() -> Engine:
    return Engine(Settings(weights_dir=PROJECT / "weights", hub="off", device="cpu"))


def written(name: str) -> dict[str, Any]:
    """By card without its data set."""
    return {path.parent.name.removesuffix("-fashion-28"): json.loads(path.read_text()) for path in (PROJECT / "weights").glob(f"*/{name}")}


@pytest.mark.parametrize("narrow", [False, True])
def test_the_frontier_has_every_point_that_was_measured(bundled: Engine, narrow: bool) -> None:
    plot = frontier_figure(bundled, narrow)
    told = {
        (x, y): (words, symbol)
        for trace in plot.data
        if trace.customdata
        for x, y, words, symbol in zip(trace.x, trace.y, trace.customdata, trace.marker.symbol, strict=True)
    }
    wanted = {}
    for name, found in written("metrics.json").items():
        wanted[found["ms_per_picture"]["value"], found["classifier_fd"]["value"]] = (
            name,
            found["classifier_fd"]["n"],
            found["classifier_fd_floor"]["value"],
        )
    for name, sweeps in written("sweeps.json").items():
        for row in sweeps.get("num_inference_steps", []):
            wanted[row["ms_per_picture"], row["classifier_fd"]] = (f"{name}</b>, {row['value']} step", row["n"], row["classifier_fd_floor"])
    assert told.keys() == wanted.keys()
    for at, (name, n, floor) in wanted.items():
        words, symbol = told[at]
        assert name in words and f"{n:,} pictures" in words and f"{floor:.2f}" in words and symbol.endswith("-open") == (n != FULL)


def test_the_frontier_line_and_floors_are_those_of_the_points(bundled: Engine) -> None:
    plot, points = frontier_figure(bundled), points_of(bundled)
    traces = {trace.name: trace for trace in plot.data}
    best = frontier(point for point in points if point.n == FULL)
    line = traces["Pareto frontier"]
    assert list(zip(line.x, line.y, strict=True)) == [(point.ms, point.fd) for point in best] and line.line.shape == "hv"
    for n, floor in {(point.n, point.floor) for point in points}:
        dashed = traces[f"train against test, {n:,}: {floor:.2f}"]
        assert list(dashed.y) == [floor, floor] and dashed.line.dash == "dash"
    assert (f"{FULL:,}" in plot.layout.xaxis.title.text) == any(point.n != FULL for point in points)


def test_numbers_of_steps_stand_at_their_points(bundled: Engine) -> None:
    plot = frontier_figure(bundled)
    for path in paths(points_of(bundled)):
        trace = next(trace for trace in plot.data if trace.name == f"{path[0].name}, steps")
        assert list(trace.text) == [f"{path[0].name}, {path[0].counted}", *(str(point.steps) for point in path[1:])]
        assert list(trace.x) == [point.ms for point in path] and trace.mode == "lines+markers+text"


POINTS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=20)


@given(POINTS)
def test_the_frontier_is_what_nothing_is_better_than(places: list[tuple[int, int]]) -> None:
    points = [Point("card", "vae", float(ms), float(fd), FULL, None) for ms, fd in places]
    best = {(point.ms, point.fd) for point in frontier(points)}
    wanted = {
        (ms, fd) for ms, fd in places if not any((a <= ms and b <= fd) and (a, b) != (ms, fd) for a, b in places)
    }  # fmt: skip
    assert best == wanted
    line = [(point.ms, point.fd) for point in frontier(points)]
    assert line == sorted(line) and [fd for _, fd in line] == sorted((fd for _, fd in line), reverse=True)


SPOTS = st.tuples(st.text("abc", min_size=1, max_size=9), st.floats(0, 300), st.floats(0, 200))


@given(st.lists(SPOTS, max_size=12))
def test_no_name_lies_on_another_or_on_a_mark(spots: list[tuple[str, float, float]]) -> None:
    labels = [Label(*spot) for spot in spots]
    boxes = [label.box(side) for label, side in zip(labels, place(labels, [], 300, 200), strict=True) if side]
    for index, box in enumerate(boxes):
        assert box[0] >= 0 and box[1] >= 0 and box[2] <= 300 and box[3] <= 200
        assert not any(overlap(box, other) for other in [*boxes[:index], *(label.mark for label in labels)])


def test_a_name_lies_on_what_is_faint_rather_than_nowhere() -> None:
    label = Label("name", 50, 50, sides=("middle right", "middle left"))
    right, left, plot = label.box("middle right"), label.box("middle left"), (100, 100)
    assert place([label], [], *plot, faint=[right]) == ["middle left"]
    assert place([label], [left], *plot, faint=[right]) == place([label], [], *plot, faint=[left, right]) == ["middle right"]
    assert place([label], [left, right], *plot) == [""]


def test_the_best_have_names_though_they_lie_between_lines(bundled: Engine) -> None:
    best = {point.name for point in frontier(point for point in points_of(bundled) if point.n == FULL)}
    for narrow in (False, True):
        named = {text for trace in frontier_figure(bundled, narrow).data for text in trace.text or ()}
        assert len(best - named) <= narrow, "a phone may lack room for one of them"


@pytest.mark.parametrize("narrow", [False, True])
def test_strengths_are_the_figures_that_were_measured(bundled: Engine, narrow: bool) -> None:
    plot, metrics = strengths_figure(bundled, narrow), written("metrics.json")
    assert {trace.name for trace in plot.data} == set(metrics)
    for trace in plot.data:
        shares, found = trace.x if narrow else trace.y, metrics[trace.name]
        assert trace.connectgaps is False
        for strength, share, words in zip(STRENGTHS, shares, trace.customdata, strict=True):
            assert (share is None) == (strength.figure not in found), (trace.name, strength.title)
            if share is not None:
                values = [strength.value(each) for each in metrics.values() if strength.figure in each]
                scale = Scale.around(strength, [value for value in values if value is not None])
                assert share == pytest.approx(scale.share(strength.value(found) or 0)) and -1e-9 <= share <= 1 + 1e-9
                assert words.startswith(f"{strength.title}: ")


def test_the_first_card_of_each_family_is_shown(bundled: Engine) -> None:
    shown = [trace.name for trace in strengths_figure(bundled).data if trace.visible is True]
    assert shown == ["ae", "vae", "gan", "realnvp", "ddpm"]


@pytest.mark.parametrize("strength", STRENGTHS, ids=lambda strength: strength.title)
def test_better_is_up_on_every_axis(strength: Any) -> None:
    better = {"classifier_fd": (9, 2), "sharpness_ratio": (1.6, 0.9), "ms_per_picture": (400, 3), "bytes": (6e6, 1e6)}
    low, high = (strength.value({strength.figure: {"value": value}}) for value in better.get(strength.figure, (0.3, 0.9)))
    scale = Scale.around(strength, [low, high])
    assert 0 <= scale.share(low) < scale.share(high) <= 1


@given(st.sampled_from(STRENGTHS), st.lists(st.floats(1e-3, 1e3), max_size=6))
def test_a_scale_spans_its_ticks(strength: Any, values: list[float]) -> None:
    scale = Scale.around(strength, values)
    assert scale.share(scale.worst) == 0 and scale.share(scale.best) == pytest.approx(1)
    assert 2 <= len(scale.marks(values)) <= 3 and all(math.isfinite(scale.share(value)) for value in values)


@pytest.mark.parametrize("draw_all", [frontier_figure, strengths_figure])
@pytest.mark.parametrize("narrow", [False, True])
def test_nothing_measured_is_said(draw_all: Any, narrow: bool) -> None:
    class Unreachable(TinyEngine):
        measured = Engine.measured  # its cards are in no folder

    for engine in (TinyEngine(), Unreachable()):
        plot = draw_all(engine, narrow=narrow)
        assert not plot.data and plot.layout.annotations[0].text == "not measured yet"


def test_a_card_with_part_of_its_figures_is_drawn_as_far_as_they_go() -> None:
    class Partly(TinyEngine):
        def measured(self, card: str) -> Mapping[str, Any]:
            return {"precision": {"value": 0.9, "n": 10}} if card == "gan-tiny-28" else {}

    (line,) = strengths_figure(Partly()).data
    assert line.y[0] is not None and set(line.y[1:]) == {None}
    assert not frontier_figure(Partly()).data
