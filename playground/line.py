"""The line: so many requests run at once, the others wait their turn and know how long; beyond that, people are asked to come back."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from playground.errors import Busy

MOST_EACH = 8
"""Requests of one visitor that may be in line at once."""
REMEMBERED = 0.8
"""How much of the estimate of a request's seconds stays when another one is done."""
MAX_KNOWN = 1000
"""Visitors of whom it is known when they were called last."""


@dataclass(eq=False)
class Place:
    """One request's place in the line. It begins when `is_called`; whoever holds it must `leave`."""

    line: Line
    visitor: str
    called: threading.Event = field(default_factory=threading.Event)
    joined: float = field(default_factory=time.monotonic)
    began: float = 0.0

    @property
    def is_called(self) -> bool:
        """Whether it may run now."""
        return self.called.is_set()

    @property
    def position(self) -> int:
        """How many are before it, and it: 1 is the next one; 0 when it may run."""
        return self.line.position(self)

    @property
    def seconds(self) -> float:
        """About how long it will wait yet, by how long requests took lately."""
        return self.line.seconds(self)

    def leave(self) -> None:
        """It is done, or nobody wants it any more. May be said twice."""
        self.line.leave(self)


class Line:
    """`at_once` requests run, at most `length` wait. Next is who has the fewest running, and was called longest ago."""

    def __init__(self, at_once: int, length: int, waited: Callable[[float], None] | None = None) -> None:
        """`waited` is told the seconds that each stood in line."""
        self.at_once, self.length, self.waited = at_once, length, waited
        self._lock = threading.Lock()
        self._waiting: list[Place] = []
        self._running: list[Place] = []
        self._last: OrderedDict[str, int] = OrderedDict()
        self._calls = 0
        self._seconds = 1.0

    def join(self, visitor: str) -> Place:
        """A place. Raises `Busy` when the line is full, or the visitor has too many in it."""
        with self._lock:
            own = sum(place.visitor == visitor for place in (*self._waiting, *self._running)) if visitor else 0
            if own >= MOST_EACH:
                raise Busy(f"{own} requests of yours are waiting or running already.", "Wait until some are done, or stop them.")
            if len(self._running) >= self.at_once and len(self._waiting) >= self.length:
                wait = self._estimate(len(self._waiting))
                raise Busy(f"{len(self._waiting)} requests are waiting here already.", f"Try again in about {max(1, round(wait))} seconds.")
            place = Place(self, visitor)
            self._waiting.append(place)
            self._call()
            return place

    def leave(self, place: Place) -> None:
        """See `Place.leave`."""
        with self._lock:
            if place in self._waiting:
                self._waiting.remove(place)
            elif place in self._running:
                self._running.remove(place)
                took = time.monotonic() - place.began
                self._seconds = REMEMBERED * self._seconds + (1 - REMEMBERED) * took
                self._call()

    def position(self, place: Place) -> int:
        """See `Place.position`."""
        with self._lock:
            return self._order().index(place) + 1 if place in self._waiting else 0

    def seconds(self, place: Place) -> float:
        """See `Place.seconds`."""
        return self._estimate(self.position(place))

    def waiting(self) -> int:
        """How many wait."""
        with self._lock:
            return len(self._waiting)

    def _estimate(self, position: int) -> float:
        return self._seconds * position / self.at_once

    def _call(self) -> None:
        while self._waiting and len(self._running) < self.at_once:
            place = self._order()[0]
            self._waiting.remove(place)
            self._running.append(place)
            place.began = time.monotonic()
            self._note(place.visitor)
            if self.waited is not None:
                self.waited(place.began - place.joined)
            place.called.set()

    def _note(self, visitor: str) -> None:
        self._calls += 1
        if visitor:
            self._last[visitor] = self._calls
            self._last.move_to_end(visitor)
            if len(self._last) > MAX_KNOWN:
                self._last.popitem(last=False)

    def _order(self) -> list[Place]:
        """All that wait, in the order in which they will be called: round by round, one of each visitor."""
        rounds = Counter(place.visitor for place in self._running)
        keys: dict[Place, tuple[int, int]] = {}
        for place in self._waiting:
            keys[place] = (rounds[place.visitor], self._last.get(place.visitor, 0)) if place.visitor else (0, 0)
            rounds[place.visitor] += 1
        return sorted(self._waiting, key=keys.__getitem__)
