"""What a family of generative models is: a map from noise to picture, with knobs, and what it can be asked."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from playground.errors import UnknownCard, unknown
from playground.knobs import Knobs, KnobSpec
from playground.latent import Mix, Noise

Geometry = Literal["gaussian", "euclidean"]


@dataclass(frozen=True)
class LatentSpec:
    """A latent space: its name, its shape without the batch, and whether points lie on a Gaussian shell."""

    name: str
    shape: tuple[int, ...]
    geometry: Geometry

    @property
    def mix(self) -> Mix:
        """The natural way between two points."""
        return "slerp" if self.geometry == "gaussian" else "lerp"


@dataclass(frozen=True)
class Step:
    """One step of sampling: `x` (B, C, H, W) in [-1, 1], and how far along it is. The last step is the picture.

    A sampler that goes from noise to picture in many steps tells more: the noisy `x_t` that it stands at, the noise `eps` that
    it sees in it, and the `time` there, from 1 (all noise) to 0; `x` is then its guess of the picture, x_0.
    """

    x: Tensor
    index: int
    total: int
    x_t: Tensor | None = None
    eps: Tensor | None = None
    time: float | None = None


@dataclass(frozen=True)
class Inversion:
    """One step of looking for the latent of a picture: `z` (B, *latent.shape), how far along it is, and what `z` looks like, if known."""

    z: Tensor
    index: int
    total: int
    x: Tensor | None = None


@dataclass(frozen=True)
class Look:
    """A family's colour (Okabe–Ito) and glyph, the same on every tab, plot and pane."""

    colour: str
    glyph: str


@dataclass(frozen=True)
class Dial:
    """A family's own way from faithful to diverse: a knob of its `Params`, and even stops between, at which cards are measured."""

    knob: str
    stops: tuple[float, ...]

    def value(self, share: float) -> float:
        """Where the knob stands at a share of the way, 0 (the first stop) to 1 (the last)."""
        place = min(max(share, 0.0), 1.0) * (len(self.stops) - 1)
        low = min(int(place), len(self.stops) - 2)
        return round(self.stops[low] + (place - low) * (self.stops[low + 1] - self.stops[low]), 6)


def alone(function: Callable[..., Any], *rows: Tensor) -> Any:
    """`function(*rows)`, and nothing else."""
    return function(*rows)


class Model(abc.ABC):
    """Weights that run. The first paragraph of the class docstring opens the model cards; the tab's words are the page's."""

    family: ClassVar[str]
    title: ClassVar[str]
    equation: ClassVar[str]
    limits: ClassVar[str]
    """What its pictures lack, in a sentence or two, for the model card."""
    look: ClassVar[Look]
    Params: ClassVar[type[Knobs]]
    noisy: bool = False
    """Whether decoding draws noise of its own, after the latent."""
    live: ClassVar[bool] = True
    """Whether it decodes in one step, fast enough to follow a finger whatever its knobs."""
    dial: ClassVar[Dial | None] = None
    """Its knob between fidelity and diversity."""
    exact: ClassVar[bool] = False
    """Whether decoding undoes encoding, but for rounding: every picture has one latent, and every latent one picture."""
    together: Callable[..., Any] = staticmethod(alone)
    """How its network is run: `together(function, *rows)` where `function` works row by row, and may get rows of others too. An engine
    puts its own in this place (`passes.Passes.run`)."""
    latent: LatentSpec
    image_size: int
    channels: int
    classes: tuple[str, ...]
    device: torch.device
    dtype: torch.dtype

    @classmethod
    @abc.abstractmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> Model:
        """From a card's folder. Raises `BadWeights` when a file is missing, damaged or of another shape."""

    @classmethod
    @abc.abstractmethod
    def tiny(cls) -> Model:
        """A small random instance on the CPU, for tests and for a page without weights."""

    def knobs(self) -> tuple[KnobSpec, ...]:
        """The knobs of `Params` that matter to these weights: their page shows no others."""
        return self.Params.specs()

    @abc.abstractmethod
    def bytes(self) -> int:
        """Memory that the weights take, in bytes."""

    @abc.abstractmethod
    def draw(self, params: Knobs, noise: Noise) -> Tensor:
        """Latents for as many pictures as `noise` has seeds, float32 (B, *latent.shape) on the model's device."""

    @abc.abstractmethod
    def decode(self, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        """Latents (B, *latent.shape) to pictures; every step is a preview, the last one the picture."""

    def follows(self, params: Knobs) -> bool:
        """Whether it decodes fast enough to follow a finger with these knobs."""
        return self.live

    def passes(self, params: Knobs) -> int:
        """How often the network, or a part of it that waits for the last time, runs in a row to decode a batch."""
        return 1

    def passes_back(self, params: Knobs) -> int:
        """The same for finding the latents of a batch of pictures, by the way that its reconstructions are made."""
        return 1

    @property
    def latent_size(self) -> int:
        """How many numbers a pass works on for each picture: those of the latent, or of the picture if it has more."""
        return max(math.prod(self.latent.shape), self.channels * self.image_size**2)

    @abc.abstractmethod
    def origin(self) -> Tensor:
        """The middle of the latent space, (1, *latent.shape)."""

    def direction(self, kind: str, value: str) -> Tensor | None:
        """The offset that one unit along a named direction means, (1, *latent.shape); None when it has no such direction."""
        if kind != "dim" or not 1 <= int(value) <= self.origin().numel():
            return None
        axis = torch.zeros_like(self.origin()).flatten()
        axis[int(value) - 1] = 1
        return axis.view(1, *self.latent.shape)

    def directions(self) -> Mapping[str, str]:
        """Directions to offer on the page: `kind:value` to words."""
        return {f"dim:{index}": f"Dimension {index}" for index in range(1, min(64, self.origin().numel()) + 1)}


FAMILIES: dict[str, type[Model]] = {}
_M = TypeVar("_M", bound=type[Model])


def register(model: _M) -> _M:
    """Makes a family known by its name; one decorator is all that a new family needs."""
    FAMILIES[model.family] = model
    return model


def find_family(name: str) -> type[Model]:
    """The family of that name. Raises `UnknownCard` naming those it may be meant for, or all."""
    if name not in FAMILIES:
        raise UnknownCard(*unknown("family", name, FAMILIES))
    return FAMILIES[name]
