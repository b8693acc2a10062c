"""What a model may be able to do beyond `Model`: one protocol each. Tasks name those that they need."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from playground.families.base import Inversion, Step
from playground.knobs import Knobs
from playground.latent import Noise


@runtime_checkable
class Encodes(Protocol):
    """Can turn a picture into a latent."""

    def encode(self, x: Tensor, params: Knobs) -> Tensor:
        """Pictures (B, C, H, W) in [-1, 1] to latents (B, *latent.shape), for decoding with those `params`."""
        ...


@runtime_checkable
class Inverts(Protocol):
    """Can search for a latent that fits a picture better than the one that `encode` guesses."""

    def invert(self, x: Tensor, params: Knobs) -> Iterator[Inversion]:
        """The search for pictures (B, C, H, W) in [-1, 1]; its last step is the answer."""
        ...


@runtime_checkable
class HasPosterior(Protocol):
    """Knows how sure it is: a Gaussian over latents for each picture, pulled towards the prior N(0, I)."""

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`mu` and `log_var`, each (B, D), for pictures (B, C, H, W) in [-1, 1]."""
        ...


@runtime_checkable
class HasEvidence(HasPosterior, Protocol):
    """Can weigh that against how well pictures come back: it knows a lower bound of the likelihood, and its parts."""

    beta: float
    """What a nat of the KL term cost in training; 1 is the evidence bound itself."""

    def average_kl(self) -> Tensor:
        """KL to the prior of each dimension in nats, averaged over the training pictures, (D,)."""
        ...

    def evidence(self, x: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """The two parts of -ELBO for pictures in [-1, 1]: distortion -log p(x | z) and rate KL, in nats, each (B,)."""
        ...

    def log_weights(self, x: Tensor, noise: Noise, num_draws: int) -> Tensor:
        """log p(x, z) / q(z | x) in nats for `num_draws` draws of z a picture, (num_draws, B)."""
        ...


@runtime_checkable
class Squeezes(Protocol):
    """Sends a picture through a code too short to hold all of it, there and back in one step."""

    def through(self, x: Tensor, params: Knobs) -> Tensor:
        """What comes back of pictures (B, C, H, W) in [-1, 1]: the same shape and range, on the model's device."""
        ...


@runtime_checkable
class Compresses(Protocol):
    """Has a code that can be cut at any length, because its first numbers carry the most."""

    def code_sizes(self) -> tuple[int, ...]:
        """Lengths worth showing, from the shortest to the whole code."""
        ...

    def code_size(self, params: Knobs) -> int:
        """How many numbers of the code those knobs keep."""
        ...

    def cut(self, z: Tensor, size: int) -> Tensor:
        """Pictures (B, C, H, W) in [-1, 1] from the first `size` numbers of codes (B, D)."""
        ...

    def quantise(self, z: Tensor) -> Tensor:
        """Codes (B, D) with each number rounded to one of 256 even steps over the range that codes have: one byte a number."""
        ...


@runtime_checkable
class Denoises(Protocol):
    """Learned to take noise out of pictures."""

    def noise_learned(self) -> float:
        """The largest standard deviation of the Gaussian noise it met in training, for pictures that span 2."""
        ...


@runtime_checkable
class LacksPrior(Protocol):
    """Was never asked where its codes should lie; a prior can only be fitted to where they fell."""

    def code_range(self) -> tuple[Tensor, Tensor]:
        """The smallest and the largest of each number among the codes of test pictures, each (D,)."""
        ...

    def fitted(self, noise: Noise) -> Tensor:
        """Draws from the prior that was fitted to the codes, at temperature 1, (B, *latent.shape)."""
        ...


@runtime_checkable
class Diffuses(Protocol):
    """Makes pictures by taking noise away step by step, x_t = signal·x_0 + sigma·eps, and can be entered anywhere on the way.

    Its params are `num_inference_steps`, `scheduler`, `guidance_scale`, `eta` and `label`; its steps tell `x_t`, `eps` and `time`.
    """

    def schedule(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """How much picture and how much noise there is, `signal` and `sigma`, at times (B,) from 0 to 1; each (B,)."""
        ...

    def guess(self, x_t: Tensor, time: Tensor, params: Knobs, noise: Noise) -> Tensor:
        """The picture x_0 that the network sees in x_t (B, C, H, W) at times (B,), in [-1, 1]."""
        ...

    def time_left(self, num_left: int, params: Knobs) -> float:
        """The time at which `num_left` of the steps are left; 0 when none is."""
        ...

    def finish(self, x_t: Tensor, num_left: int, params: Knobs, noise: Noise, labels: Tensor | None = None) -> Iterator[Step]:
        """The last `num_left` steps (at least 1) from x_t (B, C, H, W); all of them from pure noise is `decode`.

        `labels` (B,) int64 are classes of their own for each picture, instead of the one that `params` says.
        """
        ...

    def retrace(self, x: Tensor, num_left: int, params: Knobs) -> Iterator[Inversion]:
        """Pictures (B, C, H, W) in [-1, 1] back to the x_t from which DDIM's last `num_left` steps lead to them."""
        ...

    def inpaint(self, x: Tensor, hidden: Tensor, num_resamplings: int, params: Knobs, noise: Noise) -> Iterator[Step]:
        """Pictures that are `x` (B, C, H, W) but where `hidden` (H, W) is true; each step is made `num_resamplings` times."""
        ...


@runtime_checkable
class HasLikelihood(Protocol):
    """Can say how likely a picture is."""

    def log_prob(self, x: Tensor, noise: Noise) -> Tensor:
        """log P of 8-bit pictures (B, C, H, W) in [-1, 1] in nats, (B,), dequantised by the uniform `noise`."""
        ...


@dataclass(frozen=True)
class FlowStep:
    """One step of a flow from picture to latent: its name, what is there after it (B, C, H, W), and its log-determinant in nats, (B,)."""

    name: str
    x: Tensor
    log_det: Tensor


@runtime_checkable
class HasFlowSteps(Protocol):
    """Goes from picture to latent by steps that can each be undone, and knows by how much each stretches space."""

    def steps_there(self, x: Tensor) -> Iterator[FlowStep]:
        """Every step of pictures (B, C, H, W) in [-1, 1] in turn; what is there after the last is the latent, laid out as a picture."""
        ...

    def steps_back(self, z: Tensor) -> Iterator[Tensor]:
        """What was there after each of those steps, the last first, for latents (B, *latent.shape); then the picture in [-1, 1]."""
        ...


@runtime_checkable
class HasDensity(Protocol):
    """Has a density of continuous pictures v in [0, 1], in which grey level k of 256 fills [k/256, (k + 1)/256), and its slope.

    Both methods can be differentiated. Call them outside inference mode with tensors made outside it.
    """

    def log_density(self, v: Tensor) -> Tensor:
        """log p(v) in nats, (B,), of pictures (B, C, H, W)."""
        ...

    def continuous(self, z: Tensor) -> Tensor:
        """The continuous pictures (B, C, H, W) of latents (B, *latent.shape), up to rounding in [0, 1]."""
        ...


@runtime_checkable
class HasODE(Protocol):
    """Samples by a differential equation, along which likelihood can be followed, at the price of many passes."""

    def ode_log_prob(self, x: Tensor, noise: Noise) -> Tensor:
        """As `HasLikelihood.log_prob`, with the divergence estimated."""
        ...


@runtime_checkable
class HasVariationalBound(Protocol):
    """Has a lower bound of the likelihood that is summed over the steps of its chain."""

    bound_passes: int
    """How often the network runs in a row for it."""

    def variational_bound(self, x: Tensor, noise: Noise) -> Tensor:
        """An estimate of the bound on log P of 8-bit pictures (B, C, H, W) in [-1, 1] in nats, (B,)."""
        ...


@runtime_checkable
class HasCritic(Protocol):
    """Was trained with somebody who tells real from made."""

    def score(self, x: Tensor) -> Tensor:
        """The critic's raw opinion of pictures (B, C, H, W) in [-1, 1], (B,): higher is more real."""
        ...

    def slope(self, x: Tensor) -> Tensor:
        """How steep that opinion is at each picture, |∇D(x)|, (B,): by how much a change of length one can raise it."""
        ...


@runtime_checkable
class HasLayers(Protocol):
    """Takes a latent of its own in each layer: its latents are (L, *), one row a layer, coarse to fine."""

    def layer_sides(self) -> tuple[int, ...]:
        """The side in pixels of what each of the L layers works on."""
        ...


@runtime_checkable
class HasNoiseInputs(Protocol):
    """Adds noise of each place's own on the way to the picture, beside the latent. A card may have been trained without."""

    def noise_sides(self) -> tuple[int, ...]:
        """The side in pixels of each noise input, coarse to fine; empty where there are none."""
        ...

    def freckled(self, z: Tensor, noise: Noise | None, inputs: Collection[int] | None = None, strength: float = 1.0) -> Tensor:
        """Pictures (B, C, H, W) of latents without noise (None), or with each picture's own, `strength` times as strong as it was
        learned, in those inputs only (None: in all)."""
        ...


@runtime_checkable
class HasSpectra(Protocol):
    """Knows how much lies in each of its principal directions."""

    def spectrum(self, kind: str) -> Tensor:
        """The eigenvalues that belong to the directions `kind:1`, `kind:2`, …, falling, (K,). For `pc` and `sefa`."""
        ...


@runtime_checkable
class HasMap(Protocol):
    """Has a map of encoded test pictures."""

    def map_points(self, projection: str) -> Tensor:
        """Where the first N test pictures lie, (N, 2) in [-1, 1]."""
        ...

    def map_latent(self, projection: str, x: float, y: float) -> str:
        """The latent recipe of a place on the map."""
        ...

    def near(self, x: float, y: float) -> Tensor:
        """The latent at a place of the neighbour map, (1, *latent.shape)."""
        ...
