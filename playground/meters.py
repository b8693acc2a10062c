"""What a running page counts, for Prometheus: requests and how they ended, where their time went, how well forward passes were shared.

Each `Meters` has a registry of its own, so that several engines can live in one process. Every label comes from a short list that is known
before the first request; no card, visitor, recipe or file name becomes one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

OUTCOMES = ("done", "refused", "stopped", "failed")
"""How a request ends: with a picture, with a person's mistake, by Stop or a closed page, with an unforeseen error."""
STAGES = ("wait", "load", "run", "encode")
"""Where its time goes: in line, until its model is there, in the task, in making the file that is sent."""
OTHER = "other"
"""The label of whatever is on no list."""
SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
REQUESTS = (1, 2, 3, 4, 6, 8, 16)


class _Watched:
    """A collector of gauges that are read when somebody asks for them."""

    def __init__(self) -> None:
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, (words, read) in list(self.gauges.items()):
            yield GaugeMetricFamily(name, words, value=float(read()))


class Meters:
    """The counters, histograms and gauges of one engine. Safe to use from many threads.

    `families` and `tasks` are the names that may become labels; any other is counted as `other`.
    """

    def __init__(self, families: Collection[str] = (), tasks: Collection[str] = ()) -> None:
        self._families, self._tasks = frozenset(families), frozenset(tasks)
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "playground_requests", "Requests, by how they ended.", ["family", "task", "outcome"], registry=self._registry
        )
        self._seconds = Histogram(
            "playground_stage_seconds", "Seconds that requests spent in a stage.", ["stage"], buckets=SECONDS, registry=self._registry
        )
        self._rows = Histogram("playground_pass_rows", "Pictures in a forward pass.", buckets=ROWS, registry=self._registry)
        self._merged = Histogram(
            "playground_pass_requests", "Requests that shared a forward pass.", buckets=REQUESTS, registry=self._registry
        )
        self._watched = _Watched()
        self._registry.register(self._watched)
        for stage in STAGES:
            self._seconds.labels(stage)  # a series that is there from the start can be subtracted from

    def answered(self, family: str, task: str, outcome: str) -> None:
        """Counts one request that ended. Raises `ValueError` for an outcome that is none of `OUTCOMES`."""
        if outcome not in OUTCOMES:
            raise ValueError(f"There is no outcome {outcome!r}; there are {', '.join(OUTCOMES)}.")
        self._requests.labels(_listed(family, self._families), _listed(task, self._tasks), outcome).inc()

    def took(self, stage: str, seconds: float) -> None:
        """Notes how long a request was in a stage. Raises `ValueError` for a stage that is none of `STAGES`."""
        if stage not in STAGES:
            raise ValueError(f"There is no stage {stage!r}; there are {', '.join(STAGES)}.")
        self._seconds.labels(stage).observe(seconds)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Notes how long what is inside takes."""
        began = time.perf_counter()
        yield
        self.took(stage, time.perf_counter() - began)

    def passed(self, rows: int, requests: int) -> None:
        """Notes one forward pass: its pictures, and how many requests they came from."""
        self._rows.observe(rows)
        self._merged.observe(requests)

    def watch(self, name: str, words: str, read: Callable[[], float]) -> None:
        """Adds a gauge, `playground_<name>`, that is read whenever somebody asks. A name that is there already is read anew."""
        self._watched.gauges[f"playground_{name}"] = (words, read)

    def text(self) -> tuple[bytes, str]:
        """All figures in Prometheus' text format, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


def _listed(name: str, names: frozenset[str]) -> str:
    return name if name in names else OTHER


def process_bytes() -> float:
    """Bytes of memory that this process holds (Linux); nan where the system does not tell."""
    import resource
    from pathlib import Path

    try:
        return float(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize())
    except (OSError, IndexError, ValueError):
        return float("nan")
