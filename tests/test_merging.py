"""Forward passes of several requests: merged where nobody can tell, fair between visitors, and each with its own mistakes."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from playground.engine import Engine
from playground.passes import TILE, Passes
from playground.request import Request
from playground.settings import Settings
from tests.tiny import TinyEngine

PATIENCE = 60.0


class Device:
    """A device that runs nothing until it is told to, and notes what it ran: rows of each pass, in order."""

    def __init__(self, **options: Any) -> None:
        self.gate, self.began, self.ran = threading.Semaphore(0), threading.Semaphore(0), list[list[float]]()
        self.passes = Passes(execute=self._execute, counted=lambda rows, requests: self.counted.append((rows, requests)), **options)
        self.counted: list[tuple[int, int]] = []
        self.pool = ThreadPoolExecutor(16)

    def _execute(self, function: Callable[..., Any], rows: Any) -> Any:
        self.ran.append(rows[0][:: min(TILE, len(rows[0])), 0].tolist())
        self.began.release()
        assert self.gate.acquire(timeout=PATIENCE)
        return function(*rows)

    def ask(self, name: float, visitor: str = "", function: Callable[..., Any] = torch.neg, rows: int = TILE) -> Future[Any]:
        """A pass whose rows all hold that number; it waits in line once this returns."""

        def work() -> Any:
            with torch.inference_mode(), self.passes.visit(visitor) as visit, self.passes.on_behalf(visit):
                return self.passes.run(function, torch.full((rows, 2), name))

        before = self._seen()
        future = self.pool.submit(work)
        while self._seen() == before and not future.done():
            time.sleep(0.0005)
        return future

    def _seen(self) -> int:
        return len(self.passes._waiting) + len(self.ran) * 100

    def busy(self) -> Future[Any]:
        """One pass that keeps the device until `go`."""
        future = self.ask(0.0, "first", torch.exp)
        assert self.began.acquire(timeout=PATIENCE)
        return future

    def go(self, count: int) -> None:
        for _ in range(count):
            self.gate.release()


def test_what_waits_together_goes_together() -> None:
    device = Device()
    first, others = device.busy(), [device.ask(float(name)) for name in (1, 2, 3)]
    device.go(2)
    assert torch.equal(first.result(PATIENCE), torch.ones(TILE, 2))
    assert [float(other.result(PATIENCE)[0, 0]) for other in others] == [-1.0, -2.0, -3.0]
    assert device.ran == [[0.0], [1.0, 2.0, 3.0]] and device.counted == [(TILE, 1), (3 * TILE, 3)]


def test_what_does_not_fit_goes_by_itself() -> None:
    device = Device(most_rows=2 * TILE)
    device.busy()
    others = [device.ask(1.0, rows=3), device.ask(2.0, rows=3)]  # a few rows come out otherwise in company, in the last bit
    others += [device.ask(3.0, function=torch.sin), *(device.ask(float(name)) for name in (4, 5, 6))]
    device.go(10)
    for other in others:
        other.result(PATIENCE)
    assert device.ran == [[0.0], [1.0], [2.0], [3.0], [4.0, 5.0], [6.0]]


def test_who_had_least_goes_first() -> None:
    device = Device()
    greedy = [device.busy(), *(device.ask(float(name), "first", torch.exp) for name in (1, 2, 3))]
    others = [device.ask(7.0, "second", torch.sin), device.ask(8.0, "third", torch.cos)]
    device.go(10)
    for future in (*greedy, *others):
        future.result(PATIENCE)
    assert device.ran[1] == [7.0] and device.ran[2] == [8.0]


def test_nobody_saves_up_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes late has had nothing yet, but goes before others once, not until all is made up for."""
    seconds = itertools.count()
    monkeypatch.setattr("playground.passes.time.perf_counter", lambda: next(seconds))  # each pass takes one second
    device = Device()
    asked = [device.busy(), *(device.ask(float(name), "first", rows=3) for name in (1, 2, 3))]
    device.go(1)
    assert device.began.acquire(timeout=PATIENCE)  # the next one of the first visitor runs
    asked += [device.ask(float(name), "late", rows=3) for name in (11, 12, 13)]
    device.go(10)
    for future in asked:
        future.result(PATIENCE)
    assert device.ran == [[0.0], [1.0], [11.0], [2.0], [12.0], [3.0], [13.0]]


def test_a_pass_waits_for_one_that_comes_again() -> None:
    """Two samplers step for step: whoever is first waits for the other."""
    counted: list[tuple[int, int]] = []
    passes = Passes(wait_ms=1000 * PATIENCE, counted=lambda rows, requests: counted.append((rows, requests)))
    together = threading.Barrier(2)

    def slowly(x: Tensor) -> Tensor:
        time.sleep(0.002)
        return x

    def sample() -> None:
        with torch.inference_mode(), passes.visit("") as visit, passes.on_behalf(visit):
            together.wait(PATIENCE)
            for _ in range(30):
                passes.run(slowly, torch.zeros(TILE, 2))

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(sample), pool.submit(sample)]:
            future.result(PATIENCE)
    assert counted.count((2 * TILE, 2)) > 15


def test_nobody_waits_alone() -> None:
    passes = Passes(wait_ms=1e9)
    with torch.inference_mode(), passes.visit("") as visit, passes.on_behalf(visit):
        for _ in range(5):
            passes.run(torch.neg, torch.zeros(TILE, 2))


def test_a_mistake_is_its_own() -> None:
    def picky(x: Tensor) -> Tensor:
        if (x == 2).any():
            raise ValueError("two")
        return x

    device = Device()
    device.busy()
    good, bad = device.ask(1.0, function=picky), device.ask(2.0, function=picky)
    device.go(10)
    assert torch.equal(good.result(PATIENCE), torch.full((TILE, 2), 1.0))
    with pytest.raises(ValueError, match="two"):
        bad.result(PATIENCE)
    after = device.ask(3.0)
    assert float(after.result(PATIENCE)[0, 0]) == -3.0  # the lane is free again


def test_several_answers_are_taken_apart() -> None:
    def both(x: Tensor) -> tuple[Tensor, None, Tensor]:
        return x, None, x.sum(dim=1)

    device = Device()
    device.busy()
    others = [device.ask(float(name), function=both) for name in (1, 2)]
    device.go(2)
    for name, other in zip((1, 2), others, strict=True):
        one, nothing, total = other.result(PATIENCE)
        assert torch.equal(one, torch.full((TILE, 2), float(name))) and nothing is None and total.tolist() == [2.0 * name] * TILE


def test_what_is_differentiated_goes_by_itself() -> None:
    passes = Passes(execute=lambda function, rows: pytest.fail("it took a turn"))
    x = torch.ones(TILE, 2, requires_grad=True)
    passes.run(torch.square, x).sum().backward()
    assert x.grad is not None and float(x.grad[0, 0]) == 2.0
    passes.bypassed = True
    with torch.inference_mode():
        assert float(passes.run(torch.neg, torch.ones(1, 1))) == -1.0


def test_visits_are_forgotten() -> None:
    passes = Passes()
    with torch.inference_mode():
        for index in range(3000):
            with passes.visit(f"visitor {index}") as visit, passes.on_behalf(visit):
                passes.run(torch.neg, torch.zeros(TILE, 2))
    assert not passes._known and not passes._finish


def test_a_device_that_is_never_idle_does_not_remember_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playground.passes.REMEMBERED", 100)
    passes, gate, began = Passes(lanes=2), threading.Event(), threading.Event()

    def held(rows: Tensor) -> Tensor:
        began.set()
        assert gate.wait(PATIENCE)
        return rows

    def ask(visitor: str, function: Callable[..., Any]) -> None:
        with torch.inference_mode(), passes.visit(visitor) as visit, passes.on_behalf(visit):
            passes.run(function, torch.zeros(TILE, 2))

    with ThreadPoolExecutor(1) as pool:
        pool.submit(ask, "first", held)
        assert began.wait(PATIENCE)
        for index in range(300):
            ask("often", torch.neg)
            ask(f"visitor {index}", torch.neg)
        assert len(passes._finish) == 100 and {"often", "visitor 299"} <= passes._finish.keys()
        gate.set()
    assert not passes._finish


@pytest.mark.parametrize("bundled", [False, True], ids=["tiny", "bundled"])
def test_samplers_in_company_draw_what_they_draw_alone(bundled: bool) -> None:
    """Bit for bit: other seeds, other schedulers, other steps and guidance, all through the same passes."""
    engine = Engine(Settings(hub="off", device="cpu")) if bundled else TinyEngine()
    card = "ddpm-fashion-28" if bundled else "diffusion-tiny-28"
    knobs: list[dict[str, Any]] = [
        {"seed": 1, "scheduler": "ddpm", "num_inference_steps": 4},
        {"seed": 2, "scheduler": "heun", "num_inference_steps": 3, "guidance_scale": 3.0},
        {"seed": 3, "scheduler": "unipc", "num_inference_steps": 5, "label": "1"},
        {"seed": 1, "scheduler": "ddim", "num_inference_steps": 4, "eta": 1.0},
    ]
    requests = [Request.build(card, "sample", cards=engine.cards, num_samples=TILE, **each) for each in knobs]
    alone = [engine.run(request).pictures for request in requests]
    counted: list[tuple[int, int]] = []
    engine.passes = Passes(lanes=1, wait_ms=1000, counted=lambda rows, visits: counted.append((rows, visits)))
    engine.model(card).together = engine.passes.run
    with ThreadPoolExecutor(len(requests)) as pool:
        together = [result.pictures for result in pool.map(engine.run, requests)]
    assert max(visits for _, visits in counted) > 1
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other)
