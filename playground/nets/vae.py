"""A convolutional variational autoencoder for small pictures.

Source: Kingma & Welling, arXiv 1312.6114.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from playground.nets.conv import ConvConfig, Decoder, Encoder
from playground.nets.likelihood import LogisticMixture


@dataclass(frozen=True)
class VAEConfig(ConvConfig):
    """The shape of a `ConvVAE`."""

    mixture_components: int = 5


class ConvVAE(nn.Module):
    """Encoder and decoder; the prior is N(0, I)."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config, 2 * config.latent_dim)
        self.decoder = Decoder(config, config.channels * (3 * config.mixture_components + 1))
        self._spread_components(config.mixture_components)

    def _spread_components(self, k: int) -> None:
        """Starts the K logistics at K different greys, so that they do not all learn the same one."""
        bias = self.decoder.layers[-1].bias
        assert isinstance(bias, nn.Parameter)
        with torch.no_grad():
            bias[:, k + 1 : 2 * k + 1] += torch.linspace(-0.9, 0.9, k).view(1, k, 1, 1)
            bias[:, 2 * k + 1 :] -= 2.0

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`mu` and `log_var` of q(z | x), each (B, latent_dim), for pictures in [-1, 1]."""
        mu, log_var = self.encoder(x).chunk(2, dim=1)
        return mu, log_var.clamp(-12, 4)

    def likelihood(self, z: Tensor) -> LogisticMixture:
        """p(x | z) for latents of shape (B, latent_dim)."""
        return LogisticMixture(self.decoder(z))
