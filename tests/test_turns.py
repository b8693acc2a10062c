"""What is kept is made in turn: how the line stands is told, and whoever goes away frees what they held, wherever they were."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import aclosing

import pytest

from playground import turns
from playground.errors import Busy
from playground.line import Line
from playground.turns import Waiting, in_turn, turn
from tests import loops


class Work:
    """Three steps, each as long as it is let; notes that it was closed."""

    def __init__(self) -> None:
        self.gate, self.at_work, self.closed = threading.Semaphore(0), threading.Event(), False

    def __call__(self) -> Generator[int, None, None]:
        try:
            for step in range(3):
                self.at_work.set()
                assert self.gate.acquire(timeout=30)
                yield step
        finally:
            self.closed = True


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TOLD_EVERY", 0.01)


def test_it_waits_and_then_runs_to_the_end() -> None:
    line, work = Line(1, 5), Work()
    before = line.join("other")

    async def ask() -> list[int | Waiting]:
        seen: list[int | Waiting] = []
        async for answer in in_turn(line, "me", work):
            if isinstance(answer, Waiting) and len(seen) == 2:
                before.leave()
                work.gate.release(3)
            seen.append(answer)
        return seen

    seen = loops.run(ask())
    assert [answer for answer in seen if not isinstance(answer, Waiting)] == [0, 1, 2]
    assert isinstance(seen[0], Waiting) and seen[0].position == 1 and seen[0].words()["waiting"]["position"] == 1
    assert work.closed and line.join("next").is_called


def test_who_stops_while_waiting_leaves_the_line() -> None:
    line = Line(1, 5)
    line.join("other")

    async def ask() -> None:
        async with aclosing(in_turn(line, "me", Work())) as answers:
            async for _ in answers:
                return

    loops.run(ask())
    assert line.waiting() == 0


def test_who_stops_between_steps_closes_the_work() -> None:
    line, work = Line(1, 5), Work()
    work.gate.release(2)  # the second step has begun while the first is shown

    async def ask() -> None:
        async with aclosing(in_turn(line, "me", work)) as answers:
            async for _ in answers:
                return

    loops.run(ask())
    assert work.closed and line.join("next").is_called


def test_a_cancelled_step_is_awaited_and_then_closed() -> None:
    line, work = Line(1, 5), Work()

    async def ask() -> None:
        async def all_of_it() -> None:
            async with aclosing(in_turn(line, "me", work)) as answers:
                async for _ in answers:
                    pass

        task = asyncio.create_task(all_of_it())
        await asyncio.to_thread(work.at_work.wait, 30)
        task.cancel()
        await asyncio.sleep(0.05)
        assert not work.closed  # a generator at work cannot be closed
        work.gate.release()
        with pytest.raises(asyncio.CancelledError):
            await task

    loops.run(ask())
    assert work.closed and line.join("next").is_called


def test_a_mistake_frees_the_place() -> None:
    line = Line(1, 5)

    def wrong() -> Generator[int, None, None]:
        raise ValueError("no")
        yield 0

    async def ask() -> None:
        async for _ in in_turn(line, "me", wrong):
            pass

    with pytest.raises(ValueError, match="no"):
        loops.run(ask())
    assert line.join("next").is_called


def test_a_turn_waits_and_a_full_line_says_so() -> None:
    line = Line(1, 0)
    first = line.join("other")

    async def ask() -> str:
        async with turn(line, "me"):
            return "mine"

    with pytest.raises(Busy):
        loops.run(ask())
    first.leave()
    assert loops.run(ask()) == "mine" and line.join("next").is_called
