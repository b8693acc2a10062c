"""A convolutional encoder and decoder for small pictures, which several families build on.

Bottleneck residual blocks without normalisation as in Child, arXiv 2011.10650.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class ConvConfig:
    """The shape of an `Encoder` and a `Decoder`; what `config.json` holds."""

    image_size: int = 28
    channels: int = 1
    latent_dim: int = 32
    width: int = 32
    """Channels at half the picture's resolution; at a quarter of it there are twice as many."""
    encoder_blocks: int = 2
    decoder_blocks: int = 3
    trunk_width: int = 480
    """Width of the dense layers next to the latent; they know where in the picture they are, and cost little."""
    decoder_trunk_blocks: int = 2


def in_place(x: Tensor) -> bool:
    """Whether what is made of `x` may be overwritten: no slope is wanted, and nothing is narrowed on the way."""
    return not (torch.is_grad_enabled() or torch.is_autocast_enabled(x.device.type))


def silu_(x: Tensor) -> Tensor:
    """SiLU in the place of what went in: for what is not differentiated."""
    return F.silu(x, inplace=True)


class Block(nn.Module):
    """x + conv1×1(conv3×3(conv1×1(x))): a residual bottleneck whose last layer starts small. Shape (B, width, H, W)."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        inner = width // 2
        self.down = nn.Conv2d(width, inner, 1)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1)
        self.up = nn.Conv2d(inner, width, 1)
        self.act = nn.SiLU()
        assert self.up.bias is not None
        with torch.no_grad():
            self.up.weight.mul_(1 / math.sqrt(depth))
            self.up.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        if not in_place(x):
            return x + self.up(self.act(self.conv(self.act(self.down(self.act(x))))))
        inner = self.conv(silu_(self.down(self.act(x))))
        return self.up(silu_(inner)).add_(x)


class DenseBlock(nn.Module):
    """x + linear(linear(x)): the same for vectors. Shape (B, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second, self.act = nn.Linear(width, width), nn.Linear(width, width), nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        if not in_place(x):
            return x + self.second(self.act(self.first(self.act(x))))
        return self.second(silu_(self.first(self.act(x)))).add_(x)


class Position(nn.Module):
    """Adds one learned value a channel and position: clothes stand centred, so places have meaning.

    Where no slope is wanted it is added in the place of what goes in, which is always what another layer has made.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, width, size, size))

    def forward(self, x: Tensor) -> Tensor:
        return x.add_(self.bias) if in_place(x) else x + self.bias


class Encoder(nn.Module):
    """Pictures (B, C, S, S) in [-1, 1] to vectors (B, outputs)."""

    def __init__(self, c: ConvConfig, outputs: int) -> None:
        super().__init__()
        half, quarter = c.image_size // 2, c.image_size // 4
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * c.channels, c.width, 3, padding=1),
            Position(c.width, half),
            *(Block(c.width, c.encoder_blocks) for _ in range(c.encoder_blocks)),
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * c.width, 2 * c.width, 1),
            Position(2 * c.width, quarter),
            *(Block(2 * c.width, c.encoder_blocks) for _ in range(c.encoder_blocks)),
            nn.Conv2d(2 * c.width, c.width // 2, 1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(c.width // 2 * quarter * quarter, c.trunk_width),
            DenseBlock(c.trunk_width),
            nn.SiLU(),
            nn.Linear(c.trunk_width, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Decoder(nn.Module):
    """Latents (B, latent_dim) to maps (B, outputs, S, S)."""

    def __init__(self, c: ConvConfig, outputs: int) -> None:
        super().__init__()
        half, quarter = c.image_size // 2, c.image_size // 4
        self.layers = nn.Sequential(
            nn.Linear(c.latent_dim, c.trunk_width),
            *(DenseBlock(c.trunk_width) for _ in range(c.decoder_trunk_blocks)),
            nn.SiLU(),
            nn.Linear(c.trunk_width, c.width * quarter * quarter),
            nn.Unflatten(1, (c.width, quarter, quarter)),
            nn.Conv2d(c.width, 2 * c.width, 1),
            *(Block(2 * c.width, c.decoder_blocks) for _ in range(c.decoder_blocks)),
            nn.Conv2d(2 * c.width, 4 * c.width, 1),
            nn.PixelShuffle(2),
            Position(c.width, half),
            *(Block(c.width, c.decoder_blocks) for _ in range(c.decoder_blocks)),
            nn.SiLU(),
            nn.Conv2d(c.width, 4 * outputs, 1),
            nn.PixelShuffle(2),
            Position(outputs, c.image_size),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)
