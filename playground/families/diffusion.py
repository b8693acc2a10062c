"""Diffusion and rectified flow as one playground family: a network that denoises, and samplers that ask it many times."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as Folder
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from playground.families.base import register
from playground.families.denoiser import Denoiser, DiffusionParams
from playground.families.loading import config_of, load_network, reading
from playground.families.pixel_diffusion import PixelDiffusion
from playground.nets.diffusion import PATHS, TIME_SCALE, Path
from playground.nets.unet import PatchUNet, UNetConfig

__all__ = ["Diffusion", "DiffusionParams", "PatchDenoiser"]


class PatchDenoiser(Denoiser):
    """Our own network: it says the tangent itself, and its labels go one beyond the classes to tell none."""

    def __init__(self, network: PatchUNet, path: Path) -> None:
        config = network.config
        self.network, self.path, self.num_classes = network, path, config.num_classes
        self.shape = (config.channels, config.image_size, config.image_size)

    def heading(self, x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        return self.network(x_t.to(self.dtype), TIME_SCALE * time, condition).float()


@register
class Diffusion(PixelDiffusion):
    """A diffusion model learns to remove noise, and makes pictures by removing it from nothing but noise.

    Training is simple: take a picture, mix it with noise, and let the network say what was mixed. No quarrel, no bottleneck. To draw,
    start at pure noise and take many small steps; each asks the network what picture might be hidden in there, and moves a little
    towards it. What it guesses first is a blur, the average of all that is possible; detail comes step by step.

    The latent is the noise it starts from, as large as the picture. *Guidance* exaggerates the difference that knowing the class
    makes. A *rectified flow* learns straight lines from picture to noise instead of curves, so fewer steps will do. Run backwards,
    both find the noise that a given picture would come from.
    """

    title: ClassVar[str] = "Diffusion"
    limits: ClassVar[str] = (
        "A picture takes several passes of the network, and follows the finger where no more than two are asked for. With few steps or "
        "strong guidance, pictures lose detail and variety."
    )

    @classmethod
    def load(cls, folder: Folder, device: torch.device, dtype: torch.dtype) -> Self:
        def build(words: Mapping[str, Any]) -> PatchUNet:
            return PatchUNet(config_of(UNetConfig, words))

        network, words = load_network(folder, build, device, dtype)
        with reading(folder):
            path = PATHS[words["path"]]
        return cls(PatchDenoiser(network, path), device, dtype, tuple(words.get("classes", ())))

    @classmethod
    def tiny(cls, path: str = "diffusion") -> Self:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            network = PatchUNet(UNetConfig(num_classes=3, widths=(8, 16), head_dim=8, norm_groups=4))
            for parameter in network.parameters():
                if parameter.dim() > 1:
                    parameter.data.add_(0.1 * torch.randn_like(parameter))  # away from initialisation, so that every knob shows
        return cls(PatchDenoiser(network, PATHS[path]), torch.device("cpu"), torch.float32, ("one", "two", "three"))
