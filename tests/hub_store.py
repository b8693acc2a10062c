"""What the test Hub holds, in memory: repos with commits, branches and tags, users with tokens, and who may do what."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import yaml
from starlette.responses import JSONResponse

LFS_SUFFIXES = (".safetensors", ".png", ".npz")
GITATTRIBUTES = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
"""What the first commit of a new repo holds."""


class Refused(Exception):
    """A request that gets an error page, in the headers that the client turns into its own exceptions."""

    def __init__(self, status: int, code: str, message: str, commit: str = "") -> None:
        super().__init__(message)
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {}) | ({"X-Repo-Commit": commit} if commit else {})
        self.response = JSONResponse({"error": message}, status, headers)


@dataclass
class Repo:
    """A model repo: its commits, the names they go by, and who may read it; its owner and `writers` may write."""

    name: str
    private: bool = False
    gated: bool = False
    readers: frozenset[str] = frozenset()
    writers: frozenset[str] = frozenset()
    commits: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def add_commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """A commit that holds exactly these files, the newest of its branch. Returns its 40 hex digits."""
        listing = [(path, hashlib.sha256(data).hexdigest()) for path, data in sorted(files.items())]
        commit = hashlib.sha1(repr((self.name, len(self.commits), listing)).encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        return commit

    def find(self, revision: str) -> str:
        """The commit that a branch, a tag or a commit's own digits name."""
        commit = self.branches.get(revision) or self.tags.get(revision) or revision
        if commit not in self.commits:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit


@dataclass(frozen=True)
class User:
    """Whom a token belongs to, and what it lets them do."""

    name: str
    may_write: bool = True
    orgs: tuple[str, ...] = ()


@dataclass
class Store:
    """Repos by name, users by token, and the large files that were uploaded, by sha256."""

    repos: dict[str, Repo] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)

    def clear(self) -> None:
        """Forgets all."""
        for kept in (self.repos, self.users, self.large):
            kept.clear()

    def user(self, authorization: str) -> User | None:
        """Who sent this header; None for nobody."""
        if not authorization:
            return None
        user = self.users.get(authorization.removeprefix("Bearer "))
        if user is None:
            raise Refused(401, "", "Invalid credentials in Authorization header")
        return user

    def readable(self, name: str, user: User | None, *, content: bool = False) -> Repo:
        """The repo of that name; with `content` its files, for which a gated one asks for consent."""
        repo = self.repos.get(name)
        if repo is None or (repo.private and not self._knows(repo, user)):
            raise Refused(404 if user else 401, "RepoNotFound", "Repository not found")
        if content and repo.gated and not self._knows(repo, user):
            raise Refused(403 if user else 401, "GatedRepo", f"Access to model {name} is restricted.")
        return repo

    def writable(self, name: str, user: User | None) -> Repo:
        """The repo of that name, for somebody who may write to it."""
        repo = self.readable(name, user)
        if user is None:
            raise Refused(401, "", "Invalid username or password.")
        if not (user.may_write and self._owns(repo, user)):
            raise Refused(403, "", "Your token has no right to write to this repository.")
        return repo

    def _knows(self, repo: Repo, user: User | None) -> bool:
        return user is not None and (user.name in repo.readers or self._owns(repo, user))

    def _owns(self, repo: Repo, user: User) -> bool:
        return repo.name.split("/")[0] in (user.name, *user.orgs) or user.name in repo.writers


def is_lfs(path: str) -> bool:
    """Whether the Hub keeps a file outside git, known by its sha256."""
    return PurePosixPath(path).suffix in LFS_SUFFIXES


def blob_id(data: bytes) -> str:
    """The sha1 that git gives to this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def described(path: str, data: bytes) -> dict[str, Any]:
    """A file as the Hub's API lists it: size, git's id, and for a large file its sha256. The id is that of its pointer then."""
    if not is_lfs(path):
        return {"size": len(data), "oid": blob_id(data)}
    sha256 = hashlib.sha256(data).hexdigest()
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (sha256.encode(), len(data))
    return {"size": len(data), "oid": blob_id(pointer), "lfs": {"sha256": sha256, "size": len(data), "pointerSize": len(pointer)}}


def front_matter(readme: str) -> Any:
    """The YAML between the first two `---` lines of a README; None without. Raises `yaml.YAMLError`."""
    if not readme.startswith("---\n"):
        return None
    return yaml.safe_load(readme.removeprefix("---\n").partition("\n---")[0])


def defects(metadata: Any) -> list[str]:
    """What the Hub has against the metadata of a model; see its documentation of model cards."""
    if not isinstance(metadata, dict):
        return ["metadata must be a mapping"]
    words = [name for name in ("license", "library_name", "pipeline_tag") if not isinstance(metadata.get(name, ""), str)]
    lists = [name for name in ("tags", "datasets") if not _are_strings(metadata.get(name, []))]
    found = [f'"{name}" must be a string' for name in words] + [f'"{name}" must be a list of strings' for name in lists]
    if metadata.get("license", "mit") not in ("apache-2.0", "mit"):  # of the Hub's long list those that this project uses
        found.append('"license" must be one of [apache-2.0, mit, ...]')
    for index, model in enumerate(metadata.get("model-index", [])):
        found += [f'"model-index[{index}].{word}" is required' for word in ("name", "results") if not model.get(word)]
        found += [f"model-index[{index}]: {words}" for result in model.get("results") or [] for words in _lacks(result)]
    return found


def _are_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _lacks(result: Mapping[str, Any]) -> list[str]:
    needed: list[tuple[str, Collection[str]]] = [("task", ["type"]), ("dataset", ["type", "name"])]
    found = [f"{part}.{word} is required" for part, words in needed for word in words if not result.get(part, {}).get(word)]
    metrics = result.get("metrics") or []
    found += ["metrics is required"] if not metrics else []
    return found + [f"metric.{word} is required" for metric in metrics for word in ("type", "value") if metric.get(word) is None]
