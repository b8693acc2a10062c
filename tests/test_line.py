"""The line: who runs, who waits, who is asked to come back."""

from __future__ import annotations

import pytest

from playground.errors import Busy
from playground.line import MOST_EACH, Line


def test_as_many_run_as_there_is_room_for_and_the_next_is_called() -> None:
    line = Line(at_once=2, length=10)
    first, second, third, fourth = (line.join(name) for name in "abcd")
    assert [place.is_called for place in (first, second, third, fourth)] == [True, True, False, False]
    assert (first.position, third.position, fourth.position) == (0, 1, 2) and line.waiting() == 2
    first.leave()
    assert third.is_called and not fourth.is_called and fourth.position == 1


def test_round_by_round_one_of_each_visitor() -> None:
    line = Line(at_once=1, length=10)
    running = line.join("greedy")
    again, more, other, nobody = line.join("greedy"), line.join("greedy"), line.join("other"), line.join("")
    order = []
    for _ in range(4):
        running.leave()
        running = next(place for place in (again, more, other, nobody) if place.is_called and place not in order)
        order.append(running)
    assert order[0] in (other, nobody, again) and order.index(other) < order.index(more) and order.index(nobody) < order.index(more)


def test_who_has_one_running_waits_for_those_who_have_none() -> None:
    line = Line(at_once=2, length=10)
    first, _ = line.join("greedy"), line.join("someone")
    again, other = line.join("greedy"), line.join("other")
    assert (other.position, again.position) == (1, 2)
    first.leave()
    assert other.is_called and not again.is_called


def test_a_full_line_says_when_to_come_back() -> None:
    line = Line(at_once=1, length=2)
    for name in "abc":
        line.join(name)
    with pytest.raises(Busy, match=r"2 requests are waiting here already\. Try again in about \d+ seconds"):
        line.join("d")


def test_one_visitor_cannot_fill_it() -> None:
    line = Line(at_once=1, length=100)
    places = [line.join("greedy") for _ in range(MOST_EACH)]
    with pytest.raises(Busy, match=f"{MOST_EACH} requests of yours"):
        line.join("greedy")
    line.join("other")
    places[-1].leave()
    line.join("greedy")


def test_leaving_early_or_twice_harms_nobody() -> None:
    line = Line(at_once=1, length=10)
    first, second, third = (line.join(name) for name in "abc")
    second.leave()
    second.leave()
    assert third.position == 1
    first.leave()
    first.leave()
    assert third.is_called and line.waiting() == 0
    third.leave()
    assert line.join("d").is_called


def test_the_estimate_follows_how_long_requests_take(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("playground.line.time.monotonic", lambda: now[0])
    line = Line(at_once=1, length=50)
    for _ in range(40):
        place = line.join("")
        now[0] += 10.0
        place.leave()
    line.join("a")
    line.join("b")
    assert line.join("c").seconds == pytest.approx(20.0, rel=0.01)
