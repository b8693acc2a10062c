"""Parts that normalizing flows are built of: maps that can be undone, each with the logarithm of how much it stretches space.

Sources: Dinh, Sohl-Dickstein & Bengio, RealNVP, arXiv 1605.08803; Kingma & Dhariwal, Glow, arXiv 1807.03039.
"""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from playground.nets.conv import Block, Position, in_place
from playground.nets.folding import Foldable

LOG_SCALE_BOUND = 2.5
"""A single step stretches or shrinks by at most e to this power, so that no point, however far out, overflows."""
INPUT_BOUND = 20.0
"""Conditioners see nothing beyond: any function of the kept half may steer a coupling, this one is tame far out."""


class Passed(NamedTuple):
    """A step on the way from picture to latent: its name, what is there after it (B, C, H, W), and log |det| of it alone, (B,)."""

    name: str
    x: Tensor
    log_det: Tensor


class Bijection(nn.Module, abc.ABC):
    """A map that can be undone."""

    @abc.abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image z of `x` (B, *) and log |det ∂z/∂x|, (B,)."""

    @abc.abstractmethod
    def inverse(self, z: Tensor) -> Tensor:
        """The `x` of which `z` (B, *) is the image."""


class ChannelMap(Bijection):
    """z = W·x + b at every position: what several of them do in a row, one does at once."""

    @abc.abstractmethod
    def matrix(self) -> tuple[Tensor, Tensor]:
        """W (C, C) and b (C,)."""


class Merged(Bijection):
    """Channel maps that follow each other as one, with weights that stay as they are. Nothing of it is saved."""

    log_det: Tensor
    weight: Tensor
    bias: Tensor
    back_weight: Tensor
    back_bias: Tensor

    def __init__(self, maps: Sequence[ChannelMap]) -> None:
        super().__init__()
        weight, bias = maps[0].matrix()
        weight, bias = weight.double(), bias.double()
        for each in maps[1:]:
            matrix, shift = (part.double() for part in each.matrix())
            weight, bias = matrix @ weight, matrix @ bias + shift
        back = torch.linalg.inv(weight)
        like = maps[0].matrix()[0]
        found = {"weight": weight[:, :, None, None], "bias": bias, "log_det": torch.linalg.slogdet(weight).logabsdet}
        found |= {"back_weight": back[:, :, None, None], "back_bias": -back @ bias}
        for name, value in found.items():
            self.register_buffer(name, value.to(like).contiguous(), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return F.conv2d(x, self.weight, self.bias), (x.shape[2] * x.shape[3] * self.log_det).expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        return F.conv2d(z, self.back_weight, self.back_bias)


class Chain(Bijection, Foldable):
    """One after the other."""

    def __init__(self, steps: Iterable[Bijection]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self.folded: tuple[Bijection, ...] = ()
        """The same in fewer steps."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for step in self.folded or self.steps:
            x, log_det = step(x)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor) -> Tensor:
        for step in reversed(self.folded or self.steps):
            assert isinstance(step, Bijection)
            z = step.inverse(z)
        return z

    def fold(self) -> None:
        runs = itertools.groupby(self.steps, key=lambda step: isinstance(step, ChannelMap))
        parts = [[Merged(list(run))] if merges else list(run) for merges, run in runs]  # type: ignore[arg-type]
        self.folded = tuple(itertools.chain.from_iterable(parts))  # type: ignore[arg-type]
        self.merged = nn.ModuleList(step for step in self.folded if isinstance(step, Merged))  # so that they move with the rest


class Logit(Bijection):
    """y = scale · logit(α + (1 - 2α)·x): from [0, 1] to the whole line. The small α decides how wide black becomes."""

    def __init__(self, alpha: float, scale: float = 0.5) -> None:
        super().__init__()
        self.alpha, self.scale = alpha, scale

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        p = self.alpha + (1 - 2 * self.alpha) * x
        log_p, log_q = torch.log(p), torch.log1p(-p)
        log_det = math.log(self.scale * (1 - 2 * self.alpha)) - log_p - log_q
        return self.scale * (log_p - log_q), log_det.flatten(1).sum(dim=1)

    def inverse(self, z: Tensor) -> Tensor:
        return (torch.sigmoid(z / self.scale) - self.alpha) / (1 - 2 * self.alpha)


class Squeeze(Bijection):
    """(B, C, H, W) to (B, 4C, H/2, W/2): every 2×2 pixels become channels."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return F.pixel_unshuffle(x, 2), x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        return F.pixel_shuffle(z, 2)


class Conditioner(nn.Module, Foldable):
    """What a coupling does to one half, seen from the other: maps (B, inputs, S, S) to (B, outputs, S, S), zero at first.

    What belongs to a place whatever the picture (a border is black) is learnt `pace` times as fast as the rest.
    """

    at_places: Tensor | None
    """What belongs to places, once it is folded."""

    def __init__(self, inputs: int, outputs: int, size: int, width: int, blocks: int, pace: float = 1.0) -> None:
        super().__init__()
        self.pace = pace
        last = nn.Conv2d(width, outputs, 1)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, width, 3, padding=1), Position(width, size), *(Block(width, blocks) for _ in range(blocks)), nn.SiLU()
        )
        self.last, self.position = last, Position(outputs, size)
        self.register_buffer("at_places", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        features = self.layers(x.clamp(-INPUT_BOUND, INPUT_BOUND))
        if not torch.is_autocast_enabled(x.device.type):
            return self._told(features)
        with torch.autocast(x.device.type, enabled=False):
            return self._told(features.to(x.dtype))

    def _told(self, features: Tensor) -> Tensor:
        at_places = self.pace * self.position.bias if self.at_places is None else self.at_places
        return self.last(features).add_(at_places) if in_place(features) else self.last(features) + at_places

    def fold(self) -> None:
        self.at_places = (self.pace * self.position.bias).contiguous(memory_format=torch.channels_last)


class AffineCoupling(Bijection, Foldable):
    """Keeps some channels; scales and shifts the others as the kept ones say. `order` lists the kept half first."""

    places: Tensor | None
    back_places: Tensor | None

    def __init__(self, order: Sequence[int], kept: int, conditioner: nn.Module) -> None:
        super().__init__()
        self.order, self.kept = list(order), kept
        self.back = sorted(range(len(self.order)), key=self.order.__getitem__)
        self.plain = self.order == self.back == sorted(self.order)
        for name in ("places", "back_places"):
            self.register_buffer(name, None, persistent=False)
        self.conditioner = conditioner

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = self._apart(x)
        log_scale, shift = self.affine(kept)
        moved = (moved + shift) * torch.exp(log_scale)
        return self._joined(kept, moved), log_scale.flatten(1).sum(dim=1)

    def inverse(self, z: Tensor) -> Tensor:
        kept, moved = self._apart(z)
        log_scale, shift = self.affine(kept)
        if in_place(z):
            return self._joined(kept, log_scale.neg_().exp_().mul_(moved).sub_(shift))
        return self._joined(kept, moved * torch.exp(-log_scale) - shift)

    def _apart(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = self._in_order(x, self.order, self.places).tensor_split([self.kept], dim=1)
        return kept, moved

    def _joined(self, kept: Tensor, moved: Tensor) -> Tensor:
        return self._in_order(torch.cat([kept, moved], dim=1), self.back, self.back_places)

    def _in_order(self, x: Tensor, order: list[int], places: Tensor | None) -> Tensor:
        if self.plain:
            return x
        return x[:, order] if places is None else x.index_select(1, places)

    def fold(self) -> None:
        """Lists of channels are copied to where the weights are, once."""
        device = next(self.conditioner.parameters()).device
        self.places, self.back_places = torch.tensor(self.order, device=device), torch.tensor(self.back, device=device)

    def affine(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Log-scale and shift for the other half."""
        raw, shift = self.conditioner(kept).chunk(2, dim=1)
        return bounded(raw), shift


def bounded(raw: Tensor) -> Tensor:
    """A log-scale within ±`LOG_SCALE_BOUND`, that starts as `raw`."""
    return LOG_SCALE_BOUND * torch.tanh(raw / LOG_SCALE_BOUND)


class MultiScale(Bijection):
    """Levels of steps; after each but the last, half of the channels are done and the rest is squeezed and goes on.

    Maps (B, C, H, W) to (B, C·H·W).
    """

    def __init__(self, levels: Sequence[Bijection], channels: int, size: int) -> None:
        super().__init__()
        self.levels, self.channels, self.size = nn.ModuleList(levels), channels, size
        self.squeeze = Squeeze()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        done, total = [], x.new_zeros(len(x))
        for index, level in enumerate(self.levels):
            x, log_det = level(self.squeeze(x)[0])
            total = total + log_det
            if index < len(self.levels) - 1:
                x, finished = x.chunk(2, dim=1)
                done.append(finished.flatten(1))
        return torch.cat([*done, x.flatten(1)], dim=1), total

    def inverse(self, z: Tensor) -> Tensor:
        shapes = level_shapes(self.channels, self.size, len(self.levels))
        parts = [(channels // 2) * size * size for channels, size in shapes[:-1]]
        *done, x = z.tensor_split(torch.tensor(parts).cumsum(0).tolist(), dim=1)
        x = x.view(-1, shapes[-1][0], shapes[-1][1], shapes[-1][1])
        for index in reversed(range(len(shapes))):
            channels, size = shapes[index]
            if index < len(done):
                x = torch.cat([x, done[index].view(-1, channels // 2, size, size)], dim=1)
            level = self.levels[index]
            assert isinstance(level, Bijection)
            x = self.squeeze.inverse(level.inverse(x))
        return x

    # -- step by step, laid out as a picture ------------------------------------------------------------------------

    def walk(self, x: Tensor) -> Iterator[Passed]:
        """What `forward` does, step by step; after each, every number stands where its pixel was."""
        done: list[Tensor] = []
        for index, level in enumerate(self.levels):
            x = self.squeeze(x)[0]
            for step in counted(level):
                x, log_det = step(x)
                yield Passed(f"{x.shape[2]}×{x.shape[3]}", self._laid_out(x, done), log_det)
            if index < len(self.levels) - 1:
                x, finished = x.chunk(2, dim=1)
                done.append(finished)

    def walk_back(self, z: Tensor) -> Iterator[Tensor]:
        """What `inverse` does, step by step: `z` laid out as a picture, then that with one step more undone, to the last."""
        shapes = level_shapes(self.channels, self.size, len(self.levels))
        halves = [(channels // 2, size, size) for channels, size in shapes[:-1]] + [(shapes[-1][0], shapes[-1][1], shapes[-1][1])]
        *done, x = (part.view(-1, *shape) for part, shape in zip(z.split([math.prod(s) for s in halves], dim=1), halves, strict=True))
        yield self._laid_out(x, done)
        for index in reversed(range(len(shapes))):
            if index < len(done):
                x = torch.cat([x, done[index]], dim=1)
            for step in reversed(counted(self.levels[index])):
                x = step.inverse(x)
                yield self._laid_out(x, done[:index])
            x = self.squeeze.inverse(x)

    def _laid_out(self, x: Tensor, done: Sequence[Tensor]) -> Tensor:
        """The level's `x` and the halves that earlier levels are done with, as a picture (B, C, H, W)."""
        for finished in reversed(done):
            x = torch.cat([self.squeeze.inverse(x), finished], dim=1)
        return self.squeeze.inverse(x)


def counted(level: nn.Module) -> list[Chain]:
    """The steps of a level as papers count them: what leads up to a coupling belongs to it."""
    assert isinstance(level, Chain)
    groups: list[list[Bijection]] = [[]]
    for step in level.steps:
        assert isinstance(step, Bijection)
        groups[-1].append(step)
        if isinstance(step, AffineCoupling):
            groups.append([])
    return [Chain(group) for group in groups if group]


def level_shapes(channels: int, size: int, levels: int) -> list[tuple[int, int]]:
    """Channels and side of what each level works on: (4, 14), (8, 7) for two levels of one 28×28 channel."""
    shapes = []
    for _ in range(levels):
        channels, size = 4 * channels, size // 2
        shapes.append((channels, size))
        channels //= 2
    return shapes


class Flow(nn.Module):
    """A bijection between pictures and standard normal vectors, and thereby an exact density of pictures."""

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, D) of continuous pictures `x` (B, C, H, W) in [0, 1], and the log-determinant (B,)."""
        return self.bijection(x)

    def inverse(self, z: Tensor) -> Tensor:
        """Pictures (B, C, H, W) of latents (B, D); in [0, 1] up to the rounding of a float."""
        return self.bijection.inverse(z)

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density in nats of continuous pictures `x` (B, C, H, W) in [0, 1], (B,)."""
        z, log_det = self(x)
        return log_normal(z) + log_det

    def walk(self, x: Tensor) -> Iterator[Passed]:
        """`forward` step by step; their log-determinants add up to its own."""
        y, log_det = self.logit(x)
        yield Passed("logit", y, log_det)
        yield from self._scales.walk(y)

    def walk_back(self, z: Tensor) -> Iterator[Tensor]:
        """`inverse` step by step: what was there after each step of `walk`, from the last to the first, the logit."""
        return self._scales.walk_back(z)

    @property
    def logit(self) -> Logit:
        """The first step."""
        assert isinstance(self.bijection, Chain) and isinstance(self.bijection.steps[0], Logit)
        return self.bijection.steps[0]

    @property
    def _scales(self) -> MultiScale:
        assert isinstance(self.bijection, Chain) and isinstance(self.bijection.steps[1], MultiScale)
        return self.bijection.steps[1]


def log_normal(z: Tensor) -> Tensor:
    """log N(z; 0, I) of each row of `z` (B, D), (B,)."""
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=1)
