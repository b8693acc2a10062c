"""How long a picture takes, measured again: the one figure that another machine, or a quieter hour, changes."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from playground.cards import Card
from playground.device import device_words
from playground.families import FAMILIES, Model
from playground.knobs import Knobs
from playground.training.evaluate import EvaluationRun, rounded, write_json
from playground.training.measures import ms_per_picture
from playground.training.model_card import MEANING

NAME = "ms_per_picture"


@dataclass
class Times:
    """What `python -m playground evaluate --all --times` does; every other figure stays as it is."""

    evaluation: EvaluationRun

    def run(self, card_ids: Sequence[str]) -> Iterator[str]:
        """Times each card at its defaults, and at each value of its sweeps; writes `metrics.json`, `sweeps.json` and the model card.

        Yields a line of words for each card.

        Raises `UnknownCard` or `BadWeights`.
        """
        torch.set_num_threads(self.evaluation.threads or torch.get_num_threads())
        for card_id in card_ids:
            yield self._time(self.evaluation.generative(card_id))

    def _time(self, card: Card) -> str:
        folder, model, family = self.evaluation.settings.weights_dir / card.id, self.evaluation.loaded(card), FAMILIES[card.family]
        figure = self._figure(card, model, family.Params.parse(card.defaults))
        if (file := folder / "metrics.json").exists():
            write_json(file, {**json.loads(file.read_text()), NAME: figure})
            _rewrite_row(folder / "README.md", figure)
        if (file := folder / "sweeps.json").exists():
            sweeps = json.loads(file.read_text())
            for knob, rows in sweeps.items():
                for row in rows:
                    params = family.Params.parse({**card.defaults, knob: row["value"]})
                    row[NAME] = self._figure(card, model, params)["value"]
            write_json(file, sweeps)
        return f"{card.id:28} {figure['value']:>10} ms"

    def _figure(self, card: Card, model: Model, params: Knobs) -> dict[str, Any]:
        with torch.inference_mode():
            value = rounded(ms_per_picture(model, params, self.evaluation.seed))
        told = {"command": f"python -m playground evaluate {card.id} --times", "date": datetime.date.today().isoformat()}
        return {"value": value, "n": 1, "seed": self.evaluation.seed, **told, "device": device_words(model.device)}


def _rewrite_row(card_file: Path, figure: dict[str, Any]) -> None:
    """The figure's row in the table of a model card."""
    row = f"| `{NAME}` | {MEANING[NAME]} | {figure['value']} | {figure['n']} |"
    card_file.write_text(re.sub(rf"^\| `{NAME}` \|.*$", lambda _: row, card_file.read_text(), flags=re.MULTILINE))
