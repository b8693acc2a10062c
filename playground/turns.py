"""What is kept is made in turn: a place in the engine's line, then step after step in a thread of its own, until the last or until Stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio

from playground.line import Line, Place

TOLD_EVERY = 0.5
"""Seconds between two words on how the line stands."""

T = TypeVar("T")


@dataclass(frozen=True)
class Waiting:
    """How the line stands: how many are before, and this one; about how many seconds yet."""

    position: int
    seconds: float

    def words(self) -> dict[str, Any]:
        """As a browser gets it."""
        return {"waiting": {"position": self.position, "seconds": round(self.seconds)}}


async def in_turn(line: Line, visitor: str, work: Callable[[], Generator[T, None, None]]) -> AsyncGenerator[T | Waiting, None]:
    """How the line stands until it is this one's turn, then what `work` yields. Closing it, or cancelling, closes that at its next step.

    Raises `Busy`, and what `work` raises.
    """
    place = line.join(visitor)
    try:
        while not await _called(place):
            yield Waiting(place.position, place.seconds)
        steps = work()
        try:
            async with aclosing(_stepped(steps)) as stepped:
                async for made in stepped:
                    yield made
        finally:
            steps.close()
    finally:
        place.leave()


@asynccontextmanager
async def turn(line: Line, visitor: str = "") -> AsyncIterator[None]:
    """Waits for its turn, which ends with the block. Raises `Busy`."""
    place = line.join(visitor)
    try:
        while not await _called(place):
            pass
        yield
    finally:
        place.leave()


async def _called(place: Place) -> bool:
    """Whether it is called before it is time to say how the line stands."""
    for _ in range(10):
        if place.is_called:
            return True
        await asyncio.sleep(TOLD_EVERY / 10)
    return place.is_called


async def _stepped(steps: Iterator[T]) -> AsyncGenerator[T, None]:
    """Each step in a thread, the next one while this one is shown. One that has begun is awaited: at work, a generator cannot be
    closed."""
    nothing: Any = object()
    room = anyio.CapacityLimiter(1)  # of its own: the line has counted it, and no other work of threads may hold it up

    def following() -> asyncio.Future[Any]:
        return asyncio.ensure_future(anyio.to_thread.run_sync(next, steps, nothing, limiter=room))

    step = following()
    try:
        while (made := await asyncio.shield(step)) is not nothing:
            step = following()
            yield made
    finally:
        await asyncio.wait([step])
        step.exception()  # it was raised above, or nobody wants it any more
