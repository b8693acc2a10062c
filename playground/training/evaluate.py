"""One evaluation for every family, written beside the weights.

The figures go to `metrics.json` in the card's folder; the model card, README and the page read them from there.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from playground import hub
from playground.cards import Card, bundled_cards, find_card
from playground.device import device_words, pick_device, pick_dtype
from playground.errors import TrainingError, UnknownCard
from playground.families import FAMILIES
from playground.families.loading import load_classifier
from playground.settings import Settings
from playground.training.data import load_fashion_mnist
from playground.training.measures import Evaluation, Figure, Yardstick
from playground.training.model_card import write_model_card

CLASSIFIER = "classifier-fashion-28"
FEWEST = 10
"""Fewer pictures have too few neighbours to measure precision and recall by."""


@dataclass
class EvaluationRun:
    """What `python -m playground evaluate` was asked for. Several cards share the measuring of the real pictures."""

    settings: Settings
    data: Path
    num_samples: int = 10_000
    seed: int = 0
    device: str = "auto"
    threads: int = 0
    knobs: Mapping[str, str] = field(default_factory=dict)

    def run(self, card_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Measures cards as bundled; writes `metrics.json` and the model card of each, prints a table, returns the last figures.

        `knobs` are the family's, as text; with any of them nothing is written, because a card's figures are those of its defaults.
        Raises `UnknownCard`, `BadWeights` or `TrainingError` (no data set, too few pictures) with a sentence.
        """
        self.cards = bundled_cards(self.settings.weights_dir)
        chosen = [self._generative(card_id) for card_id in card_ids]
        if self.num_samples < FEWEST:
            raise TrainingError(f"{self.num_samples} pictures are too few to measure.", f"Give --num-samples a whole number from {FEWEST}.")
        torch.set_num_threads(self.threads or torch.get_num_threads())
        train, test = (load_fashion_mnist(split, self.data) for split in ("train", "test"))
        classifier = load_classifier(_folder(find_card(self.cards, CLASSIFIER), self.settings))
        yardstick = Yardstick(classifier, train, test, self.num_samples)
        figures: dict[str, dict[str, Any]] = {}
        for card in chosen:
            figures = self._measure(card, yardstick)
        return figures

    def trained(self) -> list[str]:
        """The generative cards that have weights, in the order of the manifest."""
        cards = bundled_cards(self.settings.weights_dir)
        return [card.id for card in cards.values() if card.family in FAMILIES and card.files]

    def _generative(self, card_id: str) -> Card:
        card = find_card(self.cards, card_id)
        if card.family not in FAMILIES:
            there = ", ".join(card.id for card in self.cards.values() if card.family in FAMILIES)
            raise UnknownCard(f"{card_id} is no generative model.", f"Cards to evaluate: {there}.")
        return card

    def _measure(self, card: Card, yardstick: Yardstick) -> dict[str, dict[str, Any]]:
        where, family, folder = pick_device(self.device), FAMILIES[card.family], _folder(card, self.settings)
        params = family.Params.parse({**card.defaults, **self.knobs})
        model = family.load(folder, where, pick_dtype(where))
        evaluation = Evaluation(model, params, yardstick, self.seed, folder / "model.safetensors")
        with torch.inference_mode():
            measured = evaluation.figures()
        figures = self._described(card, measured, device_words(where))
        _print(card, figures, evaluation.class_share)
        if not self.knobs:
            target = self.settings.weights_dir / card.id
            part = target / "metrics.json.part"
            part.write_text(json.dumps(figures, indent=2) + "\n")
            part.replace(target / "metrics.json")
            write_model_card(card, type(model), target, figures, params.to_plain(), evaluation.class_share)
        return figures

    def _described(self, card: Card, measured: Mapping[str, Figure], device: str) -> dict[str, dict[str, Any]]:
        command = f"python -m playground evaluate {card.id} --num-samples {self.num_samples} --seed {self.seed}"
        common = {"seed": self.seed, "command": command, "date": datetime.date.today().isoformat(), "device": device}
        described = {}
        for name, figure in measured.items():
            error = {} if figure.error is None else {"standard_error": _rounded(figure.error)}
            described[name] = {"value": _rounded(figure.value), **error, "n": figure.n, **common}
        return described


def _folder(card: Card, settings: Settings) -> Path:
    return hub.resolve(
        card, weights_dir=settings.weights_dir, allow_hub=settings.hub == "on", timeout=settings.hub_timeout, retries=settings.hub_retries
    )


def _rounded(value: float) -> float | int:
    return value if isinstance(value, int) else float(f"{value:.5g}")


def _print(card: Card, figures: dict[str, dict[str, Any]], class_share: dict[str, float]) -> None:
    print(f"{card.title} ({card.id})")
    for name, figure in figures.items():
        print(f"  {name:26} {figure['value']:>12}   n = {figure['n']}")
    print("  share of each class:", ", ".join(f"{name} {100 * share:.1f} %" for name, share in class_share.items()))
