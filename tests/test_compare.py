"""Comparisons: links and Python bring them back, panes run by model, and no cell is mislabelled."""

from __future__ import annotations

import csv
import gc
import io
import json
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from playground.cards import Card
from playground.compare import MAX_PANES, QUESTIONS, Board, Comparison
from playground.compare.parcel import contents, parcel
from playground.compare.running import order
from playground.compare.sheets import MAX_VALUES
from playground.engine import Engine, _Seat
from playground.errors import BadKnob, BadLink, BadRequest, PlaygroundError, UnknownCard
from playground.families import FAMILIES
from playground.images import open_image, png_text
from playground.request import Request
from playground.result import TEXT_KEY
from playground.settings import PROJECT, Settings
from playground.ui.board_routes import aligned
from tests.tiny import HASH, TINY_CARDS, TinyEngine

FIVE = [f"{family}-tiny-28" for family in FAMILIES]
FAST = [card for card in FIVE if "diffusion" not in card]


@pytest.fixture(scope="module")
def engine() -> TinyEngine:
    return TinyEngine()


def build(question: str, panes: Any = FAST, **knobs: Any) -> Comparison:
    return Comparison.build(question, panes, cards=TINY_CARDS, **knobs)


def pixels(board: Board) -> list[np.ndarray]:
    return [answer.pictures() for answer in board.answers]


# -- links, Python, mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_link_brings_a_comparison_back(question: str) -> None:
    made = build(question, [("vae-tiny-28", {"temperature": 0.3}), "gan-tiny-28", ("diffusion-tiny-28", {"label": "2"})])
    assert Comparison.from_query(f"https://page/?{made.to_query()}#there", cards=TINY_CARDS) == made


@pytest.mark.parametrize("question", QUESTIONS)
def test_its_python_makes_the_same_comparison(question: str) -> None:
    made = build(question, ["vae-tiny-28", ("flow-tiny-28", {"temperature": 0.5})])
    lines = made.to_python().replace("Comparison.build(", "build(").split("\n")
    told: dict[str, Any] = {"build": build}
    exec("\n".join(line for line in lines[1:] if not line.startswith("board")), told)
    assert told["comparison"] == made


def test_same_cards_may_stand_beside_each_other_with_other_knobs(engine: TinyEngine) -> None:
    cool, hot = (
        build("seed", [("vae-tiny-28", {"temperature": 0.0, "prior": "standard"}), ("vae-tiny-28", {"temperature": 2.0})])
        .run(engine)
        .answers
    )
    assert cool.pictures().std(axis=0).max() == 0 < hot.pictures().std(axis=0).max()


@pytest.mark.parametrize(
    ("query", "error", "words"),
    [
        ("card=vae-tiny-28&task=sample", BadLink, "names no comparison"),
        ("compare=seed&pane=temperature%3D1", BadLink, "names no card"),
        ("compare=seed", BadRequest, "0 panes"),
        ("compare=why&pane=card%3Dvae-tiny-28", BadRequest, "no question called"),
        ("compare=seed&pane=card%3Dnobody-tiny-28", UnknownCard, "nobody-tiny-28"),
        ("compare=seed&pane=card%3Dvae-tiny-28%26temperature%3D9", BadKnob, "Temperature"),
        ("compare=seed&num_samples=900&pane=card%3Dvae-tiny-28", BadKnob, "Pictures"),
        ("compare=seed&guidance_scale=2&pane=card%3Dvae-tiny-28", BadKnob, "guidance_scale"),
        ("compare=seed" + "&pane=card%3Dvae-tiny-28" * (MAX_PANES + 1), BadRequest, "7 panes"),
    ],
)
def test_a_broken_link_gets_a_sentence(query: str, error: type[PlaygroundError], words: str) -> None:
    with pytest.raises(error, match=words):
        Comparison.from_query(query, cards=TINY_CARDS)


# -- running --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_is_answered_by_all_five(engine: TinyEngine, question: str) -> None:
    panes = [(card, {"num_inference_steps": 2} if "diffusion" in card else {}) for card in FIVE]
    short = {"gesture": {"num_frames": 3}, "seed": {"num_samples": 2}, "dial": {"num_samples": 2}}.get(question, {})
    *_, board = build(question, panes, **short).stream(engine)
    assert board.progress == 1
    for answer in board.answers:
        told = [*answer.errors.values()]
        assert all(told) and (answer.made or told)
        for result in answer.made:
            assert result.request.card == answer.pane.card and result.weights_sha256 == HASH
        if answer.made:
            assert answer.ms_per_picture is not None and answer.ms_per_picture > 0
            assert min(answer.model["passes"]) >= 1 and answer.model["bytes"] > 0


def test_a_pane_alone_has_the_same_pixels(engine: TinyEngine) -> None:
    together = pixels(build("seed", num_samples=3, seed=5).run(engine))
    for card, pictures in zip(FAST, together, strict=True):
        alone = engine.run(Request.build(card, "sample", cards=TINY_CARDS, num_samples=3, seed=5))
        np.testing.assert_array_equal(alone.pictures, pictures)


class CountingEngine(TinyEngine):
    """Room for one model at a time; `loads` says which came in."""

    def __init__(self) -> None:
        super().__init__(memory_mb=16)
        self.loads: list[str] = []

    def _load(self, card: Card) -> _Seat:
        self.loads.append(card.id)
        seat = super()._load(card)
        seat.model.bytes = lambda: 12 * 2**20  # type: ignore[method-assign]
        return seat


def test_no_weight_is_loaded_twice() -> None:
    engine = CountingEngine()
    build("seed", ["vae-tiny-28", "gan-tiny-28", "vae-tiny-28", "flow-tiny-28", "gan-tiny-28"], num_samples=2).run(engine)
    assert sorted(engine.loads) == ["flow-tiny-28", "gan-tiny-28", "vae-tiny-28"]


def test_panes_that_answer_at_once_come_first(engine: TinyEngine) -> None:
    panes = build("seed", ["diffusion-tiny-28", "vae-tiny-28", "diffusion-tiny-28", "gan-tiny-28", "vae-tiny-28"]).panes
    assert order(engine, panes) == [1, 4, 3, 0, 2]


def test_the_first_pane_is_shown_before_the_last_is_begun(engine: TinyEngine) -> None:
    stream = build("seed", num_samples=16).stream(engine)
    seen = next(board for board in stream if board.answers[0].progress == 1)
    assert [answer.progress for answer in seen.answers[1:]] == [0, 0, 0]
    stream.close()  # type: ignore[attr-defined]
    assert engine.in_use() == 0


def test_a_failed_pane_says_why_and_the_rest_go_on(engine: TinyEngine) -> None:
    board = build("dial", ["vae-tiny-28", "gan-tiny-28"]).run(engine)
    assert not any(answer.errors for answer in board.answers)
    broken = build("trip", ["vae-tiny-28", "gan-tiny-28"], picture="test:999999").run(engine)
    assert all("999999" in answer.errors[0] for answer in broken.answers) and broken.progress == 1

    class Torn(TinyEngine):
        def _load(self, card: Card) -> _Seat:
            if card.id == "vae-tiny-28":
                raise OSError("the disk is gone")
            return super()._load(card)

    first, second = build("seed", ["vae-tiny-28", "gan-tiny-28"]).run(Torn()).answers
    assert "OSError" in first.errors[0] and not first.made and len(second.pictures()) == 12


def test_same_seed_says_whether_the_noise_is_the_same(engine: TinyEngine) -> None:
    assert "same noise" in build("seed", ["vae-tiny-28", "vae-tiny-28"]).run(engine).says
    assert "own noise" in build("seed", ["vae-tiny-28", "flow-tiny-28"]).run(engine).says
    mixed = ["vae-tiny-28", "flow-tiny-28", "vae-tiny-28", ("diffusion-tiny-28", {"num_inference_steps": 1})]
    assert "panes 1 and 3 start from the same noise" in build("seed", mixed, num_samples=1).run(engine).says


def test_a_gesture_measures_its_steps(engine: TinyEngine) -> None:
    (answer,) = build("gesture", ["vae-tiny-28"], num_frames=5).run(engine).answers
    assert len(answer.facts["steps"]) == 4 and answer.facts["detour"] >= 1 and answer.facts["longest_step"] >= 1
    (still,) = build("gesture", ["vae-tiny-28"], num_frames=5, ends=["test:2", "test:2"]).run(engine).answers
    assert max(still.facts["steps"]) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_dial_is_a_knob_of_its_family(family: str) -> None:
    dial = FAMILIES[family].dial
    assert dial is not None
    spec = next(spec for spec in FAMILIES[family].Params.specs() if spec.name == dial.knob)
    assert all(spec.minimum <= stop <= spec.maximum for stop in dial.stops)  # type: ignore[operator]
    assert [dial.value(index / (len(dial.stops) - 1)) for index in range(len(dial.stops))] == list(dial.stops)
    assert dial.value(-1) == dial.stops[0] and dial.value(2) == dial.stops[-1]


def test_a_dial_turns_each_family_by_its_own_knob() -> None:
    made = build("dial", ["vae-tiny-28", "gan-tiny-28", ("diffusion-tiny-28", {"num_inference_steps": 2})], position=100)
    asked = [made.question.grid(pane).cells[0] for pane in made.panes]
    values = [request.params.to_plain() for request in asked if isinstance(request, Request)]
    assert [values[0]["temperature"], values[1]["truncation_psi"], values[2]["guidance_scale"]] == [1.2, 1.0, 1.0]
    assert values[2]["num_inference_steps"] == 2


# -- sheets ---------------------------------------------------------------------------------------------------------------

AXES = {
    "seed": st.integers(0, 99).map(str),
    "temperature": st.floats(0, 1.3).map(lambda value: f"{value:.2f}"),
    "truncation_psi": st.floats(0, 1.5).map(lambda value: f"{value:.2f}"),
    "prior": st.sampled_from(["standard", "fitted", "wrong"]),
    "nonsense": st.just("1"),
}
AXIS = st.sampled_from([*AXES]).flatmap(lambda knob: st.tuples(st.just(knob), st.lists(AXES[knob], min_size=1, max_size=3)))
ROWS = AXIS | st.just(("", ["7"]))


@given(x=AXIS, y=ROWS, panes=st.lists(st.sampled_from(FAST), min_size=1, max_size=3), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_legend_cells_and_requests_of_a_sheet_agree(engine: TinyEngine, x: Any, y: Any, panes: list[str], seed: int) -> None:
    made = build("sheet", panes, x=x[0], x_values=", ".join(x[1]), y=y[0], y_values=",".join(y[1]), seed=seed)
    for answer in made.run(engine).answers:
        if x[0] == y[0]:
            assert "same knob" in answer.errors[0]
            continue
        rows = y[1] if y[0] else [""]
        assert answer.grid.heads == tuple(x[1]) and answer.grid.sides == (tuple(y[1]) if y[0] else ())
        assert len(answer.results) == len(x[1]) * len(rows)
        for index, result in enumerate(answer.results):
            wanted = {x[0]: x[1][index % len(x[1])], y[0]: rows[index // len(x[1])]}
            if result is None:
                assert answer.errors[index] and answer.errors[index] in answer.label(index)
                continue
            knobs = {**result.request.task.to_plain(), **result.request.params.to_plain()}
            for knob, value in wanted.items():
                if knob:
                    assert str(knobs[knob]) == value or float(knobs[knob]) == float(value)
            if "seed" not in wanted:
                assert knobs["seed"] == seed
            assert result.request.card == answer.pane.card and knobs["num_samples"] == 1
            np.testing.assert_array_equal(result.pictures[0], answer.pictures()[index])
            assert answer.label(index) == ", ".join(value for value in wanted.values() if value)


def test_a_failed_cell_says_why_and_the_rest_go_on(engine: TinyEngine) -> None:
    (answer,) = build("sheet", ["vae-tiny-28"], x="temperature", x_values="0.5, much, 1, 99", y="").run(engine).answers
    assert [*answer.errors] == [1, 3] and "'much'" in answer.errors[1] and "from 0 to 2" in answer.errors[3]
    assert answer.progress == 1 and [result is None for result in answer.results] == [False, True, False, True]
    assert answer.pictures()[1].max() == 0 < answer.pictures()[0].max()


@pytest.mark.parametrize("values", ["", " , ,", ",".join(["1"] * (MAX_VALUES + 1))])
def test_an_axis_without_values_is_refused(values: str, engine: TinyEngine) -> None:
    (answer,) = build("sheet", ["vae-tiny-28"], x_values=values).run(engine).answers
    assert "1 to 8" in answer.errors[0] and not answer.made


def test_an_axis_of_diversity_turns_each_family_by_its_own_knob() -> None:
    made = build("sheet", ["vae-tiny-28", "gan-tiny-28"], x="dial", x_values="0, 100, 101, much", y="")
    vae, gan = (made.question.grid(pane) for pane in made.panes)
    asked = [cell.params.to_plain() for grid in (vae, gan) for cell in grid.cells if isinstance(cell, Request)]
    assert [asked[0]["temperature"], asked[1]["temperature"]] == [0.4, 1.2]
    assert [asked[2]["truncation_psi"], asked[3]["truncation_psi"]] == [0.4, 1.0]
    assert all("0 to 100" in str(cell) for cell in (*vae.cells[2:], *gan.cells[2:])) and vae.legend == "→ Diversity %"


def test_stopping_a_sheet_keeps_what_is_done(engine: TinyEngine) -> None:
    stream = build("sheet", ["vae-tiny-28"]).stream(engine)
    board = next(board for board in stream if len(board.answers[0].made) == 3)
    stream.close()  # type: ignore[attr-defined]
    assert len(board.answers[0].made) == 3 and 0 < board.progress < 1 and engine.in_use() == 0


# -- to take away ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["seed", "sheet", "gesture"])
def board(request: pytest.FixtureRequest, engine: TinyEngine) -> Board:
    short = {"seed": {"num_samples": 2}, "sheet": {"x_values": "50, wrong"}, "gesture": {"num_frames": 3}}[request.param]
    return build(request.param, ["vae-tiny-28", "flow-tiny-28"], **short).run(engine)


def test_link_zip_and_python_give_the_same_pixels(board: Board, engine: TinyEngine, tmp_path: Path) -> None:
    board.save(tmp_path / "comparison.zip")
    with zipfile.ZipFile(tmp_path / "comparison.zip") as file:
        files = {name: file.read(name) for name in file.namelist()}
    again = Comparison.from_query(files["link.txt"].decode().strip(), cards=TINY_CARDS)
    assert again == board.comparison and again.to_python() in files["comparison.py"].decode()
    for there, here in zip(pixels(again.run(engine)), pixels(board), strict=True):
        np.testing.assert_array_equal(there, here)
    for name, body in files.items():
        if name.startswith("cells/"):
            place, index = int(name.split("/")[1].partition("-")[0]), int(name[-7:-4])
            picture = np.asarray(open_image(body)).reshape(28, 28, -1)
            np.testing.assert_array_equal(picture, board.answers[place - 1].pictures()[index - 1])
            text = png_text(body)[TEXT_KEY]
            assert png_text(body)[f"{TEXT_KEY}-weights"] == HASH
            alone = engine.run(Request.from_query(text, cards=TINY_CARDS)).pictures[0]
            assert np.abs(alone.astype(int) - picture).max() <= 1  # another batch size rounds otherwise
    for name in ("sheet.png", *(name for name in files if name.startswith("panes/"))):
        assert TEXT_KEY in png_text(files[name])


def test_the_table_tells_every_cell_with_its_weights(board: Board) -> None:
    files = dict(contents(board))
    rows = [*csv.DictReader(io.StringIO(files["cells.csv"].decode()))]
    assert len(rows) == sum(len(answer.results) for answer in board.answers)
    for row in rows:
        assert (row["weights_sha256"] == HASH and row["request"] and not row["error"]) or row["error"]
    requests = json.loads(files["requests.json"])
    assert [name.partition("-")[2] for name in requests] == ["vae-tiny-28", "flow-tiny-28"]


def test_the_same_board_is_the_same_zip(board: Board) -> None:
    assert parcel(board) == parcel(board)


# -- memory ---------------------------------------------------------------------------------------------------------------


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_fifty_switches_among_all_cards_keep_to_the_budget() -> None:
    engine = Engine(Settings(weights_dir=PROJECT / "weights", hub="off", device="cpu", memory_mb=16))
    cards = [card.id for card in engine._cards.values() if card.family in FAMILIES and card.files]
    after: list[tuple[int, int]] = []
    for turn in range(max(50, 3 * len(cards))):
        card = cards[turn % len(cards)]
        few = {"num_inference_steps": 1} if engine.model(card).family == "diffusion" else {}
        (answer,) = Comparison.build("seed", [(card, few)], cards=engine.cards, num_samples=1).run(engine).answers
        assert answer.made and engine.resident_bytes() <= 16 * 2**20
        if (turn + 1) % len(cards) == 0:
            gc.collect()
            after.append((engine.resident_bytes(), resident()))
    (held, used), *later = after
    assert all(abs(now - held) <= 0.05 * held for now, _ in later), after
    assert later[-1][1] <= 1.05 * used, after


# -- panes of other sizes -------------------------------------------------------------------------------------------------


def test_panes_of_other_sizes_and_channels_are_scaled_for_looking() -> None:
    grey = SimpleNamespace(made=True, pictures=lambda: np.full((3, 28, 28, 1), 9, np.uint8))
    colour = SimpleNamespace(made=True, pictures=lambda: np.full((2, 14, 14, 3), 7, np.uint8))
    failed = SimpleNamespace(made=False)
    rows = aligned(SimpleNamespace(answers=(grey, failed, colour)))  # type: ignore[arg-type]
    assert rows.shape == (2, 28, 28 + 1 + 28, 3)
    assert set(np.unique(rows[:, :, :28])) == {9} and set(np.unique(rows[:, :, 29:])) == {7}
    with pytest.raises(BadRequest, match="No pane"):
        aligned(SimpleNamespace(answers=(failed,)))  # type: ignore[arg-type]
