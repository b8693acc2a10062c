"""What a browser fetches to open the page: compressed once, kept in memory, and cached by the browser for as long as it may be.

Gradio compresses its scripts anew for every visitor, and its document not at all.
"""

from __future__ import annotations

import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import anyio
import brotli
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from playground.ui.document import is_link, slim, slim_for_link

NAMED_FOREVER = "public, max-age=31536000, immutable"
"""For files that have the hash of their content in their name."""
A_DAY = "public, max-age=86400"
KEPT_BYTES = 32 * 2**20
LEAST_BYTES = 600
"""A smaller answer is sent as it is."""
QUALITY = 5
"""Of brotli: 11 makes Gradio's scripts 8 % smaller and takes thirty times as long."""
_FILES = {"/assets/": NAMED_FOREVER, "/static/": A_DAY, "/theme.css": A_DAY}
_TEXTS = ("text/", "application/javascript", "application/json", "image/svg+xml")


@dataclass(frozen=True)
class _Answer:
    """A whole answer as it goes to a browser."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Compressed:
    """ASGI middleware around Gradio's app; what it does not know passes through untouched.

    Where the page `is_public`, everybody who comes by the same address gets the same document.
    """

    def __init__(self, app: ASGIApp, is_public: bool = False) -> None:
        self.app, self.is_public = app, is_public
        self._kept: OrderedDict[tuple[str, str], _Answer] = OrderedDict()
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a GET of the document or of a file of the front end; hands on everything else."""
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/")) if scope["type"] == "http" else ""
        caching = next((words for start, words in _FILES.items() if path.startswith(start)), "")
        asked = Headers(scope=scope) if path else Headers()
        if not path or scope["method"] != "GET" or "range" in asked or not (caching or path == "/"):
            await self.app(scope, receive, send)
            return
        answer = await (self._file(path, caching, scope, receive) if caching else self._document(scope, receive))
        await _send(_unchanged(answer, asked), send)

    async def _file(self, path: str, caching: str, scope: Scope, receive: Receive) -> _Answer:
        """A file of the front end, which is the same for everybody."""
        encoding = _encoding(scope)
        if (known := self._known((path, encoding))) is not None:
            return known
        answer = await _whole(self.app, _unconditional(scope), receive)
        if answer.status != 200:
            return answer
        headers = MutableHeaders(raw=list(answer.headers))
        headers["cache-control"] = caching
        made = await anyio.to_thread.run_sync(_compressed, _Answer(200, headers.raw, answer.body), encoding)
        return self._keep((path, encoding), made)

    async def _document(self, scope: Scope, receive: Receive) -> _Answer:
        """The page itself, which Gradio would make anew each time."""
        query = scope["query_string"].decode("latin-1")
        change = _same if "view=" in query else slim_for_link if is_link(query) else slim
        address, encoding = self._address(scope), _encoding(scope)
        shared = (f"{change.__name__} {address}", encoding)
        if address and (known := self._known(shared)) is not None:
            return known
        answer = await _whole(self.app, _unconditional(scope), receive)
        if answer.status != 200 or not _type(answer).startswith("text/html"):
            return answer
        key = (f"{change.__name__} {hashlib.sha256(answer.body).hexdigest()}", encoding)
        if (made := self._known(key)) is None:
            made = self._keep(key, await anyio.to_thread.run_sync(_made, answer, change, encoding))
        own = MutableHeaders(raw=list(answer.headers))  # of this visit: a cookie may be among them
        own.update(
            {name: value for name, value in Headers(raw=made.headers).items() if name in ("content-encoding", "content-length", "vary")}
        )
        own["cache-control"] = "no-cache"
        own["etag"] = f'"{hashlib.sha256(made.body).hexdigest()[:32]}"'
        document = _Answer(200, own.raw, made.body)
        return self._keep(shared, document) if address and "set-cookie" not in own else document

    def _address(self, scope: Scope) -> str:
        """All that a public document depends on, which is how the page is reached; "" where it depends on more."""
        if not self.is_public or b"deep_link" in scope["query_string"]:
            return ""
        asked = Headers(scope=scope)
        parts = [asked.get(name, "") for name in ("host", "x-forwarded-host", "x-forwarded-proto", "x-gradio-server")]
        return repr([scope.get("scheme"), scope.get("root_path"), *parts])

    def _known(self, key: tuple[str, str]) -> _Answer | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def _keep(self, key: tuple[str, str], answer: _Answer) -> _Answer:
        if key not in self._kept and len(answer.body) <= KEPT_BYTES:
            self._kept[key] = answer
            self._bytes += len(answer.body)
            while self._bytes > KEPT_BYTES:
                self._bytes -= len(self._kept.popitem(last=False)[1].body)
        return answer


def _made(answer: _Answer, change: Callable[[str], str], encoding: str) -> _Answer:
    return _compressed(_Answer(answer.status, answer.headers, change(answer.body.decode()).encode()), encoding)


def _same(text: str) -> str:
    return text


def _compressed(answer: _Answer, encoding: str) -> _Answer:
    """The same answer in an encoding, if it is a text worth it."""
    headers, body = MutableHeaders(raw=list(answer.headers)), answer.body
    if encoding and len(body) >= LEAST_BYTES and _type(answer).startswith(_TEXTS) and "content-encoding" not in headers:
        body = brotli.compress(body, quality=QUALITY) if encoding == "br" else gzip.compress(body, 6)
        headers["content-encoding"] = encoding
    headers.add_vary_header("Accept-Encoding")
    headers["content-length"] = str(len(body))
    return _Answer(answer.status, headers.raw, body)


def _type(answer: _Answer) -> str:
    return Headers(raw=answer.headers).get("content-type", "")


def _encoding(scope: Scope) -> str:
    """The best encoding that the browser takes; "" for none."""
    offers = [part.split(";")[0].strip() for part in Headers(scope=scope).get("accept-encoding", "").split(",")]
    return next((name for name in ("br", "gzip") if name in offers), "")


def _unconditional(scope: Scope) -> Scope:
    """The same request for an answer with a body, not compressed by anybody else."""
    left = [(name, value) for name, value in scope["headers"] if name not in (b"if-none-match", b"if-modified-since", b"accept-encoding")]
    return {**scope, "headers": left}


def _unchanged(answer: _Answer, asked: Headers) -> _Answer:
    """304 without a body where the browser has this very answer already."""
    tag = Headers(raw=answer.headers).get("etag")
    if answer.status != 200 or tag is None or tag not in asked.get("if-none-match", ""):
        return answer
    left = [(name, value) for name, value in answer.headers if name not in (b"content-length", b"content-encoding", b"content-type")]
    return _Answer(304, left, b"")


async def _whole(app: ASGIApp, scope: Scope, receive: Receive) -> _Answer:
    """Runs the app and gathers what it sends."""
    start: Message = {}
    body = bytearray()

    async def gather(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        elif message["type"] == "http.response.body":
            body.extend(message.get("body", b""))

    await app(scope, receive, gather)
    return _Answer(start["status"], list(start.get("headers", [])), bytes(body))


async def _send(answer: _Answer, send: Send) -> None:
    headers = list(answer.headers)  # Gradio's own compression, outside, writes into the list that it is given
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
