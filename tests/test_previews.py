"""When previews of a run are shown: the first at once, then at most so many a second, and the end in any case."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from playground.families.vae import VAE
from playground.meters import Meters
from playground.tasks import find_task
from playground.ui.panels import Panel


def test_the_first_preview_and_the_end_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playground.ui.panels.kept", lambda result: {"ms": result.timing.run_ms})
    monkeypatch.setattr("playground.ui.panels.follows", lambda engine, request: False)
    made = [(2, 0.1), (30, 0.2), (90, 0.3), (103, 0.4), (150, 0.5), (260, 0.9), (261, 1.0)]
    results = [SimpleNamespace(timing=SimpleNamespace(run_ms=ms), sheet=SimpleNamespace(progress=progress)) for ms, progress in made]
    card: Any = None
    engine: Any = SimpleNamespace(stream=lambda request, visitor: iter(results), meters=Meters())
    panel = Panel(VAE, find_task("sample"), card)
    request: Any = None
    assert [value["ms"] for value in panel.answers(engine, request)] == [2, 103, 260, 261]
