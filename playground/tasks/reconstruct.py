"""Reconstruct: encode a picture, decode it, and look at what was lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.families.base import Encodes, HasPosterior, Model
from playground.images import Pictures, to_uint8
from playground.knobs import Knob, KnobSpec, Seed
from playground.latent import Latent, Noise
from playground.metrics import psnr_db, ssim
from playground.tasks.base import Bench, Sheet, Task, register

ERROR_GAIN = 2.0


@register
class Reconstruct(Task):
    """The crop the model saw, its reconstruction from the posterior mean, the error, and draws from the posterior."""

    name: ClassVar[str] = "reconstruct"
    title: ClassVar[str] = "Reconstruct"
    says: ClassVar[str] = "What comes back after squeezing a picture through the latent; orange is too bright, blue too dark."
    needs: ClassVar[tuple[type, ...]] = (Encodes,)
    stages: ClassVar = ("decode",)
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")
    num_samples: int = Knob(
        5, label="Draws", help="Draws from the posterior: all that the model thinks it may have been.", ge=0, le=13, step=1
    )
    seed: int = Seed("Which draws are made; the same seed gives the same draws.")

    @classmethod
    def specs_for(cls, model: Model) -> tuple[KnobSpec, ...]:
        return tuple(spec for spec in cls.specs() if isinstance(model, HasPosterior) or spec.name == "picture")

    def run(self, bench: Bench) -> Iterator[Sheet]:
        x = bench.picture(self.picture)
        z = bench.able(Encodes).encode(x)
        seeds = [0, *range(self.seed, self.seed + self._num_draws(bench))]
        if len(seeds) > 1:
            z = torch.cat([z, self._draws(bench, x, seeds[1:])])
        back = bench.decode_all(z, seeds)
        pictures = np.concatenate([to_uint8(x), to_uint8(back[:1]), to_uint8(back[1:])])
        labels = ("what the model saw", "reconstruction", "error", *(f"draw {index + 1}" for index in range(len(seeds) - 1)))
        facts = {"psnr_db": psnr_db(x, back[:1]).item(), "ssim": ssim(x, back[:1]).item()}
        coloured = _coloured(pictures)
        coloured = np.concatenate([coloured[:2], error_map(x, back[:1]), coloured[2:]])
        latents = (str(self.picture), str(self.picture), *[""] * (len(coloured) - 2))
        columns = 3 if len(coloured) <= 6 else 4
        yield Sheet(coloured, columns, labels, latents, (0,) * len(coloured), facts)

    def _num_draws(self, bench: Bench) -> int:
        return self.num_samples if isinstance(bench.model, HasPosterior) else 0

    def _draws(self, bench: Bench, x: Tensor, seeds: list[int]) -> Tensor:
        mu, log_var = bench.able(HasPosterior).posterior(x)
        eps = Noise(seeds).normal(mu.shape[1:], "posterior").to(mu.device)
        return (mu + torch.exp(0.5 * log_var) * eps).view(-1, *bench.model.latent.shape)


def error_map(x: Tensor, y: Tensor) -> Pictures:
    """The signed difference y - x as colours on black: orange where `y` is brighter, blue where darker; (B, H, W, 3)."""
    difference = (y - x).float().mean(dim=1).cpu().numpy()[..., None] / 2
    strength = np.clip(ERROR_GAIN * np.abs(difference), 0, 1)
    colour = np.where(difference > 0, np.array([230, 159, 0]), np.array([86, 180, 233]))
    return (strength * colour).astype(np.uint8)


def _coloured(pictures: Pictures) -> Pictures:
    return pictures if pictures.shape[-1] == 3 else pictures.repeat(3, axis=-1)
