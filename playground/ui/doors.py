"""Who is let in, and when: readiness, the figures for Prometheus, and an end that lets running requests finish."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import anyio
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from playground.engine import Engine
from playground.families import FAMILIES

CLOSING = "This page is being stopped. Come back in a minute."
OPEN = ("/playground/health", "/playground/ready")
"""What a container's engine asks; it neither signs in nor is turned away."""
ENDLESS = ("/gradio_api/heartbeat", "/gradio_api/dev/reload")
"""Streams that stay open as long as a page does: no work."""
CALM_SECONDS = 0.5
"""How long nothing may be at work before a stop goes on: between two requests of one answer there is a moment."""


@dataclass
class Doors:
    """Whether one page lets requests in. Safe to use from many threads."""

    engine: Engine
    stopping: threading.Event = field(default_factory=threading.Event)
    _at_work: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _was_ready: bool = False

    @property
    def first(self) -> str:
        """The card that the page opens with; empty when there is none."""
        return next((card.id for card in (self.engine.cards or {}).values() if card.family in FAMILIES and card.files), "")

    @property
    def is_ready(self) -> bool:
        """Whether a first visitor would get a picture at once. A model that went later for want of memory is loaded again soon enough."""
        self._was_ready = self._was_ready or bool(self.first and self.engine.is_loaded(self.first))
        return self._was_ready and not self.stopping.is_set()

    def warm(self) -> None:
        """Loads the first card; why it cannot be is told by whoever asks for it."""
        try:
            if self.first:
                self.engine.model(self.first)
        except Exception as error:
            self.engine.log.tell("ready", outcome="failed", error=type(error).__name__)
        else:
            self.engine.log.tell("ready", outcome="done" if self.first else "failed")

    def count(self, change: int) -> None:
        """One answer more, or less, is being made."""
        with self._lock:
            self._at_work += change

    @property
    def is_calm(self) -> bool:
        """Whether nothing is being made or waited for."""
        with self._lock:
            return not (self._at_work or self.engine.in_use() or self.engine.line.waiting())

    def settle(self, seconds: float) -> bool:
        """Waits up to so many seconds until all that was begun is done; whether it is."""
        deadline, calm_since = time.monotonic() + seconds, time.monotonic()
        while (now := time.monotonic()) < deadline:
            if not self.is_calm:
                calm_since = now
            elif now - calm_since >= CALM_SECONDS:
                return True
            time.sleep(0.05)
        return self.is_calm

    # -- routes -----------------------------------------------------------------------------------------------------

    def routes(self) -> list[Route]:
        """`/playground/ready` and, where the settings say so, `/metrics`."""
        metrics = [Route("/metrics", self.metrics)] if self.engine.settings.tells_metrics else []
        return [Route("/playground/ready", self.ready), *metrics]

    async def ready(self, http: HTTPRequest) -> Response:
        """200 once a first picture can be had, 503 before that and after a stop was asked for."""
        status = "ready" if self.is_ready else "stopping" if self.stopping.is_set() else "loading" if self.first else "no models"
        return JSONResponse({"status": status}, 200 if status == "ready" else 503)

    async def metrics(self, http: HTTPRequest) -> Response:
        """What is counted, for Prometheus."""
        body, content_type = await anyio.to_thread.run_sync(self.engine.meters.text)
        return Response(body, headers={"Content-Type": content_type})


class Doorway:
    """ASGI middleware: counts what is at work, and turns new work away once a stop was asked for."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        self.app, self.doors = app, doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with 503 and a sentence, or hands on."""
        path = path_of(scope)
        if scope["type"] != "http" or path in OPEN or path.startswith(ENDLESS):
            await self.app(scope, receive, send)
            return
        if self.doors.stopping.is_set() and _is_new(scope["method"], path):
            await _closing(path)(scope, receive, send)
            return
        self.doors.count(1)
        try:
            await self.app(scope, receive, send)
        finally:
            self.doors.count(-1)


def path_of(scope: Scope) -> str:
    """The path below the page's own root, however a proxy mounted it; empty for what is no HTTP."""
    if scope["type"] != "http":
        return ""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def _is_new(method: str, path: str) -> bool:
    """Whether it begins something: Gradio's events and uploads are POSTs, answers to them and Stop are not new.

    Nor is a HEAD of the page: by that Gradio looks, while it launches, whether the page is there, and would end the process otherwise.
    """
    if path.startswith("/gradio_api/") and method == "POST":
        return not path.startswith(("/gradio_api/cancel", "/gradio_api/reset"))
    return (path == "/" and method != "HEAD") or path.startswith("/playground/")


def _closing(path: str) -> Response:
    headers: dict[str, Any] = {"Retry-After": "60", "Cache-Control": "no-store"}
    if path.startswith("/gradio_api/"):
        return JSONResponse({"detail": CLOSING, "error": CLOSING}, 503, headers)
    return PlainTextResponse(CLOSING, 503, headers)
