"""Noising: the way from picture to noise that a diffusion model learns to undo."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch

from playground.families.base import Model
from playground.families.capabilities import Diffuses
from playground.images import to_uint8
from playground.knobs import Knob, Knobs, Seed
from playground.latent import Latent, Noise
from playground.metrics import psnr_db
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.halfway import noised, reach, shares, shown

LEAST = 1e-3
"""Less signal or noise than this counts as this, so that their ratio has a logarithm."""


@register
class Noising(Task):
    """A film of two rows from t = 0 to 1: the picture under more and more noise, and what the network still sees in it."""

    name: ClassVar[str] = "noising"
    title: ClassVar[str] = "Noising"
    says: ClassVar[str] = (
        "The way that is learnt backwards: a picture drowns in noise, and beside it is what the network still sees at a single look."
    )
    needs: ClassVar[tuple[type, ...]] = (Diffuses,)
    stages = ("decode",)
    view = "film"
    common: ClassVar[bool] = False
    without: ClassVar[tuple[str, ...]] = ("num_inference_steps", "scheduler", "guidance_scale", "eta", "label")
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")
    num_frames: int = Knob(13, label="Frames", help="Places on the way, evenly from t = 0 to 1.", ge=3, le=33, step=2)
    seed: int = Seed("Which noise it drowns in.")

    @classmethod
    def live(cls, model: Model, params: Knobs) -> bool:
        return True  # one pass of the network for all frames

    def run(self, bench: Bench) -> Iterator[Sheet]:
        x, params = bench.picture(self.picture), bench.params.but(label="none")
        eps = Noise([self.seed]).normal(x.shape[1:], "noising").to(x)
        times = torch.linspace(0, 1, self.num_frames).tolist()
        x_t = torch.cat([noised(bench, x, eps, time) for time in times])
        guess = bench.able(Diffuses).guess(x_t, torch.tensor(times).to(x), params, Noise([self.seed] * len(times)))
        places = [shares(bench, time) for time in times]
        above = [shown(x_t[index : index + 1], reach(*place)) for index, place in enumerate(places)]
        pictures = np.concatenate([*above, to_uint8(guess)])
        close = psnr_db(guess, x.expand_as(guess)).tolist()
        labels = [f"x_t at t = {time:.2f} (shown: ±{reach(*place):.1f})" for time, place in zip(times, places, strict=True)]
        labels += [f"predicted x_0: {value:.1f} dB" for value in close]
        facts = {
            "time": [round(time, 4) for time in times],
            "guess_db": [round(value, 2) for value in close],
            **_curves(bench),
        }
        count = 2 * len(times)
        yield Sheet(
            pictures, len(times), tuple(labels), ("",) * count, (self.seed,) * count, facts, says=_words(facts), named=True, group=2
        )


def _curves(bench: Bench, points: int = 81) -> dict[str, list[float]]:
    """The schedule itself, on a fine grid of times."""
    times = torch.linspace(0, 1, points).tolist()
    places = [shares(bench, time) for time in times]
    return {
        "times": [round(time, 4) for time in times],
        "alpha_bar": [round(signal**2, 5) for signal, _ in places],
        "sigma": [round(sigma, 5) for _, sigma in places],
        "log_snr": [round(2 * math.log(max(signal, LEAST) / max(sigma, LEAST)), 3) for signal, sigma in places],
    }


def _words(facts: dict[str, list[float]]) -> str:
    even = min(range(len(facts["times"])), key=lambda index: abs(facts["log_snr"][index]))
    middle = len(facts["time"]) // 2
    return (
        f"Picture and noise weigh alike at t = {facts['times'][even]:.2f}. Looking once, the network finds the picture to "
        f"{facts['guess_db'][middle]:.1f} dB from t = {facts['time'][middle]:.2f}, and to {facts['guess_db'][-1]:.1f} dB from noise alone: "
        "a blur, the average of all pictures."
    )
