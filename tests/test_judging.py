"""How the cards judge the first test pictures is written beside their weights, and is what they say now."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from playground.__main__ import main
from playground.cards import JUDGED, Catalogue, bundled_cards
from playground.engine import Engine
from playground.families import FAMILIES
from playground.families.judging import Judge, judge_of
from playground.request import Request
from playground.settings import PROJECT, Settings
from tests.browsing import CARDS

CARD = "gan-fashion-28"
SETTINGS = Settings(hub="off", device="cpu", port=0)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(SETTINGS)


@pytest.mark.parametrize("card", [card.id for card in CARDS])
def test_what_is_written_is_what_the_card_says(engine: Engine, card: str) -> None:
    params = FAMILIES[engine.cards[card].family].Params.parse(engine.cards[card].defaults)  # type: ignore[index]
    model, found = engine.model(card), engine.judged(card)
    judge = judge_of(model, params)
    assert judge is not None and len(found["values"]) == judge.ranked and found["knobs"] == params.to_plain()
    some = slice(3, 6)
    with torch.inference_mode():
        now = judge.of(engine.shelf_of(card).pictures[some], some.start, model.device)
    assert found["values"][some] == pytest.approx(now.tolist(), rel=2e-4, abs=2e-4), f"python -m playground evaluate {card} --judged"


def test_the_first_picture_that_is_judged_waits_for_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(Judge, "of", lambda self, pictures, first, device: asked.append(len(pictures)) or np.zeros(len(pictures)))
    engine = Engine(SETTINGS)
    facts = engine.run(Request.build(CARD, "lens", judges="own", picture="test:9")).sheet.facts
    assert not asked and facts["ranked"] == [200]
    values = engine.judged(CARD)["values"]
    assert facts["rank"] == [pytest.approx(100 * np.mean([value < facts["value"][0] for value in values]))]


def with_card(card_id: str, **changed: object) -> Engine:
    cards = dict(bundled_cards())
    return Engine(SETTINGS, Catalogue({**cards, card_id: dataclasses.replace(cards[card_id], **changed)}))  # type: ignore[arg-type]


def test_what_is_of_other_pictures_or_weights_is_not_taken() -> None:
    shelf = "pictures-fashion-28"
    assert Engine(SETTINGS).judged(CARD)
    assert not with_card(shelf, files={"pictures.json": "sha256:" + "0" * 64}).judged(CARD)
    found, cards = json.loads((PROJECT / "weights" / CARD / JUDGED).read_text()), bundled_cards()
    assert found["of"] == {"weights": cards[CARD].weights_sha256, "pictures": dict(cards[shelf].files)}


def test_what_is_of_other_knobs_is_found_out_anew() -> None:
    engine = with_card(CARD, defaults={"truncation_psi": 0.5})
    steps = [step.sheet.progress for step in engine.stream(Request.build(CARD, "lens", judges="own"))]
    assert engine.judged(CARD) and len(steps) > 10, "one for each part of the test pictures"


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    weights = PROJECT / "weights"
    shutil.copy(weights / "models.toml", tmp_path)
    for name in (CARD, "pictures-fashion-28"):
        shutil.copytree(weights / name, tmp_path / name)
    (tmp_path / CARD / JUDGED).unlink()
    monkeypatch.setenv("PLAYGROUND_WEIGHTS_DIR", str(tmp_path))
    before = (tmp_path / CARD / "metrics.json").read_bytes()
    assert main(["evaluate", CARD, "--judged", "--device", "cpu", "--threads", "1"]) == 0
    assert "the median of 200" in capsys.readouterr().out
    written, bundled = (json.loads((folder / CARD / JUDGED).read_text()) for folder in (tmp_path, weights))
    assert written["of"] == bundled["of"] and written["values"] == pytest.approx(bundled["values"], rel=2e-4, abs=2e-4)
    assert (tmp_path / CARD / "metrics.json").read_bytes() == before
