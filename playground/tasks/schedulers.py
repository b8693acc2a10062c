"""Schedulers: the same noise, every scheduler, from few steps to many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.families.capabilities import Diffuses
from playground.images import from_uint8, to_uint8
from playground.knobs import Knob, Seed
from playground.latent import Noise
from playground.metrics import psnr_db
from playground.tasks.base import Bench, Sheet, Task, register

LADDER = (2, 5, 10, 20, 50)


@register
class Schedulers(Task):
    """A table: a row for each scheduler, a column for each number of steps, and how far each picture is from the last of its row."""

    name: ClassVar[str] = "schedulers"
    title: ClassVar[str] = "Schedulers"
    says: ClassVar[str] = "The same noise through every scheduler. Those that need fewer steps reach their picture further to the left."
    needs: ClassVar[tuple[type, ...]] = (Diffuses,)
    common: ClassVar[bool] = False
    without: ClassVar[tuple[str, ...]] = ("scheduler", "num_inference_steps")
    most_steps: int = Knob(20, label="Most steps", help="The last column, which the others are compared with.", ge=5, le=50, step=5)
    seed: int = Seed("Which noise all of them start from.")

    @property
    def columns(self) -> tuple[int, ...]:
        """Numbers of steps, from few to many."""
        return (*(steps for steps in LADDER if steps < self.most_steps), self.most_steps)

    def run(self, bench: Bench) -> Iterator[Sheet]:
        names = next(spec.choices for spec in bench.model.knobs() if spec.name == "scheduler")
        columns, noise = self.columns, Noise([self.seed])
        cells: dict[tuple[str, int], Tensor] = {}
        done, total = 0, len(names) * sum(columns)
        for steps in columns:  # the cheap ones first, so that there is something to see
            for name in names:
                here = bench.under(scheduler=name, num_inference_steps=steps)
                for step in here.model.decode(here.model.draw(here.params, noise), here.params, noise):
                    cells[name, steps] = step.x
                    share = (done + steps * step.index / step.total) / total
                    if share < 1:
                        yield self._sheet(bench, names, cells, share)
                done += steps
        yield self._sheet(bench, names, cells, 1.0)

    def _sheet(self, bench: Bench, names: Mapping[str, str], cells: Mapping[tuple[str, int], Tensor], share: float) -> Sheet:
        columns = self.columns
        places = [(name, steps) for name in names for steps in columns]
        empty = -torch.ones(1, bench.model.channels, bench.model.image_size, bench.model.image_size)
        pictures = np.concatenate([to_uint8(cells.get(place, empty)) for place in places])
        rows = {name: _distances([cells[name, steps] for steps in columns]) for name in names} if share == 1 else {}
        labels = [f"{names[name]}, {steps} steps" + _told(rows.get(name), columns.index(steps), columns[-1]) for name, steps in places]
        facts: dict[str, Any] = {
            "steps": list(columns[:-1]),
            "most_steps": columns[-1],
            "to_last_db": {names[name]: row for name, row in rows.items()},
        }
        heads = tuple(f"{steps} steps" for steps in columns)
        told: dict[str, Any] = {"facts": facts if rows else {}, "says": _words(facts) if rows else "", "progress": share}
        return Sheet(pictures, len(columns), tuple(labels), heads=heads, sides=tuple(names.values()), **told)


def _distances(row: list[Tensor]) -> list[float]:
    """PSNR of each picture to the last of its row, in dB, as they are seen: in 256 levels."""
    seen = [from_uint8(to_uint8(x)) for x in row]
    return [round(psnr_db(x, seen[-1]).item(), 2) for x in seen[:-1]]


def _told(row: list[float] | None, column: int, most: int) -> str:
    return f": {row[column]:.1f} dB from its picture of {most} steps" if row and column < len(row) else ""


def _words(facts: Mapping[str, Any]) -> str:
    steps, most = facts["steps"], facts["most_steps"]
    at = steps.index(10) if 10 in steps else len(steps) - 1
    order = sorted(facts["to_last_db"].items(), key=lambda item: -item[1][at])
    (best, high), (worst, low) = order[0], order[-1]
    return (
        f"With {steps[at]} steps {best} is closest to its own picture of {most} steps ({high[at]:.1f} dB), "
        f"{worst} farthest ({low[at]:.1f} dB). DDPM draws fresh noise at every step, so each number of steps is another picture."
    )
