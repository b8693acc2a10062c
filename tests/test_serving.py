"""The page as a process: when it is ready, what it tells, who is let in, and how it ends."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from playground.families import FAMILIES
from playground.request import Request
from playground.settings import PROJECT, Settings
from playground.ui.doors import CLOSING, Doors, _is_new
from playground.ui.serving import _warm_up
from playground.ui.signing import matches
from tests.browsing import CARD, browse
from tests.conftest import opened
from tests.tiny import TinyEngine

PATIENCE = 120
ACCOUNTS = "anna:tr:ee,bob:house"


@dataclass
class Running:
    """`python app.py` on a port of its own."""

    url: str
    process: subprocess.Popen[str]
    log: Path

    def get(self, path: str, **options: object) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=PATIENCE, **options)  # type: ignore[arg-type]

    def waits_for(self, path: str, status: int, words: str = "") -> None:
        for _ in range(PATIENCE * 10):
            try:
                answer = self.get(path)
                if answer.status_code == status and re.search(words, answer.text):
                    return
            except httpx.TransportError:
                assert self.process.poll() is None, self.log.read_text()[-2000:]
            time.sleep(0.1)
        raise AssertionError(f"{path} never answered {status}")


@contextmanager
def running(folder: Path, **settings: object) -> Iterator[Running]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"port": port, "hub": "off", "device": "cpu", "log": "json", **settings}
    environment = {**os.environ, **{f"PLAYGROUND_{name.upper()}": str(value) for name, value in given.items()}}
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=PROJECT, env=environment, stdout=out, stderr=out, text=True)
    try:
        yield Running(f"http://127.0.0.1:{port}", process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def entries(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


LONG = Request.build("ddpm-fashion-28", "sample", num_samples=8, num_inference_steps=100, seed=4242).to_query()


@pytest.mark.api
def test_a_stop_lets_what_runs_finish_and_turns_away_what_is_new(tmp_path: Path) -> None:
    with running(tmp_path, stop_seconds=PATIENCE) as page:
        page.waits_for("/playground/ready", 200)
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(page.get(f"/playground/picture.png?{LONG}")))
        asking.start()
        page.waits_for("/metrics", 200, r"playground_running 1\.0")
        page.process.send_signal(signal.SIGTERM)
        page.waits_for("/playground/ready", 503, "stopping")
        assert page.get("/playground/health").status_code == 200
        late = page.get(f"/playground/live?card={CARD}&task=sample")
        assert late.status_code == 503 and late.text == CLOSING and not answers
        event = httpx.post(f"{page.url}/gradio_api/queue/join", json={})
        assert event.status_code == 503 and event.json()["detail"] == CLOSING
        asking.join(PATIENCE)
        assert page.process.wait(PATIENCE) == 0
    assert answers[0].status_code == 200 and answers[0].content.startswith(b"\x89PNG")
    told = entries(tmp_path / "log")
    assert [entry["event"] for entry in told if entry["event"] != "ready"] == ["start", "stopping", "request", "stop"]
    assert told[-1]["finished"] is True
    assert [entry["outcome"] for entry in told if entry["event"] == "request"] == ["done"]
    text = (tmp_path / "log").read_text()
    assert "4242" not in text and "GET " not in text, "neither a recipe nor an access log"


def status_of(page: Running, path: str) -> int:
    """Of the answer; 0 where the connection was closed before it came."""
    try:
        return page.get(path).status_code
    except httpx.TransportError:
        return 0


@pytest.mark.api
def test_what_takes_too_long_is_closed_and_the_process_ends_well(tmp_path: Path) -> None:
    with running(tmp_path, stop_seconds=0) as page:
        page.waits_for("/playground/ready", 200)
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(status_of(page, f"/playground/picture.png?{LONG}")))
        asking.start()
        page.waits_for("/metrics", 200, r"playground_running 1\.0")
        page.process.send_signal(signal.SIGINT)
        assert page.process.wait(PATIENCE) == 0
        asking.join(PATIENCE)
    assert entries(tmp_path / "log")[-1]["finished"] is False and answers != [200]


def test_ready_waits_for_the_first_model_and_stays_so_until_a_stop() -> None:
    engine = TinyEngine()
    doors = Doors(engine)
    assert doors.first and not doors.is_ready
    doors.warm()
    assert doors.is_ready
    engine.unload(doors.first)
    assert doors.is_ready, "a model that was let go is no reason to send people away"
    doors.stopping.set()
    assert not doors.is_ready


def test_what_is_there_to_stay_is_not_looked_through_for_garbage() -> None:
    before = gc.get_freeze_count()
    _warm_up(Doors(TinyEngine()))
    try:
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()


def test_a_stop_waits_for_answers_and_for_the_line() -> None:
    doors = Doors(TinyEngine(at_once=1))
    assert doors.settle(5)
    doors.count(1)
    assert not doors.settle(0.01)
    doors.count(-1)
    first, second = doors.engine.line.join("a"), doors.engine.line.join("b")
    assert not doors.settle(0.01)
    first.leave(), second.leave()
    assert doors.settle(5)


def test_names_and_passwords_are_compared_whole() -> None:
    accounts = {"anna": "tr:ee"}
    assert matches(accounts, "anna", "tr:ee")
    for name, password in (("anna", "tr"), ("anna", ""), ("bob", "tr:ee"), ("bob", "\0"), ("", ""), ("anna", "tr:eé")):
        assert not matches(accounts, name, password)


CLOSED = (
    "playground/live?card=vae-fashion-28&task=sample",
    "playground/picture.png?card=vae-fashion-28&task=sample",
    "playground/gallery.png?card=vae-fashion-28",
    "metrics",
    "config",
    "gradio_api/info",
    "gradio_api/queue/data?session_hash=x",
    "gradio_api/openapi.json",
    "docs",
    "openapi.json",
)


@pytest.mark.browser
def test_without_sign_in_nothing_is_had_and_with_it_everything(chromium: Browser) -> None:
    with opened(Settings(hub="off", device="cpu", port=0, sign_in=ACCOUNTS)) as site, browse(chromium, site.url) as tab:
        for path in CLOSED:
            assert httpx.get(f"{site.url}{path}").status_code == 401, path
            assert httpx.get(f"{site.url}{path}", cookies={"access-token-x": "y"}).status_code == 401, path
        for method in ("queue/join", "run/predict", "upload", "call/vae_sample"):
            assert httpx.post(f"{site.url}gradio_api/{method}", json={}).status_code == 401, method
        assert httpx.get(f"{site.url}playground/health").status_code == 200
        assert httpx.get(f"{site.url}metrics", auth=("bob", "house")).status_code == 200
        assert "vae-fashion" not in httpx.get(site.url).text, "the form tells nothing of the page"
        tab.page.goto(site.url)
        expect(tab.page.get_by_role("button", name="Login")).to_be_visible()
        tab.shot("sign-in")
        tab.page.locator("input").nth(0).fill("anna")
        tab.page.locator("input[type=password]").fill("wrong")
        tab.page.get_by_role("button", name="Login").click()
        expect(tab.page.get_by_text("Incorrect", exact=False).first).to_be_visible()
        tab.page.locator("input").nth(0).fill("anna")  # Gradio emptied both
        tab.page.locator("input[type=password]").fill("tr:ee")
        tab.page.get_by_role("button", name="Login").click()
        tab.panel = f"{next(iter(FAMILIES))}-sample"
        tab.settled()
        assert tab.page.evaluate(f"fetch('{site.url}{CLOSED[0]}').then((answer) => answer.status)") == 200
        tab.problems = [problem for problem in tab.problems if "400" not in problem and "401" not in problem]


@pytest.mark.parametrize(
    ("method", "path", "new"),
    [
        ("GET", "/", True),
        ("HEAD", "/", False),
        ("GET", "/playground/live", True),
        ("POST", "/gradio_api/queue/join", True),
        ("POST", "/gradio_api/cancel", False),
        ("GET", "/gradio_api/queue/data", False),
        ("GET", "/assets/index.js", False),
    ],
)
def test_what_a_stopping_page_turns_away(method: str, path: str, new: bool) -> None:
    """A HEAD of the page is Gradio's own look, in the midst of its launch, whether the page is there."""
    assert _is_new(method, path) is new


@pytest.mark.api
def test_no_more_sessions_are_remembered_than_the_settings_say() -> None:
    """Gradio keeps about 1 MiB for each page that was opened and each call of an endpoint."""
    with opened(Settings(hub="off", device="cpu", port=0, sessions=10)) as site:
        for number in range(25):
            site.app.state_holder[f"visit {number}"]
        assert len(site.app.state_holder.session_data) <= 11 and "visit 24" in site.app.state_holder
