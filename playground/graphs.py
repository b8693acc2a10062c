"""Forward passes as CUDA graphs: recorded once for each shape, then replayed without Python, and without a launch for every kernel.

A network for small pictures is hundreds of kernels of a few microseconds each, and launching them one by one takes longer than they do.
Recorded once, they are launched together (Gray, Getting Started with CUDA Graphs, NVIDIA 2019). A recording works on tensors that stay
where they are: what goes in is copied there, what comes out is copied from there.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from playground.passes import Function, named

WARM_UPS = 3
"""Runs before a recording: libraries choose their kernels and set up their room in the first ones."""
WORTH_IT = 2
"""A pass is recorded when it is wanted for this time: what comes once would only be slower."""
MAX_SEEN = 1000
"""Kinds of passes that are remembered without a recording."""

Kind = tuple[Any, ...]


class Recorder(Protocol):
    """What a device can record."""

    def suits(self, device: torch.device) -> bool:
        """Whether passes on that device can be recorded."""
        ...

    def record(self, function: Function, rows: Sequence[Tensor]) -> tuple[Callable[[], None], Any]:
        """What replays `function(*rows)` on whatever these very tensors hold by then, and the answer that it writes anew each time."""
        ...


class CudaRecorder:
    """CUDA graphs as torch has them."""

    def suits(self, device: torch.device) -> bool:
        return device.type == "cuda"

    def record(self, function: Function, rows: Sequence[Tensor]) -> tuple[Callable[[], None], Any]:
        """Raises `RuntimeError` for what cannot be recorded: a number that is read back, a copy from memory that is not pinned."""
        device = rows[0].device
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                function(*rows)
        torch.cuda.current_stream(device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other threads may load a model meanwhile: what they do is not to break this recording.
        with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
            answer = function(*rows)
        return graph.replay, answer


@dataclass
class _Recording:
    rows: tuple[Tensor, ...]
    replay: Callable[[], None]
    answer: Any

    def __call__(self, rows: Sequence[Tensor]) -> Any:
        """The answer for these rows, of which there may be fewer than it has room for; the others are what was there before."""
        count = len(rows[0])
        for place, row in zip(self.rows, rows, strict=True):
            place[:count].copy_(row)
        self.replay()
        return _first(self.answer, count)


class Graphs:
    """Runs functions of rows, each row by itself, by recordings where it has some: `Passes(execute=Graphs().run)`.

    At most `most` are kept, the least recently used goes first; 0 records nothing. Rows are filled up to the next power of two, so few
    shapes are recorded. What cannot be recorded runs as it is, and is not tried again. Recordings go when the object whose method they
    are goes; they keep no model alive.
    """

    def __init__(self, most: int = 32, recorder: Recorder | None = None) -> None:
        self.most, self.recorder = most, recorder or CudaRecorder()
        self._recordings: OrderedDict[Kind, _Recording] = OrderedDict()
        self._seen: dict[Kind, int] = {}
        self._refused: set[Kind] = set()
        self._owners: dict[int, weakref.ref[Any]] = {}
        self._lock = threading.RLock()

    def run(self, function: Function, rows: Sequence[Tensor]) -> Any:
        """`function(*rows)`."""
        if not self.most or not rows or not len(rows[0]) or not self.recorder.suits(rows[0].device):
            return function(*rows)
        with self._lock:
            recording = self._recording(function, rows)
            if recording is not None:
                return recording(rows)
        return function(*rows)

    def __len__(self) -> int:
        return len(self._recordings)

    def _recording(self, function: Function, rows: Sequence[Tensor]) -> _Recording | None:
        """That of a kind of pass, made when it is worth it; None where there is none."""
        name, size = self._name(function), 1 << (len(rows[0]) - 1).bit_length()
        kind = (*name, size, *((row.shape[1:], row.dtype, row.device) for row in rows))
        if kind in self._recordings:
            self._recordings.move_to_end(kind)
            return self._recordings[kind]
        if name in self._refused or not self._is_worth_it(kind):
            return None
        try:
            made = self._made(function, rows, size)
        except Exception:  # whatever a library says of it: it can be done without
            self._refused.add(name)
            return None
        self._recordings[kind] = made
        while len(self._recordings) > self.most:
            self._recordings.popitem(last=False)
        return made

    def _made(self, function: Function, rows: Sequence[Tensor], size: int) -> _Recording:
        places = tuple(row[:1].expand(size, *row.shape[1:]).clone() for row in rows)
        for place, row in zip(places, rows, strict=True):
            place[: len(row)].copy_(row)
        return _Recording(places, *self.recorder.record(function, places))

    def _is_worth_it(self, kind: Kind) -> bool:
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen[kind] = self._seen.get(kind, 0) + 1
        return self._seen[kind] >= WORTH_IT

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
            self._seen = {kind: count for kind, count in self._seen.items() if kind[0] != owner}
            self._refused = {name for name in self._refused if name[0] != owner}


def _first(answer: Any, count: int) -> Any:
    """A copy of the first rows of an answer: the next replay writes over it."""
    if isinstance(answer, Tensor):
        return answer[:count].clone()
    return tuple(None if part is None else part[:count].clone() for part in answer)
