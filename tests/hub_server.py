"""A small Hugging Face Hub on the loopback address, so that tests download with the real client and reach no other host.

    with HubServer() as hub:
        commit = hub.add_repo("acme/model", {"config.json": b"{}"})
        hub.inject(method="GET", status=503)  # the next GET is refused once
        ...
        assert [request.method for request in hub.requests] == ["HEAD", "GET", "GET"]

It knows what a download needs and no more: repos with commits, tokens, and `resolve` with the headers the client reads. Files live
in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import TracebackType

import pytest
import uvicorn
from huggingface_hub import constants
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

FOREVER = -1
"""As `times` of a fault: it never heals."""
NEVER = 3600.0
"""As `delay` of a fault: longer than any test waits; the server does not wait for it when it closes."""
LFS_SUFFIXES = (".safetensors", ".png", ".npz")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose path and method match."""

    path: str = ".*"
    method: str = "HEAD|GET"
    times: int = 1
    status: int | None = None
    """Answered instead of the file."""
    delay: float = 0.0
    """Seconds of silence before the answer."""
    truncate: int | None = None
    """Bytes of the body after which the connection breaks, though more were announced."""
    shorten: int | None = None
    """Bytes of a body that is announced as that short: what a bad mirror holds."""
    corrupt: bool = False
    """The first byte of the body arrives flipped; its size is right."""

    def matches(self, request: Request) -> bool:
        """Whether this fault is still there and meant for this request."""
        asked = re.search(self.path, request.url.path) and re.fullmatch(self.method, request.method)
        return self.times != 0 and asked is not None


@dataclass(frozen=True)
class Logged:
    """One request as it came in."""

    method: str
    path: str
    range: str
    token: str


@dataclass
class Repo:
    """A model repo: its commits, and who may read it."""

    private: bool = False
    gated: bool = False
    readers: frozenset[str] = frozenset()
    commits: dict[str, Mapping[str, bytes]] = field(default_factory=dict)


class Refused(Exception):
    """A request that gets an error page, in the headers that the client turns into its own exceptions."""

    def __init__(self, status: int, code: str, message: str, commit: str = "") -> None:
        super().__init__(message)
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {}) | ({"X-Repo-Commit": commit} if commit else {})
        self.response = JSONResponse({"error": message}, status, headers)


class HubServer:
    """The server, run in a background thread between `__enter__` and `__exit__`."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Logged] = []
        self._repos: dict[str, Repo] = {}
        self._tokens: dict[str, str] = {}
        self._faults: list[Fault] = []
        routes = [
            Route("/api/agent-harnesses", self._nothing, methods=["GET"]),
            Route("/{repo:path}/resolve/{revision}/{name:path}", self._resolve, methods=["GET", "HEAD"]),
        ]
        # No websockets: importing what uvicorn would need for them warns, and warnings are errors here.
        config = uvicorn.Config(Starlette(routes=routes), log_level="critical", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)

    # -- what a test sets up ----------------------------------------------------------------------------------------

    def add_repo(
        self, name: str, files: Mapping[str, bytes], *, private: bool = False, gated: bool = False, readers: Collection[str] = ()
    ) -> str:
        """Adds a commit that holds exactly these files, to a new repo or to one of that name. Returns its 40 hex digits."""
        repo = self._repos.setdefault(name, Repo())
        repo.private, repo.gated, repo.readers = private, gated, frozenset(readers)
        listing = [(path, hashlib.sha256(data).hexdigest()) for path, data in sorted(files.items())]
        commit = hashlib.sha1(repr((name, len(repo.commits), listing)).encode()).hexdigest()
        repo.commits[commit] = dict(files)
        return commit

    def add_token(self, token: str, user: str) -> None:
        """Lets `user` in with `token`."""
        self._tokens[token] = user

    def inject(
        self,
        *,
        path: str = ".*",
        method: str = "HEAD|GET",
        times: int = 1,
        status: int | None = None,
        delay: float = 0.0,
        truncate: int | None = None,
        shorten: int | None = None,
        corrupt: bool = False,
    ) -> None:
        """Adds a fault; of several that match, the first added comes first. See `Fault`."""
        self._faults.append(Fault(path, method, times, status, delay, truncate, shorten, corrupt))

    def reset(self) -> None:
        """Forgets repos, tokens, faults and the log."""
        for kept in (self._repos, self._tokens, self._faults, self.requests):
            kept.clear()

    # -- answering --------------------------------------------------------------------------------------------------

    async def _nothing(self, request: Request) -> Response:
        self._log(request)
        return JSONResponse({})

    async def _resolve(self, request: Request) -> Response:
        self._log(request)  # before anything can go wrong, so that requests without an answer are seen too
        fault = next((one for one in self._faults if one.matches(request)), None)
        if fault is None:
            return self._file(request, Fault())
        fault.times -= 1
        await asyncio.sleep(fault.delay)
        if fault.status is not None:
            return Response(b"injected", fault.status)
        return self._file(request, fault)

    def _log(self, request: Request) -> None:
        headers = request.headers
        self.requests.append(Logged(request.method, request.url.path, headers.get("range", ""), headers.get("authorization", "")))

    def _file(self, request: Request, fault: Fault) -> Response:
        try:
            commit, data = self._find(request)
        except Refused as refused:
            return refused.response
        whole = data[: fault.shorten]
        body, status, headers = whole, 200, _file_headers(PurePosixPath(request.path_params["name"]), data) | {"X-Repo-Commit": commit}
        if part := _RANGE.fullmatch(request.headers.get("range", "")):
            start, stop = int(part[1]), int(part[2]) + 1 if part[2] else len(whole)
            body, status = whole[start:stop], 206
            headers["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{len(whole)}"
        headers["Content-Length"] = str(len(body))
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        if fault.corrupt:
            body = bytes([body[0] ^ 0xFF]) + body[1:]
        return StreamingResponse(_pieces(body[: fault.truncate]), status, headers)

    def _find(self, request: Request) -> tuple[str, bytes]:
        """The commit and the content that a path names, or what the Hub says when there is none or it is not for this user."""
        name, revision, path = (request.path_params[part] for part in ("repo", "revision", "name"))
        user = self._user(request)
        repo = self._repos.get(name)
        if repo is None or (repo.private and user not in repo.readers):
            raise Refused(404 if user else 401, "RepoNotFound", "Repository not found")
        if repo.gated and user not in repo.readers:
            raise Refused(403 if user else 401, "GatedRepo", f"Access to model {name} is restricted.")
        commit = list(repo.commits)[-1] if revision == "main" else revision
        if commit not in repo.commits:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if path not in repo.commits[commit]:
            raise Refused(404, "EntryNotFound", "Entry not found", commit)
        return commit, repo.commits[commit][path]

    def _user(self, request: Request) -> str | None:
        header = request.headers.get("authorization", "")
        if not header:
            return None
        user = self._tokens.get(header.removeprefix("Bearer "))
        if user is None:
            raise Refused(401, "", "Invalid credentials in Authorization header")
        return user

    # -- running ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> HubServer:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve(sockets=[listening])), daemon=True)
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("The test Hub did not start.")
            time.sleep(0.005)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # Forced, as requests that are delayed for ever would be waited for.
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)


def _file_headers(path: PurePosixPath, data: bytes) -> dict[str, str]:
    """As the Hub does: large files are known by their sha256, small ones by the sha1 that git gives them."""
    kind = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    if path.suffix in LFS_SUFFIXES:
        sha256 = f'"{hashlib.sha256(data).hexdigest()}"'
        return kind | {"ETag": sha256, "X-Linked-Etag": sha256, "X-Linked-Size": str(len(data))}
    sha1 = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return kind | {"ETag": f'"{sha1}"'}


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """The body in pieces. Where it is shorter than its Content-Length, uvicorn breaks the connection: a cut transfer."""
    for start in range(0, len(body), 1 << 16):
        yield body[start : start + (1 << 16)]


def point_client_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT does when the client is imported, which by now it is."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
