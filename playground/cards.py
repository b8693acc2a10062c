"""Cards: which weights there are. Reads and checks `weights/models.toml`."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import tomli
from filelock import FileLock

from playground.errors import BadWeights, UnknownCard, unknown
from playground.settings import PROJECT

MAX_ADDED = 256
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy")
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9.]+)+")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"(?!.*(?:--|\.\.|\.git$))\b[\w.-]{1,96}\b/\b[\w.-]{1,96}\b", re.ASCII)  # what the Hub's client takes


JUDGED = "judged.json"
"""How a card judges the first test pictures: its `values`, the `knobs` that they were found with, and what they are `of`."""


@dataclass(frozen=True)
class Card:
    """One entry of the manifest: a family, its files with their sha256 (64 hex digits), and where they come from."""

    id: str
    family: str
    title: str
    files: Mapping[str, str]
    repo: str | None = None
    revision: str | None = None
    license: str = ""
    paper: str = ""
    dataset: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    """What it is for, where that is not seen from the title."""
    format: str = "playground"
    """How its files are opened; see `playground.formats`."""
    folder: Path | None = None
    """Where its files lie, when a person named a folder."""

    @property
    def short_title(self) -> str:
        """Its title without its data set."""
        return self.title.partition(" on ")[0].rstrip(",")

    @property
    def weights_sha256(self) -> str:
        """The hash of its weights: of `model.safetensors`, or of the hashes of all its safetensors; empty for a card without any."""
        weights = {name: digest for name, digest in self.files.items() if name.endswith(".safetensors")}
        if "model.safetensors" in weights or not weights:
            return weights.get("model.safetensors", "")
        return hashlib.sha256("".join(weights[name] for name in sorted(weights)).encode()).hexdigest()


class Catalogue(Mapping[str, Card]):
    """The cards that everybody sees. Those that somebody added are found by their id, and listed to nobody."""

    def __init__(self, listed: Mapping[str, Card], absent: Callable[[str], Card | None] = lambda card_id: None) -> None:
        """`absent` may know a card that is not here."""
        self._listed, self._added, self._absent = dict(listed), OrderedDict[str, Card](), absent

    def __getitem__(self, card_id: str) -> Card:
        found = self._listed.get(card_id) or self._added.get(card_id)
        if found is None and (found := self._absent(card_id)) is not None:
            self.add(found)
        if found is None:
            raise KeyError(card_id)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)

    def add(self, card: Card) -> None:
        """Lets it be found by its id; of more than `MAX_ADDED`, the one added first is let go."""
        self._added[card.id] = card
        self._added.move_to_end(card.id)
        if len(self._added) > MAX_ADDED:
            self._added.popitem(last=False)


def read_cards(manifest: Path) -> dict[str, Card]:
    """All cards of a manifest, in its order. Raises `BadWeights` naming the entry and the field of the first defect."""
    remedy = f"Mend {manifest.name}, or restore it: git checkout -- weights/{manifest.name}."
    try:
        entries = tomli.loads(manifest.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadWeights(f"The list of models {manifest} cannot be read ({error.strerror}).", remedy) from error
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadWeights(f"The list of models {manifest} is not TOML ({error}).", remedy) from error
    try:
        return {card_id: _card(card_id, entry) for card_id, entry in entries.items()}
    except ValueError as error:
        raise BadWeights(f"The list of models {manifest.name} has a defect: {error}.", remedy) from error


@lru_cache(maxsize=8)
def bundled_cards(weights_dir: Path = PROJECT / "weights") -> Mapping[str, Card]:
    """The cards that come with the project. Raises `BadWeights` when the folder is not there."""
    return read_cards(weights_dir / "models.toml")


def find_card(cards: Mapping[str, Card], card_id: str) -> Card:
    """The card of that id. Raises `UnknownCard` naming those it may be meant for, or all."""
    if not isinstance(card_id, str) or card_id not in cards:  # whatever a caller of the API sends
        if "/" in str(card_id):
            raise UnknownCard(f"The model {str(card_id)[:160]} is not here.", "Fetch it on the tab Models, or with Engine.adopt.")
        raise UnknownCard(*unknown("card", card_id, cards))
    return cards[card_id]


def file_sha256(path: Path) -> str:
    """64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def judged_of(cards: Mapping[str, Card], card_id: str) -> dict[str, Any]:
    """What judgements of a card are of: its weights, and the test pictures of its data set, by their hashes."""
    card = cards[card_id]
    pictures = cards.get(f"pictures-{card.dataset}")
    return {"weights": card.weights_sha256, "pictures": dict(pictures.files) if pictures else {}}


def write_hashes(manifest: Path, card_id: str, names: list[str]) -> None:
    """Records the sha256 of a card's files in its `[card.files]` table; the rest of the manifest stays as it is.

    The files are `names` in the folder beside the manifest. Raises `UnknownCard` when the card has no entry yet.
    """
    with FileLock(manifest.with_suffix(".lock")):  # several trainings may end at once
        _write_hashes(manifest, card_id, names)
    bundled_cards.cache_clear()


def _write_hashes(manifest: Path, card_id: str, names: list[str]) -> None:
    text = manifest.read_text(encoding="utf-8")
    if card_id not in tomli.loads(text):
        raise UnknownCard(f"{manifest} has no entry [{card_id}].", "Add one with family, title, license and dataset.")
    rows = "".join(f'"{name}" = "sha256:{file_sha256(manifest.parent / card_id / name)}"\n' for name in sorted(names))
    table = f"[{card_id}.files]\n{rows}"
    if found := _find_table(text, f"{card_id}.files"):
        text = text[: found.start()] + table + text[found.end() :]
    else:
        entry = _find_table(text, card_id)
        place = entry.end() if entry else len(text)
        text = text[:place].rstrip("\n") + "\n" + table + text[place:]
    manifest.write_text(text, encoding="utf-8")


def write_source(manifest: Path, card_id: str, repo: str, revision: str) -> None:
    """Records where a card's files are on the Hub in its `[card]` table; the rest of the manifest stays as it is.

    Raises `UnknownCard` when the card has no table of its own, `BadWeights` for what is no repo or no commit.
    """
    if not (_REPO.fullmatch(repo) and _COMMIT.fullmatch(revision)):
        raise BadWeights(f"{repo!r} at {revision!r} is no commit of a repo.", "It is owner/name and 40 hex digits.")
    with FileLock(manifest.with_suffix(".lock")):
        text = manifest.read_text(encoding="utf-8")
        if not (entry := _find_table(text, card_id)):
            raise UnknownCard(f"{manifest} has no entry [{card_id}].", "Add one with family, title, license and dataset.")
        rows = [row for row in entry[0].splitlines() if not re.match(r"(repo|revision)\s*=", row)]
        table = "\n".join([*rows, f'repo = "{repo}"', f'revision = "{revision}"', ""])
        manifest.write_text(text[: entry.start()] + table + text[entry.end() :], encoding="utf-8")
    bundled_cards.cache_clear()


def _find_table(text: str, name: str) -> re.Match[str] | None:
    """A table's header and rows. Comments and empty lines after its last row belong to the next table, and are left out."""
    line, tail = r"(?!\[).*(?:\n|\Z)", r"(?:(?:#.*)?(?:\n|\Z))*(?:\[|\Z)"
    return re.search(rf"^\[{re.escape(name)}\](?:\n|\Z)(?:{line})*?(?={tail})", text, re.MULTILINE)


def _card(card_id: str, entry: Any) -> Card:
    where = f"[{card_id}]"
    if not _ID.fullmatch(card_id):
        raise ValueError(f"{where} is not named family-dataset-size in small letters")
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is not a table")
    known = {
        "family": str,
        "title": str,
        "files": dict,
        "repo": str,
        "revision": str,
        "license": str,
        "paper": str,
        "dataset": str,
        "defaults": dict,
        "about": str,
        "format": str,
    }
    for name, value in entry.items():
        if name not in known:
            raise ValueError(f"{where} has an unknown field {name!r}")
        if not isinstance(value, known[name]):
            raise ValueError(f"{name} of {where} is not a {known[name].__name__}")
    for name in ("family", "title"):
        if not entry.get(name):
            raise ValueError(f"{where} has no {name}")
    _check_source(where, entry)
    files = {name: _check_file(where, name, value) for name, value in entry.get("files", {}).items()}
    return Card(**{**entry, "id": card_id, "files": files})


def _check_source(where: str, entry: Mapping[str, Any]) -> None:
    repo, revision = entry.get("repo"), entry.get("revision")
    if repo is not None and not _REPO.fullmatch(repo):
        raise ValueError(f"repo of {where} is not owner/name")
    if (repo is None) != (revision is None) and ("files" in entry or repo is None):  # a repo alone is pinned when it is first fetched
        raise ValueError(f"{where} needs both repo and revision, or neither")
    if revision is not None and not _COMMIT.fullmatch(revision):
        raise ValueError(f"revision of {where} is not a commit of 40 hex digits")


def _check_file(where: str, name: str, value: Any) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or len(path.parts) != 1:
        raise ValueError(f"file {name!r} of {where} is not a plain file name")
    if path.suffix.lower() in PICKLES:
        raise ValueError(f"file {name!r} of {where} may hold a pickle, which can run code; only safetensors are loaded")
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"file {name!r} of {where} needs a hash, sha256: and 64 hex digits")
    return value.removeprefix("sha256:")
