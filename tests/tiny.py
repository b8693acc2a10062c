"""An engine on tiny random models: every family, no weights on disk."""

from __future__ import annotations

from playground.cards import Card
from playground.engine import Engine, _Seat
from playground.families import FAMILIES
from playground.settings import Settings
from playground.shelf import Shelf

HASH = "0" * 64
TINY_CARDS = {f"{name}-tiny-28": Card(f"{name}-tiny-28", name, "tiny", {"model.safetensors": HASH}, dataset="tiny") for name in FAMILIES}


class TinyEngine(Engine):
    """Loads `tiny()` instead of files; all else is the engine's own."""

    def __init__(self, **settings: object) -> None:
        super().__init__(Settings(hub="off", device="cpu", **settings), TINY_CARDS)  # type: ignore[arg-type]

    def _load(self, card: Card) -> _Seat:
        return _Seat(FAMILIES[card.family].tiny(), HASH)

    def shelf(self, dataset: str) -> Shelf:
        return Shelf.tiny()
