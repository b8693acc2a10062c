"""Forward passes as CUDA graphs: recorded once for each shape, then replayed without Python, and without a launch for every kernel.

Launching kernels of a few microseconds one by one takes longer than they do. Recorded once, they are launched together (Gray, Getting
Started with CUDA Graphs, NVIDIA 2019). A recording works on tensors that stay where they are: what goes in is copied there, what comes
out is copied from there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from playground.passes import Function
from playground.recordings import Recording

WARM_UPS = 3
"""Runs before a recording: libraries choose their kernels and set up their room in the first ones."""


class CudaRecorder:
    """Rows are filled up to the next power of two, so few shapes are recorded."""

    aside = False

    def __init__(self) -> None:
        self._alone = threading.Lock()

    def suits(self, device: torch.device) -> bool:
        return device.type == "cuda"

    def is_worth_it(self, runs: int, seconds: float) -> bool:
        """What comes once would only be slower."""
        return runs >= 1

    def room(self, count: int) -> int:
        return 1 << (count - 1).bit_length()

    def record(self, function: Function, rows: Sequence[Tensor]) -> Recording:
        """Raises `RuntimeError` for what cannot be recorded: a number that is read back, a copy from memory that is not pinned."""
        size = self.room(len(rows[0]))
        places = tuple(row[:1].expand(size, *row.shape[1:]).clone() for row in rows)
        with self._alone:
            _put(rows, places)
            replay, answer = self.capture(function, places)

        def recording(rows: Sequence[Tensor]) -> Any:
            with self._alone:
                _put(rows, places)
                replay()
                return _first(answer, len(rows[0]))

        return recording

    def capture(self, function: Function, rows: Sequence[Tensor]) -> tuple[Callable[[], None], Any]:
        """What replays `function(*rows)` on whatever these very tensors hold by then, and the answer that it writes anew each time."""
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


def _put(rows: Sequence[Tensor], places: Sequence[Tensor]) -> None:
    """Rows where a recording looks for them; of those that it has room for beyond, what was there before stays."""
    for place, row in zip(places, rows, strict=True):
        place[: len(row)].copy_(row)


def _first(answer: Any, count: int) -> Any:
    """A copy of the first rows of an answer: the next replay writes over it."""
    if isinstance(answer, Tensor):
        return answer[:count].clone()
    return tuple(None if part is None else part[:count].clone() for part in answer)
