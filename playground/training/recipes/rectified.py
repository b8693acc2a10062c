"""Rectified flow: learn the velocity of the straight line from a picture to noise, E |u(x_t, t, y) - (eps - x_0)|².

Sources: Liu et al., arXiv 2209.03003; Lipman et al., arXiv 2210.02747; times from a logistic-normal are Esser et al., arXiv 2403.03206.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from playground.training.recipes.diffusion import DiffusionRecipe


@dataclass(frozen=True)
class RectifiedRecipe(DiffusionRecipe):
    """`rectified-fashion-28`: the network of the diffusion model on the straight path."""

    card: ClassVar[str] = "rectified-fashion-28"
    share: ClassVar[float] = 3.0
    path: ClassVar[str] = "rectified"
    time_spread: float = 1.5
    """Width of the bell curve that the logistic function turns into times: the middle of the way is hardest, its ends still count."""

    def times(self, count: int, rng: torch.Generator, device: torch.device) -> Tensor:
        even = super().times(count, rng, device).clamp(1e-4, 1 - 1e-4)
        return torch.sigmoid(self.time_spread * torch.special.ndtri(even))
