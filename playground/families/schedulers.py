"""Samplers as numbers: what diffusers' schedulers do at each look at x_t, read off them once.

Each sampler here is a linear multistep method: it goes on from where it stands and from its last guesses of the picture, each times a
number that its times alone decide. So a scheduler is asked once how much it takes of guesses that have nothing in common; pictures are
then moved by those numbers, in few operations and wherever they are.

Sources: DDPM Ho et al., arXiv 2006.11239; DDIM Song et al., arXiv 2010.02502; Euler and Heun Karras et al., arXiv 2206.00364;
DPM-Solver++ Lu et al., arXiv 2211.01095; UniPC Zhao et al., arXiv 2302.04867. Steps end evenly at the last time, as in Lin et al.,
arXiv 2305.08891.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_flow_match_heun_discrete import FlowMatchHeunDiscreteScheduler
from diffusers.schedulers.scheduling_heun_discrete import HeunDiscreteScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from torch import Tensor

from playground.nets.diffusion import Arc, Path, renewed

MEMORY = 3
"""Guesses that a step looks at; UniPC's corrector, of second order, takes as many."""
NEGLIGIBLE = 1e-6
"""Shares below this are what rounding leaves."""

CIRCLE: Mapping[str, type] = {
    "ddpm": DDPMScheduler,
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "heun": HeunDiscreteScheduler,
    "dpmsolver++": DPMSolverMultistepScheduler,
    "unipc": UniPCMultistepScheduler,
}
"""Samplers by name, as schedulers of diffusion."""


@dataclass(frozen=True)
class Move:
    """From x_t at `time` on to `kept`·x_t + `guesses`[0]·x_0 + `guesses`[1]·(the x_0 of the look before) + … + `fresh`·(new noise)."""

    time: float
    kept: float
    guesses: tuple[float, ...]
    fresh: float

    def on(self, x_t: Tensor, seen: Sequence[Tensor], drawn: Tensor | None) -> Tensor:
        """Where it leads, of the shape of `x_t`; `seen` are the guesses, the last one first, `drawn` is noise where `fresh` is not 0."""
        x = self.kept * x_t
        for share, x_0 in zip(self.guesses, seen, strict=False):
            x.add_(x_0, alpha=share)
        return x if drawn is None else x.add_(drawn, alpha=self.fresh)


@dataclass(frozen=True)
class Course:
    """A sampler's way: it sets out at `start`·z and makes its `moves`, one a look at x_t."""

    start: float
    moves: tuple[Move, ...]


def course(path: Path, name: str, num_inference_steps: int, eta: float = 0.0, num_left: int | None = None) -> Course:
    """That of a sampler from noise z to picture, or from an x_t where `num_left` steps are left.

    `eta`, in 0..1, is how much of its noise DDIM draws anew at each step.
    """
    return _course(path, name, num_inference_steps, {"ddpm": 1.0, "ddim": eta}.get(name, 0.0), num_left)


@lru_cache(maxsize=256)
@torch.inference_mode(False)
@torch.no_grad()
def _course(path: Path, name: str, num_inference_steps: int, share: float, num_left: int | None) -> Course:
    """Setting a scheduler up and asking it takes some milliseconds, as long as a pass of a small network."""
    way = _arc(path, name, num_inference_steps, share) if isinstance(path, Arc) else _line(path, name, num_inference_steps, share)
    return _asked(path, way, 0 if num_left is None else len(way.times) - num_looks(name, num_left))


def num_looks(name: str, num_inference_steps: int) -> int:
    """How often a sampler looks at x_t in so many steps: Heun's twice a step, but for the last."""
    return 2 * num_inference_steps - 1 if name == "heun" else num_inference_steps


# -- what a scheduler does ------------------------------------------------------------------------------------------------


@dataclass
class _Way:
    """A scheduler whose times are set."""

    scheduler: Any
    times: Tensor
    """Of its looks, from 1 towards 0."""
    step: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    """The heading u, its own word for the time, x and new noise to the next x."""


def _asked(path: Path, way: _Way, first: int) -> Course:
    """From the look `first` on: where it sets out, each noise and each guess are axes of their own, so shares can be read off."""
    scheduler, times, count = way.scheduler, way.times[first:], len(way.times) - first
    start, *axes = torch.eye(2 * count + 1, dtype=torch.float64).view(-1, 1, 1, 1, 2 * count + 1)
    x, stood = _set_out(scheduler, first, start), list[Tensor]()
    for index, at in enumerate(path.along(times.double())):
        t, drawn, guess = scheduler.timesteps[first + index], axes[index], axes[count + index]
        x_t = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        stood.append(x_t.flatten())
        x = way.step(at.towards(x_t, guess), t, x, drawn)
    ways = pairwise([*stood, x.flatten()])
    moves = (_read_off(float(times[index]), index, count, now, then) for index, (now, then) in enumerate(ways))
    return Course(float(stood[0][0]), tuple(moves))


def _read_off(time: float, index: int, count: int, now: Tensor, then: Tensor) -> Move:
    """The move of the look `index` of `count`, from x_t `now` to x_t `then` on those axes."""
    most = now[: count + 1].abs().argmax()  # of what is in x_t and in no guess
    kept = then[most] / now[most]
    taken = [0.0 if abs(share) < NEGLIGIBLE else share for share in (then - kept * now).tolist()]
    guesses = taken[count + 1 + max(0, index + 1 - MEMORY) : count + index + 2][::-1]
    while guesses and guesses[-1] == 0:
        guesses.pop()
    return Move(time, float(kept), tuple(guesses), taken[index + 1])


def _set_out(scheduler: Any, first: int, x_t: Tensor) -> Tensor:
    """x_t at the look `first`, on the scale that the scheduler keeps it in."""
    if first == 0:
        return x_t * float(getattr(scheduler, "init_noise_sigma", 1.0))
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    if not hasattr(scheduler, "scale_model_input"):
        return x_t
    return x_t / scheduler.scale_model_input(torch.ones((), dtype=x_t.dtype), scheduler.timesteps[first])


def _arc(path: Arc, name: str, num_inference_steps: int, share: float) -> _Way:
    """Samplers of diffusion."""
    scheduler: Any = CIRCLE[name](
        num_train_timesteps=path.num_train_timesteps,
        trained_betas=path.betas().tolist(),
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        **({"clip_sample": False} if name in ("ddpm", "ddim") else {}),
    )
    scheduler.set_timesteps(num_inference_steps)
    _drop_past_the_end(scheduler)

    def step(u: Tensor, t: Tensor, x: Tensor, drawn: Tensor) -> Tensor:
        if name == "ddpm":
            return _with_noise(scheduler, u, t, x, drawn)
        chance = {"eta": share, "variance_noise": drawn} if name == "ddim" else {}
        return scheduler.step(u, t, x, **chance).prev_sample

    return _Way(scheduler, scheduler.timesteps / (path.num_train_timesteps - 1), step)


def _with_noise(scheduler: Any, u: Tensor, t: Tensor, x: Tensor, drawn: Tensor) -> Tensor:
    """A step of a scheduler that draws for itself: its own noise is taken out again, and as much of `drawn` put in."""
    nothing, seeded = torch.zeros_like(x), torch.Generator().manual_seed
    its_own = scheduler.step(nothing, t, nothing, generator=seeded(0)).prev_sample
    size = its_own.norm() / torch.randn(x.shape, generator=seeded(0), dtype=x.dtype).norm()
    return scheduler.step(u, t, x, generator=seeded(0)).prev_sample - its_own + size * drawn


def _drop_past_the_end(scheduler: Any) -> None:
    """Rounding gives diffusers one time too many, -1, for some numbers of steps (61 of 1000)."""
    kept = scheduler.timesteps >= 0
    if hasattr(scheduler, "sigmas"):
        scheduler.sigmas = torch.cat([scheduler.sigmas[:-1][kept], scheduler.sigmas[-1:]])
    scheduler.timesteps = scheduler.timesteps[kept]


def _line(path: Path, name: str, num_inference_steps: int, share: float) -> _Way:
    """The same samplers for rectified flow."""
    times = 1 - torch.arange(num_inference_steps) / num_inference_steps
    if name in ("ddpm", "ddim"):
        return _line_ddim(path, times, share)
    if name in ("dpmsolver++", "unipc"):
        scheduler: Any = CIRCLE[name](use_flow_sigmas=True, prediction_type="flow_prediction")
        scheduler.set_timesteps(num_inference_steps)
        times = scheduler.sigmas[:-1]
    else:
        scheduler = {"euler": FlowMatchEulerDiscreteScheduler, "heun": FlowMatchHeunDiscreteScheduler}[name]()
        scheduler.set_timesteps(num_inference_steps)
        repeats = torch.tensor([1] + [2 if name == "heun" else 1] * (num_inference_steps - 1))
        times = times.repeat_interleave(repeats)  # diffusers' own stop just short of 0 and would waste the last step
        scheduler.sigmas, scheduler.timesteps = torch.cat([times, torch.zeros(1)]), 1000 * times
    return _Way(scheduler, times, lambda u, t, x, drawn: scheduler.step(u, t, x).prev_sample)


@dataclass
class _Times:
    """All that is asked of a scheduler that has no `step`."""

    timesteps: Tensor


def _line_ddim(path: Path, times: Tensor, share: float) -> _Way:
    """DDIM on the straight line, which diffusers does not have: without fresh noise it is Euler, with all of it DDPM."""

    def step(u: Tensor, t: Tensor, x: Tensor, drawn: Tensor) -> Tensor:
        after = times[times < t]
        now, then = path.along(torch.stack([t, after[0] if len(after) else torch.zeros(())]).to(x))
        return renewed(now, then, now.picture(x, u), now.noise(x, u), share, drawn)

    return _Way(_Times(times), times, step)
