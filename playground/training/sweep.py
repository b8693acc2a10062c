"""Quality and cost of a card as one knob moves: measured once, so that a page can plot them.

The rows go to `sweeps.json` in the card's folder, under the knob's name; those of other knobs stay.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from typing_extensions import Self

from playground.cards import Card
from playground.device import device_words
from playground.errors import BadKnob
from playground.families import FAMILIES, Model
from playground.knobs import Knobs
from playground.training.evaluate import EvaluationRun, rounded, write_json
from playground.training.measures import Evaluation, Yardstick

FILE = "sweeps.json"
FIGURES = (
    "classifier_fd",
    "classifier_fd_floor",
    "precision",
    "recall",
    "density",
    "coverage",
    "sharpness_ratio",
    "gflop_per_picture",
    "ms_per_picture",
)
"""What a row holds, beside the knob's `value` and how it was measured; `training.model_card.MEANING` says what each means."""


@dataclass
class Sweep:
    """What `python -m playground evaluate CARD --sweep KNOB=VALUE,…` was asked for; all other knobs stay at the card's defaults."""

    evaluation: EvaluationRun
    knob: str
    values: Sequence[str]

    @classmethod
    def read(cls, evaluation: EvaluationRun, text: str) -> Self:
        """`KNOB=VALUE,VALUE,…`. Raises `BadKnob` for what is not written so, or when another knob is given too."""
        knob, equals, values = text.partition("=")
        if not (knob and equals and values):
            raise BadKnob(f"{text!r} is no sweep.", "Write a knob and its values, such as num_inference_steps=1,2,5.")
        if evaluation.knobs:
            raise BadKnob("A sweep moves one knob and leaves the others alone.", f"Leave out --{next(iter(evaluation.knobs))}.")
        return cls(evaluation, knob.replace("-", "_"), list(dict.fromkeys(values.split(","))))

    def run(self, card_id: str) -> list[dict[str, Any]]:
        """Measures, prints a table, writes `sweeps.json`; returns its rows by rising value, or in the order of the choices.

        Raises `UnknownCard`, `BadKnob` (before anything is measured), `BadWeights` or `TrainingError` with a sentence.
        """
        card = self.evaluation.generative(card_id)
        family = FAMILIES[card.family]
        settings = [family.Params.parse({**card.defaults, self.knob: value}) for value in self.values]
        model = self.evaluation.loaded(card)
        if self.knob not in (own := [spec.name for spec in model.knobs()]):
            raise BadKnob(f"{self.knob} changes nothing of {card.id}.", f"Its knobs are: {', '.join(own)}.")
        yardstick = self.evaluation.yardstick()
        _print_row([self.knob, *FIGURES])
        rows = []
        for params in settings:
            rows.append(self._row(card, model, params, yardstick))
            _print_row([rows[-1][name] for name in ("value", *FIGURES)])
        rows = _in_order(rows)
        file = self.evaluation.settings.weights_dir / card.id / FILE
        others = json.loads(file.read_text()) if file.exists() else {}
        write_json(file, {**others, self.knob: rows})
        return rows

    def _row(self, card: Card, model: Model, params: Knobs, yardstick: Yardstick) -> dict[str, Any]:
        weights = self.evaluation.folder(card) / "model.safetensors"
        measures = Evaluation(model, params, yardstick, self.evaluation.seed, weights)
        with torch.inference_mode():
            found = measures.generation() | measures.cost()
        return {
            "value": params.to_plain()[self.knob],
            **{name: rounded(found[name].value) for name in FIGURES},
            "n": self.evaluation.num_samples,
            "seed": self.evaluation.seed,
            "command": self.command(card),
            "date": datetime.date.today().isoformat(),
            "device": device_words(model.device),
        }

    def command(self, card: Card) -> str:
        """What measures the same again."""
        run = self.evaluation
        asked = f"--sweep {self.knob}={','.join(self.values)} --num-samples {run.num_samples} --seed {run.seed}"
        return f"python -m playground evaluate {card.id} {asked}"


def _in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Numbers rise; words stay as they were given."""
    return sorted(rows, key=lambda row: row["value"]) if all(not isinstance(row["value"], str) for row in rows) else rows


def _print_row(cells: Sequence[object]) -> None:
    widths = (20, *(len(name) for name in FIGURES))
    print("  ".join(f"{cell!s:>{width}}" for cell, width in zip(cells, widths, strict=True)), flush=True)
