"""What lies in a repo of the Hub at one commit: asked once, then pinned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playground.errors import BadWeights
from playground.hub.asking import asking
from playground.hub.download import Wanted, cached_path, fetch

NAME = re.compile(r"(?!.*(?:--|\.\.|\.git(?:@|$)))(?P<repo>\b[\w.-]{1,96}\b/\b[\w.-]{1,96}\b)(?:@(?P<revision>[\w./-]{1,200}))?", re.ASCII)
"""owner/name, or owner/name@revision: a branch, a tag, `refs/pr/1`, or a commit of 40 hex digits."""
COMMIT = re.compile(r"[0-9a-f]{40}")
_LINK = re.compile(r"https?://[^/]+/(?P<repo>[\w.-]+/[\w.-]+)(?:/tree/(?P<revision>[\w./-]+))?/?", re.ASCII)


@dataclass(frozen=True)
class Listing:
    """A repo at a commit: every file's size in bytes, and the digest that it must have (see `hub.Wanted`)."""

    repo: str
    commit: str
    sizes: Mapping[str, int]
    digests: Mapping[str, str]
    license: str = ""

    def wanted(self, names: Iterable[str]) -> Wanted:
        """Some of its files, to be fetched. Raises `BadWeights` for one of which the Hub knows no digest."""
        names = [*names]
        for name in names:
            if name not in self.digests:
                what = f"The Hub does not say what {name} of {self.repo} should hash to."
                raise BadWeights(what, "It cannot be checked, so it is not fetched.")
        return Wanted(self.repo, self.commit, {name: self.digests[name] for name in names})

    def size_of(self, names: Iterable[str]) -> int:
        """Bytes of some of its files together."""
        return sum(self.sizes[name] for name in names)

    def missing_bytes(self, names: Iterable[str]) -> int:
        """Bytes of those that are not in the cache."""
        return self.size_of(name for name in names if cached_path(self.repo, self.commit, name) is None)

    def read(self, name: str, timeout: float, retries: int) -> bytes:
        """A small file, verified. Raises what `fetch` raises."""
        return (fetch(self.wanted([name]), timeout=timeout, retries=retries) / name).read_bytes()


def parse_name(text: str) -> tuple[str, str | None]:
    """The repo and the revision of what a person wrote: `owner/name`, `owner/name@revision`, or the address of its page.

    Raises `BadWeights` for anything else.
    """
    found = NAME.fullmatch(text.strip()) or _LINK.fullmatch(text.strip())
    if found is None:
        raise BadWeights(f"{text.strip()[:80]!r} is no repo of the Hub.", "Write owner/name, or owner/name@revision.")
    return found["repo"], found["revision"]


def look(repo: str, revision: str | None, timeout: float) -> Listing:
    """What lies there now; `revision` None is its main branch.

    Raises `BadWeights` when there is no such repo or revision, or it may not be read; `HubUnreachable` when the Hub did not answer.
    """

    def ask() -> Any:
        from huggingface_hub import HfApi

        return HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=timeout)

    info = asking(ask, repo, revision)
    if not isinstance(info.sha, str) or not COMMIT.fullmatch(info.sha):
        raise BadWeights(f"The Hub names no commit of {repo}.", "Try again, or name one: owner/name@commit.")
    files = [(file.rfilename, file.size or 0, _digest(file)) for file in info.siblings or () if _is_plain(file.rfilename)]
    license = info.card_data.get("license") if info.card_data else None
    return Listing(
        repo,
        info.sha,
        {name: size for name, size, _ in files},
        {name: digest for name, _, digest in files if digest},
        license if isinstance(license, str) else "",
    )


def _digest(file: Any) -> str:
    return file.lfs["sha256"] if file.lfs else file.blob_id or ""


def _is_plain(name: str) -> bool:
    """Whether a path stays below its folder."""
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name and len(path.parts) <= 4
