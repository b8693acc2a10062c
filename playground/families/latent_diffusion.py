"""Diffusion on the latents of an autoencoder: told nothing, told a class, or told what to draw in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from playground.families.base import Step
from playground.families.denoiser import Denoiser, DiffusionModel, DiffusionParams
from playground.families.loading import weight_bytes
from playground.families.pixel_diffusion import UNetDenoiser
from playground.families.prompts import Prompts
from playground.knobs import Knobs, KnobSpec
from playground.latent import Noise
from playground.nets.diffusion import Prediction, Schedule

PREVIEW = 4
"""Previews are decoded at this fraction of the size: a sixteenth of the work."""


class FirstStage(Protocol):
    """An autoencoder of pictures (B, pixel_channels, H, W) in [-1, 1]; its latents (B, channels, H/factor, W/factor) are about N(0, 1).

    The first stage of latent diffusion: Rombach et al., arXiv 2112.10752.
    """

    @property
    def channels(self) -> int: ...

    @property
    def factor(self) -> int: ...

    @property
    def pixel_channels(self) -> int: ...

    @property
    def network(self) -> nn.Module: ...

    def encode(self, x: Tensor) -> Tensor:
        """Pictures to latents."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """Latents to pictures, not clamped."""
        ...


class ConditionDenoiser(UNetDenoiser):
    """A network of diffusers that takes what it is told as the argument `argument`."""

    argument: ClassVar[str]

    def heading(self, x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        told = {self.argument: condition.to(self.dtype) if condition.is_floating_point() else condition}
        said = self.network(x_t.to(self.dtype), timestep=self.last * time, return_dict=False, **told)[0]
        noise = said[:, : self.shape[0]].float()  # one that learned its variance says it in as many channels more
        return self.path.at(time).heading(x_t, noise, self.prediction)


class DiTDenoiser(ConditionDenoiser):
    """A transformer that is told a class by its number (Peebles & Xie, arXiv 2212.09748)."""

    argument = "class_labels"

    def __init__(self, network: nn.Module, path: Schedule, shape: tuple[int, int, int], prediction: Prediction, num_classes: int) -> None:
        super().__init__(network, path, shape, prediction)
        self.num_classes = num_classes


class TextDenoiser(ConditionDenoiser):
    """A U-Net that is told the vectors of a prompt's tokens, (B, L, D) (Rombach et al., arXiv 2112.10752)."""

    argument = "encoder_hidden_states"


class Corners:
    """A codec for tests that loses nothing: the four pixels of each square of a grey picture become channels, from -2 to 2."""

    channels, factor, pixel_channels = 4, 2, 1
    network = nn.Identity()

    def encode(self, x: Tensor) -> Tensor:
        return 2 * F.pixel_unshuffle(x, 2)

    def decode(self, z: Tensor) -> Tensor:
        return F.pixel_shuffle(z, 2) / 2


class LatentDiffusion(DiffusionModel):
    """A latent diffusion model takes noise away from the short code of a picture, and an autoencoder makes the picture of it.

    An autoencoder that was trained before makes a picture's sides four or eight times smaller and back, so the many steps work on a
    small code, and only the last thing done, decoding, works on pixels. That is what made large pictures affordable.

    The latent is the noise that the code starts from. What lies on the way is a code under noise and no picture, and the code of half a
    picture is not half of its code: so tools that hold on to pixels between the steps (inpainting, entering with a picture under noise)
    are not offered, nor is the likelihood of a picture, which an autoencoder that loses some of it cannot have.
    """

    title: ClassVar[str] = "Latent diffusion"
    limits: ClassVar[str] = (
        "Its autoencoder blurs what is small, such as letters and distant faces, whatever the diffusion does. A picture takes many passes "
        "of a large network."
    )

    def __init__(
        self, denoiser: Denoiser, codec: FirstStage, device: torch.device, dtype: torch.dtype, classes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(denoiser, device, dtype, classes)
        self.codec = codec
        self.channels, self.image_size = codec.pixel_channels, denoiser.shape[-1] * codec.factor

    @classmethod
    def tiny(cls) -> LatentDiffusion:
        from diffusers.models.unets.unet_2d import UNet2DModel

        blocks = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
        network = _seeded(lambda: UNet2DModel(14, 4, 4, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, **blocks))
        return LatentDiffusion(
            UNetDenoiser(network, _tiny_path(), (4, 14, 14), "v_prediction"), Corners(), torch.device("cpu"), torch.float32
        )

    def bytes(self) -> int:
        return super().bytes() + weight_bytes(self.codec.network)

    def decode(self, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        for step in self.finish(z, None, params, noise):
            last = step.index == step.total
            yield Step(self.picture(step.x) if last else self.preview(step.x), step.index, step.total)

    def picture(self, z: Tensor) -> Tensor:
        """The pictures of codes (B, *latent.shape), one at a time: large ones take much memory while they are decoded."""
        return torch.cat([self.together(self.codec.decode, one) for one in z.split(1)]).clamp(-1, 1)

    def preview(self, z: Tensor) -> Tensor:
        """About the same for little work: the picture of each code made smaller, enlarged."""
        side = max(1, z.shape[-1] // PREVIEW)
        small = self.together(self.codec.decode, F.adaptive_avg_pool2d(z, side)).clamp(-1, 1)
        return F.interpolate(small, size=self.image_size, mode="nearest")

    def encode(self, x: Tensor, params: Knobs) -> Tensor:
        return super().encode(torch.cat([self.codec.encode(one) for one in x.to(self.device).split(1)]), params)


class TextToImage(LatentDiffusion):
    """A text-to-image model is a latent diffusion model that reads what to draw, and compares each part of the picture with each word.

    A text encoder turns the prompt into a row of vectors, one for each word or piece of one, and every layer of the U-Net looks them up
    by attention. *Guidance* exaggerates the difference that the prompt makes against an empty one. A distilled model takes
    one to four steps, for which it learned to do without guidance; others take twenty or more.

    Between two prompts lies a straight line of vectors, along which pictures change from one to the other while the noise stays the same.
    """

    title: ClassVar[str] = "Text to image"
    limits: ClassVar[str] = (
        "Models of this kind count badly, mix up which thing has which property, and cannot write; what they draw has the prejudices of "
        "the web's pictures. No more than 77 pieces of words of a prompt are read."
    )

    def __init__(self, denoiser: TextDenoiser, codec: FirstStage, prompts: Prompts, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(denoiser, codec, device, dtype)
        self.prompts = prompts

    @classmethod
    def tiny(cls) -> TextToImage:
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        blocks = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
        sizes = {"block_out_channels": (8, 16), "norm_num_groups": 4, "layers_per_block": 1, "cross_attention_dim": 8}
        network = _seeded(lambda: UNet2DConditionModel(14, 4, 4, attention_head_dim=2, **sizes, **blocks))
        denoiser = TextDenoiser(network, _tiny_path(), (4, 14, 14), "v_prediction")
        return TextToImage(denoiser, Corners(), Prompts.tiny(), torch.device("cpu"), torch.float32)

    def knobs(self) -> tuple[KnobSpec, ...]:
        return tuple(spec for spec in self.Params.specs() if spec.name != "label")

    def bytes(self) -> int:
        return super().bytes() + weight_bytes(self.prompts.encoder)

    def asks(self, params: DiffusionParams) -> int:
        return 2 if params.guidance_scale != 1 else 1

    def conditions(self, params: DiffusionParams, noise: Noise, labels: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        told = self.prompts.between(params.prompt, params.second_prompt, params.prompt_mix)
        nothing = self.prompts.embed("")
        return told.expand(len(noise), -1, -1), nothing.expand(len(noise), -1, -1)


def _seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """A small random network, away from initialisation, so that every knob shows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = build()
        for parameter in network.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def _tiny_path() -> Schedule:
    """The chain of Stable Diffusion."""
    return Schedule.of_betas(torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square(), bounded=False)
