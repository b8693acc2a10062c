"""The line: so many requests run at once, the others wait their turn and know how long; beyond that, people are asked to come back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from playground.errors import Busy

MOST_EACH = 8
"""Requests of one visitor that may be in line at once."""
REMEMBERED = 0.8
"""How much of the estimate of a request's seconds stays when another one is done."""


@dataclass(eq=False)
class Place:
    """One request's place in the line. It begins when `is_called`; whoever holds it must `leave`."""

    line: Line
    visitor: str
    called: threading.Event = field(default_factory=threading.Event)
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
    """`at_once` requests run, at most `length` wait. The next is the first of whichever visitor has the fewest running."""

    def __init__(self, at_once: int, length: int) -> None:
        self.at_once, self.length = at_once, length
        self._lock = threading.Lock()
        self._waiting: list[Place] = []
        self._running: list[Place] = []
        self._seconds = 1.0

    def join(self, visitor: str) -> Place:
        """A place. Raises `Busy` when the line is full, or the visitor has too many in it."""
        with self._lock:
            own = sum(place.visitor == visitor for place in (*self._waiting, *self._running)) if visitor else 0
            if own >= MOST_EACH:
                raise Busy(f"{own} requests of yours are waiting or running already.", "Wait until some are done, or stop them.")
            if len(self._waiting) >= self.length:
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
            place.called.set()

    def _order(self) -> list[Place]:
        """All that wait, in the order in which they will be called: round by round, one of each visitor."""
        rounds = Counter(place.visitor for place in self._running)
        keyed = []
        for number, place in enumerate(self._waiting):
            keyed.append((rounds[place.visitor] if place.visitor else 0, number, place))
            rounds[place.visitor] += 1
        return [place for *_, place in sorted(keyed, key=lambda key: key[:2])]
