"""What this machine can do: the rate at which torch multiplies matrices, on one thread and on as many as there are cores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import torch

from playground.device import pick_device
from tools.bench.row import Row

SIDE = 1024


def best_seconds(work: Callable[[], object], times: int = 10) -> float:
    """The fastest of several runs, after one that warms up."""
    work()
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def matrix_rate(threads: int = 1, side: int = SIDE) -> float:
    """GFLOP/s of a float32 matrix product on the device that the page would choose."""
    device, before = pick_device("auto"), torch.get_num_threads()
    torch.set_num_threads(threads)
    a, b = torch.randn(side, side, device=device), torch.randn(side, side, device=device)

    def product() -> None:
        torch.mm(a, b)
        if device.type == "cuda":
            torch.cuda.synchronize()

    seconds = best_seconds(product)
    torch.set_num_threads(before)
    return float(2 * side**3 / seconds / 1e9)


def rows() -> Iterator[Row]:
    """The rate of one thread, and of all."""
    one, cores = matrix_rate(), os.cpu_count() or 1
    yield Row("Matrix product, one thread", one, "GFLOP/s")
    if pick_device("auto").type == "cpu" and cores > 1:
        yield Row(f"Matrix product, {cores} threads", (many := matrix_rate(cores)), "GFLOP/s", "one thread", many / one)
