"""Signing in: nothing but the sign-in page itself is had without it.

Gradio asks for a name and a password and gives a browser a cookie. It guards most of its own paths by it, and none of ours, so this
middleware guards all of them: what is not named here is closed.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping

from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from playground.ui.doors import OPEN, path_of
from playground.ui.routes import Rate, address_of

TRIES_PER_SECOND = 2
"""How often one address may try a password."""
_FORM = ("/", "/login", "/login/", "/theme.css", "/favicon.ico", "/manifest.json", "/gradio_api/token", "/gradio_api/login_check")
"""The sign-in page and what it asks for: `/` tells Gradio's front end to show the form."""
_PUBLIC = (*_FORM, "/gradio_api/startup-events", *OPEN)
"""These too without signing in: what Gradio asks itself when it starts, and what a container's engine asks."""
_FILES = ("/assets/", "/static/", "/svelte/")
"""Gradio's own front end, the same on every page of the world."""


def matches(accounts: Mapping[str, str], name: str, password: str) -> bool:
    """Whether this is the name and the password of one of them; takes as long for a wrong name as for a wrong password."""
    expected = accounts.get(name)
    same = hmac.compare_digest(password.encode(), (expected if expected is not None else "\0").encode())
    return same and expected is not None


class Gate:
    """ASGI middleware around Gradio's app: lets through who has its cookie, or gives name and password as HTTP Basic authentication."""

    def __init__(self, app: ASGIApp, accounts: Mapping[str, str]) -> None:
        self.app, self.accounts = app, accounts
        self.tries = Rate(TRIES_PER_SECOND)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 401 without a cookie, 429 after too many tries, or hands on."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        answer = self._refusal(HTTPRequest(scope), path_of(scope)) if scope["type"] == "http" else PlainTextResponse("", 401)
        await (self.app if answer is None else answer)(scope, receive, send)

    def _refusal(self, http: HTTPRequest, path: str) -> Response | None:
        given = _basic(http.headers.get("authorization", ""))
        tries = path.startswith("/login") and http.method == "POST"
        if (tries or given is not None) and not self._may_try(http, given):
            return PlainTextResponse("Too many tries at once. Wait a second and go on.", 429)
        if path in _PUBLIC or path.startswith(_FILES) or self._knows(http) or (given is not None and matches(self.accounts, *given)):
            return None
        words = "Sign in first: open this page in a browser, or give name and password."
        return JSONResponse({"error": words, "detail": words}, 401, {"Cache-Control": "no-store"})

    def _may_try(self, http: HTTPRequest, given: tuple[str, str] | None) -> bool:
        """Right ones are let through however often; others count."""
        if given is not None and matches(self.accounts, *given):
            return True
        return self.tries.allows(address_of(http))

    def _knows(self, http: HTTPRequest) -> bool:
        """Whether Gradio gave this browser its cookie."""
        app = http.scope["app"]
        names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
        return any(http.cookies.get(name) in app.tokens for name in names if http.cookies.get(name))


def _basic(header: str) -> tuple[str, str] | None:
    """Name and password of a header `Authorization: Basic …`; None for any other."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(rest, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return (name, password) if colon else ("", "")
