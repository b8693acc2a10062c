"""Two ways of doing the same, by turns in one process, so that whatever else the machine does slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

LEAST_SECONDS = 1.0
"""Each pair is measured for about this long, and at least `LEAST` times."""
LEAST = 5
MOST = 200


def by_turns(*ways: Callable[[], Any], seconds: float = LEAST_SECONDS) -> list[float]:
    """Median milliseconds of each way, after one run that warms up."""
    for way in ways:
        way()
    taken: list[list[float]] = [[] for _ in ways]
    began = time.perf_counter()
    while len(taken[0]) < LEAST or (time.perf_counter() - began < seconds * len(ways) and len(taken[0]) < MOST):
        pairs = [*zip(taken, ways, strict=True)]
        for times, way in pairs if len(taken[0]) % 2 else pairs[::-1]:  # caches are what the one before has left
            since = time.perf_counter()
            way()
            times.append(1000 * (time.perf_counter() - since))
    return [statistics.median(times) for times in taken]
