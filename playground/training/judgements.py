"""How a card judges the first test pictures, written beside its weights: what the page ranks a visitor's picture among."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from playground.cards import JUDGED, Card, bundled_cards, find_card, judged_of
from playground.families import FAMILIES
from playground.families.judging import judge_of
from playground.shelf import Shelf
from playground.training.evaluate import EvaluationRun, rounded, write_json

PART = 8
"""Pictures judged at once."""


@dataclass
class Judgements:
    """What `python -m playground evaluate --all --judged` does; all figures stay as they are."""

    evaluation: EvaluationRun

    def run(self, card_ids: Sequence[str]) -> Iterator[str]:
        """Writes `judged.json` of each card, at its defaults, and yields a line of words. Raises `UnknownCard` or `BadWeights`."""
        torch.set_num_threads(self.evaluation.threads or torch.get_num_threads())
        for card_id in card_ids:
            yield self._judge(self.evaluation.generative(card_id))

    def _judge(self, card: Card) -> str:
        cards, model = bundled_cards(self.evaluation.settings.weights_dir), self.evaluation.loaded(card)
        params = FAMILIES[card.family].Params.parse(card.defaults)
        judge = judge_of(model, params)
        if judge is None:
            return f"{card.id:28} judges nothing at once"
        pictures = Shelf.load(self.evaluation.folder(find_card(cards, f"pictures-{card.dataset}"))).pictures[: judge.ranked]
        with torch.inference_mode():
            parts = [judge.of(pictures[start : start + PART], start, model.device) for start in range(0, len(pictures), PART)]
        values = np.concatenate(parts)
        told = {"of": judged_of(cards, card.id), "knobs": params.to_plain(), "values": [rounded(float(value)) for value in values]}
        write_json(self.evaluation.settings.weights_dir / card.id / JUDGED, told, indent=None)
        return f"{card.id:28} {judge.words(float(np.median(values)))}, the median of {len(values)}"
