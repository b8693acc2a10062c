"""The two ways from picture to noise: diffusion along a quarter circle, and the straight line of rectified flow.

Both mix a picture with noise, x_t = signal·x_0 + sigma·eps, and a network says where the mixture is heading. On the circle,
(signal, sigma) = (cos φ, sin φ), that is v = dx_t/dφ = cos φ·eps - sin φ·x_0 (Salimans & Ho, arXiv 2202.00512); on the line,
(1 - t, t), it is the velocity dx_t/dt = eps - x_0 (Liu et al., arXiv 2209.03003; Lipman et al., arXiv 2210.02747).

Every diffusion keeps to the circle and has a pace of its own, its `Schedule`. One whose variance explodes, x_0 + s·eps, does so once
it is divided by sqrt(1 + s²) (Karras et al., arXiv 2206.00364).
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from typing_extensions import Self

Prediction = Literal["epsilon", "v_prediction", "sample"]
"""What a network was trained to say: the noise, the tangent, or the picture."""

TIME_SCALE = 1000.0
"""The network is told times from 0 to this."""
FIRST_SIGMA = 0.002
"""About the noise that rounding to 256 levels leaves in a picture: what lies below it is no longer picture."""
LAST_SIGNAL = 0.006
"""So little of the picture is left at the end, as in Ho et al.; not none, because samplers divide by it."""
LEAST_ALPHA_BAR = 2.0**-24
"""Where a chain leaves nothing of the picture, samplers take this for nothing, as diffusers' do."""


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

    def rest(self, x_t: Tensor, x_0: Tensor) -> Tensor:
        """eps, from where it is and what the picture is; `sigma` must not be 0."""
        return (x_t - self.signal * x_0) / self.sigma

    def towards(self, x_t: Tensor, x_0: Tensor) -> Tensor:
        """The heading towards that picture; `sigma` must not be 0."""
        return self.tangent(x_0, self.rest(x_t, x_0))

    def heading(self, x_t: Tensor, said: Tensor, prediction: Prediction) -> Tensor:
        """u, from what a network of that kind said of x_t."""
        if prediction == "epsilon":
            return self.tangent((x_t - self.sigma * said) / self.signal, said)
        return said if prediction == "v_prediction" else self.towards(x_t, said)

    @property
    def _turn(self) -> Tensor:
        return self.signal * self.sigma_rate - self.sigma * self.signal_rate


def renewed(now: Mixture, then: Mixture, x_0: Tensor, eps: Tensor, share: Tensor | float, drawn: Tensor) -> Tensor:
    """A step to the earlier place `then`: keep what is known of the picture, renew a `share` of the noise (Song et al., equation 12).

    0 renews none, which is DDIM; 1 all that the step takes away, which is DDPM.
    """
    fresh = share * lost(now, then) * then.sigma / now.sigma
    kept = (then.sigma**2 - fresh**2).clamp(min=0).sqrt()
    return then.signal * x_0 + kept * eps + fresh * drawn


def lost(now: Mixture, then: Mixture) -> Tensor:
    """The noise that comes in between an earlier place `then` and a later one `now`: its standard deviation."""
    return (now.sigma**2 - (now.signal / then.signal * then.sigma) ** 2).clamp(min=0).sqrt()


class Path(abc.ABC):
    """A way from picture to noise, by times from 0 to 1."""

    name: ClassVar[str]
    first: ClassVar[float]
    """The time at which no more noise is left than `FIRST_SIGMA`, or than there ever is."""
    bounded: bool = True
    """Whether it comes from pictures, whose pixels are in [-1, 1]; the numbers of a code have no bounds."""

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

    def seen(self, at: Mixture, x_t: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """x_0 and eps, of which x_t is made when it heads for `u`; x_0 is the nearest picture where the path is `bounded`.

        `sigma` must not be 0.
        """
        if not self.bounded:
            return at.picture(x_t, u), at.noise(x_t, u)
        x_0 = at.picture(x_t, u).clamp(-1, 1)
        return x_0, at.rest(x_t, x_0)

    def along(self, times: Tensor) -> list[Mixture]:
        """The mixture at each of the times (N,), each (1, 1, 1, 1)."""
        at = self.at(times)
        return [Mixture(*parts) for parts in zip(*(part.split(1) for part in vars(at).values()), strict=True)]


class Arc(Path):
    """Diffusion that keeps the variance, at any pace along the quarter circle."""

    name: ClassVar[str] = "diffusion"
    first: ClassVar[float] = 0.0
    num_train_timesteps: int
    """A network counts its times from 0 to one less than this."""

    @abc.abstractmethod
    def betas(self) -> Tensor:
        """The same as steps of a Markov chain, (num_train_timesteps,) float64, as diffusers' schedulers want them."""


class Circle(Arc):
    """The angle grows evenly from `start` to `end`; by default, the cosine schedule of Nichol & Dhariwal, arXiv 2102.09672."""

    num_train_timesteps = 1000

    def __init__(self, start: float = math.asin(FIRST_SIGMA), end: float = math.acos(LAST_SIGNAL)) -> None:
        self.start, self.end = start, end

    def place(self, time: Tensor) -> Tensor:
        return self.start + (self.end - self.start) * time

    def at(self, time: Tensor) -> Mixture:
        angle = self.place(time).view(-1, 1, 1, 1)
        return Mixture(angle.cos(), angle.sin(), -angle.sin(), angle.cos())

    def time_of(self, ratio: Tensor) -> Tensor:
        return (ratio.atan() - self.start) / (self.end - self.start)

    def betas(self) -> Tensor:
        return _betas(self.place(torch.linspace(0, 1, self.num_train_timesteps, dtype=torch.float64)).cos().square())


class Schedule(Arc):
    """The pace of somebody else's training: a table of log(sigma / signal) at each of its steps, straight in between.

    Logarithms, because an angle near 90° says little of a signal of 1/1000. The table (num_train_timesteps,) rises.
    """

    def __init__(self, log_ratios: Tensor, bounded: bool = True) -> None:
        self.table, self.bounded, self.num_train_timesteps = log_ratios.double().cpu(), bounded, len(log_ratios)
        self._tables: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    @classmethod
    def of_betas(cls, betas: Tensor, bounded: bool = True) -> Self:
        """The path of a chain with noise `betas` (num_train_timesteps,), each between 0 and 1, the last perhaps 1."""
        alpha_bar = (1 - betas.double()).cumprod(0)
        alpha_bar = torch.where(alpha_bar > 0, alpha_bar, LEAST_ALPHA_BAR)
        return cls((1 / alpha_bar - 1).log() / 2, bounded)

    def _table(self, like: Tensor) -> Tensor:
        """The table where a tensor is, and in its number format; copied there once, for a copy is what no CUDA graph can hold."""
        key = (like.device, like.dtype)
        if key not in self._tables:
            with torch.inference_mode(False):
                self._tables[key] = self.table.to(like)
        return self._tables[key]

    def log_ratio(self, time: Tensor) -> Tensor:
        """log(sigma / signal) at times (B,)."""
        step = time.clamp(0, 1) * (self.num_train_timesteps - 1)
        below = step.long().clamp(max=self.num_train_timesteps - 2)
        table = self._table(time)
        return torch.lerp(table[below], table[below + 1], step - below)

    def place(self, time: Tensor) -> Tensor:
        return self.log_ratio(time).exp().atan()

    def at(self, time: Tensor) -> Mixture:
        twice = 2 * self.log_ratio(time).view(-1, 1, 1, 1)
        signal, sigma = torch.sigmoid(-twice).sqrt(), torch.sigmoid(twice).sqrt()
        return Mixture(signal, sigma, -sigma, signal)

    def time_of(self, ratio: Tensor) -> Tensor:
        """Of ratios that it does not reach, its nearer end."""
        wanted, table = ratio.log(), self._table(ratio)
        above = torch.searchsorted(table, wanted).clamp(1, self.num_train_timesteps - 1)
        share = (wanted - table[above - 1]) / (table[above] - table[above - 1]).clamp(min=1e-12)
        return (above - 1 + share.clamp(0, 1)) / (self.num_train_timesteps - 1)

    def even_times(self, steps: int) -> Tensor:
        """From its own least noise to its own most."""
        return self.time_of(torch.linspace(self.table[0].item(), self.table[-1].item(), steps + 1).exp())

    def betas(self) -> Tensor:
        return _betas(torch.sigmoid(-2 * self.table))

    def evened(self) -> Circle:
        """The same piece of the circle, at an even pace."""
        return Circle(*self.table[[0, -1]].exp().atan().tolist())


def _betas(alpha_bar: Tensor) -> Tensor:
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
