"""What an engine tells of each request: counted for Prometheus, and written to the log when somebody waits for it as a kept answer."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from playground.errors import PlaygroundError
from playground.logs import what_failed
from playground.meters import process_bytes
from playground.request import Request
from playground.result import Result

if TYPE_CHECKING:
    from playground.engine import Engine

Stream = Callable[..., Generator[Result, None, None]]

_unlogged: ContextVar[bool] = ContextVar("unlogged", default=False)


@contextmanager
def unlogged() -> Iterator[None]:
    """Whatever runs inside is counted, and not written down: live frames, of which there are many a second."""
    token = _unlogged.set(True)
    try:
        yield
    finally:
        _unlogged.reset(token)


def watch(engine: Engine) -> None:
    """Gauges of what an engine holds and does at the moment."""
    gauge = engine.meters.watch
    gauge("models_loaded", "Models in memory.", engine.num_loaded)
    gauge("resident_bytes", "Bytes of weights in memory.", engine.resident_bytes)
    gauge("running", "Requests that are using a model.", engine.in_use)
    gauge("waiting", "Requests in line.", engine.line.waiting)
    gauge("process_bytes", "Bytes of memory that the process holds.", process_bytes)


def observed(stream: Stream) -> Stream:
    """An engine's `stream(request, visitor)` that tells the engine's `meters` and `log` how each request ended, and how long it took."""

    @functools.wraps(stream)
    def watched(engine: Engine, request: Request, visitor: str = "") -> Generator[Result, None, None]:
        asked, outcome, last = time.perf_counter(), "stopped", None
        error: Exception | None = None
        try:
            for last in stream(engine, request, visitor):
                yield last
            outcome = "done"
        except PlaygroundError as mistake:
            outcome, error = "refused", mistake
            raise
        except Exception as unforeseen:
            outcome, error = "failed", unforeseen
            raise
        finally:
            _tell(engine, request, outcome, time.perf_counter() - asked, last, error)

    return watched


def _tell(engine: Engine, request: Request, outcome: str, seconds: float, last: Result | None, error: Exception | None) -> None:
    card = (engine.cards or {}).get(request.card)
    family, task = card.family if card else "", request.task.name
    engine.meters.answered(family, task, outcome)
    ms = {"run": 1000 * seconds} if last is None else {"load": last.timing.load_ms, "run": last.timing.run_ms}
    for stage, took in ms.items():
        engine.meters.took(stage, took / 1000)
    if _unlogged.get() and outcome != "failed":
        return
    facts: dict[str, Any] = {"family": family, "task": task, "outcome": outcome, "pictures": 0 if last is None else len(last.pictures)}
    facts |= {f"{stage}_ms": round(took, 1) for stage, took in ms.items()}
    if isinstance(error, PlaygroundError):
        facts["error"] = type(error).__name__  # its sentence may quote what somebody typed
    elif error is not None:
        facts |= what_failed(error)
    engine.log.tell("request", **facts)
