"""TarFlow: exact likelihood of clean pictures, and of pictures with noise, for the denoising step that ends its sampling.

Source: Zhai et al., arXiv 2412.06329, section 3. There a network knows one noise; here one in five pictures has noise, and the
network is told which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from playground.nets.couplings import log_normal
from playground.nets.tarflow import TarFlow, TarFlowConfig
from playground.training.recipes.flow import FlowRecipe, dequantised, native_bits


@dataclass(frozen=True)
class TarFlowRecipe(FlowRecipe):
    """`tarflow-fashion-28`."""

    card: ClassVar[str] = "tarflow-fashion-28"
    share: ClassVar[float] = 3.0
    architecture: ClassVar[str] = "tarflow"
    batch_size: int = 32
    config: TarFlowConfig = field(default_factory=TarFlowConfig)
    noisy_share: float = 0.2
    """Share of the pictures that get Gaussian noise after the logit."""

    def network(self) -> TarFlow:
        return TarFlow(self.config)

    def loss(
        self, network: nn.Module, pictures: Tensor, labels: Tensor, rng: torch.Generator, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(network, TarFlow)
        count = round(self.noisy_share * len(pictures))
        noisy = (torch.arange(len(pictures), device=pictures.device) < count).float()
        y, stretched = network.logit(dequantised(pictures, rng))
        eps = torch.randn(y.shape, generator=rng, device=y.device)
        z, log_det = network.latent(y + self.config.noise * noisy[:, None, None, None] * eps, noisy)
        nats, dims = -(log_normal(z) + log_det + stretched), pictures[0].numel()
        return nats.mean() / dims, {"bits_per_dim": native_bits(nats[count:].mean(), dims)}
