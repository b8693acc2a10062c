"""Noise: what a network adds beside the latent, where, and how much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from playground.families.capabilities import HasNoiseInputs
from playground.images import to_uint8
from playground.knobs import MAX_SEED, Knob, Seed
from playground.latent import Latent, Noise
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.marks import coloured, heat

DRAWN = 32
"""Noises by which the standard deviation of a pixel is measured."""
DARK = 10
"""Grey levels up to which a pixel of the picture without noise counts as background."""


@register
class NoiseInputs(Task):
    """One latent without noise and with several noises, and the standard deviation of each pixel over 32 noises, from seed on.

    Source: Karras, Laine & Aila, arXiv 1812.04948, section 3.2 and figure 4.
    """

    name: ClassVar[str] = "noise"
    title: ClassVar[str] = "Noise"
    says: ClassVar[str] = (
        "The same latent with other noise inputs: what stays is decided by w, what changes is left to chance. The map is brightest where "
        "most of it is."
    )
    needs: ClassVar[tuple[type, ...]] = (HasNoiseInputs,)
    view = "plot"
    common: ClassVar[bool] = False
    without: ClassVar[tuple[str, ...]] = ("noise",)
    start: Latent = Knob(Latent.parse("seed:5"), label="Latent", help="What all pictures share: a seed or a picture.", widget="latent")
    num_samples: int = Knob(5, label="Noises", help="How many pictures with other noise are shown.", ge=1, le=10, step=1)
    seed: int = Seed("Which noises; the same seed gives the same ones.")
    strength: float = Knob(
        30.0,
        label="Strength",
        help="How much stronger the noise is made here than the network learned it, for the eye; the map and the numbers are at 1×.",
        ge=1.0,
        le=100.0,
        step=1.0,
        unit="×",
    )

    def run(self, bench: Bench) -> Iterator[Sheet]:
        z, model = bench.latent(self.start), bench.able(HasNoiseInputs)
        seeds = [(self.seed + index) % (MAX_SEED + 1) for index in range(DRAWN)]
        plain = model.freckled(z, None)
        drawn = _drawn(bench, z, seeds)
        spread = deviation(drawn)
        sides = model.noise_sides()
        shares = [deviation(_drawn(bench, z, seeds[: DRAWN // 2], [index])).mean().item() for index in range(len(sides))]
        bright = to_uint8(plain)[0].max(axis=-1) > DARK
        facts: dict[str, Any] = {
            "names": [f"{side}×{side}, {'first' if side not in sides[:index] else 'second'}" for index, side in enumerate(sides)],
            "by_input": [round(share, 4) for share in shares],
            "mean_levels": round(spread.mean().item(), 4),
            "largest_levels": round(spread.max().item(), 4),
            "inside_levels": round(_mean(spread[bright]), 4),
            "outside_levels": round(_mean(spread[~bright]), 4),
        }
        strong = _drawn(bench, z, seeds[: self.num_samples], strength=self.strength)
        yield self._sheet(bench, plain, strong, seeds, spread, facts)

    def _sheet(
        self, bench: Bench, plain: Tensor, drawn: Tensor, seeds: Sequence[int], spread: NDArray[np.float32], facts: dict[str, Any]
    ) -> Sheet:
        shown = heat(torch.from_numpy(spread / max(spread.max(), 1e-6))[None])
        pictures = np.concatenate([coloured(to_uint8(plain)), coloured(to_uint8(drawn)), shown])
        own, none = self._recipes(bench)
        times = f" ×{self.strength:g}" if self.strength != 1 else ""
        return Sheet(
            pictures,
            len(pictures),
            ("no noise", *(f"noise {seed}{times}" for seed in seeds[: len(drawn)]), "deviation"),
            (none, *[own] * len(drawn), ""),
            (0, *seeds[: len(drawn)], 0),
            facts,
            says=told(facts),
            named=True,
        )

    def _recipes(self, bench: Bench) -> tuple[str, str]:
        """The recipe for the pictures with noise and for the one without: each stands only where the request's knob agrees."""
        own, recipe = getattr(bench.params, "noise", "none") == "own", str(self.start)
        if not own:
            return "", recipe
        quiet = not bench.able(HasNoiseInputs).noise_sides()
        return recipe if self.strength == 1 or quiet else "", recipe if quiet else ""


def _drawn(bench: Bench, z: Tensor, seeds: Sequence[int], inputs: Sequence[int] | None = None, strength: float = 1.0) -> Tensor:
    """Pictures of one latent (1, *latent.shape) with the noise of each seed."""
    model, parts = bench.able(HasNoiseInputs), []
    for start in range(0, len(seeds), bench.batch_size):
        part = seeds[start : start + bench.batch_size]
        parts.append(model.freckled(z.expand(len(part), *z.shape[1:]), Noise(part), inputs, strength))
    return torch.cat(parts)


def deviation(x: Tensor) -> NDArray[np.float32]:
    """The standard deviation of each pixel over pictures (B, C, H, W) in [-1, 1], in grey levels, (H, W)."""
    spread: NDArray[np.float32] = (127.5 * x.float().std(dim=0)).mean(dim=0).cpu().numpy()
    return spread


def told(facts: dict[str, Any]) -> str:
    """Where noise acts, and how much."""
    if not facts["names"]:
        return "This network was trained without noise inputs: w alone decides every pixel, and the pictures are all the same."
    strongest = max(range(len(facts["names"])), key=lambda index: facts["by_input"][index])
    inside, outside = facts["inside_levels"], facts["outside_levels"]
    return (
        f"At the strength it learned, other noise moves a pixel by {facts['mean_levels']:.2f} grey levels of 255, "
        f"{facts['largest_levels']:.1f} at most: "
        f"{inside:.2f} on the clothes, {outside:.2f} around them. The input at {facts['names'][strongest]} moves most, "
        f"{facts['by_input'][strongest]:.2f} by itself."
    )


def _mean(values: NDArray[np.float32]) -> float:
    return float(values.mean()) if values.size else 0.0
