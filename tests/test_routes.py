"""What the stateless routes promise whoever asks too often."""

from __future__ import annotations

import httpx
import pytest

from playground.request import Request
from playground.settings import Settings
from playground.ui.routes import Rate
from tests.conftest import opened


def test_a_visitor_has_an_allowance_that_fills_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("playground.ui.routes.time.monotonic", lambda: now[0])
    rate = Rate(per_second=5)
    assert [rate.allows("a") for _ in range(7)] == [True] * 5 + [False] * 2
    assert rate.allows("b"), "one visitor's haste is not another's"
    now[0] += 0.4
    assert [rate.allows("a") for _ in range(3)] == [True, True, False]
    now[0] += 1000
    assert sum(rate.allows("a") for _ in range(20)) == 5, "rest is not saved up"


def test_visitors_are_forgotten_rather_than_kept_for_ever() -> None:
    rate = Rate(per_second=5)
    for index in range(10_050):
        rate.allows(str(index))
    assert len(rate.visitors) <= 10_000


@pytest.mark.api
def test_too_many_requests_get_a_sentence() -> None:
    with opened(Settings(hub="off", device="cpu", port=0, live_per_second=2)) as site:
        query = Request.build("vae-fashion-28", "map").to_query()
        answers = [httpx.get(f"{site.url}playground/live?{query}") for _ in range(12)]
    assert answers[0].status_code == 200 and {answer.status_code for answer in answers} == {200, 429}
    assert "Wait a second" in next(answer.text for answer in answers if answer.status_code == 429)
