"""Sweeps of one knob, with few pictures: each row is what an evaluation with that knob gives, and what is refused costs nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from playground.__main__ import main
from playground.engine import Engine
from playground.errors import BadKnob, TrainingError, UnknownCard
from playground.settings import PROJECT, Settings
from playground.training.data import DEFAULT_FOLDER
from playground.training.evaluate import EvaluationRun
from playground.training.run import UNHASHED
from playground.training.sweep import FIGURES, FILE, Sweep

CARD, FEW = "vae-fashion-28", 60
HOW = {"value", "n", "seed", "command", "date", "device"}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The manifest, one card and the classifier, copied."""
    for name in (CARD, "classifier-fashion-28", "realnvp-fashion-28"):
        shutil.copytree(PROJECT / "weights" / name, tmp_path / name, ignore=shutil.ignore_patterns("metrics.json", FILE))
    shutil.copy(PROJECT / "weights" / "models.toml", tmp_path)
    return tmp_path


def evaluation(weights: Path, **options: Any) -> EvaluationRun:
    settings = Settings(weights_dir=weights, hub="off", port=0)
    return EvaluationRun(settings, data=DEFAULT_FOLDER, **{"num_samples": FEW, "device": "cpu", **options})


def swept(weights: Path, text: str, card: str = CARD, **options: Any) -> list[dict[str, Any]]:
    return Sweep.read(evaluation(weights, **options), text).run(card)


def test_each_row_is_what_an_evaluation_with_that_knob_measures(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = swept(weights, "temperature=1.2,0,0.7", seed=3)
    assert [row["value"] for row in rows] == [0.0, 0.7, 1.2]
    assert all(set(row) == HOW | set(FIGURES) for row in rows)
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert table[0] == ["temperature", *FIGURES]
    assert sorted(line[1] for line in table[1:]) == sorted(str(row["classifier_fd"]) for row in rows)
    alone = evaluation(weights, seed=3, knobs={"temperature": "0.7"}).run([CARD])
    for name in set(FIGURES) - {"ms_per_picture"}:  # a clock never says the same twice
        assert rows[1][name] == alone[name]["value"], name
    # One picture again and again covers less, and lies farther off.
    assert rows[0]["coverage"] < rows[1]["coverage"] and rows[0]["classifier_fd"] > rows[1]["classifier_fd"]
    assert {(row["n"], row["seed"]) for row in rows} == {(FEW, 3)}
    assert rows[0]["command"] == f"python -m playground evaluate {CARD} --sweep temperature=1.2,0,0.7 --num-samples {FEW} --seed 3"


def test_the_file_keeps_other_knobs_and_the_engine_reads_it(weights: Path) -> None:
    engine = Engine(Settings(weights_dir=weights, hub="off", device="cpu"))
    assert engine.swept(CARD) == {}
    words = swept(weights, "prior=standard,fitted,standard", num_samples=20)
    assert [row["value"] for row in words] == ["standard", "fitted"]
    first = swept(weights, "temperature=0.5", num_samples=20)
    again = swept(weights, "temperature=0.6,0.4", num_samples=20)
    assert first != again
    assert engine.swept(CARD) == {"prior": words, "temperature": again} == json.loads((weights / CARD / FILE).read_text())
    assert not list(weights.rglob("*.part")) and FILE in UNHASHED
    assert not (weights / CARD / "metrics.json").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wobble=1", "There is no knob called 'wobble'."),
        ("temperature=0.5,9", "Temperature cannot be '9'. Give a number from 0 to 2."),
        ("temperature=0.5,", "Temperature cannot be ''."),
        ("temperature", "'temperature' is no sweep. Write a knob and its values"),
        ("=1", "'=1' is no sweep"),
        ("prior=flat", "Prior cannot be 'flat'. Choose one of: standard, fitted."),
    ],
)
def test_a_bad_sweep_is_refused_before_anything_is_measured(weights: Path, text: str, words: str) -> None:
    with pytest.raises(BadKnob) as caught:
        swept(weights, text)
    assert words in str(caught.value)
    assert not (weights / CARD / FILE).exists()


def test_a_knob_that_the_card_does_not_have_is_refused(weights: Path) -> None:
    with pytest.raises(BadKnob, match=r"denoise changes nothing of realnvp-fashion-28\. Its knobs are: .*temperature"):
        swept(weights, "denoise=false,true", card="realnvp-fashion-28")
    with pytest.raises(BadKnob, match=r"Leave out --prior"):
        swept(weights, "temperature=1", knobs={"prior": "standard"})


def test_too_few_pictures_and_cards_that_generate_nothing_are_refused(weights: Path) -> None:
    with pytest.raises(TrainingError, match="too few to measure"):
        swept(weights, "temperature=1", num_samples=9)
    with pytest.raises(UnknownCard, match="is no generative model"):
        swept(weights, "temperature=1", card="classifier-fashion-28")


def test_the_command_line_says_what_is_wrong_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", CARD, "--sweep", "num-inference-steps=1"]) == 2
    assert capsys.readouterr().err.startswith("playground: There is no knob called 'num_inference_steps'.")
    assert main(["evaluate", "--all", "--sweep", "temperature=1"]) == 2
    assert "No card was named." in capsys.readouterr().err


def test_what_is_bundled_was_measured_by_the_command_that_it_names() -> None:
    for file in (PROJECT / "weights").glob(f"*/{FILE}"):
        for knob, rows in json.loads(file.read_text()).items():
            assert len(rows) > 1
            for row in rows:
                assert set(row) == HOW | set(FIGURES)
                assert row["command"].startswith(f"python -m playground evaluate {file.parent.name} --sweep {knob}=")
