"""Where the weights of a card are, and how to be rid of those that were fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from playground.cards import Card
from playground.errors import BadWeights
from playground.hub.download import cache_dir, cached_path

Place = Literal["bundled", "folder", "cached", "hub", "nowhere"]


def place_of(card: Card, weights_dir: Path) -> Place:
    """Without asking anybody: whole in the bundled folder or in one of a visitor's, whole in the cache, only on the Hub, or nowhere."""
    if card.folder is not None:
        return "folder"
    if card.files and all((weights_dir / card.id / name).is_file() for name in card.files):
        return "bundled"
    if card.repo is None:
        return "nowhere"
    commit = card.revision or ""
    here = bool(card.files) and all(cached_path(card.repo, commit, name) is not None for name in card.files)
    return "cached" if here else "hub"


def page_of(repo: str, revision: str | None = None) -> str:
    """The address of a repo's page on the Hub, or on the mirror that HF_ENDPOINT names."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repo}" + (f"/tree/{revision}" if revision else "")


def forget(repo: str, commit: str) -> int:
    """Deletes a fetched commit from the cache, but what other commits share; returns the bytes that became free.

    Raises `BadWeights` when it is not there.
    """
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        info = scan_cache_dir(cache_dir())
        plan = info.delete_revisions(commit)
    except (CacheNotFound, ValueError) as error:
        raise BadWeights(f"{repo} is not in the cache.", "There is nothing to forget.") from error
    plan.execute()
    return int(plan.expected_freed_size)


def bytes_of(card: Card, weights_dir: Path) -> int:
    """Bytes of the files of a card that are here."""
    total = 0
    for name in card.files:
        own = (card.folder or weights_dir / card.id) / name
        path = own if own.is_file() else cached_path(card.repo, card.revision or "", name) if card.repo else None
        total += path.stat().st_size if path is not None else 0
    return total
