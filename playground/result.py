"""What came of a request: pictures that know what made them, as files too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from playground.images import Pictures, encode, sheet
from playground.knobs import Knobs
from playground.request import Request
from playground.tasks import Sheet, find_task

TEXT_KEY = "playground"
"""PNG text chunk that holds the request; `playground-weights` beside it holds the hash of the weights that ran."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds: `load` until the model was there, `run` until this sheet was made."""

    load_ms: float
    run_ms: float


@dataclass(frozen=True)
class Guest:
    """Another card that took part in a request: its knobs, and the hash of its weights."""

    params: Knobs
    weights_sha256: str


@dataclass(frozen=True)
class Result:
    """What came of a request: the sheet, the request that made it, the hash of the weights that ran, and who else took part."""

    request: Request
    sheet: Sheet
    weights_sha256: str
    device: str
    timing: Timing
    guests: Mapping[str, Guest] = field(default_factory=dict)

    @property
    def pictures(self) -> Pictures:
        """(N, H, W, C) uint8."""
        return self.sheet.pictures

    def cell(self, index: int) -> Request | None:
        """The request that makes picture `index` alone; None for one that is no latent's picture (an error map)."""
        recipe = self.sheet.latents[index] if self.sheet.latents else ""
        if not recipe:
            return None
        knobs = {"latent": recipe, "seed": self.sheet.seeds[index]}
        if (way := getattr(self.request.task, "mix", None)) is not None:
            knobs["mix"] = way
        decode = find_task("decode").parse(knobs)
        if maker := self.sheet.cards[index] if self.sheet.cards else "":
            return Request(maker, self.guests[maker].params, decode)
        return Request(self.request.card, self.request.params, decode)

    def png(self, scale: int = 1) -> bytes:
        """The whole sheet as a PNG file with its recipe inside, enlarged by a whole factor."""
        return encode(sheet(self.pictures, self.sheet.columns), text=self._text(self.request), scale=scale)

    def cell_png(self, index: int, scale: int = 1) -> bytes:
        """Picture `index` as a PNG file; the recipe inside makes it alone, or the whole sheet where it has none of its own."""
        return encode(self.pictures[index], text=self._text(self.cell(index) or self.request), scale=scale)

    def save(self, path: str | Path, scale: int = 1) -> None:
        """Writes `png` to a file."""
        Path(path).write_bytes(self.png(scale))

    def _text(self, request: Request) -> dict[str, str]:
        """Of the whole sheet's request, or of a cell's: what made it, and the weights of all that took part in that."""
        hashes = {card: guest.weights_sha256 for card, guest in self.guests.items()} | {self.request.card: self.weights_sha256}
        also = {f"{TEXT_KEY}-weights-{card}": hashes[card] for card in self.guests if request == self.request}
        return {TEXT_KEY: request.to_query(), f"{TEXT_KEY}-weights": hashes[request.card], **also}
