"""Forward passes of all requests at once: merged where they fit together, fair between visitors, never more than the device has room for.

A model hands its network's work to `Passes.run` as a function of rows, one row a picture. Passes of different requests that want the
same function meet here and go through it together. On the CPU only whole tiles of rows are merged: there a row of a tile comes out the
same bit for bit however many tiles there are (but not however many rows), so that everybody gets the pixels of being alone.

Fairness is start-time fair queueing (Goyal, Vin & Cheng, IEEE/ACM Transactions on Networking 5(5), 1997): who has had the least of the
device goes first, and nobody saves up turns by staying away.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

TILE = 16
"""Rows of which a pass on the CPU is a whole multiple if it is merged."""
REMEMBERED = 10_000
"""Visitors whose share is remembered of a device that is never idle; who had theirs longest ago begins anew."""

Function = Callable[..., Any]
"""Tensors of the same number of rows to a tensor, or a tuple of tensors and None, with as many rows; each row by itself."""
Execute = Callable[[Function, Sequence[Tensor]], Any]


@dataclass(eq=False)
class Visit:
    """One request at work: whose it is, and how it comes back for more."""

    visitor: str
    wants: tuple[Any, ...] = ()
    """The kind of its last pass."""
    comes_again: bool = False
    """Whether its last two passes were of one kind: then the next one probably is."""
    busy: bool = False
    since: float = 0.0
    """When its last pass ended."""


@dataclass(eq=False)
class _Ticket:
    """One pass that waits its turn."""

    function: Function
    rows: tuple[Tensor, ...]
    kind: tuple[Any, ...]
    visit: Visit
    joined: float
    """What the clock said."""
    order: int
    wake: threading.Lock = field(default_factory=threading.Lock)
    """Held while it waits; released once, when it was made by somebody else or may be made now."""
    done: bool = False
    answer: Any = None
    error: BaseException | None = None

    def __len__(self) -> int:
        return self.rows[0].shape[0]

    @property
    def fits(self) -> bool:
        """Whether others may join it, or it them."""
        return self.rows[0].device.type != "cpu" or len(self) % TILE == 0

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.answer


class Passes:
    """Runs forward passes: `lanes` of them at once, at most `most_rows` rows in a merged one, none waiting over `wait_ms` for company.

    `execute(function, rows)` runs one; `counted(rows, requests)` is told of each.
    """

    def __init__(
        self,
        lanes: int = 1,
        most_rows: int = 64,
        wait_ms: float = 0.0,
        execute: Execute | None = None,
        counted: Callable[[int, int], None] | None = None,
    ) -> None:
        self.lanes, self.most_rows, self.wait = lanes, most_rows, wait_ms / 1000
        self.execute: Execute = execute or (lambda function, rows: function(*rows))
        self.counted: Callable[[int, int], None] = counted or (lambda rows, requests: None)
        self.bypassed = False
        """Whether every pass runs at once in the thread that wants it: in a forked process, where nobody else is."""
        self._free = lanes
        self._waiting: list[_Ticket] = []
        self._changed = threading.Condition()
        self._known: set[Visit] = set()
        self._clock, self._finish = 0.0, dict[str, float]()
        self._numbers = itertools.count()
        self._here = threading.local()

    # -- who is asking ----------------------------------------------------------------------------------------------

    @contextmanager
    def visit(self, visitor: str) -> Iterator[Visit]:
        """A request's life. Requests without a `visitor` count as one each."""
        visit = Visit(visitor or f"request {next(self._numbers)}")
        with self._changed:
            self._known.add(visit)
        try:
            yield visit
        finally:
            with self._changed:
                self._known.remove(visit)
                self._changed.notify_all()  # nobody need wait for it

    @contextmanager
    def on_behalf(self, visit: Visit) -> Iterator[None]:
        """Whatever this thread runs inside is that visit's."""
        before = getattr(self._here, "visit", None)
        self._here.visit = visit
        try:
            yield
        finally:
            self._here.visit = before

    # -- running ----------------------------------------------------------------------------------------------------

    def run(self, function: Function, *rows: Tensor) -> Any:
        """`function(*rows)`, in turn and perhaps together with others. What is differentiated runs at once, by itself."""
        if self.bypassed or not torch.is_inference_mode_enabled():
            return function(*rows)
        ticket = self._join(function, rows)
        if not ticket.done:  # a lane is free, or was handed on
            group = self._gather(ticket)
            try:
                self._perform(group)
            finally:
                self._hand_on(group)
        return ticket.result()

    def _join(self, function: Function, rows: tuple[Tensor, ...]) -> _Ticket:
        """Waits until the pass was made by somebody else, or may be made now."""
        with self._changed:
            visit = getattr(self._here, "visit", None) or Visit(f"request {next(self._numbers)}")
            ticket = _Ticket(function, rows, _kind(function, rows), visit, self._clock, next(self._numbers))
            visit.comes_again, visit.wants, visit.busy = visit.wants == ticket.kind, ticket.kind, True
            leads = self._free > 0
            if leads:
                self._free -= 1
            else:
                ticket.wake.acquire()
                self._waiting.append(ticket)
                self._changed.notify_all()
        if not leads:
            ticket.wake.acquire()
        return ticket

    def _gather(self, first: _Ticket) -> list[_Ticket]:
        """The tickets that go together with this one, which goes in any case."""
        deadline = time.monotonic() + self.wait
        with self._changed:
            while self._is_worth_waiting(first) and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            group, count = [first], len(first)
            for ticket in sorted(self._waiting, key=self._turn) if first.fits else []:
                if ticket.kind == first.kind and ticket.fits and count + len(ticket) <= self.most_rows:
                    group.append(ticket)
                    count += len(ticket)
            self._waiting = [ticket for ticket in self._waiting if ticket not in group]
            self._clock = max(self._clock, self._start(first))
        return group

    def _start(self, ticket: _Ticket) -> float:
        """The seconds of the device that its visitor has had, but for those that were missed by staying away."""
        return max(ticket.joined, self._finish.get(ticket.visit.visitor, 0.0))

    def _turn(self, ticket: _Ticket) -> tuple[float, int]:
        return self._start(ticket), ticket.order

    def _is_worth_waiting(self, first: _Ticket) -> bool:
        """Whether all lanes are taken, and another request will soon want the same."""
        if self._free or not first.fits or not self.wait:
            return False
        waiting = sum(len(ticket) for ticket in self._waiting if ticket.kind == first.kind)
        if len(first) + waiting >= self.most_rows:
            return False
        now = time.monotonic()
        alike = (visit for visit in self._known if visit.wants == first.kind and visit is not first.visit)
        return any(visit.comes_again and not visit.busy and now - visit.since < 2 * self.wait for visit in alike)

    def _perform(self, group: list[_Ticket]) -> None:
        began = time.perf_counter()
        try:
            self._together(group)
        except Exception as error:
            if len(group) == 1:
                group[0].error = error
            else:  # one of them may be at fault, or all together too large: each by itself
                for ticket in group:
                    self._perform([ticket])
                return
        took, total = time.perf_counter() - began, sum(len(ticket) for ticket in group)
        with self._changed:
            for ticket in group:
                self._charge(ticket, took * len(ticket) / total)

    def _together(self, group: list[_Ticket]) -> None:
        first, sizes = group[0], [len(ticket) for ticket in group]
        columns = zip(*(ticket.rows for ticket in group), strict=True)
        rows = first.rows if len(group) == 1 else tuple(torch.cat(column) for column in columns)
        self.counted(sum(sizes), len({id(ticket.visit) for ticket in group}))
        answer = self.execute(first.function, rows)
        for ticket, part in zip(group, [answer] if len(group) == 1 else _split(answer, sizes), strict=True):
            ticket.answer = part

    def _charge(self, ticket: _Ticket, seconds: float) -> None:
        finish = self._start(ticket) + seconds
        self._finish.pop(ticket.visit.visitor, None)
        self._finish[ticket.visit.visitor] = finish  # now the last of them
        if len(self._finish) > REMEMBERED:
            del self._finish[next(iter(self._finish))]

    def _hand_on(self, group: list[_Ticket]) -> None:
        """Tells those whose pass was made, and gives the lane to whoever has had the least."""
        with self._changed:
            for ticket in group:
                ticket.done, ticket.visit.busy, ticket.visit.since = True, False, time.monotonic()
            following = min(self._waiting, key=self._turn, default=None)
            if following is None:
                self._free += 1
                if self._free == self.lanes:  # nobody wants anything: all begin anew
                    self._clock = max([self._clock, *self._finish.values()])
                    self._finish.clear()
            else:
                self._waiting.remove(following)
        for ticket in group[1:]:
            ticket.wake.release()
        if following is not None:
            following.wake.release()


def named(function: Function) -> tuple[Any, tuple[int, int]]:
    """Whose a function is, and what tells it from all others while that lives: a method by its object, anything else by itself."""
    body = getattr(function, "__func__", function)
    owner = function if body is function else function.__self__  # type: ignore[attr-defined]
    return owner, (id(owner), id(body))


def _kind(function: Function, rows: Sequence[Tensor]) -> tuple[Any, ...]:
    """Passes of one kind can be merged: the same function of the same object, on rows of the same shape."""
    return (*named(function)[1], *((row.shape[1:], row.dtype, row.device) for row in rows))


def _split(answer: Any, sizes: list[int]) -> list[Any]:
    if isinstance(answer, Tensor):
        return list(answer.split(sizes))
    parts = [[None] * len(sizes) if part is None else part.split(sizes) for part in answer]
    return list(zip(*parts, strict=True))
