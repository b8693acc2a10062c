"""A page whose engine is elsewhere: the same pixels, and a sentence when it is gone."""

from __future__ import annotations

import dataclasses
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from playground import remote
from playground.cluster import ingress as door
from playground.cluster.ingress import ingress
from playground.engine import Engine
from playground.errors import BadAnswer, BadKnob, BadWeights, Busy, EngineLost, PlaygroundError, TooMuch
from playground.families import FAMILIES
from playground.latent import Latent
from playground.remote import RemoteEngine, engine_of
from playground.request import Request
from playground.result import Result
from playground.settings import Settings
from playground.tasks import TASKS
from playground.wire import error_line, from_line, to_line
from tests.tiny import TINY_CARDS, TinyEngine

LONG = {"num_samples": 4, "num_inference_steps": 60}


class FarEngine(TinyEngine, RemoteEngine):
    """A page's side, with the tiny cards."""

    def __init__(self, url: str, **settings: Any) -> None:
        RemoteEngine.__init__(self, Settings(hub="off", engine=url, **settings))
        self.cards = dict(TINY_CARDS)


@contextmanager
def served(app: Any, port: int = 0) -> Iterator[str]:
    """An ASGI application on loopback."""
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(("127.0.0.1", port))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [found]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{found.getsockname()[1]}"
        server.should_exit = server.force_exit = True
        thread.join(30)


def saying(*lines: bytes, status: int = 200) -> Starlette:
    """An engine that always says the same; `asked` counts how often."""

    async def stream(http: HTTPRequest) -> Response:
        app.state.asked += 1
        return StreamingResponse(iter(lines), status, media_type=door.MEDIA_TYPE)

    app = Starlette(routes=[Route("/stream", stream, methods=["POST"])])
    app.state.asked = 0
    return app


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "BACKOFF", 0.01)


@pytest.fixture(scope="module")
def there() -> TinyEngine:
    return TinyEngine(batch_size=4)


@pytest.fixture(scope="module")
def url(there: TinyEngine) -> Iterator[str]:
    with served(ingress(there)) as url:
        yield url


def ask(card: str = "diffusion-tiny-28", task: str = "sample", **knobs: Any) -> Request:
    return Request.build(card, task, cards=TINY_CARDS, **knobs)


def idle(engine: Engine) -> bool:
    """Whether it comes to rest."""
    for _ in range(600):
        if engine.in_use() == 0:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("family", FAMILIES)
def test_every_task_answers_the_same_from_afar(there: TinyEngine, url: str, family: str) -> None:
    near, far, card = there, FarEngine(url), f"{family}-tiny-28"
    for name, task in TASKS.items():
        if task.missing(FAMILIES[family]) is not None:
            continue
        request = ask(card, name, **task.beginnings(near.model(card)))
        try:
            here: Result | PlaygroundError = near.run(request)
        except PlaygroundError as error:
            here = error
        if isinstance(here, PlaygroundError):
            with pytest.raises(type(here), match=re.escape(str(here))):
                far.run(request)
            continue
        again = far.run(request)
        assert np.array_equal(again.pictures, here.pictures), name
        assert (again.sheet.labels, again.sheet.latents, again.guests) == (here.sheet.labels, here.sheet.latents, here.guests), name
        assert again.weights_sha256 == here.weights_sha256 and again.device == here.device


def test_previews_come_one_by_one(url: str) -> None:
    shares = [result.sheet.progress for result in FarEngine(url).stream(ask(num_samples=2, num_inference_steps=5))]
    assert len(shares) == 5 and shares == sorted(shares) and shares[-1] == 1


def test_a_mistake_comes_back_as_its_own_sentence(url: str, there: TinyEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(there, "settings", there.settings.model_copy(update={"max_work": 1}))
    with pytest.raises(TooMuch, match="Ask for at most"):
        FarEngine(url).run(ask(num_samples=64, num_inference_steps=100))
    answer = httpx.post(f"{url}/stream", json={"request": "card=vae-tiny-28&task=sample&num_samples=65"})
    with pytest.raises(BadKnob, match="64"):
        from_line(answer.text, TINY_CARDS)


def test_closing_stops_the_work_there(url: str, there: TinyEngine) -> None:
    stream = FarEngine(url).stream(ask(**LONG))
    next(stream)
    assert there.in_use() == 1
    stream.close()
    assert idle(there)


def test_its_line_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    there = TinyEngine(at_once=1, line_length=0)
    place = there.line.join("somebody")
    with served(ingress(there)) as url, pytest.raises(Busy, match="waiting here already"):
        FarEngine(url).run(ask())
    place.leave()


def test_it_comes_up_late() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answers: list[Result] = []
    far = FarEngine(f"http://127.0.0.1:{port}")
    remote.BACKOFF = 0.5  # put back by the fixture
    asking = threading.Thread(target=lambda: answers.append(far.run(ask(num_samples=1))))
    asking.start()
    with served(ingress(TinyEngine()), port):
        asking.join(60)
    assert len(answers) == 1


def test_nobody_is_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(EngineLost, match="does not answer"):
        FarEngine(url).run(ask())


@pytest.mark.parametrize("app", [saying(status=503), saying(), saying(b"\n\n")], ids=["503", "nothing", "only alive"])
def test_before_the_first_picture_it_is_asked_again(app: Starlette) -> None:
    app.state.asked = 0
    with served(app) as url, pytest.raises(EngineLost, match="does not answer"):
        FarEngine(url).run(ask())
    assert app.state.asked == remote.TRIES


def test_after_it_there_is_a_sentence(there: TinyEngine) -> None:
    first = next(there.stream(ask(**LONG)))
    app = saying(to_line(first))
    with served(app) as url:
        stream = FarEngine(url).stream(ask(**LONG))
        assert np.array_equal(next(stream).pictures, first.pictures)
        with pytest.raises(EngineLost, match="in the midst of this"):
            next(stream)
    assert app.state.asked == 1


def test_garbage_other_answers_and_other_weights_are_refused(there: TinyEngine) -> None:
    with served(saying(b"<html>oops</html>\n")) as url, pytest.raises(BadAnswer, match="cannot be read"):
        FarEngine(url).run(ask())
    other = there.run(ask("vae-tiny-28"))
    with served(saying(to_line(other))) as url, pytest.raises(BadAnswer, match="something else"):
        FarEngine(url).run(ask())
    with served(saying(to_line(other))) as url:
        far = FarEngine(url)
        far.cards = {name: dataclasses.replace(card, files={"model.safetensors": "1" * 64}) for name, card in TINY_CARDS.items()}
        with pytest.raises(BadWeights, match="other weights of"):
            far.run(ask("vae-tiny-28"))


def test_an_error_line_is_raised_and_not_tried_again() -> None:
    app = saying(error_line(BadKnob("No such knob.", "Try another.")))
    with served(app) as url, pytest.raises(BadKnob, match="No such knob"):
        FarEngine(url).run(ask())
    assert app.state.asked == 1


def test_long_work_is_known_to_go_on(there: TinyEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence counts as death, so an engine that works says that it is there."""
    monkeypatch.setattr(door, "STILL_HERE", 0.02)
    monkeypatch.setattr(remote, "SILENCE", 5.0)
    slow = TinyEngine()
    gate = threading.Event()
    monkeypatch.setattr(slow, "admit", lambda *_: gate.wait(60))
    body = {"request": ask(num_samples=1).to_query()}
    with served(ingress(slow)) as url, httpx.stream("POST", f"{url}/stream", json=body, timeout=30) as answer:
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(3)] == ["", "", ""]
        gate.set()
        assert any(line.startswith("{") for line in lines)
    assert idle(slow)


def test_only_those_who_know_the_token_are_answered() -> None:
    there = TinyEngine(engine_token="s3cret")
    with served(ingress(there)) as url:
        assert httpx.get(f"{url}/health").json()["status"] == "ok" and httpx.get(f"{url}/ready").status_code == 200
        for token in ("", "wrong"):
            with pytest.raises(BadAnswer, match="PLAYGROUND_ENGINE_TOKEN"):
                FarEngine(url, engine_token=token).run(ask())
        assert FarEngine(url, engine_token="s3cret").run(ask(num_samples=1)).sheet.progress == 1
    assert "s3cret" not in repr(there.settings)


def test_what_is_too_long_or_no_request_is_refused(url: str) -> None:
    assert httpx.post(f"{url}/stream", json={"request": "x" * 40_000}).status_code == 422
    assert httpx.post(f"{url}/stream", json={"request": "card=a&task=b", "more": 1}).status_code == 422
    assert "There is no" in httpx.post(f"{url}/stream", json={"request": "card=a&task=b"}).text


def test_one_picture_is_looked_up_there(url: str, there: TinyEngine) -> None:
    recipe = Latent.parse("seed:3")
    request = ask("vae-tiny-28", "decode", latent=recipe)
    assert np.array_equal(FarEngine(url).look_up(request, recipe), there.look_up(request, recipe))


def test_the_setting_chooses() -> None:
    assert type(engine_of(Settings(hub="off"))) is Engine
    assert type(engine_of(Settings(hub="off", engine="http://127.0.0.1:1"))) is RemoteEngine
