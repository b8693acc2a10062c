"""A result as a line of JSON: nothing is lost, and whatever cannot be read says so."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.errors import BadAnswer, BadKnob, Busy, PlaygroundError
from playground.request import Request
from playground.result import Guest, Result, Timing
from playground.tasks import Sheet
from playground.wire import error_line, from_line, to_line, waiting_line
from tests.tiny import HASH, TINY_CARDS

WORDS = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS, st.lists, max_leaves=5
)


@st.composite
def results(draw: st.DrawFn) -> Result:
    count, size, channels = draw(st.integers(1, 5)), draw(st.integers(1, 6)), draw(st.sampled_from([1, 3]))
    pictures = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (count, size, size, channels), np.uint8)
    names = tuple(draw(st.lists(WORDS, min_size=count, max_size=count)))
    sheet = Sheet(
        pictures, draw(st.integers(1, 5)), names, names, tuple(range(count)), draw(st.dictionaries(WORDS, JSON, max_size=3)),
        draw(st.floats(0, 1)), names, draw(WORDS), draw(st.booleans()), draw(st.integers(1, 3)), names, names,
    )  # fmt: skip
    card = draw(st.sampled_from(list(TINY_CARDS)))
    request = Request.build(card, "sample", cards=TINY_CARDS, seed=draw(st.integers(0, 1000)))
    return Result(request, sheet, HASH, draw(WORDS), Timing(1.5, 2.25), {card: Guest(request.params, HASH)})


@given(results())
def test_there_and_back(result: Result) -> None:
    line = to_line(result)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    again = from_line(line, TINY_CARDS)
    assert again is not None and np.array_equal(again.pictures, result.pictures)
    bare = np.zeros(0, np.uint8)
    assert dataclasses.replace(again, sheet=dataclasses.replace(again.sheet, pictures=bare)) == dataclasses.replace(
        result, sheet=dataclasses.replace(result.sheet, pictures=bare)
    )


@pytest.mark.parametrize("kind", [BadKnob, Busy, PlaygroundError])
def test_an_error_comes_back_as_itself(kind: type[PlaygroundError]) -> None:
    with pytest.raises(kind, match=r"^That is wrong\. Do this\.$") as caught:
        from_line(error_line(kind("That is wrong.", "Do this.")), TINY_CARDS)
    assert type(caught.value) is kind


def test_a_name_that_is_no_error_of_ours_is_not_looked_up() -> None:
    line = json.dumps({"error": "annotations", "what": "What.", "remedy": "So."})
    with pytest.raises(PlaygroundError, match="What"):
        from_line(line, TINY_CARDS)


@pytest.mark.parametrize("line", [b"\n", b"   ", waiting_line(3, 1.5)])
def test_some_lines_only_say_that_the_other_end_lives(line: bytes) -> None:
    assert from_line(line, TINY_CARDS) is None


@pytest.mark.parametrize("line", ["<html>", "[1]", "{}", "7", '{"request": "card=vae-tiny-28&task=sample", "sheet": 3}'])
def test_garbage_is_named(line: str) -> None:
    with pytest.raises(BadAnswer, match="cannot be read"):
        from_line(line, TINY_CARDS)


def test_pictures_that_are_too_few_or_too_many_are_refused() -> None:
    request = Request.build("vae-tiny-28", "sample", cards=TINY_CARDS)
    said = json.loads(to_line(Result(request, Sheet(np.zeros((2, 4, 4, 1), np.uint8), 2), HASH, "", Timing(0, 0))))
    said["pictures"]["shape"] = [900, 4, 4, 1]
    with pytest.raises(BadAnswer):
        from_line(json.dumps(said), TINY_CARDS)
