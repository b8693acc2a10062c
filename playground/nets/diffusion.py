"""The two ways from picture to noise: diffusion along a quarter circle, and the straight line of rectified flow.

Both mix a picture with noise, x_t = signal·x_0 + sigma·eps, and a network says where the mixture is heading. On the circle,
(signal, sigma) = (cos φ, sin φ), that is v = dx_t/dφ = cos φ·eps - sin φ·x_0 (Salimans & Ho, arXiv 2202.00512); on the line,
(1 - t, t), it is the velocity dx_t/dt = eps - x_0 (Liu et al., arXiv 2209.03003; Lipman et al., arXiv 2210.02747).
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

TIME_SCALE = 1000.0
"""The network is told times from 0 to this."""
FIRST_SIGMA = 0.002
"""About the noise that rounding to 256 levels leaves in a picture: what lies below it is no longer picture."""
LAST_SIGNAL = 0.006
"""So little of the picture is left at the end, as in Ho et al.; not none, because samplers divide by it."""


@dataclass(frozen=True)
class Mixture:
    """A place on the way: x_t = signal·x_0 + sigma·eps and its tangent u = signal_rate·x_0 + sigma_rate·eps; each (B, 1, 1, 1)."""

    signal: Tensor
    sigma: Tensor
    signal_rate: Tensor
    sigma_rate: Tensor

    def noised(self, x_0: Tensor, eps: Tensor) -> Tensor:
        """x_t, of the shape of `x_0` (B, C, H, W)."""
        return self.signal * x_0 + self.sigma * eps

    def tangent(self, x_0: Tensor, eps: Tensor) -> Tensor:
        """What the network learns to predict, of the shape of `x_0`."""
        return self.signal_rate * x_0 + self.sigma_rate * eps

    def picture(self, x_t: Tensor, u: Tensor) -> Tensor:
        """x_0, from where it is and where it heads."""
        return (self.sigma_rate * x_t - self.sigma * u) / self._turn

    def noise(self, x_t: Tensor, u: Tensor) -> Tensor:
        """eps, from where it is and where it heads."""
        return (self.signal * u - self.signal_rate * x_t) / self._turn

    def clipped(self, x_t: Tensor, u: Tensor) -> Tensor:
        """The heading towards the nearest picture whose pixels are in [-1, 1]; `sigma` must not be 0."""
        x_0 = self.picture(x_t, u).clamp(-1, 1)
        return self.tangent(x_0, (x_t - self.signal * x_0) / self.sigma)

    @property
    def _turn(self) -> Tensor:
        return self.signal * self.sigma_rate - self.sigma * self.signal_rate


class Path(abc.ABC):
    """A way from picture to noise, by times from 0 to 1."""

    name: ClassVar[str]
    first: ClassVar[float]
    """The time at which no more noise is left than `FIRST_SIGMA`."""

    @abc.abstractmethod
    def place(self, time: Tensor) -> Tensor:
        """The path's own parameter at times (B,): the angle of the circle, the share of noise on the line."""

    @abc.abstractmethod
    def at(self, time: Tensor) -> Mixture:
        """The mixture at times (B,)."""

    @abc.abstractmethod
    def time_of(self, ratio: Tensor) -> Tensor:
        """When there is `ratio` times as much noise as picture, sigma / signal."""

    def even_times(self, steps: int) -> Tensor:
        """`steps` + 1 times from `FIRST_SIGMA` to `LAST_SIGNAL`, between which signal over noise falls by the same factor."""
        return self.time_of(torch.linspace(math.log(FIRST_SIGMA), -math.log(LAST_SIGNAL), steps + 1).exp())


class Circle(Path):
    """Diffusion that keeps the variance: the angle grows evenly, which is the cosine schedule of Nichol & Dhariwal, arXiv 2102.09672."""

    name: ClassVar[str] = "diffusion"
    first: ClassVar[float] = 0.0
    num_train_timesteps: ClassVar[int] = 1000

    def place(self, time: Tensor) -> Tensor:
        first, last = math.asin(FIRST_SIGMA), math.acos(LAST_SIGNAL)
        return first + (last - first) * time

    def at(self, time: Tensor) -> Mixture:
        angle = self.place(time).view(-1, 1, 1, 1)
        return Mixture(angle.cos(), angle.sin(), -angle.sin(), angle.cos())

    def time_of(self, ratio: Tensor) -> Tensor:
        first, last = math.asin(FIRST_SIGMA), math.acos(LAST_SIGNAL)
        return (ratio.atan() - first) / (last - first)

    def betas(self) -> Tensor:
        """The same as steps of a Markov chain, (num_train_timesteps,) float64, as diffusers' schedulers want them."""
        alpha_bar = self.place(torch.linspace(0, 1, self.num_train_timesteps, dtype=torch.float64)).cos().square()
        return 1 - alpha_bar / torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])


class Line(Path):
    """Rectified flow: a straight line from picture to noise."""

    name: ClassVar[str] = "rectified"
    first: ClassVar[float] = FIRST_SIGMA

    def place(self, time: Tensor) -> Tensor:
        return time

    def at(self, time: Tensor) -> Mixture:
        sigma = time.view(-1, 1, 1, 1)
        return Mixture(1 - sigma, sigma, -torch.ones_like(sigma), torch.ones_like(sigma))

    def time_of(self, ratio: Tensor) -> Tensor:
        return ratio / (1 + ratio)


PATHS: dict[str, Path] = {path.name: path for path in (Circle(), Line())}
