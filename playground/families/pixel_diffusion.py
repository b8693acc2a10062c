"""Diffusion whose steps are pictures themselves, so that it can be entered anywhere: ours, and networks that others trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from playground.families.base import Inversion, Step
from playground.families.denoiser import Denoiser, DiffusionModel, DiffusionParams
from playground.families.likelihood import chain_bound, ode_log_density
from playground.families.loading import pass_work
from playground.families.samplers import evened, renoise, repaint, time_left
from playground.knobs import Knobs
from playground.latent import Noise
from playground.nets.diffusion import Prediction, Schedule

BOUND_TERMS = 64
"""How many of the chain's steps are looked at for a picture's variational bound."""
LIVE_WORK = 3e9
"""Parameters times pixels times passes up to which pictures follow a finger: two passes of our own network."""


class UNetDenoiser(Denoiser):
    """diffusers' `UNet2DModel`, trained on a chain of discrete steps that keeps the variance (Ho et al., arXiv 2006.11239)."""

    def __init__(self, network: nn.Module, path: Schedule, shape: tuple[int, int, int], prediction: Prediction) -> None:
        self.network, self.path, self.shape, self.prediction = network, path, shape, prediction
        self.last = path.num_train_timesteps - 1

    def heading(self, x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        said = self.network(x_t.to(self.dtype), self.last * time, return_dict=False)[0]
        noise = said[:, : self.shape[0]].float()  # one that learned its variance says it in as many channels more
        return self.path.at(time).heading(x_t, noise, self.prediction)


class ExplodingDenoiser(Denoiser):
    """A `UNet2DModel` that says the score of y + s·eps, pictures y in [0, 1] under any noise s (Song et al., arXiv 2011.13456).

    A picture x = 2y - 1 in [-1, 1] under as much noise is x + 2s·eps, so that the path has sigma / signal = 2s.
    """

    def __init__(self, network: nn.Module, path: Schedule, shape: tuple[int, int, int]) -> None:
        self.network, self.path, self.shape = network, path, shape

    def heading(self, x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        at = self.path.at(time)
        y, s = (x_t / at.signal + 1) / 2, at.sigma / at.signal / 2
        score = self.network(y.to(self.dtype), s.flatten(), return_dict=False)[0].float()
        return at.heading(x_t, -s * score, "epsilon")


class PixelDiffusion(DiffusionModel):
    """A diffusion model that somebody else trained, on pixels: it takes noise away until a picture is left.

    Whatever its network was trained to say (the noise, the picture, or something between) tells where x_t is heading, and
    that is all that a sampler asks. A chain of steps that keeps the variance goes along a quarter circle from picture to noise; one whose
    variance explodes does so too, once it is divided by its length. So all of them share samplers, inpainting, inversion and likelihood.

    Its guesses are cut to [-1, 1], where pictures lie. Likelihoods end at the least noise of its own schedule, not at none.
    """

    title: ClassVar[str] = "Pixel diffusion"
    limits: ClassVar[str] = (
        "It works on every pixel at every step, so large pictures take minutes without a graphics card. It knows the kind of "
        "picture that it was trained on, and no other."
    )
    bound_passes = BOUND_TERMS

    @classmethod
    def tiny(cls) -> Self:
        from diffusers.models.unets.unet_2d import UNet2DModel

        blocks = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            network = UNet2DModel(28, 1, 1, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, **blocks)
        path = Schedule.of_betas(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))
        return cls(UNetDenoiser(network, path, (1, 28, 28), "epsilon"), torch.device("cpu"), torch.float32, ())

    def follows(self, params: Knobs) -> bool:
        return self.passes(params) * self._work <= LIVE_WORK

    @cached_property
    def _work(self) -> int:
        return pass_work(self.network, self.image_size)

    # -- in the middle of the way -----------------------------------------------------------------------------------

    def schedule(self, time: Tensor) -> tuple[Tensor, Tensor]:
        at = self.path.at(time)
        return at.signal.flatten(), at.sigma.flatten()

    def guess(self, x_t: Tensor, time: Tensor, params: Knobs, noise: Noise) -> Tensor:
        assert isinstance(params, DiffusionParams)
        return self.path.at(time).picture(x_t, self.guided(params, noise)(x_t, time)).clamp(-1, 1)

    def time_left(self, num_left: int, params: Knobs) -> float:
        assert isinstance(params, DiffusionParams)
        return time_left(self.path, params.scheduler, params.num_inference_steps, num_left)

    def retrace(self, x: Tensor, num_left: int, params: Knobs) -> Iterator[Inversion]:
        assert isinstance(params, DiffusionParams)
        back = renoise(self.path, self.unseeded(params, x), x.to(self.device), params.num_inference_steps, num_left)
        for index, x_t in enumerate(back, 1):
            yield Inversion(x_t, index, num_left)

    def inpaint(self, x: Tensor, hidden: Tensor, num_resamplings: int, params: Knobs, noise: Noise) -> Iterator[Step]:
        assert isinstance(params, DiffusionParams)
        steps = {"num_inference_steps": params.num_inference_steps, "num_resamplings": num_resamplings}
        predict = self.guided(params, noise)
        yield from repaint(self.path, predict, x.to(self.device), hidden.to(self.device), noise=noise, **steps)

    # -- likelihood -------------------------------------------------------------------------------------------------

    def ode_log_prob(self, x: Tensor, noise: Noise) -> Tensor:
        uniform = noise.uniform(x.shape[1:], "dequantise").to(self.device)
        levels = ((x.to(self.device) + 1) * 127.5).round()
        probe = (noise.uniform(x.shape[1:], "probe").to(self.device) < 0.5).float() * 2 - 1
        path, predict = evened(self.path, self.unconditional)
        density = ode_log_density(path, predict, (levels + uniform) / 128 - 1, probe)
        return density - x[0].numel() * math.log(128)

    def variational_bound(self, x: Tensor, noise: Noise) -> Tensor:
        x = x.to(self.device)
        eps = noise.normal((BOUND_TERMS + 1, *x.shape[1:]), "chain").to(self.device).transpose(0, 1)
        shift = noise.uniform((1,), "places").to(self.device).T
        places = (torch.arange(BOUND_TERMS, device=self.device)[:, None] + shift) / BOUND_TERMS
        return chain_bound(self.path, self.unconditional, x, eps, places)

    def unconditional(self, x: Tensor, time: Tensor) -> Tensor:
        """The heading when no class is told."""
        return self.heading(x, time, torch.full((len(x),), self.denoiser.num_classes, device=x.device))
