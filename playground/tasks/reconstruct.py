"""Reconstruct: encode a picture, decode it, and look at what was lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.families.base import Model
from playground.families.capabilities import Encodes, HasPosterior, Inverts
from playground.images import Pictures, from_uint8, to_uint8
from playground.knobs import Knob, Knobs, KnobSpec, Seed
from playground.latent import Latent
from playground.metrics import psnr_db, ssim
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.marks import coloured
from playground.tasks.shared import posterior_draws

ERROR_GAIN = 2.0


@register
class Reconstruct(Task):
    """The crop the model saw, its reconstruction from the posterior mean, the error, and draws from the posterior."""

    name: ClassVar[str] = "reconstruct"
    title: ClassVar[str] = "Reconstruct"
    says: ClassVar[str] = "What comes back after squeezing a picture through the latent; orange is too bright, blue too dark."
    needs: ClassVar[tuple[type, ...]] = (Encodes,)
    stages = ("decode",)
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")
    num_samples: int = Knob(
        5, label="Draws", help="Draws from the posterior: all that the model thinks it may have been.", ge=0, le=13, step=1
    )
    seed: int = Seed("Which draws are made; the same seed gives the same draws.")

    @classmethod
    def specs_for(cls, model: Model) -> tuple[KnobSpec, ...]:
        return tuple(spec for spec in cls.specs() if isinstance(model, HasPosterior) or spec.name == "picture")

    @classmethod
    def live(cls, model: Model, params: Knobs) -> bool:
        return model.live and not isinstance(model, Inverts)

    def run(self, bench: Bench) -> Iterator[Sheet]:
        x = bench.picture(self.picture)
        guess = bench.able(Encodes).encode(x, bench.params)
        if isinstance(bench.model, Inverts):
            yield from self._search(bench, x, guess)
            return
        seeds = [0, *range(self.seed, self.seed + self._num_draws(bench))]
        z = torch.cat([guess, posterior_draws(bench, x, seeds[1:])]) if len(seeds) > 1 else guess
        cells = [("reconstruction", str(self.picture)), *((f"draw {index}", "") for index in range(1, len(seeds)))]
        for pictures, share in bench.decode(z, seeds):
            yield self._sheet(x, from_uint8(pictures).to(x.device), cells, share)

    def _search(self, bench: Bench, x: Tensor, guess: Tensor) -> Iterator[Sheet]:
        """The encoder's guess stays beside what a search makes of it; only the guess is what the picture's recipe stands for."""
        first = bench.decode_all(guess, [0])
        cells = [("reconstruction", ""), ("first guess", str(self.picture))]
        for step in bench.able(Inverts).invert(x, bench.params):
            found = bench.decode_all(step.z, [0]) if step.x is None else step.x
            yield self._sheet(x, torch.cat([found, first]), cells, step.index / step.total)

    def _sheet(self, x: Tensor, back: Tensor, cells: Sequence[tuple[str, str]], share: float) -> Sheet:
        """The given picture and its error map with the pictures `back` (B, C, H, W), of which `cells` give label and recipe."""
        (label, recipe), *rest = cells
        pictures = [coloured(to_uint8(x)), coloured(to_uint8(back[:1])), error_map(x, back[:1]), coloured(to_uint8(back[1:]))]
        labels = ("what the model saw", label, "error", *(name for name, _ in rest))
        latents = (str(self.picture), recipe, "", *(recipe for _, recipe in rest))
        facts = {"psnr_db": psnr_db(x, back[:1]).item(), "ssim": ssim(x, back[:1]).item()}
        columns = 2 if len(labels) == 4 else 3 if len(labels) <= 6 else 4
        return Sheet(np.concatenate(pictures), columns, labels, latents, (0,) * len(labels), facts, named=True, progress=share)

    def _num_draws(self, bench: Bench) -> int:
        return self.num_samples if isinstance(bench.model, HasPosterior) else 0


def error_map(x: Tensor, y: Tensor) -> Pictures:
    """The signed difference y - x as colours on black: orange where `y` is brighter, blue where darker; (B, H, W, 3)."""
    difference = (y - x).float().mean(dim=1).cpu().numpy()[..., None] / 2
    strength = np.clip(ERROR_GAIN * np.abs(difference), 0, 1)
    colour = np.where(difference > 0, np.array([230, 159, 0]), np.array([86, 180, 233]))
    return (strength * colour).astype(np.uint8)
