"""What all tests share: no network but this machine's, a tiny project folder, and one running page."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")

import ipaddress
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from huggingface_hub import close_session, constants

from playground.engine import Engine
from playground.hub import download
from playground.remote import engine_of
from playground.settings import PROJECT, Settings
from tests.hub_server import HubServer, point_client_at

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.browsing import Tab

torch.set_num_threads(1)
_connect = socket.socket.connect


def _only_loopback(self: socket.socket, address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else ""
    if host and host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise AssertionError(f"A test tried to reach {host}.")
    _connect(self, address)


@pytest.fixture(autouse=True)
def no_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests reach no host but this one."""
    monkeypatch.setattr(socket.socket, "connect", _only_loopback)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The bundled weights, no Hub."""
    return Settings(weights_dir=PROJECT / "weights", hub="off", port=0)


@dataclass(frozen=True)
class Site:
    """A running page: where it is, and the engine behind it."""

    url: str
    engine: Engine
    app: Any = None
    """Gradio's own."""


@contextmanager
def opened(settings: Settings) -> Iterator[Site]:
    """The whole page on a free port, as `app.py` opens it."""
    from playground.ui import build, launch

    engine = engine_of(settings)
    page = build(engine)
    app, url, _ = launch(page, engine, prevent_thread_lock=True, quiet=True)
    yield Site(url, engine, app)
    page.close(verbose=False)


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """One page for all tests that only look at it."""
    with opened(Settings(hub="off", device="cpu", port=0)) as site:
        yield site


@pytest.fixture(scope="session")
def page_url(site: Site) -> str:
    return site.url


@pytest.fixture
def tab(chromium: Browser, site: Site) -> Iterator[Tab]:
    """A fresh tab of Chromium, not yet on the page."""
    from tests.browsing import browse

    with browse(chromium, site.url) as tab:
        yield tab


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium: the build without windows, which is quicker, or the one that has them."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
    assert path, "Chromium is needed: apt-get install chromium-headless-shell"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server() -> Iterator[HubServer]:
    """A Hub on this machine; `remote` empties it for each test."""
    with HubServer() as running:
        yield running


@pytest.fixture
def remote(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """An empty Hub, and a client that knows no other one, has an empty cache and no token, and waits for nothing."""
    server.reset()
    point_client_at(server.url, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    # The client sleeps for a second before it takes up a broken transfer again.
    monkeypatch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(download, "_verified", {})
    yield server
    close_session()
