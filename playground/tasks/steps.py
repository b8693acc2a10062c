"""Steps: a picture on its way through a flow, from x to z and back, and how much each step stretches space."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.families.capabilities import Encodes, FlowStep, HasFlowSteps
from playground.images import Pictures, to_uint8
from playground.knobs import Knob, Seed
from playground.latent import Latent, Noise
from playground.metrics import psnr_db
from playground.tasks.base import Bench, Sheet, Task, register

SPREAD = 3.0
"""What is drawn as white, and its negative as black, between picture and latent; of a standard normal 99.7 % lie within."""
ROWS = ("there", "and back", "drawn")


@register
class Steps(Task):
    """Three films one below the other: the picture after each step, the same on the way back from z, and a drawn z on its way to a picture.

    Frame 0 holds pictures, the last frame latents. Between, 0 is grey, +3 white and -3 black; in a flow of several scales the numbers
    that are done stay where their pixels were.
    """

    name: ClassVar[str] = "steps"
    title: ClassVar[str] = "Steps"
    says: ClassVar[str] = (
        "A picture after each step of the flow, until it is noise; the same steps undone; and a new latent, undone as far. "
        "Scrub from picture to noise. Between them 0 is grey, +3 white and −3 black."
    )
    needs: ClassVar[tuple[type, ...]] = (HasFlowSteps, Encodes)
    stages = ("draw",)
    view = "film"
    common: ClassVar[bool] = False
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")
    seed: int = Seed("Which latent is drawn for the third row.")

    def run(self, bench: Bench) -> Iterator[Sheet]:
        x = bench.picture(self.picture)
        model = bench.able(HasFlowSteps)
        steps = [*model.steps_there(x)]
        z = bench.able(Encodes).encode(x, type(bench.model).Params())
        drawn = bench.model.draw(bench.params, Noise([self.seed]))
        columns = len(steps) + 1
        cells = np.zeros((len(ROWS), columns, *to_uint8(x).shape[1:]), np.uint8)
        cells[0] = np.concatenate([to_uint8(x), *(_shown(step.x) for step in steps)])
        for place, state in enumerate(model.steps_back(torch.cat([z, drawn]))):
            at = columns - 1 - place
            cells[1:, at] = to_uint8(state) if at == 0 else _shown(state)
            done = at == 0
            facts = self._facts(x, steps, state[:1], z) if done else {}
            share = (place + 1) / columns
            yield self._sheet(cells, steps, facts, 1.0 if done else share)

    def _sheet(self, cells: Pictures, steps: list[FlowStep], facts: dict[str, Any], share: float) -> Sheet:
        names = ["picture", *(f"{number}: {step.name}" for number, step in enumerate(steps, start=1))]
        labels = tuple(f"{row}\n{name}" for row in ROWS for name in names)
        latents = [""] * len(labels)
        latents[0] = str(self.picture)
        pictures = cells.reshape(-1, *cells.shape[2:]).copy()
        says = _says(facts) if facts else "The steps are being undone…"
        return Sheet(
            pictures, len(names), labels, tuple(latents), (0,) * len(labels), facts, progress=share, says=says, named=True, group=len(ROWS)
        )  # fmt: skip

    def _facts(self, x: Tensor, steps: list[FlowStep], back: Tensor, z: Tensor) -> dict[str, Any]:
        shares = torch.cat([step.log_det[:1] for step in steps]).double().cpu()
        normal = -0.5 * (z.double().square() + math.log(2 * math.pi)).sum().item()
        return {
            "names": [step.name for step in steps],
            "nats": [round(value, 3) for value in shares.tolist()],
            "total_nats": shares.sum().item(),
            "normal_nats": normal,
            "z_mean": z.mean().item(),
            "z_std": z.std().item(),
            "error_levels": 127.5 * (back.to(x.device) - x).abs().max().item(),
            "round_trip_db": psnr_db(x, back.to(x.device)).item(),
        }


def _shown(state: Tensor) -> Pictures:
    return to_uint8(state / SPREAD)


def _says(facts: dict[str, Any]) -> str:
    names, nats = facts["names"], facts["nats"]
    most = max(range(1, len(nats)), key=lambda index: abs(nats[index]))
    return (
        f"{len(names)} steps turn the picture into numbers with mean {facts['z_mean']:.2f} and standard deviation {facts['z_std']:.2f} "
        f"(pure noise: 0 and 1); undone, it is back to within {facts['error_levels']:.2g} of 255 grey levels "
        f"(PSNR {facts['round_trip_db']:.0f} dB). "
        f"Their log-determinants add up to {facts['total_nats']:,.0f} nats: {nats[0]:,.0f} by the logit, after it most by step {most + 1} "
        f"({nats[most]:+,.0f})."
    )
