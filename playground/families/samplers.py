"""From noise to picture in many steps: diffusers' schedulers, each driven by one loop that shows what it sees.

Sources: DDPM Ho et al., arXiv 2006.11239; DDIM Song et al., arXiv 2010.02502; Euler and Heun Karras et al., arXiv 2206.00364;
DPM-Solver++ Lu et al., arXiv 2211.01095; UniPC Zhao et al., arXiv 2302.04867. Steps end evenly at the last time, as in Lin et al.,
arXiv 2305.08891.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from types import SimpleNamespace
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
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from playground.families.base import Step
from playground.latent import Noise
from playground.nets.diffusion import Arc, Line, Mixture, Path, Schedule

Predict = Callable[[Tensor, Tensor], Tensor]
"""What a network says at x_t (B, C, H, W) and times (B,) in 0..1: the heading u of that shape."""

CORRECTIONS = 2
"""Looks at each step back; with guidance or few steps, more would be closer."""


def denoise(
    path: Path,
    predict: Predict,
    z: Tensor,
    *,
    scheduler: str,
    num_inference_steps: int,
    eta: float,
    noise: Noise,
    num_left: int | None = None,
) -> Iterator[Step]:
    """Noise `z` (B, C, H, W) to pictures. Every step tells x_t, the x_0 it guesses and the noise it sees; the last `x` is the picture.

    With `num_left`, at least 1, `z` is x_t where so many steps are left (`time_left` says when), and only those are made. `eta` is
    DDIM's share of fresh noise. Heun looks twice a step, so it has 2·`num_inference_steps` - 1 of them. Guesses are kept within [-1, 1]
    where the path is `bounded`.
    """
    plan = plan_of(path, scheduler, num_inference_steps)
    first = 0 if num_left is None else plan.first(num_left)
    x = plan.entered(z, first)
    total = len(plan.scheduler.timesteps)
    for index, t in [*enumerate(plan.scheduler.timesteps)][first:]:
        x_t = plan.scheduler.scale_model_input(x, t) if hasattr(plan.scheduler, "scale_model_input") else x
        time = plan.times[index].to(z).expand(len(z))
        mixture = path.at(time)
        u = path.within(mixture, x_t, predict(x_t, time))
        chance = {"generator": noise.generators(f"step/{index}")} if plan.noisy else {}
        x = plan.scheduler.step(u, t, x, **chance, **({"eta": eta} if plan.takes_eta else {})).prev_sample
        guess = mixture.picture(x_t, u) if index + 1 < total else x.clamp(-1, 1) if path.bounded else x
        yield Step(guess, index + 1 - first, total - first, x_t, mixture.noise(x_t, u), float(plan.times[index]))


def num_looks(path: Path, scheduler: str, num_inference_steps: int) -> int:
    """How often a sampler looks at x_t on the whole way."""
    return len(_plan_of(path, scheduler, num_inference_steps).times)


def time_left(path: Path, scheduler: str, num_inference_steps: int, num_left: int) -> float:
    """The time at which `num_left` steps of a sampler are left; 0 when none is."""
    plan = _plan_of(path, scheduler, num_inference_steps)
    return float(plan.times[plan.first(num_left)]) if num_left else 0.0


def renoise(path: Path, predict: Predict, x: Tensor, num_inference_steps: int, num_left: int | None = None) -> Iterator[Tensor]:
    """Pictures (B, C, H, W) back to the noise that DDIM makes them of (Song et al., section 4.3), or to where `num_left` steps are left.

    A step back is right when the step from there leads here again. That is sought by correcting what it misses, as in Pan et al.,
    arXiv 2309.04907, so the network never looks at a picture without noise, of which it cannot say what the noise was.
    """
    times = torch.linspace(0, 1, num_inference_steps + 1, device=x.device)
    for now, then in pairwise(times if num_left is None else times[: num_left + 1]):
        here, there = path.at(now.view(1)), path.at(then.view(1))
        back = x
        for _ in range(CORRECTIONS):
            u = path.within(there, back, predict(back, then.expand(len(x))))
            back = back + x - here.noised(there.picture(back, u), there.noise(back, u))
        x = back
        yield x


def evened(path: Path, predict: Predict) -> tuple[Path, Predict]:
    """The same way at an even pace, place by place, and what the network says there."""
    if not isinstance(path, Schedule):
        return path, predict
    even = path.evened()

    def along(x: Tensor, time: Tensor) -> Tensor:
        return predict(x, path.time_of(even.place(time).tan()))

    return even, along


def renewed(now: Mixture, then: Mixture, x_t: Tensor, u: Tensor, share: Tensor | float, drawn: Tensor) -> Tensor:
    """A step to the earlier place `then`: keep what is known of the picture, renew a `share` of the noise (Song et al., equation 12).

    0 renews none, which is DDIM; 1 all that the step takes away, which is DDPM.
    """
    fresh = share * lost(now, then) * then.sigma / now.sigma
    kept = (then.sigma**2 - fresh**2).clamp(min=0).sqrt()
    return then.signal * now.picture(x_t, u) + kept * now.noise(x_t, u) + fresh * drawn


def lost(now: Mixture, then: Mixture) -> Tensor:
    """The noise that comes in between an earlier place `then` and a later one `now`: its standard deviation."""
    return (now.sigma**2 - (now.signal / then.signal * then.sigma) ** 2).clamp(min=0).sqrt()


def repaint(
    path: Path, predict: Predict, x: Tensor, hidden: Tensor, *, num_inference_steps: int, num_resamplings: int, noise: Noise
) -> Iterator[Step]:
    """Completes pictures `x` (B, C, H, W) where `hidden` (H, W) is true: RePaint, Lugmayr et al., arXiv 2201.09865, algorithm 1.

    At each step what is known is noised afresh, what is not comes from the sampler; the two fit badly, so noise is put back and the
    step made again, `num_resamplings` times in all. Every `x` it tells is exactly the given one outside of `hidden`.
    """
    times = torch.linspace(1, 0, num_inference_steps + 1, device=x.device)
    x_t, index, total = noise.normal(x.shape[1:]).to(x), 0, num_inference_steps * num_resamplings
    for t, s in pairwise(times):
        now, then = path.at(t.view(1)), path.at(s.view(1))
        for _ in range(num_resamplings):
            index += 1
            fresh, known, back = (noise.normal(x.shape[1:], f"{use}/{index}").to(x) for use in ("step", "known", "back"))
            u = path.within(now, x_t, predict(x_t, t.expand(len(x))))
            yield Step(torch.where(hidden, now.picture(x_t, u), x), index, total, x_t, now.noise(x_t, u), float(t))
            less = torch.where(hidden, renewed(now, then, x_t, u, 1.0, fresh), then.noised(x, known))
            x_t = now.signal / then.signal * less + lost(now, then) * back
        x_t = less


# -- schedules ------------------------------------------------------------------------------------------------------------


@dataclass
class Plan:
    """A scheduler whose times are set, and what it wants to be told."""

    scheduler: Any
    times: Tensor
    """Its steps as times from 1 to 0."""
    noisy: bool = False
    takes_eta: bool = False
    twice: bool = False
    """Whether it looks twice a step, but for the last."""

    def afresh(self) -> Plan:
        """The same for somebody else: what a scheduler remembers of its steps is in lists and plain values, which are not shared."""
        scheduler = copy(self.scheduler)
        vars(scheduler).update({name: list(value) for name, value in vars(scheduler).items() if isinstance(value, list)})
        return replace(self, scheduler=scheduler)

    def first(self, num_left: int) -> int:
        """Where `num_left` steps are left, among its times."""
        return len(self.times) - (2 * num_left - 1 if self.twice else num_left)

    def entered(self, x_t: Tensor, first: int) -> Tensor:
        """Sets out at the time `first`, with x_t on the scale that the scheduler keeps it in."""
        if first == 0:
            return x_t * float(getattr(self.scheduler, "init_noise_sigma", 1.0))
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(first)
        if not hasattr(self.scheduler, "scale_model_input"):
            return x_t
        return x_t / self.scheduler.scale_model_input(torch.ones(()), self.scheduler.timesteps[first]).to(x_t)


CIRCLE: Mapping[str, type] = {
    "ddpm": DDPMScheduler,
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "heun": HeunDiscreteScheduler,
    "dpmsolver++": DPMSolverMultistepScheduler,
    "unipc": UniPCMultistepScheduler,
}


def plan_of(path: Path, name: str, num_inference_steps: int) -> Plan:
    """The scheduler of that name for a path, at its beginning."""
    return _plan_of(path, name, num_inference_steps).afresh()


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def _plan_of(path: Path, name: str, num_inference_steps: int) -> Plan:
    """Schedulers take some milliseconds to set up, and a network of one picture no more than that."""
    return arc_plan(path, name, num_inference_steps) if isinstance(path, Arc) else line_plan(name, num_inference_steps)


def arc_plan(path: Arc, name: str, num_inference_steps: int) -> Plan:
    """Schedulers of diffusion."""
    settings = {"clip_sample": False} if name in ("ddpm", "ddim") else {}
    scheduler = CIRCLE[name](
        num_train_timesteps=path.num_train_timesteps,
        trained_betas=path.betas().tolist(),
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        **settings,
    )
    scheduler.set_timesteps(num_inference_steps)
    _drop_past_the_end(scheduler)
    times = scheduler.timesteps / (path.num_train_timesteps - 1)
    return Plan(scheduler, times, noisy=name in ("ddpm", "ddim"), takes_eta=name == "ddim", twice=name == "heun")


def _drop_past_the_end(scheduler: Any) -> None:
    """Rounding gives diffusers one time too many, -1, for some numbers of steps (61 of 1000)."""
    kept = scheduler.timesteps >= 0
    if hasattr(scheduler, "sigmas"):
        scheduler.sigmas = torch.cat([scheduler.sigmas[:-1][kept], scheduler.sigmas[-1:]])
    scheduler.timesteps = scheduler.timesteps[kept]


def line_plan(name: str, num_inference_steps: int) -> Plan:
    """The same samplers for rectified flow."""
    times = 1 - torch.arange(num_inference_steps) / num_inference_steps
    if name in ("ddpm", "ddim"):
        scheduler: Any = LineDDIM(times, always=1.0 if name == "ddpm" else None)
        return Plan(scheduler, times, noisy=True, takes_eta=name == "ddim")
    if name in ("dpmsolver++", "unipc"):
        scheduler = CIRCLE[name](use_flow_sigmas=True, prediction_type="flow_prediction")
        scheduler.set_timesteps(num_inference_steps)
        return Plan(scheduler, scheduler.sigmas[:-1])
    scheduler = {"euler": FlowMatchEulerDiscreteScheduler, "heun": FlowMatchHeunDiscreteScheduler}[name]()
    scheduler.set_timesteps(num_inference_steps)
    repeats = torch.tensor([1] + [2 if name == "heun" else 1] * (num_inference_steps - 1))
    times = times.repeat_interleave(repeats)  # diffusers' own stop just short of 0 and would waste the last step
    scheduler.sigmas, scheduler.timesteps = torch.cat([times, torch.zeros(1)]), 1000 * times
    return Plan(scheduler, times, twice=name == "heun")


@dataclass
class LineDDIM:
    """DDIM on the straight line, which diffusers does not have: without fresh noise it is Euler, with all of it DDPM."""

    timesteps: Tensor
    always: float | None = None
    path: Path = field(default_factory=Line)

    def step(self, u: Tensor, t: Tensor, x: Tensor, *, generator: list[torch.Generator], eta: float = 0.0) -> SimpleNamespace:
        """To the next time, with a part of the noise renewed."""
        after = self.timesteps[self.timesteps < t]
        times = torch.stack([t, after[0] if len(after) else torch.zeros(())])
        now, then = (self.path.at(time.to(x.device).view(1)) for time in times)
        drawn = randn_tensor(x.shape, generator=generator, device=x.device)
        return SimpleNamespace(prev_sample=renewed(now, then, x, u, eta if self.always is None else self.always, drawn))
