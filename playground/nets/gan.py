"""A generative adversarial network: generator, critic, and an encoder that finds its way back.

Source: Goodfellow et al., arXiv 1406.2661.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from playground.nets.conv import Encoder
from playground.nets.critic import Critic
from playground.nets.stylegan import GANConfig, Generator


class AdversarialNets(nn.Module):
    """All three networks of a card; pictures are (B, C, S, S) in [-1, 1], latents w (B, latent_dim)."""

    def __init__(self, config: GANConfig) -> None:
        super().__init__()
        self.config = config
        self.generator = Generator(config)
        self.critic = Critic(config)
        self.encoder = Encoder(config, config.latent_dim)

    def forward(self, z: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Pictures of noise (B, latent_dim); the noise inputs, where there are any, come from `rng`."""
        return self.generator(z, rng)
