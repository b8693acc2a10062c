"""The Wasserstein GAN with gradient penalty: the critic's score is a price that may rise by no more than one a unit of distance.

Sources: Arjovsky et al., arXiv 1701.07875; Gulrajani et al., arXiv 1704.00028, equation 3; one step of the critic for each of the
generator, and a small pull of its scores to nought, Karras et al., arXiv 1710.10196, appendix A.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from playground.nets.gan import AdversarialNets
from playground.nets.stylegan import GANConfig
from playground.training.recipes.gan import AdversarialRecipe, Figures, squared_slope


@dataclass(frozen=True)
class WGANRecipe(AdversarialRecipe):
    """`wgan-gp-fashion-28`."""

    card: ClassVar[str] = "wgan-gp-fashion-28"
    share: ClassVar[float] = 1.0
    config: GANConfig = field(default_factory=lambda: GANConfig(group=0))
    """No comparison within the batch: the penalty is about single pictures."""
    weight: float = 10.0
    drift: float = 1e-3

    def loss(self, network: nn.Module, pictures: Tensor, labels: Tensor, rng: torch.Generator, progress: float) -> tuple[Tensor, Figures]:
        assert isinstance(network, AdversarialNets)
        return -network.critic(network(self.noise(len(pictures), rng), rng)).mean(), {}

    def verdict(self, of_real: Tensor, of_fake: Tensor) -> Tensor:
        return of_fake.mean() - of_real.mean() + self.drift * of_real.square().mean()

    def penalty(self, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
        """(|∇D| - 1)² at a random place between a real and a generated picture."""
        share = torch.rand(len(real), 1, 1, 1, generator=rng, device=real.device)
        between = squared_slope(critic, real + share * (fake - real))
        return self.weight * ((between + 1e-12).sqrt() - 1).square().mean()
