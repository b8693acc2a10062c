"""A deterministic convolutional autoencoder whose code can be cut short.

The first numbers of the code carry the most: in training the tail is dropped at random, as in nested dropout (Rippel,
Gelbart & Adams, arXiv 1402.0915). One network then serves every code size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from playground.nets.conv import ConvConfig, Decoder, Encoder


@dataclass(frozen=True)
class AutoencoderConfig(ConvConfig):
    """The shape of a `ConvAutoencoder`."""

    latent_dim: int = 64


class ConvAutoencoder(nn.Module):
    """Pictures (B, C, S, S) in [-1, 1] to codes (B, latent_dim) and back."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config, config.latent_dim)
        self.decoder = Decoder(config, config.channels)

    def encode(self, x: Tensor) -> Tensor:
        """Codes (B, latent_dim)."""
        return self.encoder(x)

    def decode(self, z: Tensor, sizes: Tensor) -> Tensor:
        """Pictures from the first `sizes` (B,) numbers of each code (B, latent_dim); not yet clamped to [-1, 1]."""
        kept = torch.arange(z.shape[1], device=z.device) < sizes[:, None]
        return self.decoder(z * kept)
