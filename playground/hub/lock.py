"""The lock file: which commit of a repo a model is, since it was first fetched, and what each of its files hashes to."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from playground.cards import Card
from playground.errors import BadWeights


@dataclass(frozen=True)
class Pin:
    """A model of the Hub as it was first fetched."""

    repo: str
    asked: str
    """The revision that was asked for; "main" when none was."""
    commit: str
    format: str
    family: str
    title: str
    files: Mapping[str, str]
    """sha256 by path."""
    bytes: int
    parameters: int
    defaults: Mapping[str, Any] = field(default_factory=dict)
    license: str = ""
    dataset: str = ""

    @property
    def id(self) -> str:
        """The id of its card."""
        return f"{self.repo}@{self.commit}"

    def card(self) -> Card:
        """Its card."""
        return Card(
            self.id,
            self.family,
            self.title,
            self.files,
            self.repo,
            self.commit,
            license=self.license,
            dataset=self.dataset,
            defaults=self.defaults,
            format=self.format,
        )


@dataclass(frozen=True)
class Lock:
    """The lock file at `path`; it need not exist."""

    path: Path

    def pins(self) -> list[Pin]:
        """All of them. Raises `BadWeights` when the file is damaged."""
        try:
            return [Pin(**entry) for entry in json.loads(self.path.read_text(encoding="utf-8"))["pins"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = "Mend it, or delete it: models are then pinned anew."
            raise BadWeights(f"The lock file {self.path} cannot be read ({error}).", remedy) from error

    def find(self, repo: str, asked: str) -> Pin | None:
        """What that revision was when it was first fetched."""
        return next((pin for pin in self.pins() if pin.repo == repo and asked in (pin.asked, pin.commit)), None)

    def find_id(self, card_id: str) -> Pin | None:
        """The pin of a card."""
        return next((pin for pin in self.pins() if pin.id == card_id), None)

    def write(self, pin: Pin) -> None:
        """Adds a pin, in the place of an earlier one of the same revision. Raises `BadWeights` when it cannot be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.guard"):
                others = [each for each in self.pins() if (each.repo, each.asked) != (pin.repo, pin.asked)]
                text = json.dumps({"pins": [dataclasses.asdict(each) for each in [*others, pin]]}, indent=1)
                part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
                part.write_text(text + "\n", encoding="utf-8")
                part.replace(self.path)
        except OSError as error:
            remedy = "Set PLAYGROUND_LOCK_FILE to another place."
            raise BadWeights(f"The lock file {self.path} cannot be written ({error.strerror}).", remedy) from error
