"""A style-based generator for small pictures: a mapping network, and convolutions whose weights each picture modulates.

Sources: mapping network, noise inputs and style mixing, Karras et al., arXiv 1812.04948; modulation and demodulation, Karras et al.,
arXiv 1912.04958; self-attention, Zhang et al., arXiv 1805.08318; subpixel upsampling, Shi et al., arXiv 1609.05158.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from playground.nets.conv import ConvConfig, Position, in_place
from playground.nets.folding import Foldable

SLOPE = 0.2
"""Of the leaky rectifiers."""


@dataclass(frozen=True)
class GANConfig(ConvConfig):
    """The shape of `AdversarialNets`. Both z and w have `latent_dim` numbers; `decoder_blocks` are modulated convolutions a resolution."""

    latent_dim: int = 64
    width: int = 32
    encoder_blocks: int = 1
    decoder_blocks: int = 2
    trunk_width: int = 256
    mapping_layers: int = 4
    critic_width: int = 32
    critic_blocks: int = 1
    """Residual blocks of the critic a resolution."""
    group: int = 4
    """Pictures among which the critic compares; 0 leaves the comparison out."""
    attention: bool = True
    spectral_norm: bool = False
    noise: bool = False
    """Whether noise of each place's own is added after the convolutions."""


def leaky(x: Tensor) -> Tensor:
    """The leaky rectifier, scaled so that it keeps a standard normal's second moment."""
    bent = F.leaky_relu(x, SLOPE)
    gain = math.sqrt(2 / (1 + SLOPE**2))
    return bent.mul_(gain) if in_place(x) else bent * gain


class EqualLinear(nn.Module, Foldable):
    """A linear layer with weights of unit size in memory, scaled when used, so that one learning rate fits all layers.

    Equalised learning rate: Karras et al., arXiv 1710.10196. `rate` below 1 makes the layer learn more slowly.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, scaled(self.weight, self.scale), scaled(self.bias, self.rate))

    def each(self, x: Tensor) -> Tensor:
        """The same for rows (B, inputs) by themselves: a row comes out the same bit for bit whatever the others are, and how many."""
        weight, bias = scaled(self.weight, self.scale), scaled(self.bias, self.rate)
        return torch.bmm(x[:, None], weight.T.expand(len(x), -1, -1)).squeeze(1) + bias

    def fold(self) -> None:
        self.weight.data, self.bias.data = scaled(self.weight, self.scale), scaled(self.bias, self.rate)
        self.scale = self.rate = 1.0


def scaled(x: Tensor, scale: float) -> Tensor:
    """x · scale; `x` itself where that is the same."""
    return x if scale == 1 else x * scale


class Mapping(nn.Module):
    """z (B, D), drawn from N(0, I), to w (B, D), whose distribution is free to fit the pictures."""

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EqualLinear(dim, dim, rate=0.1) for _ in range(layers))

    def forward(self, z: Tensor) -> Tensor:
        w = self._unit(z)
        for layer in self.layers:
            w = leaky(layer(w))
        return w

    def each(self, z: Tensor) -> Tensor:
        """The same, each row the same bit for bit in any batch: a product of matrices rounds differently when there are more rows."""
        w = self._unit(z)
        for layer in self.layers:
            w = leaky(cast("EqualLinear", layer).each(w))
        return w

    @staticmethod
    def _unit(z: Tensor) -> Tensor:
        return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)


class ModulatedConv(nn.Module, Foldable):
    """A convolution whose input channels w scales, each output brought back to unit size; (B, inputs, H, W) to (B, outputs, H, W).

    Scaling the weights of each picture, w'_oik = s_i·w_oik / √Σ_ik (s_i·w_oik)², is the same as scaling what goes in by s and
    what comes out by the root: then the whole batch shares one plain convolution.
    """

    power: Tensor | None
    """`power_of` the weights, once they are folded."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dim: int, *, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.style = EqualLinear(dim, inputs, bias=1.0)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale, self.demodulate = 1 / math.sqrt(inputs * kernel**2), demodulate
        self.register_buffer("power", None, persistent=False)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        weight = scaled(self.weight, self.scale)
        style = self.style(w)
        y = F.conv2d(x * style[:, :, None, None], weight, padding=self.weight.shape[-1] // 2)
        bias = self.bias[None, :, None, None].to(y.dtype)
        if not self.demodulate:
            return y + bias
        power = self.power_of(weight) if self.power is None else self.power
        return torch.addcmul(bias, y, self.unit(power.to(style.dtype), style)[:, :, None, None].to(y.dtype))

    @staticmethod
    def unit(power: Tensor, style: Tensor) -> Tensor:
        """1 / √Σ_ik (s_i·w_oik)², (B, outputs): what unit-variance inputs need to stay so. `power` is Σ_k w_oik²."""
        with torch.autocast(style.device.type, enabled=False):
            return torch.rsqrt(style.float().square() @ power.float().T + 1e-8)

    @staticmethod
    def power_of(weight: Tensor) -> Tensor:
        """The squares of weights (outputs, inputs, k, k), added up: (outputs, inputs)."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight.square().sum(dim=(2, 3))

    def fold(self) -> None:
        self.weight.data, self.scale = scaled(self.weight, self.scale), 1.0
        self.power = self.power_of(self.weight) if self.demodulate else None


class SelfAttention(nn.Module):
    """x plus what each place reads from all others, by a gain that starts at nought. Shape (B, width, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = width // 4
        self.read = nn.Conv2d(width, 4 * self.inner, 1)
        self.write = nn.Conv2d(2 * self.inner, width, 1)
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.read(x).flatten(2).split([self.inner, self.inner, 2 * self.inner], dim=1)
        # Spelled out, because the fused kernels cannot be differentiated twice, as gradient penalties must.
        share = (query.transpose(1, 2) @ key / math.sqrt(self.inner)).softmax(dim=2)
        read = value @ share.transpose(1, 2).to(value.dtype)
        return x + self.gain * self.write(read.unflatten(2, x.shape[2:]))


class NoiseInput(nn.Module):
    """Adds the same noise (B, 1, H, W) to all channels of x (B, *, H, W), by a gain that starts at nought: freckles, not shape."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Tensor | None) -> Tensor:
        return x if noise is None else x + (self.gain * noise).to(x.dtype)


class Generator(nn.Module):
    """z to w to pictures (B, C, S, S) in [-1, 1], from a learned constant at a quarter of the picture's resolution."""

    def __init__(self, c: GANConfig) -> None:
        super().__init__()
        quarter, wide = c.image_size // 4, 2 * c.width
        self.mapping = Mapping(c.latent_dim, c.mapping_layers)
        self.constant = nn.Parameter(torch.randn(1, wide, quarter, quarter))
        self.coarse = nn.ModuleList(ModulatedConv(wide, wide, 3, c.latent_dim) for _ in range(c.decoder_blocks))
        self.attention = SelfAttention(wide) if c.attention else nn.Identity()
        self.grow = ModulatedConv(wide, 4 * c.width, 1, c.latent_dim)
        self.place = Position(c.width, c.image_size // 2)
        self.fine = nn.ModuleList(ModulatedConv(c.width, c.width, 3, c.latent_dim) for _ in range(c.decoder_blocks))
        self.paint = ModulatedConv(c.width, 4 * c.channels, 3, c.latent_dim, demodulate=False)
        self.freckles = nn.ModuleList(NoiseInput() for _ in range(2 * c.decoder_blocks if c.noise else 0))
        self.sides = [quarter] * c.decoder_blocks + [2 * quarter] * c.decoder_blocks

    @property
    def convolutions(self) -> list[ModulatedConv]:
        """All that w modulates, coarse to fine: each may be given a w of its own."""
        return [cast("ModulatedConv", conv) for conv in (*self.coarse, self.grow, *self.fine, self.paint)]

    def layer_sides(self) -> list[int]:
        """The side in pixels of what each of the `convolutions` works on."""
        coarse, fine = self.sides[0], self.sides[-1]
        return [coarse] * (len(self.coarse) + 1) + [fine] * (len(self.fine) + 1)

    def noise_shapes(self) -> list[tuple[int, int, int]]:
        """Shapes of the noise inputs without the batch; none where the network has none."""
        return [(1, side, side) for side in self.sides[: len(self.freckles)]]

    def random_noise(self, count: int, rng: torch.Generator) -> list[Tensor] | None:
        """Noise inputs for that many pictures; None where the network has none."""
        return [torch.randn(count, *shape, generator=rng, device=rng.device) for shape in self.noise_shapes()] or None

    def synthesis(self, w: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """Pictures of mapped latents (B, D), or of one for each modulated convolution, (B, L, D). Without `noise` there is none."""
        styles = iter((w if w.dim() == 3 else w[:, None].expand(-1, len(self.convolutions), -1)).unbind(dim=1))
        added = zip(self.freckles, noise if noise is not None else [None for _ in self.freckles], strict=True)
        x = self.constant.expand(len(w), -1, -1, -1)
        for conv in self.coarse:
            x = leaky(self._freckled(conv(x, next(styles)), added))
        x = self.place(F.pixel_shuffle(leaky(self.grow(self.attention(x), next(styles))), 2))
        for conv in self.fine:
            x = leaky(self._freckled(conv(x, next(styles)), added))
        return F.pixel_shuffle(self.paint(x, next(styles)), 2).tanh()

    @staticmethod
    def _freckled(x: Tensor, added: Iterator[tuple[nn.Module, Tensor | None]]) -> Tensor:
        layer, noise = next(added, (None, None))
        return x if layer is None else cast("Tensor", layer(x, noise))

    def forward(self, z: Tensor, rng: torch.Generator | None = None) -> Tensor:
        return self.synthesis(self.mapping(z), None if rng is None else self.random_noise(len(z), rng))
