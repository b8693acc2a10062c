"""The networks that pythae's models are saved with: its default, those of its benchmarks, and those of papers that it reproduced.

pythae keeps a network of one's own as a pickle, which is never read here. So a network is told by the names and shapes of its
weights. What they cannot tell, an activation, is known of published ones only: where names and shapes are anybody's, so must be the
width. Pictures are in [0, 1]. Source: Chadebec, Vincent & Allassonnière, arXiv 2206.08309; its package has the same names of weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of weights by name, as a file's header lists them."""
MAX_WIDTH = 4096


@dataclass(frozen=True)
class About:
    """What a configuration says of both halves: the shape (C, S, S) of a picture, the length of a code, and whether it has a spread."""

    shape: tuple[int, int, int]
    latent_dim: int
    variational: bool

    @property
    def pixels(self) -> int:
        """Numbers of a picture."""
        return math.prod(self.shape)


class Encoder(nn.Module):
    """Pictures (B, C, S, S) in [0, 1] to `mu` and, where there is a spread, `log_var`, each (B, latent_dim)."""

    def __init__(self, about: About, layers: list[nn.Module], num_features: int, flat: bool = False) -> None:
        """`layers` take pictures, or rows of pixels where `flat`; what they make has `num_features`."""
        super().__init__()
        self.layers, self.flat = nn.ModuleList(layers), flat
        self.embedding = nn.Linear(num_features, about.latent_dim)
        self.log_var = nn.Linear(num_features, about.latent_dim) if about.variational else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        h = x.flatten(1) if self.flat else x
        for layer in self.layers:
            h = layer(h)
        h = h.flatten(1)
        return self.embedding(h), None if self.log_var is None else self.log_var(h)


class Decoder(nn.Module):
    """Codes (B, latent_dim) to pictures (B, C, S, S) in [0, 1]."""

    def __init__(self, about: About, layers: list[nn.Module], start: tuple[int, ...] = ()) -> None:
        """The first of `layers` makes rows; the others take them laid out as `start`, where that is given."""
        super().__init__()
        self.layers, self.start, self.shape = nn.ModuleList(layers), start, about.shape

    def forward(self, z: Tensor) -> Tensor:
        first, *others = self.layers
        h = first(z)
        h = h.view(-1, *self.start) if self.start else h
        for layer in others:
            h = layer(h)
        return h.view(-1, *self.shape)


class TanhEncoder(nn.Module):
    """As `Encoder`: two hidden layers, as in Burda, Grosse & Salakhutdinov, arXiv 1509.00519. A bias may have been saved as (1, N)."""

    def __init__(self, about: About, width: int, rows: bool) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(about.pixels, width), nn.Linear(width, width)
        self.embedding, self.log_var = nn.Linear(width, about.latent_dim), nn.Linear(width, about.latent_dim)
        _lay_biases(self, rows)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.fc2(self.fc1(x.flatten(1)).tanh()).tanh()
        return self.embedding(h), self.log_var(h)


class TanhDecoder(nn.Module):
    """As `Decoder`, the other half of `TanhEncoder`."""

    def __init__(self, about: About, width: int, rows: bool) -> None:
        super().__init__()
        self.shape = about.shape
        self.fc1, self.fc2, self.fc3 = nn.Linear(about.latent_dim, width), nn.Linear(width, width), nn.Linear(width, about.pixels)
        _lay_biases(self, rows)

    def forward(self, z: Tensor) -> Tensor:
        return self.fc3(self.fc2(self.fc1(z).tanh()).tanh()).sigmoid().view(-1, *self.shape)


def _lay_biases(network: nn.Module, rows: bool) -> None:
    for layer in network.children():
        if rows and isinstance(layer, nn.Linear):
            layer.bias = nn.Parameter(layer.bias[None])


class ResBlock(nn.Module):
    """x + convolutions of ReLU(x), through a quarter of the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // 4
        self.conv_block = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, narrow, 3, padding=1), nn.ReLU(), nn.Conv2d(narrow, channels, 1)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


# -- encoders: `width` is the length of the first weight that their row of `ENCODERS` names ---------------------------


def mlp_encoder(about: About, width: int) -> nn.Module:
    """The default, and that of `reproduced_vae`."""
    return Encoder(about, [nn.Sequential(nn.Linear(about.pixels, width), nn.ReLU())], width, flat=True)


def deep_mlp_encoder(about: About, width: int) -> nn.Module:
    """That of `reproduced_beta_tc_vae` (Chen et al., arXiv 1802.04942)."""
    layers = nn.Sequential(nn.Linear(about.pixels, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
    return Encoder(about, [layers], width, flat=True)


def conv_encoder(about: About, width: int) -> nn.Module:
    """The benchmarks' ConvNet: four halvings, each with twice the channels."""
    channels, side, _ = about.shape
    layers: list[nn.Module] = []
    for wide in (width, 2 * width, 4 * width, 8 * width):
        layers.append(nn.Sequential(nn.Conv2d(channels, wide, 4, 2, padding=1), nn.BatchNorm2d(wide), nn.ReLU()))
        channels, side = wide, side // 2
    return Encoder(about, layers, channels * side**2)


def resnet_encoder(about: About, width: int) -> nn.Module:
    """The benchmarks' ResNet: to 4×4 places, or to 8×8 from pictures of 32×32."""
    channels, side, _ = about.shape
    wide, stride = 2 * width, 1 if side == 32 else 2
    third = [nn.Sequential(nn.Conv2d(wide, wide, 3, stride, padding=1)) for _ in range(2 if side == 64 else 1)]
    first = [nn.Sequential(nn.Conv2d(channels, width, 4, 2, padding=1)), nn.Sequential(nn.Conv2d(width, wide, 4, 2, padding=1))]
    return Encoder(about, [*first, *third, nn.Sequential(ResBlock(wide), ResBlock(wide))], wide * (8 if side == 32 else 4) ** 2)


# -- decoders ---------------------------------------------------------------------------------------------------------


def mlp_decoder(about: About, width: int) -> nn.Module:
    """The default, and that of `reproduced_vae`."""
    first, last = nn.Linear(about.latent_dim, width), nn.Linear(width, about.pixels)
    return Decoder(about, [nn.Sequential(first, nn.ReLU()), nn.Sequential(last, nn.Sigmoid())])


def deep_mlp_decoder(about: About, width: int) -> nn.Module:
    """That of `reproduced_beta_tc_vae`."""
    layers: list[nn.Module] = [nn.Linear(about.latent_dim, width), nn.Tanh()]
    layers += [nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()]
    return Decoder(about, [*layers, nn.Linear(width, about.pixels), nn.Sigmoid()])


UPWARDS: dict[int, tuple[int, tuple[tuple[int, int, int, int], ...]]] = {
    28: (4, ((3, 2, 1, 0), (3, 2, 1, 1), (3, 2, 1, 1))),
    32: (8, ((4, 2, 1, 0), (4, 2, 1, 1), (4, 1, 2, 0))),
    64: (8, ((5, 2, 2, 0), (5, 2, 1, 0), (5, 2, 2, 1), (5, 1, 1, 0))),
}
"""Of the benchmarks' ConvNet by the side of its pictures: the side that it starts from, and kernel, stride, padding and more padding of
each layer on the way up."""


def conv_decoder(about: About, width: int) -> nn.Module:
    """The benchmarks' ConvNet: half the channels from layer to layer."""
    start, layers_up = UPWARDS[about.shape[1]]
    first = nn.Linear(about.latent_dim, width * start**2)
    layers: list[nn.Module] = [nn.Sequential(first) if about.shape[1] == 64 else first]
    for index, layer in enumerate(layers_up):
        last, wide = index == len(layers_up) - 1, width // 2**index
        up = _up(wide, about.shape[0] if last else wide // 2, *layer)
        layers.append(nn.Sequential(up, nn.Sigmoid()) if last else nn.Sequential(up, nn.BatchNorm2d(wide // 2), nn.ReLU()))
    return Decoder(about, layers, (width, start, start))


def resnet_decoder_28(about: About, width: int) -> nn.Module:
    """The benchmarks' ResNet for MNIST."""
    up = nn.Sequential(_up(width, width // 2, 3, 2, 1, 1), nn.ReLU())
    last = nn.Sequential(_up(width // 2, about.shape[0], 3, 2, 1, 1), nn.Sigmoid())
    blocks = nn.Sequential(ResBlock(width), ResBlock(width), nn.ReLU())
    return Decoder(about, [nn.Linear(about.latent_dim, width * 16), _up(width, width, 3, 2, 1), blocks, up, last], (width, 4, 4))


def resnet_decoder_32(about: About, width: int) -> nn.Module:
    """The benchmarks' ResNet for CIFAR; its first convolution is the narrow one of a block."""
    wide = 4 * width
    up, last = nn.Sequential(_up(wide, wide // 2, 4, 2, 1)), nn.Sequential(_up(wide // 2, about.shape[0], 4, 2, 1), nn.Sigmoid())
    first = nn.Linear(about.latent_dim, wide * 64)
    return Decoder(about, [first, nn.Sequential(ResBlock(wide), ResBlock(wide)), up, last], (wide, 8, 8))


def resnet_decoder_64(about: About, width: int) -> nn.Module:
    """The benchmarks' ResNet for CelebA. It has a sigmoid in its middle, and was trained so."""
    ups = [nn.Sequential(_up(width, width, 5, 2, 1), nn.Sigmoid()), nn.Sequential(_up(width, width // 2, 5, 2, 1, 1))]
    last = nn.Sequential(_up(width // 2, about.shape[0], 4, 2, 1), nn.Sigmoid())
    blocks = nn.Sequential(ResBlock(width), ResBlock(width))
    return Decoder(about, [nn.Linear(about.latent_dim, width * 16), _up(width, width, 3, 2, 1), blocks, *ups, last], (width, 4, 4))


class Up(nn.ConvTranspose2d):
    """A transposed convolution to few channels as a product of matrices, whose columns are then added up where they overlap.

    That is three to four times as fast on the CPU, where the library computes for more channels than there are.
    """

    FEW = 4

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if torch.is_grad_enabled() or self.out_channels > self.FEW or x.device.type != "cpu" or output_size is not None:
            return super().forward(x, output_size)
        (stride, _), (padding, _) = self.stride, cast("tuple[int, int]", self.padding)
        more = self.kernel_size[0] + int(self.output_padding[0]) - 2 * padding
        size = tuple((side - 1) * stride + more for side in x.shape[2:])
        columns = torch.matmul(self.weight.flatten(1).T, x.flatten(2))
        y = F.fold(columns, size, self.kernel_size, padding=padding, stride=stride)
        return y if self.bias is None else y.add_(self.bias[:, None, None])


def _up(wide: int, narrow: int, kernel: int, stride: int, padding: int, more: int = 0) -> nn.ConvTranspose2d:
    return Up(wide, narrow, kernel, stride, padding=padding, output_padding=more)


# -- telling them by their weights ------------------------------------------------------------------------------------

Build = Callable[[About, int], nn.Module]


@dataclass(frozen=True)
class Architecture:
    """Half a network: the weight whose length is its width, how it is built, and the widths and sides that it is known by (none: any)."""

    key: str
    build: Build
    widths: tuple[int, ...] = ()
    sides: tuple[int, ...] = ()

    def fits(self, about: About, shapes: Shapes) -> nn.Module | None:
        """It on the meta device, if its weights would have those `shapes`."""
        width = shapes[self.key][0] if shapes.get(self.key) else 0
        if not 4 <= width <= MAX_WIDTH or (self.widths and width not in self.widths) or (self.sides and about.shape[1] not in self.sides):
            return None
        with torch.device("meta"):
            network = self.build(about, width)
        return network if {name: tuple(value.shape) for name, value in network.state_dict().items()} == shapes else None


BENCHMARKS = (28, 32, 64)
ENCODERS = (
    Architecture("layers.0.0.weight", mlp_encoder, widths=(512, 400)),
    Architecture("layers.0.0.weight", deep_mlp_encoder, widths=(1200,)),
    Architecture("fc1.weight", partial(TanhEncoder, rows=False), widths=(200,)),
    Architecture("fc1.weight", partial(TanhEncoder, rows=True), widths=(200,)),
    Architecture("layers.0.0.weight", conv_encoder, sides=BENCHMARKS),
    Architecture("layers.0.0.weight", resnet_encoder, sides=BENCHMARKS),
)
DECODERS = (
    Architecture("layers.0.0.weight", mlp_decoder, widths=(512, 400)),
    Architecture("layers.0.weight", deep_mlp_decoder, widths=(1200,)),
    Architecture("fc1.weight", partial(TanhDecoder, rows=False), widths=(200,)),
    Architecture("fc1.weight", partial(TanhDecoder, rows=True), widths=(200,)),
    Architecture("layers.1.0.weight", conv_decoder, sides=BENCHMARKS),
    Architecture("layers.1.weight", resnet_decoder_28, sides=(28,)),
    Architecture("layers.1.0.conv_block.1.weight", resnet_decoder_32, sides=(32,)),
    Architecture("layers.1.weight", resnet_decoder_64, sides=(64,)),
)


def half_of(shapes: Shapes, prefix: str) -> Shapes:
    """Those of the names that begin with `prefix`, without it."""
    return {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}


def told(architectures: tuple[Architecture, ...], about: About, shapes: Shapes) -> nn.Module | None:
    """The half, on the meta device, whose weights have those `shapes`; None when it is none of them."""
    return next((found for each in architectures if (found := each.fits(about, shapes)) is not None), None)


class PythaeNet(nn.Module):
    """Both halves."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """`mu` and `log_var` (None without a spread), each (B, latent_dim), of pictures (B, C, S, S) in [0, 1]."""
        mu, log_var = self.encoder(x)
        return mu, log_var

    def decode(self, z: Tensor) -> Tensor:
        """Pictures (B, C, S, S) in [0, 1], the mean of each pixel, of codes (B, latent_dim)."""
        x: Tensor = self.decoder(z)
        return x
