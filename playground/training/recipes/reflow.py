"""Reflow: a rectified flow, taught the straight lines between each noise and the picture that another has made of it.

Lines from noise to unrelated pictures cross, so a first flow has to bend, and bends take steps. The noise and the picture at the two
ends of its way belong together; lines between such pairs hardly cross, and one or two steps follow them.

Sources: Liu et al., arXiv 2209.03003, algorithm 1; the pseudo-Huber loss, and that times near the noise should be learnt more often,
are Lee et al., arXiv 2405.20320.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from playground.cards import bundled_cards, find_card
from playground.families.diffusion import Diffusion, DiffusionParams
from playground.latent import Noise
from playground.training.data import Split
from playground.training.recipes.rectified import RectifiedRecipe
from playground.training.trainer import writing

CHUNK = 500
"""Pairs made and kept at a time."""


@dataclass(frozen=True)
class ReflowRecipe(RectifiedRecipe):
    """`reflow-fashion-28`: it goes on from `rectified-fashion-28`, on pairs that that one has made."""

    card: ClassVar[str] = "reflow-fashion-28"
    share: ClassVar[float] = 2.0
    begins_with: ClassVar[str] = RectifiedRecipe.card
    learning_rate: float = 1e-3
    num_pairs: int = 20_000
    unlabelled: float = 0.1
    """The share of pairs that were made without a class, and are learnt without one."""
    lateness: float = 3.0
    """Times have the density exp(`lateness` * t): few steps are taken from where there is most noise, and near the picture nothing tells
    which noise it came from."""
    tolerance: float = 0.03
    """Where the loss turns from the square of the error to its size, as root mean square over the pixels."""

    def times(self, count: int, rng: torch.Generator, device: torch.device) -> Tensor:
        even = super(RectifiedRecipe, self).times(count, rng, device)
        return torch.log1p(even * math.expm1(self.lateness)) / self.lateness

    def material(self, pictures: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        eps, x_0 = pictures.chunk(2, dim=1)
        return x_0, eps, labels

    def distance(self, error: Tensor) -> Tensor:
        return ((error.square().mean(dim=(1, 2, 3)) + self.tolerance**2).sqrt() - self.tolerance).mean()

    # -- pairs ------------------------------------------------------------------------------------------------------

    def studies(self, train: Split, weights: Path, run: Path, device: torch.device) -> Split:
        """`num_pairs` noises, each beside the picture that the first flow makes of it at its defaults, (N, 2, 28, 28), and their classes.

        They are kept in `run`, and made anew when that flow's weights or defaults change. A budget of minutes is that of learning alone.
        """
        card = find_card(bundled_cards(weights), self.begins_with)
        teacher = Diffusion.load(weights / card.id, device, torch.float32)
        params = DiffusionParams.parse(card.defaults)
        assert isinstance(params, DiffusionParams)
        made_by = {"teacher": hashlib.sha256((weights / card.id / "model.safetensors").read_bytes()).hexdigest(), "knobs": str(params)}
        run.mkdir(parents=True, exist_ok=True)
        parts = []
        for start in tqdm(range(0, self.num_pairs, CHUNK), desc="pairs", leave=False):
            seeds, file = range(start, min(start + CHUNK, self.num_pairs)), run / f"pairs-{start:06}.safetensors"
            made = made_by | {"seeds": str(seeds), "unlabelled": str(self.unlabelled)}
            if not (file.exists() and _metadata(file) == made):
                pairs, part = self._pairs(teacher, params, seeds), file.with_suffix(".part")
                with writing(part):
                    save_file(pairs, part, metadata=made)
                    part.replace(file)  # whole or not there, whenever a run is stopped
            parts.append(load_file(file))
        return Split(torch.cat([part["pairs"].float() for part in parts]), torch.cat([part["labels"] for part in parts]))

    @torch.inference_mode()
    def _pairs(self, teacher: Diffusion, params: DiffusionParams, seeds: range) -> dict[str, Tensor]:
        noise, none = Noise(seeds), self.config.num_classes
        told, _ = teacher.conditions(params, noise)
        told[: round(self.unlabelled * len(told))] = none
        z = teacher.draw(params, noise)
        *_, last = teacher.finish(z, None, params, noise, told)
        return {"pairs": torch.cat([z, last.x], dim=1).half().cpu(), "labels": told.cpu()}


def _metadata(file: Path) -> Mapping[str, Any]:
    with safe_open(file, framework="pt") as opened:
        return opened.metadata()
