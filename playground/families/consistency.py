"""Consistency models: a diffusion's whole way in one jump. Song et al., arXiv 2303.01469."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from playground.families.base import Dial, Step
from playground.families.denoiser import DiffusionParams, NoiseModel
from playground.families.labels import labels_of
from playground.knobs import Knobs, KnobSpec
from playground.latent import Noise


@dataclass(frozen=True)
class Noising:
    """How much noise it met: `num_train_timesteps` standard deviations from `sigma_max` to `sigma_min`, for pictures in [-1, 1].

    Spaced as in Karras et al., arXiv 2206.00364, equation 5; `sigma_data` is the deviation of the pictures themselves.
    """

    num_train_timesteps: int = 40
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    sigma_data: float = 0.5
    rho: float = 7.0
    s_noise: float = 1.0

    def sigmas(self, steps: int) -> list[float]:
        """`steps` of them, at most all, every so many from the largest on, and the least at the end."""
        count = min(steps, self.num_train_timesteps)
        stride = self.num_train_timesteps // count
        most, least = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        shares = [index * stride / (self.num_train_timesteps - 1) for index in range(count)]
        return [*((most + share * (least - most)) ** self.rho for share in shares), self.sigma_min]


class Consistency(NoiseModel):
    """A consistency model jumps from any place on a diffusion's way straight to its end, so one step makes a picture.

    It was trained to say the same picture from every place of one way: by watching a diffusion model walk (distillation), or alone.
    One jump from pure noise is quick and a little soft. More steps put some noise back on and jump again, each time from closer by;
    then that noise decides as well, and the one that it started from matters less.

    It cannot be entered anywhere with a picture under noise and asked where that is heading, as a diffusion model can: a jump has no
    direction, so there is no inversion, no inpainting between steps and no likelihood. One that knows classes was told one at every
    step; where none is named, each picture's seed takes one.
    """

    title: ClassVar[str] = "Consistency model"
    equation: ClassVar[str] = r"f(x_\sigma, \sigma) = c_\mathrm{skip}(\sigma) \, x_\sigma + c_\mathrm{out}(\sigma) \, F(x_\sigma, \sigma)"
    limits: ClassVar[str] = (
        "One step is quick, but softer than a diffusion model's many, and steps beyond a few change little. It makes nothing of a given "
        "picture."
    )
    dial: ClassVar[Dial | None] = None

    def __init__(
        self,
        network: nn.Module,
        noising: Noising,
        shape: tuple[int, int, int],
        num_classes: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(network, shape, device, dtype, tuple(f"class {index}" for index in range(num_classes)))
        self.noising = noising

    @classmethod
    def tiny(cls) -> Self:
        from diffusers.models.unets.unet_2d import UNet2DModel

        blocks: dict[str, Any] = {"down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D"), "downsample_type": "resnet"}
        blocks |= {"up_block_types": ("AttnUpBlock2D", "ResnetUpsampleBlock2D"), "upsample_type": "resnet", "num_class_embeds": 3}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            network = UNet2DModel(28, 1, 1, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, **blocks)
            for parameter in network.parameters():
                parameter.data.add_(0.1 * torch.randn_like(parameter))  # away from initialisation, so that noise shows
        return cls(network, Noising(), (1, 28, 28), 3, torch.device("cpu"), torch.float32)

    def knobs(self) -> tuple[KnobSpec, ...]:
        heard = ("num_inference_steps", "label") if self.classes else ("num_inference_steps",)
        return tuple(spec for spec in super().knobs() if spec.name in heard)

    def passes(self, params: Knobs) -> int:
        assert isinstance(params, DiffusionParams)
        return len(self.noising.sigmas(params.num_inference_steps)) - 1

    def decode(self, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        """Algorithm 1: jump, put less noise back on, jump again. Every jump is a preview."""
        assert isinstance(params, DiffusionParams)
        sigmas, least, labels = self.noising.sigmas(params.num_inference_steps), self.noising.sigma_min, self.labels(params, noise)
        x_t, total = sigmas[0] * z, len(sigmas) - 1
        for index, (sigma, then) in enumerate(pairwise(sigmas), 1):
            x_0 = self.jump(x_t, sigma, labels)
            yield Step(x_0, index, total)
            fresh = self.noising.s_noise * noise.normal(z.shape[1:], f"step/{index}").to(z)
            x_t = x_0 + (then**2 - least**2) ** 0.5 * fresh

    def labels(self, params: DiffusionParams, noise: Noise) -> Tensor | None:
        """A class for each picture, (B,); None where it knows none. Raises `BadKnob`."""
        choice = "any" if params.label == "none" and self.classes else params.label
        labels = labels_of(choice, noise, len(self.classes)).to(self.device)
        return labels if self.classes else None

    def jump(self, x_t: Tensor, sigma: float, labels: Tensor | None) -> Tensor:
        """The picture at the end of the way that x_t (B, C, H, W) is on, in [-1, 1]. With the least noise, it is x_t itself."""
        data, least = self.noising.sigma_data, self.noising.sigma_min
        c_in = (sigma**2 + data**2) ** -0.5
        c_skip, c_out = data**2 / ((sigma - least) ** 2 + data**2), (sigma - least) * data * c_in
        time = 250 * torch.full((len(x_t),), sigma, device=x_t.device).log()
        said = self.together(self._said, (c_in * x_t).to(self.dtype), time, *([] if labels is None else [labels])).float()
        return (c_skip * x_t + c_out * said).clamp(-1, 1)

    def _said(self, x: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.network(x, time, class_labels=labels, return_dict=False)[0]
