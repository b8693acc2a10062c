"""Picture to picture: noise on a picture, and off again. SDEdit, Meng et al., arXiv 2108.01073."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.families.base import Step
from playground.families.capabilities import Diffuses
from playground.images import to_uint8
from playground.knobs import ClassChoice, Knob, Seed
from playground.latent import Latent, Noise
from playground.metrics import psnr_db
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.halfway import SAW, noised, reach, seeds_from, seen_as, shares, shown


@register
class Variation(Task):
    """The picture, the picture under noise, and what the last steps make of that, once for each seed."""

    name: ClassVar[str] = "variation"
    title: ClassVar[str] = "Picture to picture"
    says: ClassVar[str] = "Noise is laid over a picture and taken off again: the more, the less is left of it."
    needs: ClassVar[tuple[type, ...]] = (Diffuses,)
    stages = ("decode",)
    common: ClassVar[bool] = False
    without: ClassVar[tuple[str, ...]] = ("label",)
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")
    strength: float = Knob(
        0.6, label="Strength", help="How far towards noise: 0 is the picture itself, 1 forgets it altogether.", ge=0.0, le=1.0, step=0.05
    )
    target: ClassChoice = Knob("none", label="Class", help="What it is drawn towards; none leaves it to the picture.", widget="class")
    num_samples: int = Knob(7, label="Draws", help="How many variations are made, each from noise of its own.", ge=1, le=14, step=1)
    seed: int = Seed("Which noise is laid over the picture.")

    def run(self, bench: Bench) -> Iterator[Sheet]:
        x, there = bench.picture(self.picture), bench.under(label=self.target)
        num_left = round(self.strength * there.params.to_plain()["num_inference_steps"])
        seeds = seeds_from(self.seed, self.num_samples)
        for step, x_t in self._steps(there, x, num_left, seeds):
            share = step.index / step.total
            yield self._sheet(bench, x, x_t, there.able(Diffuses).time_left(num_left, there.params), step.x, seeds, share)

    def _steps(self, bench: Bench, x: Tensor, num_left: int, seeds: list[int]) -> Iterator[tuple[Step, Tensor]]:
        """The steps that are left, with the noisy pictures that they begin from."""
        model, noise = bench.able(Diffuses), Noise(seeds)
        eps, many = bench.model.draw(bench.params, noise), x.expand(len(seeds), -1, -1, -1)
        if num_left == 0:
            yield Step(many, 1, 1), many
            return
        whole = num_left == bench.params.to_plain()["num_inference_steps"]
        x_t = eps if whole else noised(bench, many, eps, model.time_left(num_left, bench.params))
        for step in model.finish(x_t, num_left, bench.params, noise):
            yield step, x_t

    def _sheet(self, bench: Bench, x: Tensor, x_t: Tensor, time: float, draws: Tensor, seeds: list[int], share: float) -> Sheet:
        pictures = np.concatenate([to_uint8(x), shown(x_t[:1], reach(*shares(bench, time))), to_uint8(draws)])
        labels = (SAW, f"under noise, t = {time:.2f}", *(f"seed {seed}" for seed in seeds))
        from_noise = self.strength == 1 and bench.params.to_plain()["label"] == self.target  # then each is the picture of its seed
        latents = (str(self.picture), "", *(f"seed:{seed}" if from_noise else "" for seed in seeds))
        facts = _facts(bench, x, draws, time) if share == 1 else {}
        told: dict[str, Any] = {"facts": facts, "says": _words(facts) if facts else "", "progress": share, "named": True}
        return Sheet(pictures, 3, labels, latents, (0, 0, *seeds), **told)


def _facts(bench: Bench, x: Tensor, draws: Tensor, time: float) -> dict[str, Any]:
    (own, _), *others = seen_as(bench, torch.cat([x, draws]))
    return {
        "start_time": time,
        "to_picture_db": psnr_db(draws, x.expand_as(draws)).mean().item(),
        "draws": len(draws),
        "taken_for": own,
        "alike": sum(name == own for name, _ in others),
    }


def _words(facts: dict[str, Any]) -> str:
    if facts["start_time"] == 0:
        return "No noise, no steps: the picture itself."
    told = f"Begun at t = {facts['start_time']:.2f}, the draws are {facts['to_picture_db']:.1f} dB from the picture on average"
    if not facts["taken_for"]:
        return f"{told}."
    return f"{told}; the classifier takes it for {facts['taken_for']}, and {facts['alike']} of {facts['draws']} draws as well."
