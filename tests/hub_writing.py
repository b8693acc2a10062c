"""The writing half of the test Hub: creating repos, uploading large files, committing, and checking a model card's metadata."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.hub_store import GITATTRIBUTES, Refused, Repo, Store, User, blob_id, defects, front_matter, is_lfs

Answer = Callable[[Request], Coroutine[Any, Any, Response]]


class Writing:
    """Answers to requests that change what a `Store` holds, or prepare to."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def routes(self) -> list[tuple[str, str, Answer]]:
        """Method, path and answer of each."""
        return [
            ("GET", "/api/whoami-v2", self.who_am_i),
            ("POST", "/api/validate-yaml", self.validate_yaml),
            ("POST", "/api/repos/create", self.create),
            ("POST", "/api/models/{repo:path}/preupload/{revision}", self.preupload),
            ("POST", "/api/models/{repo:path}/commit/{revision}", self.commit),
            ("POST", "/{repo:path}.git/info/lfs/objects/batch", self.lfs_batch),
            ("PUT", "/lfs/{oid}", self.lfs_put),
            ("POST", "/lfs/verify", self.lfs_verify),
        ]

    async def who_am_i(self, request: Request) -> Response:
        user = self._user(request)
        orgs = [{"type": "org", "name": org} for org in user.orgs]
        token = {"displayName": "test", "role": "write" if user.may_write else "read"}
        return JSONResponse({"type": "user", "name": user.name, "orgs": orgs, "auth": {"type": "access_token", "accessToken": token}})

    async def validate_yaml(self, request: Request) -> Response:
        try:
            metadata = front_matter((await request.json())["content"])
        except yaml.YAMLError as error:
            return _validation([f"invalid YAML: {error}"])
        if metadata is None:
            return _validation([], ["empty or missing yaml metadata in repo card"])
        return _validation(defects(metadata))

    async def create(self, request: Request) -> Response:
        user, asked = self._user(request), await request.json()
        owner = asked.get("organization") or user.name
        name = f"{owner}/{asked['name']}"
        if not user.may_write or owner not in (user.name, *user.orgs):
            raise Refused(403, "", f'You don\'t have the rights to create a model under the namespace "{owner}".')
        if name in self.store.repos:
            raise Refused(409, "", "You already created this model repo")
        self.store.repos[name] = Repo(name, private=asked.get("visibility") == "private")
        self.store.repos[name].add_commit(GITATTRIBUTES)
        return JSONResponse({"url": f"{_root(request)}/{name}", "name": name})

    async def preupload(self, request: Request) -> Response:
        repo = self._repo(request)
        tree = repo.commits[repo.find(request.path_params["revision"])]
        modes = [self._mode(each["path"], tree) for each in (await request.json())["files"]]
        return JSONResponse({"files": modes})

    def _mode(self, path: str, tree: Any) -> dict[str, Any]:
        """How a file is to be uploaded, and as what the Hub knows its earlier content."""
        mode = {"path": path, "uploadMode": "lfs" if is_lfs(path) else "regular", "shouldIgnore": False}
        if path in tree:
            mode["oid"] = hashlib.sha256(tree[path]).hexdigest() if is_lfs(path) else blob_id(tree[path])
        return mode

    async def lfs_batch(self, request: Request) -> Response:
        self._repo(request)
        root = _root(request)
        actions = {"upload": {"href": f"{root}/lfs/{{oid}}"}, "verify": {"href": f"{root}/lfs/verify"}}
        objects = []
        for asked in (await request.json())["objects"]:
            wanted = {word: {"href": action["href"].format(oid=asked["oid"])} for word, action in actions.items()}
            objects.append(asked | ({} if asked["oid"] in self.store.large else {"actions": wanted}))
        return JSONResponse({"transfer": "basic", "objects": objects})

    async def lfs_put(self, request: Request) -> Response:
        body = await request.body()
        if hashlib.sha256(body).hexdigest() != request.path_params["oid"]:
            raise Refused(400, "", "sha256 mismatch")
        self.store.large[request.path_params["oid"]] = body
        return Response()

    async def lfs_verify(self, request: Request) -> Response:
        asked = await request.json()
        if len(self.store.large.get(asked["oid"], b"")) != asked["size"]:
            raise Refused(404, "", "The object was not uploaded.")
        return JSONResponse({})

    async def commit(self, request: Request) -> Response:
        repo, branch = self._repo(request), request.path_params["revision"]
        head = repo.find(branch)
        tree = dict(repo.commits[head])
        for line in (await request.body()).splitlines():
            self._apply(json.loads(line), tree, head)
        commit = repo.add_commit(tree, branch)
        url = f"{_root(request)}/{repo.name}/commit/{commit}"
        return JSONResponse({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})

    def _apply(self, line: dict[str, Any], tree: dict[str, bytes], head: str) -> None:
        """One line of a commit, onto the files so far."""
        value = line["value"]
        match line["key"]:
            case "header":
                if value.get("parentCommit", head) != head:
                    raise Refused(412, "", "A commit has happened since. Please refresh and try again.")
            case "file":
                tree[value["path"]] = base64.b64decode(value["content"])
            case "lfsFile":
                if value["oid"] not in self.store.large:
                    raise Refused(400, "", f"LFS object {value['oid']} was not uploaded")
                tree[value["path"]] = self.store.large[value["oid"]]
            case "deletedFile":
                del tree[value["path"]]
            case other:
                raise Refused(400, "", f"unknown line {other}")

    def _user(self, request: Request) -> User:
        user = self.store.user(request.headers.get("authorization", ""))
        if user is None:
            raise Refused(401, "", "Invalid username or password.")
        return user

    def _repo(self, request: Request) -> Repo:
        return self.store.writable(request.path_params["repo"], self._user(request))


def _validation(errors: Sequence[str], warnings: Sequence[str] = ()) -> Response:
    body = {"errors": [{"message": words} for words in errors], "warnings": [{"message": words} for words in warnings]}
    return JSONResponse(body, 400 if errors else 200)


def _root(request: Request) -> str:
    return str(request.base_url).rstrip("/")
