"""The blind quiz: what a seed decides, and what its routes tell and keep to themselves."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from playground.engine import Engine
from playground.errors import BadKnob, BadRequest, BadWeights
from playground.families import FAMILIES
from playground.images import fit, open_image, png_text, sheet
from playground.knobs import MAX_SEED
from playground.quiz import DATA, TELLS, Round, Tell, choices
from playground.request import Request
from playground.result import Result
from playground.settings import Settings
from playground.ui.quizzing import MAX_ROUNDS
from playground.ui.routes import Routes
from tests.tiny import TINY_CARDS, TinyEngine

NAMES = [DATA, *FAMILIES]
TITLES = {DATA: "Real pictures", **{name: family.title for name, family in FAMILIES.items()}}
FIRST_TEN = ["diffusion", "vae", "diffusion", "flow", "flow", "flow", "vae", "diffusion", "flow", "vae"]


class Sketch(TinyEngine):
    """Answers with blank pictures, and counts how often it is asked; `figures` is what was measured of cards."""

    def __init__(self, figures: Mapping[str, float] | None = None, **settings: object) -> None:
        super().__init__(**settings)
        self.figures = figures or {}
        self.asked: list[Request] = []

    def run(self, request: Request) -> Result:
        self.asked.append(request)
        return SimpleNamespace(pictures=np.zeros((4, 28, 28, 1), np.uint8))  # type: ignore[return-value]

    def measured(self, card: str) -> Mapping[str, Any]:
        if self.figures.get(card) == 0:
            raise BadWeights("It is not here.", "Fetch it.")
        return {"classifier_fd": {"value": self.figures[card]}} if card in self.figures else {}


def seed_of(engine: Engine, maker: str) -> int:
    """The first seed whose round is by that maker."""
    return next(seed for seed in range(1000) if Round.of(engine, seed).truth.maker == maker)


SEEDS = {maker: seed_of(Sketch(), maker) for maker in NAMES}


# ---- a round ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("maker", NAMES)
def test_a_seed_decides_its_round(maker: str) -> None:
    first, again = Round.of(TinyEngine(), SEEDS[maker]), Round.of(TinyEngine(), SEEDS[maker])
    assert first.truth == again.truth and first.truth.maker == maker
    assert np.array_equal(first.pictures, again.pictures)
    assert first.pictures.shape == (4, 28, 28, 1) and first.pictures.dtype == np.uint8
    assert [choice.name for choice in first.choices] == NAMES and first.title() == TITLES[maker]


def test_rounds_are_the_same_in_every_process() -> None:
    """Python's own hash is not; a round asked of one worker is answered by another."""
    assert [Round.of(Sketch(), seed).truth.maker for seed in range(10)] == FIRST_TEN


def test_makers_come_up_about_equally_often() -> None:
    engine = Sketch()
    counts = Counter(Round.of(engine, seed).truth.maker for seed in range(1200))
    assert set(counts) == set(NAMES) and all(150 < count < 250 for count in counts.values()), counts


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_are_those_of_the_request(family: str) -> None:
    engine = TinyEngine()
    asked = Round.of(engine, SEEDS[family])
    request, card = asked.truth.request, asked.truth.card
    assert request is not None and card == request.card and TINY_CARDS[card].family == family
    assert np.array_equal(asked.pictures, engine.run(request).pictures)
    assert request == Request.build(card, "sample", cards=TINY_CARDS, num_samples=4, seed=request.task.seed)  # type: ignore[attr-defined]


def test_real_pictures_come_from_the_shelf_and_differ() -> None:
    engine = TinyEngine()
    asked = Round.of(engine, SEEDS[DATA])
    shelf = engine.shelf("tiny").pictures
    found = [next(index for index, real in enumerate(shelf) if np.array_equal(real, picture)) for picture in asked.pictures]
    assert len(set(found)) == 4 and asked.truth.request is None and asked.truth.card is None


def test_the_card_that_was_measured_best_is_asked() -> None:
    plain, other = "flow-tiny-28", "flow-transformer-tiny-28"
    for figures, best in (
        ({plain: 3.0, other: 2.0}, other),
        ({plain: 1.0, other: 2.0}, plain),
        ({other: 9.0}, other),  # measured before unmeasured
        ({plain: float("nan"), other: 9.0}, other),
        ({plain: 0, other: 9.0}, other),  # the first cannot be had
        ({}, plain),
    ):
        assert Round.of(Sketch(figures), SEEDS["flow"]).truth.card == best, figures


def test_the_bundled_cards_are_asked_by_their_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "run", Sketch.run)
    engine = Engine(Settings(hub="off", device="cpu"))
    engine.asked = []  # type: ignore[attr-defined]
    for maker in FAMILIES:
        card = Round.of(engine, SEEDS[maker]).truth.card
        rivals = [other for other in engine.siblings(card or "").values() if other.family == maker]
        assert card == min(rivals, key=lambda rival: engine.measured(rival.id)["classifier_fd"]["value"]).id


def test_a_family_without_cards_is_left_out() -> None:
    engine = Sketch()
    engine.cards = {name: card for name, card in TINY_CARDS.items() if card.family in ("vae", "gan")}
    assert [choice.name for choice in choices(engine)] == [DATA, "vae", "gan"]
    assert {Round.of(engine, seed).truth.maker for seed in range(30)} == {DATA, "vae", "gan"}


def test_without_any_model_there_is_a_sentence() -> None:
    engine = Sketch()
    engine.cards = {}
    with pytest.raises(BadRequest, match="no model here"):
        Round.of(engine, 0)


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
def test_a_seed_out_of_range_gets_a_sentence(seed: int) -> None:
    with pytest.raises(BadKnob, match="from 0 to 2147483647"):
        Round.of(Sketch(), seed)


def test_a_guess_is_right_or_wrong_or_no_choice() -> None:
    asked = Round.of(Sketch(), SEEDS["gan"])
    assert [name for name in NAMES if asked.is_right(name)] == ["gan"]
    with pytest.raises(BadRequest, match="Choose one of: data, ae"):
        asked.is_right("mother")


# ---- what gives it away -------------------------------------------------------------------------------------------------


def test_every_maker_has_a_tell_of_its_own() -> None:
    assert set(TELLS) == set(NAMES) and len({tell.words for tell in TELLS.values()}) == len(TELLS)


def test_figures_are_told_when_they_are_measured() -> None:
    tell = Tell("Soft.", "Edges have {sharpness_ratio:.2f}, at {classifier_fd:.1f}.")
    whole = {"sharpness_ratio": {"value": 0.4712}, "classifier_fd": {"value": 3.25}, "recall": {"value": 0.8}}
    assert tell.of(whole) == "Soft. Edges have 0.47, at 3.2."
    assert tell.of({"classifier_fd": {"value": 3.25}}) == "Soft."
    assert tell.of({**whole, "sharpness_ratio": {"value": float("nan")}}) == "Soft."
    assert Tell("Soft.").of(whole) == "Soft."


def test_the_tells_of_bundled_cards_are_backed() -> None:
    engine = Engine(Settings(hub="off", device="cpu"))
    assert "0.47 times" in TELLS["vae"].of(engine.measured("vae-fashion-28"))
    assert "distance" in TELLS["flow"].of(engine.measured("tarflow-fashion-28"))


# ---- the routes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(Starlette(routes=Routes(TinyEngine()).all())) as client:
        yield client


def question(client: TestClient, seed: int) -> dict[str, Any]:
    answer = client.get("/playground/quiz.json", params={"seed": seed})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("maker", NAMES)
def test_a_question_does_not_hold_its_answer(client: TestClient, maker: str) -> None:
    asked = question(client, SEEDS[maker])
    png = base64.b64decode(asked.pop("picture").removeprefix("data:image/png;base64,"))
    assert png_text(png) == {}
    made = Round.of(TinyEngine(), SEEDS[maker])
    assert np.array_equal(fit(open_image(png), 56, invert=False), sheet(made.pictures, 2))
    assert set(asked) == {"seed", "size", "columns", "choices"} and (asked["size"], asked["columns"]) == (28, 2)
    assert [set(choice) for choice in asked["choices"]] == [{"name", "title", "glyph", "colour"}] * len(NAMES)
    others = [question(client, seed)["choices"] for seed in SEEDS.values()]
    assert all(other == asked["choices"] for other in others), "neither their order nor their words tell"
    assert not any(card in json.dumps(asked) for card in TINY_CARDS)


@pytest.mark.parametrize("maker", NAMES)
def test_an_answer_tells_all(client: TestClient, maker: str) -> None:
    for guess in NAMES:
        told = client.get("/playground/quiz-answer.json", params={"seed": SEEDS[maker], "guess": guess}).json()
        assert set(told) == {"maker", "title", "right", "tell", "query"}
        assert told["maker"] == maker and told["right"] is (guess == maker) and told["tell"].startswith(TELLS[maker].words)
        assert told["title"] == TITLES[maker]
        if maker == DATA:
            assert told["query"] == ""
        else:
            assert Request.from_query(told["query"], cards=TINY_CARDS).task.name == "sample"


MISTAKES = {
    "quiz.json": "There is no round ''",
    "quiz.json?seed=-1": "There is no round '-1'. Give the seed of one, a whole number from 0 to 2147483647.",
    "quiz.json?seed=2147483648": "whole number from 0 to 2147483647",
    "quiz.json?seed=1e3": "There is no round '1e3'",
    "quiz.json?seed=²": "There is no round '²'",
    f"quiz.json?seed={'9' * 500}": "There is no round",
    "quiz-answer.json?guess=vae": "There is no round ''",
    "quiz-answer.json?seed=1": "'' is no answer to this. Choose one of: data, ae, vae, gan, flow, diffusion.",
    "quiz-answer.json?seed=1&guess=mother": "'mother' is no answer to this",
    f"quiz-answer.json?seed=1&guess={'x' * 500}": "is no answer to this",
}


@pytest.mark.parametrize(("path", "words"), MISTAKES.items(), ids=[path[:32] for path in MISTAKES])
def test_mistakes_get_a_sentence(client: TestClient, path: str, words: str) -> None:
    answer = client.get(f"/playground/{path}")
    assert answer.status_code == 400 and words in answer.text and len(answer.text) < 200
    assert answer.headers["content-type"].startswith("text/plain")


def test_an_answer_needs_no_second_sampling_and_rounds_are_forgotten() -> None:
    engine = Sketch(live_per_second=10_000)
    with TestClient(Starlette(routes=Routes(engine).all())) as client:
        question(client, SEEDS["vae"])
        client.get("/playground/quiz-answer.json", params={"seed": SEEDS["vae"], "guess": "gan"})
        assert len(engine.asked) == 1
        for seed in range(1000, 1000 + MAX_ROUNDS):
            question(client, seed)
        asked = len(engine.asked)
        question(client, SEEDS["vae"])
        assert len(engine.asked) == asked + 1


def test_the_quiz_shares_the_limit_of_the_other_routes() -> None:
    with TestClient(Starlette(routes=Routes(Sketch(live_per_second=2)).all())) as client:
        answers = [client.get("/playground/quiz.json?seed=1") for _ in range(12)]
    assert answers[0].status_code == 200 and "Wait a second" in answers[-1].text and answers[-1].status_code == 429
