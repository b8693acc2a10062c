"""From a card to a folder of verified files: the bundled folder first, then the Hugging Face Hub.

The Hub's client is imported when first needed: it reads `HF_ENDPOINT` once, at import, and a page with bundled weights never needs it.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playground.cards import Card, file_sha256
from playground.errors import BadWeights, FetchStopped, HubUnreachable, PlaygroundError
from playground.hub.asking import asking

STALE_SECONDS = 3600.0
BACKOFF_SECONDS = 0.25
CHUNK_BYTES = 2**18
"""How much arrives between two looks at whether it is still wanted; the client's own 10 MiB is a minute on a slow line."""
SPARE_BYTES = 64 * 2**20
"""Left free on the disk."""
_verified: dict[tuple[str, int, int, int], str] = {}
"""Digests of files already read, by path, size, time of change and length of the digest: a second look costs no second read."""


@dataclass
class Watch:
    """How far a download is, in bytes; it can be stopped from any thread."""

    total: int = 0
    done: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def add(self, count: int) -> None:
        """Counts bytes that arrived. Raises `FetchStopped` once it was stopped."""
        self.done = max(0, self.done + count)
        if self.stopped.is_set():
            raise FetchStopped("The download was stopped.", "What had arrived of a file is thrown away; whole files are kept.")


@dataclass(frozen=True)
class Wanted:
    """Files of a repo at one commit, with the digest that each must have: sha256 (64 hex digits) or git's sha1 of a blob (40)."""

    repo: str
    revision: str
    digests: Mapping[str, str]
    name: str = ""
    """What sentences call it; the repo without one."""

    @property
    def words(self) -> str:
        """What sentences call it."""
        return self.name or self.repo


def resolve(card: Card, *, weights_dir: Path, allow_hub: bool = True, timeout: float = 10.0, retries: int = 3) -> Path:
    """The folder that holds all of a card's files, every one with the sha256 that the card says.

    Raises `BadWeights` for files that are damaged or nowhere, `HubUnreachable` when the Hub did not answer.
    """
    if not card.files:
        fetched = card.repo and not card.revision
        remedy = "Fetch it on the tab Models, or with Engine.adopt." if fetched else f"Train it: python -m playground train {card.id}."
        raise BadWeights(f"{card.id} has no weights yet.", remedy)
    folder = card.folder or weights_dir / card.id
    missing = [name for name, expected in card.files.items() if not is_bundled(folder / name, expected, card)]
    if not missing:
        return folder
    if card.repo is None or not allow_hub:
        why = "fetching from the Hub is switched off" if card.repo else "it is not on the Hub"
        raise BadWeights(
            f"The weights of {card.id} are not here: {folder / missing[0]} is missing, and {why}.",
            "Restore the folder (git checkout -- weights), or train the card again.",
        )
    assert card.revision is not None
    return fetch(Wanted(card.repo, card.revision, card.files, card.id), timeout=timeout, retries=retries)


def fetch(wanted: Wanted, *, timeout: float = 10.0, retries: int = 3, watch: Watch | None = None) -> Path:
    """The snapshot folder in the Hub's cache, all files verified; what is there already is not asked for.

    Raises `BadWeights` for what will not pass, `HubUnreachable` for what may, `FetchStopped` when `watch` was stopped.
    """
    return _Download(wanted, timeout, retries, watch or Watch()).run()


def is_bundled(path: Path, expected: str, card: Card) -> bool:
    """Whether a file is there. Raises `BadWeights` when it is another one."""
    if not path.is_file():
        return False
    found = digest_of(path, len(expected))
    if found != expected:
        if card.folder:
            raise BadWeights(f"{path} has changed since it was added.", "Add the folder again.")
        remedy = f"Restore it: git checkout -- weights/{card.id}." + (" Or delete it, and it is fetched from the Hub." if card.repo else "")
        raise BadWeights(f"{path} is damaged: its sha256 begins {found[:12]}, not {expected[:12]}.", remedy)
    return True


def digest_of(path: Path, length: int = 64) -> str:
    """The sha256 of a file (64 hex digits), or git's sha1 of it (40); read once for as long as the file does not change."""
    status = path.stat()
    key = (str(path), status.st_size, status.st_mtime_ns, length)
    if key not in _verified:
        _verified[key] = file_sha256(path) if length == 64 else git_sha1(path.read_bytes())  # of a small file: what is large has a sha256
    return _verified[key]


def git_sha1(data: bytes) -> str:
    """What git calls a file with this content, 40 hex digits."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def cache_dir() -> Path:
    """The client's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def free_bytes() -> int:
    """What is free on the disk of the cache."""
    place = cache_dir()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def cached_path(repo: str, revision: str, name: str) -> Path | None:
    """Where a file of a commit lies in the cache, if it does; nobody is asked."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, name, revision=revision)
    return Path(found) if isinstance(found, str) else None


class _Download:
    """Fetches files from the Hub, trying again what may pass and saying in a sentence what will not."""

    def __init__(self, wanted: Wanted, timeout: float, retries: int, watch: Watch) -> None:
        self.wanted, self.timeout, self.retries, self.watch = wanted, timeout, retries, watch

    def run(self) -> Path:
        self._sweep()
        names = [*self.wanted.digests]
        paths = [self._fetch(name, self.wanted.digests[name]) for name in names]
        return paths[0].parents[len(Path(names[0]).parts) - 1]

    def _fetch(self, name: str, expected: str) -> Path:
        error: PlaygroundError | None = None
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
            before = self.watch.done
            try:
                path = self._download(name)
            except HubUnreachable as unreachable:
                error, self.watch.done = unreachable, before
                continue
            if digest_of(path, len(expected)) == expected:
                return path
            error, self.watch.done = self._discard(path, name, expected), before
        raise error or HubUnreachable(f"{name} could not be fetched.", "Try again.")

    def _discard(self, path: Path, name: str, expected: str) -> BadWeights:
        """Takes a damaged file out of the cache, so that nothing ever loads it."""
        found = digest_of(path, len(expected))
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        kind = "sha256" if len(expected) == 64 else "git hash"
        return BadWeights(
            f"{name} of {self.wanted.repo} arrived damaged: its {kind} begins {found[:12]}, not {expected[:12]}.",
            "Try again later; if it stays, the files on the Hub are not those of this card.",
        )

    def _download(self, name: str) -> Path:
        """One try with the Hub's own client; a warm cache of a pinned commit asks nobody.

        Raises `HubUnreachable` for what may pass, `BadWeights` for what will not.
        """
        from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url

        repo, revision = self.wanted.repo, self.wanted.revision
        if (cached := cached_path(repo, revision, name)) is not None:
            return cached
        constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES
        constants.HF_HUB_DISABLE_XET = True  # a transfer by xet can be neither watched nor stopped

        def ask() -> Path:
            # Asked first, with the timeout of this page: the download asks a silent Hub seven times and waits minutes.
            size = get_hf_file_metadata(hf_hub_url(repo, name, revision=revision), timeout=self.timeout).size
            self._make_sure_it_fits(name, size or 0)
            return Path(hf_hub_download(repo, name, revision=revision, etag_timeout=self.timeout, tqdm_class=_bar(self.watch)))

        return asking(ask, repo, revision, name, self.wanted.words)

    def _make_sure_it_fits(self, name: str, size: int) -> None:
        if (free := free_bytes()) < size + SPARE_BYTES:
            what = f"{name} of {self.wanted.repo} needs {_mib(size)}, and {_mib(max(0, free - SPARE_BYTES))} are free on the disk."
            raise BadWeights(what, "Free some space (the tab Models forgets what it fetched), or set HF_HOME to a larger disk.")

    def _sweep(self) -> None:
        """Removes partial files that a killed download left behind an hour or more ago."""
        blobs = cache_dir() / f"models--{self.wanted.repo.replace('/', '--')}" / "blobs"
        for partial in blobs.glob("*.incomplete"):
            with suppress(OSError):  # another process may finish it just now
                if time.time() - partial.stat().st_mtime > STALE_SECONDS:
                    partial.unlink(missing_ok=True)


def _bar(watch: Watch) -> type[Any]:
    """What the client believes to be its progress bar."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            watch.add(int(n or 0))

    return Bar


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
