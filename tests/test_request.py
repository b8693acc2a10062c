"""A request as link, PNG text, Python and API body: one schema, round trips of any request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from playground.engine import Engine
from playground.errors import BadKnob, BadLatent, BadLink, BadRequest, PlaygroundError, UnknownCard
from playground.images import encode, png_text
from playground.request import Request
from playground.result import TEXT_KEY, Result, Timing
from playground.settings import Settings
from playground.tasks import Sheet
from tests.strategies import requests
from tests.tiny import TINY_CARDS

ALWAYS = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(requests(TINY_CARDS))
@ALWAYS
def test_link_round_trip(request_: Request) -> None:
    query = request_.to_query()
    assert Request.from_query(query, cards=TINY_CARDS) == request_
    assert Request.from_query(f"https://example.org/page?{query}#top", cards=TINY_CARDS) == request_
    assert Request.from_query(query, cards=TINY_CARDS).to_query() == query


@given(requests(TINY_CARDS))
@ALWAYS
def test_png_round_trip(request_: Request) -> None:
    sheet = Sheet(np.zeros((1, 28, 28, 1), np.uint8), 1)
    result = Result(request_, sheet, "0" * 64, "cpu", Timing(0, 0))
    assert Request.from_query(png_text(result.png())[TEXT_KEY], cards=TINY_CARDS) == request_


@given(requests(TINY_CARDS))
@ALWAYS
def test_python_round_trip(request_: Request) -> None:
    """The lines are run, with an engine that only notes what it is asked and cards that are the tiny ones."""
    asked: list[Request] = []

    class Recorder:
        def run(self, made: Request) -> Any:
            asked.append(made)
            return SimpleNamespace(save=lambda path: None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("playground.engine.Engine", Recorder)
        patch.setattr("playground.request.bundled_cards", lambda: TINY_CARDS)
        exec(request_.to_python(), {})
    assert asked == [request_]


@given(requests(TINY_CARDS))
@ALWAYS
def test_api_round_trip(request_: Request) -> None:
    """What an API call gives: plain JSON values by name."""
    body = {**request_.task.to_plain(), **request_.params.to_plain()}
    assert Request.build(request_.card, request_.task.name, cards=TINY_CARDS, **body) == request_


def test_python_makes_the_same_pixels(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLAYGROUND_DEVICE", "cpu")
    engine = Engine(Settings(hub="off", device="cpu"))
    for task, knobs in {"sample": {"seed": 9, "num_samples": 3}, "interpolate": {"ends": ["seed:1", "test:7"], "num_frames": 3}}.items():
        result = engine.run(Request.build("vae-fashion-28", task, **knobs))
        exec(result.request.to_python(), {})
        assert (tmp_path / "picture.png").read_bytes() == result.png()


def test_a_link_holds_every_knob() -> None:
    query = parse_qs(Request.build("vae-tiny-28", "sample", cards=TINY_CARDS).to_query())
    assert {"card", "task", "num_samples", "seed", "temperature", "prior", "pixels"} == set(query)


BAD_LINKS: list[tuple[str, type[PlaygroundError], str]] = [
    ("", BadLink, "names no card and no task"),
    ("card=vae-tiny-28", BadLink, "no task"),
    ("card=gone&task=sample", UnknownCard, "There are: ae-tiny-28, vae-tiny-28"),
    ("card=vae-tiny-28&task=fly", BadRequest, "no task called 'fly'"),
    ("card=vae-tiny-28&task=sample&temperature=9", BadKnob, "from 0 to 2"),
    ("card=vae-tiny-28&task=sample&temperature=nan", BadKnob, "Temperature cannot be 'nan'"),
    ("card=vae-tiny-28&task=sample&seed=-1", BadKnob, "from 0 to"),
    ("card=vae-tiny-28&task=sample&num_samples=2.5", BadKnob, "whole number"),
    ("card=vae-tiny-28&task=sample&wobble=1", BadKnob, "no knob called 'wobble'"),
    ("card=vae-tiny-28&task=sample&prior=flat", BadKnob, "one of: standard, fitted"),
    ("card=vae-tiny-28&task=interpolate&ends=seed:1", BadKnob, "2 to 4"),
    ("card=vae-tiny-28&task=traverse&start=moon:1", BadKnob, "neither a source nor a direction"),
    ("card=vae-tiny-28&task=traverse&start=png:!!!!", BadKnob, ""),
    ("a=" + "x" * 40_000, BadLink, "characters"),
]


@pytest.mark.parametrize(("link", "kind", "words"), BAD_LINKS, ids=lambda value: str(value)[:40])
def test_bad_links_say_what_is_wrong(link: str, kind: type[PlaygroundError], words: str) -> None:
    with pytest.raises(PlaygroundError) as caught:
        request = Request.from_query(link, cards=TINY_CARDS)
        from tests.tiny import TinyEngine

        TinyEngine().run(request)
    assert words in str(caught.value) and str(caught.value).rstrip().endswith((".", "!"))
    if "png" not in link:
        assert isinstance(caught.value, kind)


JUNK = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["nan", "1e400", "٣", "½", "0x10", "+1", " 1", "1_000", "a" * 5000, "9" * 5000]),
    st.sampled_from(["test:0 + nan*pc:1", "png:AAAA", "dim:0", "bits:", "box:1"]),
)


@given(requests(TINY_CARDS), JUNK, st.data())
@ALWAYS
def test_a_mangled_link_is_a_request_or_one_short_sentence(request_: Request, junk: str, data: st.DataObject) -> None:
    pairs = parse_qsl(request_.to_query(), keep_blank_values=True)
    at = data.draw(st.integers(0, len(pairs) - 1))
    changed = data.draw(st.sampled_from([(pairs[at][0], junk), (junk, pairs[at][1])]))
    link = urlencode([*pairs[:at], changed, *pairs[at + 1 :] * data.draw(st.sampled_from([1, 1, 100]))])
    try:
        Request.from_query(link, cards=TINY_CARDS)
    except PlaygroundError as error:
        assert len(str(error)) < 1000


@pytest.mark.parametrize("latent", ["test:100000", "near:9,9", "pc:99", "class:77", "dim:500"])
def test_recipes_beyond_the_model_say_so(latent: str) -> None:
    from tests.tiny import TinyEngine

    engine = TinyEngine()
    with pytest.raises((BadLatent, BadRequest)):
        engine.run(Request.build("vae-tiny-28", "decode", cards=TINY_CARDS, latent=latent))


def test_a_foreign_png_is_no_request() -> None:
    data = encode(np.zeros((4, 4, 1), np.uint8), text={"Comment": "card=vae-tiny-28&task=sample"})
    assert TEXT_KEY not in png_text(data)
