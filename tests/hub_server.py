"""A small Hugging Face Hub on the loopback address, so that tests use the real client and reach no other host.

    with HubServer() as hub:
        commit = hub.add_repo("acme/model", {"config.json": b"{}"})
        hub.inject(method="GET", status=503)  # the next GET is refused once
        ...
        assert [request.method for request in hub.requests] == ["HEAD", "GET", "GET"]

It knows what downloads, listings and uploads need and no more. What it holds is in `hub_store`, what changes that in `hub_writing`;
here are the reading half, the faults and the running.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
import uvicorn
import yaml
from huggingface_hub import constants
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.hub_store import Refused, Repo, Store, User, blob_id, described, front_matter, is_lfs
from tests.hub_writing import Answer, Writing

FOREVER = -1
"""As `times` of a fault: it never heals."""
NEVER = 3600.0
"""As `delay` of a fault: longer than any test waits; the server does not wait for it when it closes."""
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_PIECE = 1 << 16


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose path and method match."""

    path: str = ".*"
    method: str = "HEAD|GET"
    times: int = 1
    status: int | None = None
    """Answered instead of the file."""
    retry_after: int | None = None
    """Seconds of pause that the answer asks for."""
    delay: float = 0.0
    """Seconds of silence before the answer."""
    truncate: int | None = None
    """Bytes of the body after which the connection breaks, though more were announced."""
    shorten: int | None = None
    """Bytes of a file that is announced as that short: what a bad mirror holds."""
    corrupt: bool = False
    """The first byte of the body arrives flipped; its size is right."""
    rate: float | None = None
    """Bytes of the body a second: a slow link."""

    def matches(self, request: Request) -> bool:
        """Whether this fault is still there and meant for this request."""
        asked = re.search(self.path, unquote(request.url.path)) and re.fullmatch(self.method, request.method)
        return self.times != 0 and asked is not None


@dataclass(frozen=True)
class Logged:
    """One request as it came in."""

    method: str
    path: str
    range: str
    token: str


class HubServer:
    """The server, run in a background thread between `__enter__` and `__exit__`."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Logged] = []
        self._store = Store()
        self._faults: list[Fault] = []
        api = "/api/models/{repo:path}"
        # The longer path first: a repo's name may hold a slash, so that the last pattern would swallow all.
        answers: list[tuple[str, str, Answer]] = [
            ("GET", "/api/agent-harnesses", self._nothing),
            *Writing(self._store).routes(),
            ("GET", api + "/revision/{revision}", self._info),
            ("GET", api + "/tree/{revision}", self._tree),
            ("POST", api + "/paths-info/{revision}", self._paths),
            ("GET", api + "/refs", self._refs),
            ("GET", api, self._info),
            ("GET", "/{repo:path}/resolve/{revision}/{name:path}", self._file),
            ("*", "/{rest:path}", self._unknown),
        ]
        routes = [self._route(*answer) for answer in answers]
        # No websockets: importing what uvicorn would need for them warns, and warnings are errors here.
        config = uvicorn.Config(_routed_by_raw_path(Starlette(routes=routes)), log_level="critical", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)

    # -- what a test sets up ----------------------------------------------------------------------------------------

    def add_repo(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        private: bool = False,
        gated: bool = False,
        readers: Collection[str] = (),
        writers: Collection[str] = (),
        branch: str = "main",
    ) -> str:
        """Adds a commit that holds exactly these files, to a new repo or to one of that name. Returns its 40 hex digits.

        The branch of a pull request is called `refs/pr/1`.
        """
        repo = self._store.repos.setdefault(name, Repo(name))
        repo.private, repo.gated, repo.readers, repo.writers = private, gated, frozenset(readers), frozenset(writers)
        return repo.add_commit(files, branch)

    def add_tag(self, name: str, tag: str, commit: str) -> None:
        """Names a commit of a repo."""
        self._store.repos[name].tags[tag] = commit

    def add_token(self, token: str, user: str, *, may_write: bool = True, orgs: Collection[str] = ()) -> None:
        """Lets `user` in with `token`."""
        self._store.users[token] = User(user, may_write, tuple(orgs))

    def files(self, name: str, revision: str = "main") -> Mapping[str, bytes]:
        """What a repo holds now."""
        repo = self._store.repos[name]
        return repo.commits[repo.find(revision)]

    def repos(self) -> dict[str, Repo]:
        """All repos by their names."""
        return dict(self._store.repos)

    def inject(self, **fault: Any) -> None:
        """Adds a `Fault`; of several that match, the first added comes first."""
        self._faults.append(Fault(**fault))

    def reset(self) -> None:
        """Forgets repos, tokens, faults and the log."""
        for kept in (self._store, self._faults, self.requests):
            kept.clear()

    # -- answering --------------------------------------------------------------------------------------------------

    def _route(self, method: str, path: str, answer: Answer) -> Route:
        async def answered(request: Request) -> Response:
            request.scope["path_params"] = {name: unquote(value) for name, value in request.path_params.items()}
            return await self._answer(request, answer)

        methods = {"GET": ["GET", "HEAD"], "*": ["GET", "HEAD", "POST", "PUT", "DELETE"]}.get(method, [method])
        return Route(path, answered, methods=methods)

    async def _answer(self, request: Request, answer: Answer) -> Response:
        """What a request gets, with what is to go wrong with it."""
        headers = request.headers  # logged before anything can go wrong, so that requests without an answer are seen too
        path = unquote(request.url.path)
        self.requests.append(Logged(request.method, path, headers.get("range", ""), headers.get("authorization", "")))
        fault = next((one for one in self._faults if one.matches(request)), None) or Fault()
        fault.times -= 1
        await asyncio.sleep(fault.delay)
        if fault.status is not None:
            pause = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return Response(b"injected", fault.status, pause)
        request.state.shorten = fault.shorten
        try:
            response = await answer(request)
        except Refused as refused:
            response = refused.response
        return response if request.method == "HEAD" else _spoiled(response, fault)

    async def _nothing(self, request: Request) -> Response:
        return JSONResponse({})

    async def _unknown(self, request: Request) -> Response:
        return JSONResponse({"error": "Sorry, we can't find the page you are looking for."}, 404)

    async def _file(self, request: Request) -> Response:
        commit, files = self._found(request, content=True)
        path = request.path_params["name"]
        if path not in files:
            raise Refused(404, "EntryNotFound", "Entry not found", commit)
        whole = files[path][: request.state.shorten]
        body, status, headers = whole, 200, _file_headers(path, files[path]) | {"X-Repo-Commit": commit}
        if part := _RANGE.fullmatch(request.headers.get("range", "")):
            start, stop = int(part[1]), int(part[2]) + 1 if part[2] else len(whole)
            body, status = whole[start:stop], 206
            headers["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{len(whole)}"
        return Response(body, status, headers)

    async def _info(self, request: Request) -> Response:
        commit, files = self._found(request)
        repo = self._store.repos[request.path_params["repo"]]
        flags = {"private": repo.private, "gated": repo.gated and "manual", "disabled": False}
        siblings: list[dict[str, Any]] = [{"rfilename": path} for path in sorted(files)]
        for each in siblings if "blobs" in request.query_params else []:
            each |= described(each["rfilename"], files[each["rfilename"]])
            each["blobId"] = each.pop("oid")
        try:
            metadata = front_matter(files.get("README.md", b"").decode()) or {}
        except yaml.YAMLError:
            metadata = {}
        words = {name: metadata[name] for name in ("library_name", "pipeline_tag") if name in metadata}
        told = {"id": repo.name, "modelId": repo.name, "author": repo.name.split("/")[0], "sha": commit, "siblings": siblings}
        return JSONResponse(told | flags | words | {"cardData": metadata, "tags": metadata.get("tags", []), "downloads": 0, "likes": 0})

    async def _tree(self, request: Request) -> Response:
        _, files = self._found(request)
        return JSONResponse([_listed(path, files[path]) for path in sorted(files)])

    async def _paths(self, request: Request) -> Response:
        _, files = self._found(request)
        asked = parse_qs((await request.body()).decode()).get("paths", [])
        return JSONResponse([_listed(path, files[path]) for path in asked if path in files])

    async def _refs(self, request: Request) -> Response:
        self._found(request)
        repo = self._store.repos[request.path_params["repo"]]

        def named(names: Mapping[str, str], kind: str) -> list[dict[str, str]]:
            full = {name if name.startswith("refs/") else f"refs/{kind}/{name}": commit for name, commit in names.items()}
            return [{"name": ref.removeprefix(f"refs/{kind}/"), "ref": ref, "targetCommit": commit} for ref, commit in full.items()]

        requests = {name: commit for name, commit in repo.branches.items() if name.startswith("refs/pr/")}
        branches = {name: commit for name, commit in repo.branches.items() if name not in requests}
        told = {"branches": named(branches, "heads"), "tags": named(repo.tags, "tags"), "converts": []}
        return JSONResponse(told | {"pullRequests": named(requests, "pr")})

    def _found(self, request: Request, *, content: bool = False) -> tuple[str, Mapping[str, bytes]]:
        """The commit and the files that a path names, or what the Hub says when there is none or it is not for this user."""
        user = self._store.user(request.headers.get("authorization", ""))
        repo = self._store.readable(request.path_params["repo"], user, content=content)
        commit = repo.find(request.path_params.get("revision", "main"))
        return commit, repo.commits[commit]

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


def _routed_by_raw_path(app: Starlette) -> Any:
    """Routing by the path as it was sent, so that the revision `refs%2Fpr%2F1` is one part of it."""

    async def raw(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "path": scope["raw_path"].decode()}, receive, send)

    return raw


def _spoiled(response: Response, fault: Fault) -> Response:
    """The same answer as it arrives over a bad line."""
    body = bytes(response.body)
    if fault.corrupt and body:
        body = bytes([body[0] ^ 0xFF]) + body[1:]
    return StreamingResponse(_pieces(body[: fault.truncate], fault.rate), response.status_code, dict(response.headers))


async def _pieces(body: bytes, rate: float | None) -> AsyncIterator[bytes]:
    """The body in pieces. Where it is shorter than its Content-Length, uvicorn breaks the connection: a cut transfer."""
    size = _PIECE if rate is None else max(1, min(_PIECE, int(rate / 20)))
    for start in range(0, len(body), size):
        piece = body[start : start + size]
        await asyncio.sleep(0 if rate is None else len(piece) / rate)
        yield piece


def _file_headers(path: str, data: bytes) -> dict[str, str]:
    """As the Hub does: large files are known by their sha256, small ones by the sha1 that git gives them."""
    kind = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    if is_lfs(path):
        sha256 = f'"{hashlib.sha256(data).hexdigest()}"'
        return kind | {"ETag": sha256, "X-Linked-Etag": sha256, "X-Linked-Size": str(len(data))}
    return kind | {"ETag": f'"{blob_id(data)}"'}


def _listed(path: str, data: bytes) -> dict[str, Any]:
    """A file in a listing of a tree, where the sha256 of a large one is called `oid`."""
    told = {"type": "file", "path": path, **described(path, data)}
    if "lfs" in told:
        told["lfs"] = {("oid" if name == "sha256" else name): value for name, value in told["lfs"].items()}
    return told


def point_client_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT does when the client is imported, which by now it is."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
