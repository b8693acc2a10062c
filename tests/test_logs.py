"""What gets into the log and what never does, and that every way a request can end is counted once."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from torch import Tensor

from playground.errors import PlaygroundError
from playground.families.base import Step
from playground.families.vae import VAE
from playground.knobs import Knobs
from playground.latent import Noise
from playground.logs import Log
from playground.observing import unlogged
from playground.request import Request
from playground.settings import Settings
from tests.test_meters import value
from tests.tiny import TinyEngine

CARD = "vae-tiny-28"


def logged(kind: str = "json") -> tuple[TinyEngine, io.StringIO]:
    engine = TinyEngine(batch_size=1)
    engine.log = Log(kind, io.StringIO())
    assert isinstance(engine.log.stream, io.StringIO)
    return engine, engine.log.stream


def entries(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def ask(engine: TinyEngine, **knobs: object) -> Request:
    return Request.build(CARD, "sample", cards=engine.cards, **{"num_samples": 3, **knobs})


def broken(self: VAE, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
    raise RuntimeError("cannot read /home/anna/diary.png")


def refusing(self: VAE, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
    raise PlaygroundError("The words 'my secret prompt' are too long.", "Shorten them.")


def test_a_finished_request_is_one_line_with_its_times() -> None:
    engine, stream = logged()
    engine.run(ask(engine), visitor="192.0.2.7")
    (entry,) = entries(stream)
    assert entry["event"] == "request" and entry["outcome"] == "done" and entry["family"] == "vae" and entry["task"] == "sample"
    assert entry["pictures"] == 3 and entry["load_ms"] >= 0 and entry["run_ms"] >= 0
    assert value(engine.meters, "requests_total", family="vae", task="sample", outcome="done") == 1
    assert value(engine.meters, "pass_rows_sum") >= 3 and value(engine.meters, "models_loaded") == 1


def test_stop_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, stream = logged()
    steps = engine.stream(ask(engine))
    next(steps)
    assert value(engine.meters, "running") == 1
    steps.close()
    assert entries(stream)[0]["outcome"] == "stopped"
    assert value(engine.meters, "requests_total", family="vae", task="sample", outcome="stopped") == 1


def test_a_mistake_is_told_by_its_type_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VAE, "decode", refusing)
    engine, stream = logged()
    with pytest.raises(PlaygroundError):
        engine.run(ask(engine))
    (entry,) = entries(stream)
    assert entry["outcome"] == "refused" and entry["error"] == "PlaygroundError" and "secret" not in stream.getvalue()


def test_an_unforeseen_error_shows_where_it_arose_but_not_with_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VAE, "decode", broken)
    engine, stream = logged()
    with pytest.raises(RuntimeError):
        engine.run(ask(engine))
    (entry,) = entries(stream)
    assert entry["outcome"] == "failed" and entry["error"] == "RuntimeError"
    assert any(frame.endswith("broken") for frame in entry["traceback"]) and "anna" not in stream.getvalue()


@pytest.mark.parametrize("kind", ["text", "json"])
def test_nothing_of_a_visitor_gets_into_the_log(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, stream = logged(kind)
    request = Request.build("diffusion-latent-tiny-28", "sample", cards=engine.cards, num_samples=1, seed=987654)
    engine.run(request, visitor="203.0.113.99 session-abc")
    assert "event" in stream.getvalue() or "event=" in stream.getvalue()
    for word in ("203.0.113.99", "session-abc", "987654", request.to_query(), "latent-tiny"):
        assert word not in stream.getvalue(), word


def test_live_frames_are_counted_and_not_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, stream = logged()
    with unlogged():
        engine.run(ask(engine))
    assert stream.getvalue() == "" and value(engine.meters, "requests_total", family="vae", task="sample", outcome="done") == 1
    engine.run(ask(engine))
    assert len(entries(stream)) == 1


def test_off_writes_nothing_and_a_closed_stream_stops_nobody() -> None:
    engine, stream = logged("off")
    engine.run(ask(engine))
    assert stream.getvalue() == ""
    closed = io.StringIO()
    closed.close()
    Log("json", closed).tell("start")


def test_a_password_is_shown_by_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(sign_in="anna:tr:ee, bob:house")
    assert settings.accounts == {"anna": "tr:ee", "bob": "house"} and "house" not in repr(settings)
    for wrong in ("anna", "anna:", ":house", "anna:house,,", "anna:house,anna:mouse"):
        monkeypatch.setenv("PLAYGROUND_SIGN_IN", wrong)
        with pytest.raises(PlaygroundError, match="pair") as caught:
            Settings.from_environment()
        assert "house" not in str(caught.value) and "PLAYGROUND_SIGN_IN" in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("told", "given"),
    [(True, {}), (False, {"visitors": "strangers"}), (True, {"visitors": "strangers", "sign_in": "a:b"}), (False, {"metrics": "off"})],
)
def test_metrics_are_not_for_strangers(told: bool, given: dict[str, Any]) -> None:
    assert Settings(**given).tells_metrics is told
