"""How long a picture takes is measured again, and nothing else changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from playground.__main__ import main
from playground.errors import UnknownCard
from playground.settings import PROJECT, Settings
from playground.training.evaluate import EvaluationRun
from playground.training.times import NAME, Times

CARD = "gan-fashion-28"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The card's own folder, copied, with a sweep that takes no time at all, as it says."""
    shutil.copytree(PROJECT / "weights" / CARD, tmp_path / CARD)
    shutil.copy(PROJECT / "weights" / "models.toml", tmp_path)
    rows = [{"value": 0.5, "classifier_fd": 9.0, NAME: 0.0}, {"value": 1.0, "classifier_fd": 3.0, NAME: 0.0}]
    (tmp_path / CARD / "sweeps.json").write_text(json.dumps({"truncation_psi": rows}))
    return tmp_path / CARD


def times(folder: Path) -> Times:
    return Times(EvaluationRun(Settings(weights_dir=folder.parent, hub="off", port=0), data=None, device="cpu"))


def test_only_the_time_changes(folder: Path) -> None:
    before = json.loads((folder / "metrics.json").read_text())
    card_before = (folder / "README.md").read_text().splitlines()
    (line,) = times(folder).run([CARD])
    after = json.loads((folder / "metrics.json").read_text())
    assert line.split() == [CARD, str(after[NAME]["value"]), "ms"] and 0 < after[NAME]["value"] < 60_000
    assert after[NAME]["command"] == f"python -m playground evaluate {CARD} --times"
    assert {**after, NAME: 0} == {**before, NAME: 0} and [*after] == [*before]
    changed = [now for was, now in zip(card_before, (folder / "README.md").read_text().splitlines(), strict=True) if was != now]
    assert len(changed) == 1 and f"| {after[NAME]['value']} | 1 |" in changed[0]
    for row in json.loads((folder / "sweeps.json").read_text())["truncation_psi"]:
        assert row[NAME] > 0 and row["classifier_fd"] in (9.0, 3.0)


def test_from_the_command_line(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PLAYGROUND_WEIGHTS_DIR", str(folder.parent))
    assert main(["evaluate", CARD, "--times", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith(CARD)


def test_an_unknown_card_is_told(folder: Path) -> None:
    with pytest.raises(UnknownCard, match="nobody"):
        [*times(folder).run(["nobody-1"])]
