"""An engine on tiny random models: every family, no weights on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from playground.cards import Card
from playground.engine import Engine, _Seat
from playground.families import FAMILIES, Model
from playground.families.latent_diffusion import LatentDiffusion
from playground.families.pixel_diffusion import PixelDiffusion
from playground.families.tarflow import TransformerFlow
from playground.nets.classifier import Classifier, ClassifierConfig
from playground.settings import Settings
from playground.shelf import Shelf

HASH = "0" * 64
VARIANTS: dict[str, Callable[[], Model]] = {
    "flow-transformer-tiny-28": TransformerFlow.tiny,
    "diffusion-pixels-tiny-28": PixelDiffusion.tiny,
    "diffusion-latent-tiny-28": LatentDiffusion.tiny,
}
"""Cards that another class of the family runs."""


def _card(name: str, family: str) -> Card:
    return Card(name, family, "tiny", {"model.safetensors": HASH}, dataset="tiny")


TINY_CARDS = {f"{family}-tiny-28": _card(f"{family}-tiny-28", family) for family in FAMILIES}
TINY_CARDS |= {name: _card(name, name.partition("-")[0]) for name in VARIANTS}


class TinyEngine(Engine):
    """Loads `tiny()` instead of files and records no passes, so that networks can be watched; all else is the engine's own."""

    def __init__(self, **settings: object) -> None:
        super().__init__(Settings.model_validate({"hub": "off", "device": "cpu", "recordings": 0} | settings), TINY_CARDS)

    def _load(self, card: Card) -> _Seat:
        return _Seat(VARIANTS.get(card.id, FAMILIES[card.family].tiny)(), HASH)

    def shelf(self, dataset: str) -> Shelf:
        return Shelf.tiny()

    def training_shelf_of(self, card: str) -> Shelf:
        return Shelf.tiny(count=30)

    def classifier_of(self, card: str) -> Classifier:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            return Classifier(ClassifierConfig(num_classes=3, width=8, feature_dim=16)).eval().requires_grad_(False)

    def measured(self, card: str) -> Mapping[str, Any]:
        return {}

    def judged(self, card: str) -> Mapping[str, Any]:
        return {}

    def swept(self, card: str) -> Mapping[str, list[Mapping[str, Any]]]:
        return {}
