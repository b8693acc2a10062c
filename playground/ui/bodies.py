"""What is sent to the page: bounded in size and in time, all of it together in memory, and never a file on disk.

A server reads a body as long as somebody sends one. Gradio takes files of any number, and nothing on this page has a use for them.
"""

from __future__ import annotations

import anyio
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from playground.knobs import whole_number
from playground.ui.doors import path_of

SECONDS = 120.0
"""In which a body must have come."""
AT_ONCE = 16
"""Bodies of the largest size that may be held in memory while they come."""
SMALL = 100
"""A body below this part of the largest size is taken even then: who sends files slowly must not keep others from their knobs."""
CLOSED = ("/gradio_api/upload", "/gradio_api/process_recording")
_BODILESS = ("GET", "HEAD", "OPTIONS")


class Bodies:
    """ASGI middleware: hands on what was sent once it is there, or says in a sentence why not."""

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float = SECONDS) -> None:
        self.app, self.max_bytes, self.seconds = app, max_bytes, seconds
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 404 for files, 413 for too much, 503 for too much of all together, and 408 for what does not come."""
        if scope["type"] != "http" or scope["method"] in _BODILESS:
            await self.app(scope, receive, send)
            return
        if path_of(scope).startswith(CLOSED):
            await _refused(404, "This page takes no files but by playground/open.")(scope, receive, send)
            return
        try:
            with anyio.fail_after(self.seconds):
                body = await self._read(scope, receive)
        except TimeoutError:
            body = _refused(408, f"That did not come within {self.seconds:g} seconds. Try again.")
        if isinstance(body, JSONResponse):
            await body(scope, receive, send)
        elif body is not None:
            await self.app(scope, replayed(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | JSONResponse | None:
        """All that is sent, or why it is not taken; None for who went away."""
        declared, body = Headers(scope=scope).get("content-length", ""), bytearray()
        if declared and whole_number(declared, 0, self.max_bytes) is None:
            return self._too_large()
        try:
            while (message := await receive())["type"] != "http.disconnect":
                part = message.get("body", b"")
                self.held += len(part)
                body += part
                if len(body) > self.max_bytes:
                    return self._too_large()
                if self.held > AT_ONCE * self.max_bytes and len(body) > self.max_bytes // SMALL:
                    return _refused(503, "Too much is being sent at once. Try again in a moment.")
                if not message.get("more_body", False):
                    return bytes(body)
            return None
        finally:
            self.held -= len(body)

    def _too_large(self) -> JSONResponse:
        return _refused(413, f"That has more than {self.max_bytes / 2**20:g} MiB. Hand in less.")


def _refused(status: int, words: str) -> JSONResponse:
    """Under both names, ours and Gradio's; the connection may still be full of the rest, so it ends."""
    return JSONResponse({"error": words, "detail": words}, status, {"Connection": "close", "Cache-Control": "no-store"})


def replayed(body: bytes, receive: Receive) -> Receive:
    """What was read already, then whatever comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def once() -> Message:
        return messages.pop() if messages else await receive()

    return once
