"""Events of a panel that was built anew while they were on their way.

Gradio forgets the functions of a panel the moment the next one is built in its place, the browser a little later. What it asks in
between ends in a `KeyError` of Gradio's and status 500, though nobody waits for its answer any more.
"""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from playground.ui.bodies import replayed

_EVENTS = ("/gradio_api/queue/join", "/gradio_api/run/predict")
"""Where a browser sends them: those that wait in the queue, and those that do not."""
_LEFT = "left"


def add_left() -> None:
    """Gives the page that is being built the event that stands for one of a panel that is no more: it ends and changes nothing."""

    def left() -> None:
        return

    gr.api(left, api_name=_LEFT, api_visibility="private", queue=False, concurrency_limit=None)


class Stale:
    """ASGI middleware around Gradio's app: an event of a function that is no more ends quietly."""

    def __init__(self, app: ASGIApp, page: gr.Blocks) -> None:
        self.app = app
        self.left = next(number for number, event in page.fns.items() if event.api_name == _LEFT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands on, and an event that Gradio does not know once more as one that it does."""
        if scope["type"] != "http" or not scope["path"].rstrip("/").endswith(_EVENTS):
            await self.app(scope, receive, send)
            return
        body = bytearray()

        async def listen() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        try:
            await self.app(scope, listen, send)
        except KeyError as error:
            event = _read(body)
            if error.args != (event.get("fn_index"),):
                raise
            await self._end(event, scope, receive, send)

    async def _end(self, event: dict[str, Any], scope: Scope, receive: Receive, send: Send) -> None:
        """Asks for the event that ends without a change, for the same visit."""
        body = json.dumps({**event, "fn_index": self.left, "data": [], "event_data": None, "trigger_id": None}).encode()
        headers = MutableHeaders(raw=list(scope["headers"]))
        headers["content-length"] = str(len(body))
        await self.app({**scope, "headers": headers.raw}, replayed(body, receive), send)


def _read(body: bytes | bytearray) -> dict[str, Any]:
    try:
        event = json.loads(body)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
