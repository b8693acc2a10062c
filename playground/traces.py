"""Forward passes on the CPU as traces: the operations of a pass in a row, run by torch itself, without Python and without its lock.

They are the same operations, so the pictures are the same bit for bit, and other threads get on meanwhile. `torch.compile` would need a
C++ compiler and half a minute; `torch.export` leads through Python again; and what `torch.jit.trace` traced stays in memory for good. So
this takes the two functions that `torch.jit.trace` is made of, which are torch's own: should they go one day, nothing is recorded and all
runs as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from playground.passes import Function
from playground.recordings import Recording

RUNS = 2
"""So often a pass was wanted before it is traced."""
SHORT = 0.05
"""Seconds: of a pass that takes longer, Python is no part that counts."""
MOST_OPERATIONS = 1000
"""A trace holds about 10 kB an operation."""

warnings.filterwarnings("ignore", ".* might cause the trace to be incorrect")  # by shapes, which are those of this trace for good
warnings.filterwarnings("ignore", ".* are registered as constants in the trace")


class Tracer:
    """Traces take a tenth of a second to make, and more for deep networks: that is done aside."""

    aside = True

    def suits(self, device: torch.device) -> bool:
        return device.type == "cpu"

    def is_worth_it(self, runs: int, seconds: float) -> bool:
        return runs >= RUNS and seconds < SHORT

    def room(self, count: int) -> int:
        return count

    def record(self, function: Function, rows: Sequence[Tensor]) -> Recording:
        """Traced with other numbers than those it is then tried with, so that none that was read on the way passes for a constant.

        Raises `ValueError` where the trace says something else than the function, or would be too long.
        """
        with _Operations() as operations:
            expected = function(*rows)
        if operations.count > MOST_OPERATIONS:
            raise ValueError(f"A pass of {operations.count} operations is too long for a trace.")
        others = tuple(row / 2 if row.is_floating_point() else row // 2 for row in rows)  # an index stays one
        graph = torch.jit._get_trace_graph(_AsModule(function), others)[0]  # type: ignore[attr-defined]
        torch._C._jit_pass_constant_pooling(graph)  # type: ignore[attr-defined]
        torch._C._jit_pass_cse(graph)  # no operation twice: a quarter of the memory
        traced = torch._C._create_function_from_graph("traced", graph)

        def recording(rows: Sequence[Tensor]) -> Any:
            with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]  # it would look for fusions that a CPU does not have
                return traced(*rows)

        if not _are_equal(recording(rows), expected):
            raise ValueError("The trace of a pass says something else than the pass.")
        return recording


class _Operations(TorchDispatchMode):
    """Counts the operations that run inside."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


class _AsModule(nn.Module):
    """A function as the only kind of thing that can be traced; none of its weights are the module's, so all are constants."""

    function: Function

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.__dict__["function"] = function

    def forward(self, *rows: Tensor) -> Any:
        return self.function(*rows)


def _are_equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    return all(torch.equal(*parts) for parts in zip(one, other, strict=True))
