"""Complete: part of a picture is kept, and latents are searched for whose pictures agree with it; the rest is what they add."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.errors import BadKnob
from playground.families.base import Model
from playground.families.capabilities import HasDensity, HasLikelihood
from playground.images import from_uint8, to_uint8
from playground.knobs import Knob, Knobs, Seed
from playground.latent import Latent, Noise
from playground.masks import Mask
from playground.metrics import psnr_db
from playground.nets.likelihood import bits_per_dim
from playground.tasks.base import Bench, Sheet, Task, register

LEVELS = 256
MARGIN = 0.001
"""How far from 0 and 1 the logit keeps in which pictures are compared; a grey level is 0.004 wide."""
SIGMA = 0.1
"""How far, in that logit, a kept pixel may be off while a latent is searched for."""
FAR_OFF = 45
"""Grey levels from which a search counts as failed: those of the couplings end near 25, with seams that are hardly seen."""
SEARCH_RATE, CLIMB_RATE = 0.05, 0.02


@register
class Complete(Task):
    """The picture, what is kept of it, and completions, each from a latent of its own.

    A drawn latent z goes down the slope of ½|z|² + Σ (y(z) - y)²/2σ² over the kept pixels, y their logit: it ends near the most probable z
    whose picture agrees with them. The kept pixels are then put back exactly, and the missing ones may follow the slope of the exact
    log p(x), as in Dinh, Krueger & Bengio, NICE, arXiv 1410.8516, section 5.2. That alone does not do: from noise it ends in black, which
    is likelier than clothes. Neither is a draw from p(missing | kept).
    """

    name: ClassVar[str] = "complete"
    title: ClassVar[str] = "Complete"
    measures: ClassVar[bool] = True
    says: ClassVar[str] = (
        "What could the missing part be? Several latents are searched for whose pictures agree with what is kept. A flow knows the density "
        "of whole pictures, not of parts given others, so this is a search and not an exact draw."
    )
    needs: ClassVar[tuple[type, ...]] = (HasLikelihood, HasDensity)
    stages = ("draw",)
    common: ClassVar[bool] = False
    picture: Latent = Knob(Latent.parse("test:3"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")
    mask: Mask = Knob(Mask.parse("bottom"), label="Missing", help="Which part is taken away and made up anew.", widget="mask")
    num_samples: int = Knob(4, label="Completions", help="How many are made; each starts from a latent of its own.", ge=1, le=8, step=1)
    num_steps: int = Knob(
        40, label="Search steps", help="More steps agree better with what is kept, so that seams vanish; each takes its time.",
        ge=1, le=100, step=1,
    )  # fmt: skip
    num_climbs: int = Knob(
        0, label="Steps up the density", help="Then the missing pixels grow likelier: smoother at first, after many steps emptier.",
        ge=0, le=200, step=5,
    )  # fmt: skip
    seed: int = Seed("Which latents the search starts from.")

    @classmethod
    def live(cls, model: Model, params: Knobs) -> bool:
        return False

    def run(self, bench: Bench) -> Iterator[Sheet]:
        x = bench.picture(self.picture)
        missing = self.mask.pixels(bench.model.image_size).to(x.device)
        if not missing.any():
            raise BadKnob("Nothing is missing from the picture.", "Paint over the part that shall be made up.")
        seeds = [self.seed + index for index in range(self.num_samples)]
        start = bench.model.draw(bench.params, Noise(seeds))
        total = self.num_steps + self.num_climbs + 1
        with torch.inference_mode(False):
            search = Search(bench.able(HasDensity), x.clone(), missing.clone(), start.clone())
        for index in range(self.num_steps):
            search.step(0.5 * (1 + math.cos(math.pi * index / self.num_steps)))
            yield self._sheet(x, missing, search.pasted(), (index + 1) / total)
        off = search.off_levels()
        before = self._bits(bench, search.pasted())
        for index in range(self.num_climbs):
            search.climb()
            yield self._sheet(x, missing, search.pasted(), (self.num_steps + index + 1) / total)
        yield self._answer(bench, x, missing, search.pasted(), off, before)

    def _sheet(self, x: Tensor, missing: Tensor, found: Tensor, share: float) -> Sheet:
        labels = ("the picture", "what is kept", *(f"completion {number}" for number in range(1, len(found) + 1)))
        return self._laid(x, missing, found, labels, share, {}, "Latents are being searched for…")

    def _laid(
        self, x: Tensor, missing: Tensor, found: Tensor, labels: tuple[str, ...], share: float, facts: dict[str, Any], says: str
    ) -> Sheet:
        pictures = np.concatenate([to_uint8(x), to_uint8(torch.where(missing, 0.0, x)), to_uint8(found)])
        count = len(pictures)
        latents = (str(self.picture), *[""] * (count - 1))
        return Sheet(pictures, min(count, 5), labels, latents, (0,) * count, facts, progress=share, says=says, named=True)

    def _answer(self, bench: Bench, x: Tensor, missing: Tensor, found: Tensor, off: Tensor, before: list[float]) -> Sheet:
        hole = torch.where(missing, -1.0, x)
        given, empty = self._bits(bench, torch.cat([x, hole]))
        after = self._bits(bench, found)
        classes = bench.classifier(torch.cat([x, found]).cpu()).argmax(dim=1)
        facts = {
            "picture_bits": given,
            "hole_bits": empty,
            "before_bits": before,
            "after_bits": after,
            "off_levels": off.tolist(),
            "same_class": int((classes[1:] == classes[0]).sum()),
            "missing_db": _missing_db(x, found, missing),
        }
        made = (f"completion {number}\n{bits:.2f} bits/dim" for number, bits in enumerate(after, start=1))
        labels = (f"the picture\n{given:.2f} bits/dim", f"what is kept\nblack hole: {empty:.2f}", *made)
        return self._laid(x, missing, found, labels, 1.0, facts, self._says(facts, bench.shelf.classes[int(classes[0])]))

    def _bits(self, bench: Bench, x: Tensor) -> list[float]:
        """Bits/dim of the 8-bit pictures, with the same place within the grey levels for all."""
        exact = from_uint8(to_uint8(x)).to(x.device)
        nats = bench.able(HasLikelihood).log_prob(exact, Noise([0] * len(x)))
        return [round(value, 4) for value in bits_per_dim(-nats, x[0].numel()).tolist()]

    def _says(self, facts: dict[str, Any], name: str) -> str:
        after, count = facts["after_bits"], self.num_samples
        mean = sum(after) / count
        words = [
            f"The classifier takes {facts['same_class']} of {count} completions for what it takes the picture for ({name}).",
            f"Before the kept pixels were put back, the search missed them by {np.mean(facts['off_levels']):.0f} of 255 grey levels (RMS).",
            f"Completed: {mean:.2f} bits/dim on average; the picture itself: {facts['picture_bits']:.2f}; "
            f"with a black hole: {facts['hole_bits']:.2f}.",
        ]
        if np.mean(facts["off_levels"]) > FAR_OFF:
            words.append("That is far off, so take these for failures; more steps or a lower temperature may agree better.")
        if facts["hole_bits"] < mean:
            words.append("A black hole is likelier still, so the likeliest completion is not the one to want.")
        if self.num_climbs:
            words.append(f"Going up the density changed {sum(facts['before_bits']) / count:.2f} into {mean:.2f}.")
        return " ".join(words)


class Search:
    """Latents z (N, *latent.shape) on their way, and the pictures they stand for. Make and step it outside inference mode only.

    `x` is one picture (1, C, H, W) in [-1, 1], `missing` (H, W) its missing pixels.
    """

    def __init__(self, model: HasDensity, x: Tensor, missing: Tensor, start: Tensor) -> None:
        self.model, self.missing = model, missing
        self.given = ((x + 1) * 127.5 + 0.5) / LEVELS
        self.z = start.requires_grad_()
        self.first = torch.optim.Adam([self.z], lr=SEARCH_RATE, betas=(0.9, 0.99))
        self.v = self.given.expand(len(start), -1, -1, -1)
        self.line: Tensor | None = None

    def step(self, pace: float) -> None:
        """One step of the search, at a share `pace` of the full rate."""
        with torch.inference_mode(False), torch.enable_grad():
            self.first.param_groups[0]["lr"] = SEARCH_RATE * pace
            self.first.zero_grad()
            v = self.model.continuous(self.z)
            self.loss(self.z, v).sum().backward()
            self.v = v.detach().clamp(0, 1)
            self.first.step()

    def loss(self, z: Tensor, v: Tensor) -> Tensor:
        """½|z|² + Σ (y(v) - y(given))²/2σ² over the kept pixels, (N,)."""
        off = (on_line(v.clamp(0, 1)) - on_line(self.given)) * ~self.missing
        return 0.5 * z.flatten(1).square().sum(dim=1) + off.flatten(1).square().sum(dim=1) / (2 * SIGMA**2)

    def climb(self) -> None:
        """One step of the missing pixels up the slope of log p, the kept ones held."""
        with torch.inference_mode(False), torch.enable_grad():
            if self.line is None:
                self.line = on_line(torch.where(self.missing, self.v, self.given)).clone().requires_grad_()
                self.second = torch.optim.Adam([self.line], lr=CLIMB_RATE)
            self.second.zero_grad()
            v = torch.where(self.missing, off_line(self.line), self.given)
            (-self.model.log_density(v).sum()).backward()
            self.v = v.detach()
            self.second.step()

    def off_levels(self) -> Tensor:
        """Root mean squared difference of the kept pixels before they are put back, in grey levels, (N,)."""
        off = (LEVELS * (self.v - self.given)).square() * ~self.missing
        kept = (~self.missing).sum().clamp(min=1) * self.given.shape[1]
        return (off.flatten(1).sum(dim=1) / kept).sqrt()

    def pasted(self) -> Tensor:
        """The pictures with the kept pixels put back, (N, C, H, W) in [-1, 1]."""
        v = torch.where(self.missing, self.v, self.given)
        return ((LEVELS * v - 0.5) / 127.5 - 1).clamp(-1, 1)


def on_line(v: Tensor) -> Tensor:
    """Continuous pictures in [0, 1] on the whole line: ½·logit, kept from the ends by `MARGIN`, so that black is -3.5."""
    return 0.5 * torch.logit(MARGIN + (1 - 2 * MARGIN) * v)


def off_line(y: Tensor) -> Tensor:
    """The way back, within [0, 1]."""
    return ((torch.sigmoid(2 * y) - MARGIN) / (1 - 2 * MARGIN)).clamp(1e-6, 1 - 1e-6)


def _missing_db(x: Tensor, found: Tensor, missing: Tensor) -> float:
    """PSNR in dB of the missing pixels alone, averaged over completions."""
    pixels = [picture[:, missing][None, :, :, None] for picture in (x[0], *found)]
    return psnr_db(pixels[0].expand(len(found), -1, -1, -1), torch.cat(pixels[1:])).mean().item()
