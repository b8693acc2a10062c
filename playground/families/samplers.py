"""From noise to picture in many steps: diffusers' schedulers, each driven by one loop that shows what it sees.

Sources: DDPM Ho et al., arXiv 2006.11239; DDIM Song et al., arXiv 2010.02502; Euler and Heun Karras et al., arXiv 2206.00364;
DPM-Solver++ Lu et al., arXiv 2211.01095; UniPC Zhao et al., arXiv 2302.04867. Steps end evenly at the last time, as in Lin et al.,
arXiv 2305.08891.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
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
from playground.nets.diffusion import Circle, Line, Path

Predict = Callable[[Tensor, Tensor], Tensor]
"""What a network says at x_t (B, C, H, W) and times (B,) in 0..1: the heading u of that shape."""

CORRECTIONS = 2
"""Looks at each step back; with guidance or few steps, more would be closer."""


def denoise(
    path: Path, predict: Predict, z: Tensor, *, scheduler: str, num_inference_steps: int, eta: float, noise: Noise
) -> Iterator[Step]:
    """Noise `z` (B, C, H, W) to pictures. Every step tells x_t, the x_0 it guesses and the noise it sees; the last `x` is the picture.

    `eta` is DDIM's share of fresh noise. Heun looks twice a step, so it has 2·`num_inference_steps` - 1 of them.
    """
    plan = SCHEDULES[path.name](scheduler, num_inference_steps)
    x = z * float(getattr(plan.scheduler, "init_noise_sigma", 1.0))
    total = len(plan.scheduler.timesteps)
    for index, t in enumerate(plan.scheduler.timesteps):
        x_t = plan.scheduler.scale_model_input(x, t) if hasattr(plan.scheduler, "scale_model_input") else x
        time = plan.times[index].to(z).expand(len(z))
        mixture = path.at(time)
        u = mixture.clipped(x_t, predict(x_t, time))
        chance = {"generator": noise.generators(f"step/{index}")} if plan.noisy else {}
        x = plan.scheduler.step(u, t, x, **chance, **({"eta": eta} if plan.takes_eta else {})).prev_sample
        guess = x.clamp(-1, 1) if index + 1 == total else mixture.picture(x_t, u)
        yield Step(guess, index + 1, total, x_t, mixture.noise(x_t, u))


def renoise(path: Path, predict: Predict, x: Tensor, num_inference_steps: int) -> Tensor:
    """Pictures (B, C, H, W) back to the noise that DDIM makes them of (Song et al., section 4.3).

    A step back is right when the step from there leads here again. That is sought by correcting what it misses, as in Pan et al.,
    arXiv 2309.04907, so the network never looks at a picture without noise, of which it cannot say what the noise was.
    """
    times = torch.linspace(0, 1, num_inference_steps + 1, device=x.device)
    for now, then in pairwise(times):
        here, there = path.at(now.view(1)), path.at(then.view(1))
        back = x
        for _ in range(CORRECTIONS):
            u = there.clipped(back, predict(back, then.expand(len(x))))
            back = back + x - here.noised(there.picture(back, u), there.noise(back, u))
        x = back
    return x


# -- schedules ------------------------------------------------------------------------------------------------------------


@dataclass
class Plan:
    """A scheduler whose times are set, and what it wants to be told."""

    scheduler: Any
    times: Tensor
    """Its steps as times from 1 to 0."""
    noisy: bool = False
    takes_eta: bool = False


CIRCLE: Mapping[str, type] = {
    "ddpm": DDPMScheduler,
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "heun": HeunDiscreteScheduler,
    "dpmsolver++": DPMSolverMultistepScheduler,
    "unipc": UniPCMultistepScheduler,
}


def circle_plan(name: str, num_inference_steps: int) -> Plan:
    """Schedulers of diffusion."""
    path, settings = Circle(), {"clip_sample": False} if name in ("ddpm", "ddim") else {}
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
    return Plan(scheduler, times, noisy=name in ("ddpm", "ddim"), takes_eta=name == "ddim")


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
    return Plan(scheduler, times)


@dataclass
class LineDDIM:
    """DDIM on the straight line, which diffusers does not have: without fresh noise it is Euler, with all of it DDPM."""

    timesteps: Tensor
    always: float | None = None
    path: Path = field(default_factory=Line)

    def step(self, u: Tensor, t: Tensor, x: Tensor, *, generator: list[torch.Generator], eta: float = 0.0) -> SimpleNamespace:
        """To the next time: keep what is known of the picture, and renew a part of the noise (Song et al., equation 12)."""
        after = self.timesteps[self.timesteps < t]
        times = torch.stack([t, after[0] if len(after) else torch.zeros(())])
        now, then = (self.path.at(time.to(x.device).view(1)) for time in times)
        # The noise between the two times, and as much of it as the later one can hold.
        between = now.sigma**2 - (now.signal / then.signal * then.sigma) ** 2
        fresh = (self.always if self.always is not None else eta) * between.sqrt() * then.sigma / now.sigma
        kept = (then.sigma**2 - fresh**2).clamp(min=0).sqrt()
        drawn = randn_tensor(x.shape, generator=generator, device=x.device)
        return SimpleNamespace(prev_sample=then.signal * now.picture(x, u) + kept * now.noise(x, u) + fresh * drawn)


SCHEDULES: Mapping[str, Callable[[str, int], Plan]] = {Circle.name: circle_plan, Line.name: line_plan}
