"""Denoise: spoil a picture, send it through the code, and see what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.families.capabilities import Denoises, Squeezes
from playground.images import from_uint8, pack, to_uint8
from playground.knobs import Knob, Seed
from playground.latent import Latent, Noise
from playground.masks import Mask
from playground.metrics import MAX_PSNR_DB, psnr_db, ssim
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.marks import coloured
from playground.tasks.reconstruct import error_map


@register
class Denoise(Task):
    """The clean picture, the damaged one, what the model makes of that, and the error that is left."""

    name: ClassVar[str] = "denoise"
    title: ClassVar[str] = "Denoise"
    says: ClassVar[str] = (
        "A picture spoiled three ways at once, as you like, and what comes back through the code. It was trained to take out Gaussian "
        "noise; specks and holes it never met. In the residual orange is too bright, blue too dark."
    )
    needs: ClassVar[tuple[type, ...]] = (Squeezes, Denoises)
    stages = ("decode",)
    common: ClassVar[bool] = False
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")
    noise: float = Knob(
        0.4, label="Gaussian noise", help="Its standard deviation; black to white is 2. Training went up to 0.6.", ge=0.0, le=1.0, step=0.05
    )
    salt: float = Knob(0.0, label="Salt and pepper", help="Share of the pixels that turn white or black.", ge=0.0, le=0.5, step=0.01)
    hole: Mask = Knob(Mask.parse("none"), label="Hole", help="Pixels that turn black. None leaves the picture whole.", widget="mask")
    seed: int = Seed("Which noise and which specks; the same seed spoils the same pixels.")

    def run(self, bench: Bench) -> Iterator[Sheet]:
        x = bench.picture(self.picture)
        spoiled = to_uint8(self.damaged(x))
        damaged = from_uint8(spoiled).to(x.device)
        model = bench.able(Squeezes)
        restored, untouched = model.through(torch.cat([damaged, x]), bench.params).split(1)
        scores = {name: (psnr_db(x, y).item(), ssim(x, y).item()) for name, y in (("damaged", damaged), ("restored", restored))}
        facts = {
            "psnr_db": scores["restored"][0],
            "ssim": scores["restored"][1],
            "damaged_psnr_db": scores["damaged"][0],
            "damaged_ssim": scores["damaged"][1],
            "undamaged_psnr_db": psnr_db(x, untouched).item(),
            **self._in_hole(x, damaged, restored),
        }
        names = [f"{name}\n{psnr:.1f} dB\nSSIM {similar:.2f}" for name, (psnr, similar) in scores.items()]
        pictures = [coloured(to_uint8(x)), coloured(spoiled), coloured(to_uint8(restored)), error_map(x, restored)]
        latents = (str(self.picture), "", f"png:{pack(spoiled[0])}", "")
        labels = ("what the model saw", *names, "residual")
        yield Sheet(np.concatenate(pictures), 4, labels, latents, (0,) * 4, facts, says=self._says(bench, facts), named=True)

    def damaged(self, x: Tensor) -> Tensor:
        """A picture (1, C, H, W) in [-1, 1] with noise added, then specks, then the hole; in [-1, 1]."""
        draw, shape = Noise([self.seed]), x.shape[1:]
        noisy = (x + self.noise * draw.normal(shape, "noise").to(x.device)).clamp(-1, 1)
        where, which = draw.uniform((2, 1, *shape[1:]), "specks").to(x.device).unbind(dim=1)
        specked = torch.where(where < self.salt, (which < 0.5).to(x) * 2 - 1, noisy)
        return specked.masked_fill(self.hole.pixels(shape[-1]).to(x.device), -1.0)

    def _in_hole(self, x: Tensor, damaged: Tensor, restored: Tensor) -> dict[str, float]:
        """PSNR inside the hole and outside, before and after; nothing without a hole or without a rest."""
        hole = self.hole.pixels(x.shape[-1]).to(x.device)
        if hole.all() or not hole.any():
            return {}
        places = {"hole": hole, "rest": ~hole}
        states = {"before": damaged, "after": restored}
        return {
            f"{place}_{state}_db": psnr_db(x[..., pixels], y[..., pixels]).item()
            for place, pixels in places.items()
            for state, y in states.items()
        }

    def _says(self, bench: Bench, facts: dict[str, float]) -> str:
        before, after, clean = (facts[name] for name in ("damaged_psnr_db", "psnr_db", "undamaged_psnr_db"))
        words = f"From {_db(before)} to {_db(after)}; undamaged it comes back at {_db(clean)}."
        if self.noise > (learned := bench.able(Denoises).noise_learned()):
            words += f" This is more noise than the {learned:g} it met in training."
        if "hole_after_db" not in facts:
            return words + " Paint a hole to see damage of a kind that it never met."
        inside, outside = (f"{_db(facts[f'{place}_before_db'])} → {_db(facts[f'{place}_after_db'])}" for place in ("hole", "rest"))
        return f"{words} Inside the hole {inside}, outside {outside}: it never met holes in training."


def _db(value: float) -> str:
    return "exact" if value >= MAX_PSNR_DB else f"{value:.1f} dB"
