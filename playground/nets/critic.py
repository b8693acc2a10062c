"""The adversary of a generator: one number for each picture, higher where it looks more real.

Residual blocks without normalisation as in Mescheder et al., arXiv 1801.04406; the comparison within a batch is Karras et al.,
arXiv 1710.10196; spectral normalisation, a choice, Miyato et al., arXiv 1802.05957.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from playground.nets.stylegan import GANConfig, SelfAttention, leaky


class CriticBlock(nn.Module):
    """x + conv3×3(conv3×3(x)), with leaky rectifiers before each. Shape (B, width, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.second(leaky(self.first(leaky(x))))) / math.sqrt(2)


class Comparison(nn.Module):
    """Adds a channel that says how much the pictures of a group differ: a generator that repeats itself gives itself away.

    (B, width, H, W) to (B, width + 1, H, W); groups are consecutive pictures. Outside training no picture may depend on its
    company: each then gets what was usual in training.
    """

    usual: Tensor

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group
        self.register_buffer("usual", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        count, _, height, width = x.shape
        spread = self.spread(x) if self.training else self.usual.expand(count)
        if self.training:
            self.usual.lerp_(spread.detach().mean().to(self.usual), 0.01)
        return torch.cat([x, spread.to(x.dtype).view(count, 1, 1, 1).expand(count, 1, height, width)], dim=1)

    def spread(self, x: Tensor) -> Tensor:
        """The standard deviation in each picture's group, averaged over channels and places, (B,)."""
        group = self.group if len(x) % self.group == 0 else len(x)
        rows = x.float().unflatten(0, (-1, group))
        variance = (rows - rows.mean(dim=1, keepdim=True)).square().mean(dim=1)  # many times faster than `var` on a CPU
        deviation = (variance + 1e-8).sqrt().flatten(1).mean(dim=1)
        return deviation.repeat_interleave(group)


class Critic(nn.Module):
    """Pictures (B, C, S, S) in [-1, 1] to scores (B,)."""

    def __init__(self, c: GANConfig) -> None:
        super().__init__()
        width, quarter = c.critic_width, c.image_size // 4
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * c.channels, width, 3, padding=1),
            *(CriticBlock(width) for _ in range(c.critic_blocks)),
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * width, 2 * width, 1),
            SelfAttention(2 * width) if c.attention else nn.Identity(),
            *(CriticBlock(2 * width) for _ in range(c.critic_blocks)),
            Comparison(c.group) if c.group else nn.Identity(),
            nn.Conv2d(2 * width + (c.group > 0), width // 2, 1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(width // 2 * quarter * quarter, c.trunk_width // 2),
            nn.LeakyReLU(0.2),
            nn.Linear(c.trunk_width // 2, 1),
        )
        if c.spectral_norm:
            bound(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).squeeze(1).float()


def bound(network: nn.Module) -> None:
    """Divides every weight matrix by its largest singular value, followed by power iteration while training."""
    layers = [layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    for layer in layers:
        spectral_norm(layer)


@torch.no_grad()
def settle(network: nn.Module) -> None:
    """Finds the largest singular values of bounded layers anew.

    Power iteration follows them by two unit vectors, which are none any more once they were averaged over training and rounded for a
    file: what is divided by would then be too small.
    """
    for layer in network.modules():
        if is_parametrized(layer, "weight"):
            bounded = cast("Any", layer.parametrizations).weight
            left, _, right = torch.linalg.svd(bounded.original.float().flatten(1), full_matrices=False)
            bounded[0]._u.copy_(left[:, 0])
            bounded[0]._v.copy_(right[0])
