"""Inpaint: a part of a picture is hidden, and the model says what may have been there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.families.capabilities import Diffuses
from playground.images import to_uint8
from playground.knobs import ClassChoice, Knob, Seed
from playground.latent import Latent, Noise
from playground.masks import Mask
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.halfway import SAW, seeds_from, seen_as


@register
class Inpaint(Task):
    """The picture, what is left of it, and completions; what is not hidden stays exactly as it is."""

    name: ClassVar[str] = "inpaint"
    title: ClassVar[str] = "Inpaint"
    says: ClassVar[str] = "Paint over a part of the picture; the model fills it in, and each draw is another way that it may have been."
    needs: ClassVar[tuple[type, ...]] = (Diffuses,)
    stages = ("decode",)
    common: ClassVar[bool] = False
    without: ClassVar[tuple[str, ...]] = ("scheduler", "eta", "label")
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")
    mask: Mask = Knob(Mask("right"), label="Hidden", help="What is made anew. Paint with mouse, finger or keyboard.", widget="mask")
    num_resamplings: int = Knob(
        3,
        label="Rounds per step",
        help="How often each step is taken back and made again, so that new and old fit together.",
        ge=1,
        le=10,
        step=1,
    )
    target: ClassChoice = Knob("none", label="Class", help="What it is completed to; none leaves it to what is still seen.", widget="class")
    num_samples: int = Knob(4, label="Draws", help="How many completions are made.", ge=1, le=10, step=1)
    seed: int = Seed("Which completions are made; the same seed gives the same ones.")

    def run(self, bench: Bench) -> Iterator[Sheet]:
        x, seeds = bench.picture(self.picture), seeds_from(self.seed, self.num_samples)
        hidden = self.mask.pixels(bench.model.image_size).to(x.device)
        params = bench.params.but(label=self.target)
        draws = x.expand(len(seeds), -1, -1, -1)
        for step in bench.able(Diffuses).inpaint(draws, hidden, self.num_resamplings, params, Noise(seeds)):
            yield self._sheet(bench, x, hidden, step.x, step.index / step.total)

    def _sheet(self, bench: Bench, x: Tensor, hidden: Tensor, draws: Tensor, share: float) -> Sheet:
        left = torch.where(hidden, torch.zeros_like(x), x)  # grey, which pictures on black rarely are
        pictures = np.concatenate([to_uint8(x), to_uint8(left), to_uint8(draws)])
        labels = (SAW, "what is left of it", *(f"draw {index}" for index in range(1, len(draws) + 1)))
        latents = (str(self.picture), *[""] * (len(labels) - 1))
        facts = _facts(bench, x, hidden, draws) if share == 1 else {}
        told: dict[str, Any] = {"facts": facts, "says": _words(facts) if facts else "", "progress": share, "named": True}
        return Sheet(pictures, 3, labels, latents, (0,) * len(labels), **told)


def _facts(bench: Bench, x: Tensor, hidden: Tensor, draws: Tensor) -> dict[str, Any]:
    levels = to_uint8(draws).astype(float)[:, hidden.cpu().numpy()]
    (own, _), *others = seen_as(bench, torch.cat([x, draws]))
    return {
        "hidden_share": hidden.float().mean().item(),
        "changed_outside": int((to_uint8(draws) != to_uint8(x))[:, ~hidden.cpu().numpy()].sum()),
        "spread_levels": float(levels.std(axis=0, ddof=1).mean()) if len(draws) > 1 and hidden.any() else 0.0,
        "draws": len(draws),
        "taken_for": own,
        "alike": sum(name == own for name, _ in others),
    }


def _words(facts: dict[str, Any]) -> str:
    if facts["hidden_share"] == 0:
        return "Nothing is hidden, so nothing is made anew: paint on the picture."
    kept = f"The {100 * (1 - facts['hidden_share']):.0f} % that is not hidden is kept exactly ({facts['changed_outside']} pixels differ)"
    spread = f"; in the rest the draws differ by {facts['spread_levels']:.0f} of 255 grey levels" if facts["draws"] > 1 else ""
    if not facts["taken_for"]:
        return f"{kept}{spread}."
    seen = f"The classifier takes the picture for {facts['taken_for']}, and {facts['alike']} of {facts['draws']} draws as well."
    return f"{kept}{spread}. {seen}"
