"""Glow: actnorm, an invertible 1×1 convolution and an affine coupling, again and again, at several scales.

Source: Kingma & Dhariwal, arXiv 1807.03039, table 1. The conditioners are those of `nets.couplings`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from playground.nets.couplings import AffineCoupling, Bijection, Chain, ChannelMap, Conditioner, Flow, Logit, MultiScale, level_shapes


@dataclass(frozen=True)
class GlowConfig:
    """The shape of a `Glow`; what `config.json` holds."""

    image_size: int = 28
    channels: int = 1
    steps: tuple[int, ...] = (8, 8)
    """Steps of flow of each level, at 14×14 and 7×7."""
    widths: tuple[int, ...] = (48, 96)
    """Channels inside the conditioners of each level."""
    blocks: int = 2
    alpha: float = 0.002
    """How far from 0 and 1 the logit keeps; a grey level is 0.004 wide."""


PACE = 10.0
"""How much faster than the rest a coupling learns what belongs to a place whatever the picture is; see `Conditioner`."""


class ActNorm(ChannelMap):
    """A scale and a shift for every channel, which make the first batch that it is trained on standard (section 3.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.register_buffer("initialised", torch.tensor(False))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.training and not self.initialised:
            self.initialise(x)
        positions = x.shape[2] * x.shape[3]
        log_det = positions * self.log_scale.sum()
        return (x + self.shift) * torch.exp(self.log_scale), log_det.expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        return z * torch.exp(-self.log_scale) - self.shift

    def matrix(self) -> tuple[Tensor, Tensor]:
        scale = torch.exp(self.log_scale).flatten()
        return torch.diag(scale), scale * self.shift.flatten()

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Takes mean and standard deviation of the channels of `x` (B, C, H, W)."""
        self.shift.copy_(-x.mean(dim=(0, 2, 3), keepdim=True))
        self.log_scale.copy_(-torch.log(x.std(dim=(0, 2, 3), keepdim=True) + 1e-6))
        self.get_buffer("initialised").fill_(True)


class InvertibleConvolution(ChannelMap):
    """z = W·x at every position, W a full matrix that starts as a random rotation (section 3.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linalg.qr(torch.randn(channels, channels)).Q.contiguous())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_det = x.shape[2] * x.shape[3] * torch.linalg.slogdet(self.weight).logabsdet
        return self._mix(x, self.weight), log_det.expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        return self._mix(z, torch.linalg.inv(self.weight))

    def matrix(self) -> tuple[Tensor, Tensor]:
        return self.weight, self.weight.new_zeros(len(self.weight))

    @staticmethod
    def _mix(x: Tensor, weight: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.conv2d(x, weight[:, :, None, None])


class Glow(Flow):
    """Pictures (B, C, S, S) in [0, 1] to latents (B, C·S·S) and back."""

    def __init__(self, config: GlowConfig) -> None:
        shapes = level_shapes(config.channels, config.image_size, len(config.steps))
        levels = [Chain(_steps(config, index, *shape)) for index, shape in enumerate(shapes)]
        super().__init__(Chain([Logit(config.alpha), MultiScale(levels, config.channels, config.image_size)]))
        self.config = config


def _steps(config: GlowConfig, level: int, channels: int, size: int) -> Iterator[Bijection]:
    """The steps of a level; all but the last level end in the prior of the half that is done, given the half that goes on."""
    half, last = channels // 2, level == len(config.steps) - 1
    for _ in range(config.steps[level]):
        yield ActNorm(channels)
        yield InvertibleConvolution(channels)
        yield AffineCoupling(range(channels), half, Conditioner(half, channels, size, config.widths[level], config.blocks, PACE))
    if not last:
        yield AffineCoupling(range(channels), half, Conditioner(half, channels, size, config.widths[level], config.blocks, PACE))
