"""Training everything within one budget, and the report of a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from playground.cards import bundled_cards
from playground.errors import TrainingError
from playground.families import FAMILIES
from playground.training.report import MAX_CURVES, REPORT, read_curves, smooth, write_report
from playground.training.run import RECIPES
from playground.training.zoo import FIRST, Zoo

SHARES = {FIRST: 1.0, "a-fashion-28": 4.0, "b-fashion-28": 2.0, "c-fashion-28": 2.0, "d-fashion-28": 1.0}


def zoo(tmp_path: Path, minutes: float = 25, jobs: int = 2, shares: dict[str, float] | None = None) -> Zoo:
    return Zoo(minutes, jobs, SHARES if shares is None else shares, ["--device", "cpu"], tmp_path / "runs")


def test_the_classifier_comes_first_and_alone(tmp_path: Path):
    first, others = zoo(tmp_path).stages()
    assert [card for lane in first for card, _ in lane] == [FIRST]
    assert sorted(card for lane in others for card, _ in lane) == sorted(set(SHARES) - {FIRST})


def test_cards_that_begin_with_others_come_last(tmp_path: Path):
    stages = list(Zoo(30, 2, SHARES, [], tmp_path, last=["b-fashion-28"]).stages())
    assert [[card for lane in stage for card, _ in lane] for stage in stages] == [
        [FIRST],
        ["a-fashion-28", "c-fashion-28", "d-fashion-28"],
        ["b-fashion-28"],
    ]
    assert sum(max(sum(minutes for _, minutes in lane) for lane in stage) for stage in stages) == pytest.approx(30)


@given(st.dictionaries(st.sampled_from([f"{letter}-x-1" for letter in "abcdefgh"]), st.floats(0.1, 9), min_size=1), st.integers(1, 6))
def test_every_lane_fills_the_budget(shares: dict[str, float], jobs: int):
    stages = list(Zoo(30, jobs, {FIRST: 1.0, **shares}, [], Path("runs")).stages())
    assert sum(max(sum(minutes for _, minutes in lane) for lane in stage) for stage in stages) == pytest.approx(30)
    for lane in stages[1]:
        assert sum(minutes for _, minutes in lane) == pytest.approx(sum(minutes for _, minutes in stages[1][0]))
    assert len(stages[1]) <= jobs and sorted(card for lane in stages[1] for card, _ in lane) == sorted(shares)


def test_a_larger_share_gets_more_minutes(tmp_path: Path):
    _, others = zoo(tmp_path, jobs=1).stages()
    minutes = dict(others[0])
    assert minutes["a-fashion-28"] == pytest.approx(2 * minutes["b-fashion-28"]) == pytest.approx(4 * minutes["d-fashion-28"])


def test_every_recipe_has_a_share_and_a_card():
    assert all(recipe.share > 0 for recipe in RECIPES.values())
    assert set(RECIPES) <= set(bundled_cards())
    assert all(recipe.begins_with in ("", *RECIPES) for recipe in RECIPES.values())


def test_a_failure_is_named_and_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    script = tmp_path / "python"
    script.write_text('#!/bin/sh\necho "$@"\ncase "$*" in *b-fashion-28*) exit 2;; esac\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(TrainingError, match=r"^Not trained: b-fashion-28\."):
        zoo(tmp_path).run()
    for card in SHARES:
        log = (tmp_path / "runs" / card / "train.log").read_text()
        assert log.startswith(f"-m playground train {card} --minutes ")
        assert log.endswith(f"--runs {tmp_path / 'runs'} --device cpu\n")
    out = capsys.readouterr().out
    assert "a-fashion-28: done" in out and "b-fashion-28: failed, see" in out


# -- the report ---------------------------------------------------------------------------------------------------------


def log_of(folder: Path, count: int, **growth: float) -> Path:
    """A run's log, with figures that grow by so much a step."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, float]] = [
        {"step": step, "minutes": step / 100, "pictures_per_second": 9.0, "loss": 1 / (1 + step)}
        | {name: step * by for name, by in growth.items()}
        for step in range(count)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_curves_are_what_was_logged(tmp_path: Path):
    curves = read_curves(log_of(tmp_path, 40, penalty=0.0))
    assert list(curves) == ["minutes", "loss"], "what never changes is no curve"
    assert np.allclose(curves["loss"], 1 / (1 + np.arange(40))) and np.allclose(curves["minutes"], np.arange(40) / 100)
    many = read_curves(log_of(tmp_path, 5, **{f"figure_{index}": 1.0 for index in range(9)}))
    assert len(many) == MAX_CURVES + 1


def test_smoothing_keeps_a_constant_and_calms_noise():
    noisy = 3 + np.random.default_rng(0).normal(size=3000)
    assert np.allclose(smooth(np.full(100, 2.5)), 2.5)
    assert smooth(noisy)[500:].std() < 0.2 < noisy.std() and smooth(noisy)[500:].mean() == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_report_shows_curves_and_pictures(tmp_path: Path, family: str):
    model = FAMILIES[family].tiny()
    run = log_of(tmp_path / "run", 60)
    write_report(run, tmp_path, model, model.Params())
    with Image.open(tmp_path / REPORT) as shown:
        width, height = shown.size
        right = np.asarray(shown.convert("L"))[:, width // 2 :]
    assert width > height and right.std() > 5


def test_a_run_too_short_to_be_logged_has_a_report_too(tmp_path: Path):
    write_report(tmp_path, tmp_path, None, None)
    assert (tmp_path / REPORT).stat().st_size > 0
