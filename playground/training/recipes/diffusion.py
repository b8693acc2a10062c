"""Diffusion: noise a picture by a random amount, and learn where the mixture is heading, E |u(x_t, t, y) - dx_t/dφ|².

Sources: Ho et al., arXiv 2006.11239, algorithm 1; the target v and its even weight over angles are Salimans & Ho, arXiv 2202.00512;
forgetting the class now and then, so that guidance can compare, is Ho & Salimans, arXiv 2207.12598.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from playground.nets.diffusion import PATHS, TIME_SCALE
from playground.nets.unet import PatchUNet, UNetConfig
from playground.training.data import Split
from playground.training.recipes.base import Recipe, write_card_files


@dataclass(frozen=True)
class DiffusionRecipe(Recipe):
    """`ddpm-fashion-28`: class-conditional diffusion that predicts v."""

    card: ClassVar[str] = "ddpm-fashion-28"
    share: ClassVar[float] = 3.0
    path: ClassVar[str] = "diffusion"
    config: UNetConfig = field(default_factory=UNetConfig)
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    class_dropout: float = 0.1
    """How often a picture's class is withheld."""

    def network(self) -> PatchUNet:
        return PatchUNet(self.config)

    def times(self, count: int, rng: torch.Generator, device: torch.device) -> Tensor:
        """Random times in [0, 1), (count,): spread evenly over the batch, which calms the loss (Kingma et al., arXiv 2107.00630)."""
        shift = torch.rand(1, generator=rng, device=device)
        return (shift + torch.arange(count, device=device) / count) % 1

    def loss(
        self, network: nn.Module, pictures: Tensor, labels: Tensor, rng: torch.Generator, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        x_0, eps, told = self.material(pictures, labels, rng)
        time = self.times(len(x_0), rng, x_0.device)
        mixture = PATHS[self.path].at(time)
        found = network(mixture.noised(x_0, eps), TIME_SCALE * time, told).float()
        return self.distance(found - mixture.tangent(x_0, eps)), {}

    def material(self, pictures: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """x_0 in [-1, 1] and the noise to mix it with, each (B, C, H, W), and what the network is told of it, (B,)."""
        x_0 = pictures / 127.5 - 1
        eps = torch.randn(x_0.shape, generator=rng, device=x_0.device)
        forgotten = torch.rand(len(x_0), generator=rng, device=x_0.device) < self.class_dropout
        return x_0, eps, torch.where(forgotten, self.config.num_classes, labels)

    def distance(self, error: Tensor) -> Tensor:
        """The loss, for what the network's answers (B, C, H, W) are off."""
        return error.square().mean()

    def export(self, network: nn.Module, folder: Path, train: Split, test: Split, facts: dict[str, object]) -> None:
        write_card_files(folder, network, {"family": "diffusion", "path": self.path, **dataclasses.asdict(self.config)}, facts)
