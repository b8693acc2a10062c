"""The VAE: maximise the evidence lower bound, E_q[log p(x | z)] - β·KL(q(z | x) ‖ N(0, I)), with β = 1 but for a lesson.

Sources: Kingma & Welling, arXiv 1312.6114, equation 10; β is Higgins et al. 2017, read as a place on the curve of rate and distortion
by Alemi et al., arXiv 1711.00464; the warm-up of the KL term is Bowman et al., arXiv 1511.06349.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from playground.nets.likelihood import bits_per_dim, kl_to_standard_normal
from playground.nets.vae import ConvVAE, VAEConfig
from playground.training.codes import MAP_PICTURES, encode_all, summarise_codes
from playground.training.data import Split
from playground.training.recipes.base import Recipe, write_card_files


@dataclass(frozen=True)
class VAERecipe(Recipe):
    """`vae-fashion-28`: a convolutional VAE with 32 latent dimensions."""

    card: ClassVar[str] = "vae-fashion-28"
    share: ClassVar[float] = 2.0
    config: VAEConfig = field(default_factory=VAEConfig)
    kl_warmup: float = 0.1
    """The KL term counts in full from this share of the budget on."""
    beta: float = 1.0
    """What a nat of the KL term costs."""

    def network(self) -> ConvVAE:
        return ConvVAE(self.config)

    def loss(
        self, network: nn.Module, pictures: Tensor, labels: Tensor, rng: torch.Generator, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(network, ConvVAE)
        eps = torch.randn(len(pictures), self.config.latent_dim, generator=rng, device=pictures.device)
        mu, log_var = network.posterior(pictures / 127.5 - 1)
        z = mu + torch.exp(0.5 * log_var) * eps
        distortion = -network.likelihood(z).log_prob(pictures).flatten(1).sum(dim=1).mean()
        rate = kl_to_standard_normal(mu, log_var).sum(dim=1).mean()
        dims = pictures[0].numel()
        weight = min(1.0, 0.3 + 0.7 * progress / self.kl_warmup)
        figures = {"elbo_bits_per_dim": bits_per_dim((distortion + rate).detach(), dims), "kl_nats": rate.detach()}
        return (distortion + weight * self.beta * rate) / dims, figures

    def export(self, network: nn.Module, folder: Path, train: Split, test: Split, facts: dict[str, object]) -> None:
        assert isinstance(network, ConvVAE)
        write_card_files(folder, network, {"family": "vae", "beta": self.beta, **dataclasses.asdict(self.config)}, facts)
        device = next(network.parameters()).device
        mu, log_var = encode_all(lambda x: torch.stack(network.posterior(x), dim=1), train, device).unbind(dim=1)
        drawn = mu + torch.exp(0.5 * log_var) * torch.randn(mu.shape, generator=torch.Generator().manual_seed(0))
        map_code = encode_all(lambda x: network.posterior(x)[0], test.head(MAP_PICTURES), device)
        codes = summarise_codes(mu, drawn, train.labels.cpu(), map_code)
        codes["kl"] = kl_to_standard_normal(mu, log_var).mean(dim=0).half()
        save_file(codes, folder / "codes.safetensors", metadata={"format": "pt"})


SMALL = VAEConfig(width=24, trunk_width=256, encoder_blocks=1, decoder_blocks=2)
"""Three of these weigh less than one of the others."""


@dataclass(frozen=True)
class CheapRateRecipe(VAERecipe):
    """`vae-beta-025-fashion-28`: the first of three that differ in β alone. Here the code may say much."""

    card: ClassVar[str] = "vae-beta-025-fashion-28"
    share: ClassVar[float] = 0.5
    config: VAEConfig = SMALL
    beta: float = 0.25


@dataclass(frozen=True)
class EvenRateRecipe(CheapRateRecipe):
    """`vae-beta-1-fashion-28`: the bound itself."""

    card: ClassVar[str] = "vae-beta-1-fashion-28"
    beta: float = 1.0


@dataclass(frozen=True)
class DearRateRecipe(CheapRateRecipe):
    """`vae-beta-4-fashion-28`: the code must be brief."""

    card: ClassVar[str] = "vae-beta-4-fashion-28"
    beta: float = 4.0
