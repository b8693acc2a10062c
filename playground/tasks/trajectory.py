"""Trajectory: all that a sampler passes on its way from noise to picture, kept and scrubbed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from playground.families.base import Step
from playground.families.capabilities import Diffuses
from playground.images import Pictures, to_uint8
from playground.knobs import Knob
from playground.latent import Latent, Noise
from playground.metrics import psnr_db
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.halfway import NOISE_REACH, decibels, reach, shares, shown

ALIKE_DB = 25.0
"""From here on, a guess and the finished picture look much the same."""


@register
class Trajectory(Task):
    """A film of three rows: x_t, the picture guessed in it, and the noise seen in it; a column for each look of the network."""

    name: ClassVar[str] = "trajectory"
    title: ClassVar[str] = "Trajectory"
    says: ClassVar[str] = (
        "Every step on the way: the noisy x_t, the picture that the network sees in it, and the noise that it sees. Scrub."
    )
    needs: ClassVar[tuple[type, ...]] = (Diffuses,)
    view = "film"
    common: ClassVar[bool] = False
    start: Latent = Knob(
        Latent.seed(0), label="Start", help="The noise to start from: a seed, or a picture turned back to noise.", widget="latent"
    )

    def run(self, bench: Bench) -> Iterator[Sheet]:
        seed, steps = self.start.noise_seed, list[Step]()
        for step in bench.model.decode(bench.latent(self.start), bench.params, Noise([seed])):
            steps.append(step)
            yield self._sheet(bench, steps, step.index / step.total)

    def _sheet(self, bench: Bench, steps: Sequence[Step], share: float) -> Sheet:
        total = steps[0].total
        pictures = np.zeros((3 * total, *to_uint8(steps[0].x).shape[1:]), np.uint8)
        labels, latents, seed = [""] * 3 * total, [""] * 3 * total, self.start.noise_seed
        for column, step in enumerate(steps):
            for row, (label, picture) in enumerate(_rows(bench, step)):
                pictures[row * total + column], labels[row * total + column] = picture[0], label
        if share == 1:
            latents[2 * total - 1] = str(self.start)
        facts = _facts(bench, steps) if share == 1 else {}
        told: dict[str, Any] = {"facts": facts, "says": _words(facts) if facts else "", "progress": share}
        return Sheet(pictures, total, tuple(labels), tuple(latents), (seed,) * 3 * total, named=True, group=3, **told)


def _rows(bench: Bench, step: Step) -> list[tuple[str, Pictures]]:
    assert step.time is not None and step.x_t is not None and step.eps is not None
    white = reach(*shares(bench, step.time))
    guess = "the picture" if step.index == step.total else "predicted x_0"
    return [
        (f"x_t at t = {step.time:.2f} (shown: ±{white:.1f})", shown(step.x_t, white)),
        (f"{guess}, step {step.index}", to_uint8(step.x)),
        (f"predicted noise (shown: ±{NOISE_REACH:.1f})", shown(step.eps, NOISE_REACH)),
    ]


def _facts(bench: Bench, steps: Sequence[Step]) -> dict[str, list[float]]:
    places = [shares(bench, step.time or 0.0) for step in steps]
    final = steps[-1].x
    return {
        "time": [round(step.time or 0.0, 4) for step in steps],
        "snr_db": [round(decibels(*place), 2) for place in places],
        "to_final_db": [round(psnr_db(step.x, final).item(), 2) for step in steps[:-1]],
    }


def _words(facts: dict[str, list[float]]) -> str:
    count, close = len(facts["time"]), facts["to_final_db"]
    if not close:
        return "A single step: the network guesses the average of all pictures that the noise could hide."
    far = [index for index, value in enumerate(close) if value < ALIKE_DB]
    settled = far[-1] + 2 if far else 1
    return (
        f"The first guess is {close[0]:.1f} dB from the finished picture; from step {settled} of {count} "
        f"(t = {facts['time'][settled - 1]:.2f}) on it stays within {ALIKE_DB:.0f} dB, and the last steps only sharpen it."
    )
