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
from playground.families import FAMILIES, Model
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
        chosen = [self.generative(card_id) for card_id in card_ids]
        yardstick = self.yardstick()
        figures: dict[str, dict[str, Any]] = {}
        for card in chosen:
            figures = self._measure(card, yardstick)
        return figures

    def trained(self) -> list[str]:
        """The generative cards that have weights, in the order of the manifest."""
        cards = bundled_cards(self.settings.weights_dir)
        return [card.id for card in cards.values() if card.family in FAMILIES and card.files]

    def generative(self, card_id: str) -> Card:
        """The card of that id. Raises `UnknownCard` when there is none, or it generates nothing."""
        cards = bundled_cards(self.settings.weights_dir)
        card = find_card(cards, card_id)
        if card.family not in FAMILIES:
            there = ", ".join(card.id for card in cards.values() if card.family in FAMILIES)
            raise UnknownCard(f"{card_id} is no generative model.", f"Cards to evaluate: {there}.")
        return card

    def yardstick(self) -> Yardstick:
        """What is measured with. Raises `TrainingError` without the data set, or for too few pictures."""
        if self.num_samples < FEWEST:
            raise TrainingError(f"{self.num_samples} pictures are too few to measure.", f"Give --num-samples a whole number from {FEWEST}.")
        torch.set_num_threads(self.threads or torch.get_num_threads())
        train, test = (load_fashion_mnist(split, self.data) for split in ("train", "test"))
        classifier = load_classifier(self.folder(find_card(bundled_cards(self.settings.weights_dir), CLASSIFIER)))
        return Yardstick(classifier, train, test, self.num_samples)

    def loaded(self, card: Card) -> Model:
        """The card's model on the chosen device. Raises `BadWeights`."""
        where = pick_device(self.device)
        return FAMILIES[card.family].load(self.folder(card), where, pick_dtype(where))

    def folder(self, card: Card) -> Path:
        """Where the card's files are."""
        s = self.settings
        return hub.resolve(card, weights_dir=s.weights_dir, allow_hub=s.hub != "off", timeout=s.hub_timeout, retries=s.hub_retries)

    def _measure(self, card: Card, yardstick: Yardstick) -> dict[str, dict[str, Any]]:
        params = FAMILIES[card.family].Params.parse({**card.defaults, **self.knobs})
        model = self.loaded(card)
        evaluation = Evaluation(model, params, yardstick, self.seed, self.folder(card) / "model.safetensors")
        with torch.inference_mode():
            measured = evaluation.figures()
        figures = self._described(card, measured, device_words(model.device))
        _print(card, figures, evaluation.class_share)
        if not self.knobs:
            target = self.settings.weights_dir / card.id
            write_json(target / "metrics.json", figures)
            write_model_card(card, type(model), target, figures, params.to_plain(), evaluation.class_share)
        return figures

    def _described(self, card: Card, measured: Mapping[str, Figure], device: str) -> dict[str, dict[str, Any]]:
        command = f"python -m playground evaluate {card.id} --num-samples {self.num_samples} --seed {self.seed}"
        common = {"seed": self.seed, "command": command, "date": datetime.date.today().isoformat(), "device": device}
        described = {}
        for name, figure in measured.items():
            error = {} if figure.error is None else {"standard_error": rounded(figure.error)}
            described[name] = {"value": rounded(figure.value), **error, "n": figure.n, **common}
        return described


def write_json(file: Path, found: Mapping[str, Any], indent: int | None = 2) -> None:
    """All of it or nothing: a reader never sees half a file."""
    part = file.with_name(f"{file.name}.part")
    part.write_text(json.dumps(found, indent=indent) + "\n")
    part.replace(file)


def rounded(value: float) -> float | int:
    """Five significant digits; whole numbers as they are."""
    return value if isinstance(value, int) else float(f"{value:.5g}")


def _print(card: Card, figures: dict[str, dict[str, Any]], class_share: dict[str, float]) -> None:
    print(f"{card.title} ({card.id})")
    for name, figure in figures.items():
        print(f"  {name:26} {figure['value']:>12}   n = {figure['n']}")
    print("  share of each class:", ", ".join(f"{name} {100 * share:.1f} %" for name, share in class_share.items()))
