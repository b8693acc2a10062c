"""RealNVP: affine couplings whose halves are a checkerboard or channels, at several scales.

Source: Dinh, Sohl-Dickstein & Bengio, arXiv 1605.08803. Different from there: a checkerboard of pixels is two of the four
channels that squeezing makes, so its networks work at half the resolution; no batch normalisation; see `nets.conv` for the blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from playground.nets.couplings import AffineCoupling, Chain, Conditioner, Flow, Logit, MultiScale, level_shapes


@dataclass(frozen=True)
class RealNVPConfig:
    """The shape of a `RealNVP`; what `config.json` holds."""

    image_size: int = 28
    channels: int = 1
    couplings: tuple[int, ...] = (8, 8)
    """Coupling layers of each level, at 14×14 and 7×7."""
    widths: tuple[int, ...] = (48, 96)
    """Channels inside the conditioners of each level."""
    blocks: int = 2
    alpha: float = 0.002
    """How far from 0 and 1 the logit keeps; a grey level is 0.004 wide."""


class RealNVP(Flow):
    """Pictures (B, C, S, S) in [0, 1] to latents (B, C·S·S) and back."""

    def __init__(self, config: RealNVPConfig) -> None:
        shapes = level_shapes(config.channels, config.image_size, len(config.couplings))
        levels = [Chain(_couplings(config, index, *shape)) for index, shape in enumerate(shapes)]
        super().__init__(Chain([Logit(config.alpha), MultiScale(levels, config.channels, config.image_size)]))
        self.config = config


def _couplings(config: RealNVPConfig, level: int, channels: int, size: int) -> Iterator[AffineCoupling]:
    half = channels // 2
    for index in range(config.couplings[level]):
        conditioner = Conditioner(half, channels, size, config.widths[level], config.blocks)
        yield AffineCoupling(_order(index, channels), half, conditioner)


def _order(index: int, channels: int) -> list[int]:
    """Which channels coupling `index` keeps, those first: by turns a checkerboard, its opposite, one half, the other."""
    dark = [channel for channel in range(channels) if channel % 4 in (0, 3)]
    light = [channel for channel in range(channels) if channel % 4 in (1, 2)]
    first, second = [*range(channels // 2)], [*range(channels // 2, channels)]
    return [dark + light, light + dark, first + second, second + first][index % 4]
