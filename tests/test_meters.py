"""What is counted, under which names, and that nothing a visitor chooses becomes a label."""

from __future__ import annotations

import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from playground.meters import OUTCOMES, Meters, process_bytes


def read(meters: Meters) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name and labels, as Prometheus would read it."""
    body, content_type = meters.text()
    assert content_type.startswith("text/plain")
    families = text_string_to_metric_families(body.decode())
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in families for sample in family.samples}


def value(meters: Meters, name: str, **labels: str) -> float:
    return read(meters)[f"playground_{name}", tuple(sorted(labels.items()))]


def test_requests_are_counted_by_family_task_and_outcome() -> None:
    meters = Meters(["vae"], ["sample"])
    for outcome in OUTCOMES:
        meters.answered("vae", "sample", outcome)
    meters.answered("vae", "sample", "done")
    assert value(meters, "requests_total", family="vae", task="sample", outcome="done") == 2
    assert value(meters, "requests_total", family="vae", task="sample", outcome="failed") == 1


def test_what_is_on_no_list_is_no_label() -> None:
    meters = Meters(["vae"], ["sample"])
    for index in range(1000):
        meters.answered(f"owner/model-{index}", f"task {index}", "done")
    assert value(meters, "requests_total", family="other", task="other", outcome="done") == 1000
    assert "owner" not in meters.text()[0].decode()


def test_wrong_words_are_refused() -> None:
    with pytest.raises(ValueError, match="there are done"):
        Meters().answered("vae", "sample", "fine")
    with pytest.raises(ValueError, match="there are wait"):
        Meters().took("lunch", 1.0)


def test_times_fall_into_their_buckets() -> None:
    meters = Meters()
    for seconds in (0.0005, 0.02, 20.0, 1000.0):
        meters.took("run", seconds)
    assert value(meters, "stage_seconds_count", stage="run") == 4
    assert value(meters, "stage_seconds_bucket", stage="run", le="0.001") == 1
    assert value(meters, "stage_seconds_bucket", stage="run", le="30.0") == 3
    assert value(meters, "stage_seconds_count", stage="wait") == 0, "a stage is there before it is used"


def test_passes_tell_their_rows_and_who_shared_them() -> None:
    meters = Meters()
    meters.passed(16, 1)
    meters.passed(48, 3)
    assert value(meters, "pass_rows_sum") == 64 and value(meters, "pass_requests_sum") == 4
    assert value(meters, "pass_requests_bucket", le="1.0") == 1


def test_gauges_are_read_when_asked_for() -> None:
    meters, now = Meters(), [1]
    meters.watch("waiting", "Requests in line.", lambda: now[0])
    assert value(meters, "waiting") == 1
    now[0] = 5
    assert value(meters, "waiting") == 5


def test_two_engines_count_for_themselves() -> None:
    one, other = Meters(["vae"], ["sample"]), Meters(["vae"], ["sample"])
    one.answered("vae", "sample", "done")
    assert "vae" not in other.text()[0].decode()


def test_threads_lose_no_count() -> None:
    meters = Meters(["vae"], ["sample"])
    threads = [threading.Thread(target=lambda: [meters.answered("vae", "sample", "done") for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(meters, "requests_total", family="vae", task="sample", outcome="done") == 4000


def test_the_memory_of_the_process_is_known() -> None:
    assert process_bytes() > 10 * 2**20
