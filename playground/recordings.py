"""Forward passes recorded, and replayed without the Python that they are written in.

A network for small pictures is hundreds of operations of a few microseconds each, and leading from one to the next takes Python as long.
What records them is another on each kind of device: see `graphs.py` and `traces.py`.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from playground.passes import Function, named

MAX_SEEN = 1000
"""Kinds of passes that are remembered without a recording."""

Kind = tuple[Any, ...]
Recording = Callable[[Sequence[Tensor]], Any]
"""Rows to what the recorded function says of them."""


class Recorder(Protocol):
    """What records passes on a kind of device."""

    aside: bool
    """Whether it records in a thread of its own, while passes go on as they are."""

    def suits(self, device: torch.device) -> bool:
        """Whether passes on that device can be recorded."""
        ...

    def is_worth_it(self, runs: int, seconds: float) -> bool:
        """Whether to record what was run so often, the fastest time for `seconds`."""
        ...

    def room(self, count: int) -> int:
        """How many rows a recording has that serves `count` of them."""
        ...

    def record(self, function: Function, rows: Sequence[Tensor]) -> Recording:
        """Records `function(*rows)`, of as many rows as there is room for or fewer. Raises anything for what cannot be recorded."""
        ...


@dataclass
class _Runs:
    """How often a kind of pass was run, and the fastest time in seconds."""

    count: int = 0
    seconds: float = float("inf")


class Recordings:
    """Runs functions of rows, each row by itself, by recordings where it has some: `Passes(execute=Recordings(recorders).run)`.

    At most `most` are kept, the least recently used goes first; 0 records nothing. What cannot be recorded runs as it is, and is not tried
    again. Recordings go when the object whose method they are goes; they keep no model alive.
    """

    def __init__(self, recorders: Sequence[Recorder], most: int = 32) -> None:
        self.recorders, self.most = recorders, most
        self._recordings: OrderedDict[Kind, Recording] = OrderedDict()
        self._runs: dict[Kind, _Runs] = {}
        self._refused: set[Kind] = set()
        self._owners: dict[int, weakref.ref[Any]] = {}
        self._lock = threading.RLock()
        self._aside: threading.Thread | None = None

    def run(self, function: Function, rows: Sequence[Tensor]) -> Any:
        """`function(*rows)`."""
        recorder = self._recorder(rows)
        if recorder is None:
            return function(*rows)
        with self._lock:
            kind = (*self._name(function), recorder.room(len(rows[0])), *((row.shape[1:], row.dtype, row.device) for row in rows))
            recording = self._find(kind, recorder, function, rows)
        if recording is not None:
            return recording(rows)
        began = time.perf_counter()
        answer = function(*rows)
        self._note(kind, time.perf_counter() - began)
        return answer

    def __len__(self) -> int:
        return len(self._recordings)

    def settle(self) -> None:
        """Waits until nothing is being recorded aside."""
        if (thread := self._aside) is not None:
            thread.join()

    def _recorder(self, rows: Sequence[Tensor]) -> Recorder | None:
        if not self.most or not rows or not len(rows[0]):
            return None
        return next((each for each in self.recorders if each.suits(rows[0].device)), None)

    def _find(self, kind: Kind, recorder: Recorder, function: Function, rows: Sequence[Tensor]) -> Recording | None:
        """That of a kind of pass, made when it is worth it; None where there is none yet."""
        if kind in self._recordings:
            self._recordings.move_to_end(kind)
            return self._recordings[kind]
        runs = self._runs.get(kind, _Runs())
        if kind[:2] in self._refused or not recorder.is_worth_it(runs.count, runs.seconds):
            return None
        if not recorder.aside:
            return self._made(kind, recorder, function, rows)
        if self._aside is None:  # one at a time
            own = tuple(row.clone() for row in rows)
            thread = threading.Thread(target=self._make_aside, args=(kind, recorder, function, own))
            thread.start()
            self._aside = thread
        return None

    def _made(self, kind: Kind, recorder: Recorder, function: Function, rows: Sequence[Tensor]) -> Recording | None:
        try:
            made = recorder.record(function, rows)
        except Exception:  # whatever a library says of it: it can be done without
            with self._lock:
                self._refused.add(kind[:2])
            return None
        with self._lock:
            self._recordings[kind] = made
            while len(self._recordings) > self.most:
                self._recordings.popitem(last=False)
        return made

    def _make_aside(self, kind: Kind, recorder: Recorder, function: Function, rows: Sequence[Tensor]) -> None:
        with torch.inference_mode():
            self._made(kind, recorder, function, rows)
        with self._lock:  # which whoever started this holds until it is noted
            self._aside = None

    def _note(self, kind: Kind, seconds: float) -> None:
        with self._lock:
            if len(self._runs) >= MAX_SEEN:
                self._runs.clear()
            runs = self._runs.setdefault(kind, _Runs())
            runs.count, runs.seconds = runs.count + 1, min(runs.seconds, seconds)

    def _name(self, function: Function) -> Kind:
        """Of a function, or of a method of that very object."""
        owner, name = named(function)
        if id(owner) not in self._owners:
            self._owners[id(owner)] = weakref.ref(owner, lambda _, gone=id(owner): self._forget(gone))  # type: ignore[misc]
        return name

    def _forget(self, owner: int) -> None:
        """Its memory may be another's next."""
        with self._lock:
            self._owners.pop(owner, None)
            for kind in [each for each in self._recordings if each[0] == owner]:
                del self._recordings[kind]
            self._runs = {kind: runs for kind, runs in self._runs.items() if kind[0] != owner}
            self._refused = {name for name in self._refused if name[0] != owner}
