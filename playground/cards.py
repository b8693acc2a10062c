"""TEMPORARY stand-in."""
from __future__ import annotations
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from playground.errors import BadWeights, UnknownCard
from playground.settings import PROJECT

@dataclass(frozen=True)
class Card:
    id: str
    family: str
    title: str
    files: Mapping[str, str]
    repo: str | None = None
    revision: str | None = None
    license: str = ""
    paper: str = ""
    dataset: str = ""
    defaults: Mapping[str, object] = field(default_factory=dict)
    @property
    def weights_sha256(self) -> str:
        return self.files["model.safetensors"]

def read_cards(manifest: Path) -> dict[str, Card]:
    try:
        data = tomllib.loads(manifest.read_text())
    except OSError as error:
        raise BadWeights(f"{manifest} is missing.", "Restore it.") from error
    return {k: Card(id=k, **{**v, "files": {n: h.removeprefix("sha256:") for n, h in v["files"].items()}}) for k, v in data.items()}

def find_card(cards, card_id):
    if card_id not in cards:
        raise UnknownCard(f"There is no card called {card_id!r}.", f"There are: {', '.join(cards)}.")
    return cards[card_id]

def bundled_cards(folder: Path = PROJECT / "weights"):
    return read_cards(folder / "models.toml")
def write_hashes(*a): ...
