"""What a configuration of diffusers may say of a `UNet2DModel` and of a scheduler: every field has bounds, the rest is left alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import torch
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor, nn
from typing_extensions import Self

from playground.errors import BadWeights
from playground.formats.base import Schema
from playground.nets.diffusion import Prediction, Schedule

Width = Annotated[int, Field(ge=4, le=4096)]
Beta = Annotated[float, Field(gt=0, lt=1)]
Sigma = Annotated[float, Field(gt=0, le=1e5)]
Steps = Annotated[int, Field(ge=2, le=10_000)]
ManySteps = Annotated[int, Field(ge=100, le=10_000)]
"""At least as many as a sampler here may take."""
Resampling = Literal["conv", "resnet"]
MOST_FORGOTTEN = 60.0
"""A chain may shrink a picture to exp of half of minus this; a smaller trace of it is none at all to a computer."""


def square(value: Any) -> Any:
    """The side of `[side, side]`."""
    return value[0] if isinstance(value, (list, tuple)) and len(value) == 2 and value[0] == value[1] else value


def _present_name(name: Any) -> Any:
    """Blocks were called UNetResDownBlock2D and the like before diffusers 0.3."""
    return name.removeprefix("UNetRes") if isinstance(name, str) else name


DownBlock = Annotated[
    Literal["DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D", "SkipDownBlock2D", "AttnSkipDownBlock2D"],
    BeforeValidator(_present_name),
]
UpBlock = Annotated[
    Literal["UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D", "SkipUpBlock2D", "AttnSkipUpBlock2D"],
    BeforeValidator(_present_name),
]


class UNet2DSchema(Schema):
    """The U-Net of diffusers' unconditional pipelines, with its defaults. Dropout is for training, and left out."""

    sample_size: Annotated[Annotated[int, Field(ge=4, le=1024)] | None, BeforeValidator(square)] = None
    in_channels: int = Field(3, ge=1, le=64)
    out_channels: int = Field(3, ge=1, le=128)
    center_input_sample: bool = False
    time_embedding_type: Literal["positional", "fourier"] = "positional"
    time_embedding_dim: Annotated[int | None, Field(ge=1, le=16384)] = None
    freq_shift: int = Field(0, ge=0, le=1)
    flip_sin_to_cos: bool = True
    down_block_types: tuple[DownBlock, ...] = ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D")
    mid_block_type: Literal["UNetMidBlock2D"] | None = "UNetMidBlock2D"
    up_block_types: tuple[UpBlock, ...] = ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D")
    block_out_channels: tuple[Width, ...] = Field((224, 448, 672, 896), min_length=1, max_length=8)
    layers_per_block: int = Field(2, ge=1, le=8)
    mid_block_scale_factor: float = Field(1.0, gt=0, le=16)
    downsample_padding: int = Field(1, ge=0, le=1)
    downsample_type: Resampling = "conv"
    upsample_type: Resampling = "conv"
    act_fn: Literal["silu", "swish", "mish", "gelu", "relu"] = "silu"
    attention_head_dim: Annotated[int | None, Field(ge=1, le=4096)] = 8
    norm_num_groups: Annotated[int | None, Field(ge=1, le=4096)] = 32
    attn_norm_num_groups: Annotated[int | None, Field(ge=1, le=4096)] = None
    norm_eps: float = Field(1e-5, gt=0, le=0.1)
    resnet_time_scale_shift: Literal["default", "scale_shift"] = "default"
    add_attention: bool = True
    class_embed_type: None = None
    num_class_embeds: Annotated[int | None, Field(ge=1, le=100_000)] = None

    @model_validator(mode="after")
    def _has_heads(self) -> Self:
        blocks = zip(self.block_out_channels, self.down_block_types, reversed(self.up_block_types), strict=False)
        attending = [width for width, *kinds in blocks if any("Attn" in kind for kind in kinds)]
        least = min([*attending, self.block_out_channels[-1]])
        if self.attention_head_dim is not None and self.attention_head_dim > least:
            raise ValueError(f"a head of {self.attention_head_dim} channels does not fit into {least}")
        return self

    def build(self) -> nn.Module:
        """The network. Raises what diffusers raises when the parts do not fit together."""
        from diffusers.models.unets.unet_2d import UNet2DModel

        return UNet2DModel(**self.model_dump())

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of what it denoises, (C, S, S)."""
        assert self.sample_size is not None
        return (self.in_channels, self.sample_size, self.sample_size)


class SchedulerSchema(Schema):
    """What a model was trained on: how much noise there is at each of its steps."""

    names: ClassVar[tuple[str, ...]]
    """Classes of diffusers that it is read from."""
    title: ClassVar[str]
    num_train_timesteps: Steps


class ChainSchema(SchedulerSchema):
    """A chain of steps, each of which adds noise of variance beta: what DDPM, DDIM, PNDM, Euler and their kin have in common.

    How they step, clip and choose times is ours: `families/samplers.py`.
    """

    names: ClassVar[tuple[str, ...]] = tuple(
        f"{name}Scheduler"
        for name in (
            "DDPM", "DDIM", "PNDM", "LMSDiscrete", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "DPMSolverMultistep",
            "DPMSolverSinglestep", "DEISMultistep", "UniPCMultistep", "LCM",
        )
    )  # fmt: skip
    title: ClassVar[str] = "Diffusion"
    num_train_timesteps: ManySteps = 1000
    beta_start: Beta = 0.0001
    beta_end: Beta = 0.02
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "linear"
    trained_betas: Annotated[tuple[Beta, ...], Field(max_length=10_000)] | None = None
    prediction_type: Prediction = "epsilon"
    rescale_betas_zero_snr: bool = False

    @model_validator(mode="after")
    def _is_a_chain(self) -> Self:
        if self.trained_betas is not None and len(self.trained_betas) != self.num_train_timesteps:
            raise ValueError(f"{len(self.trained_betas)} betas are not one for each of {self.num_train_timesteps} steps")
        if (forgotten := -(-self.plain_betas()).log1p().sum().item()) > MOST_FORGOTTEN:
            raise ValueError(f"its noise leaves exp(-{forgotten / 2:.0f}) of a picture, which is nothing")
        return self

    def plain_betas(self) -> Tensor:
        """(num_train_timesteps,) float64. Sources: arXiv 2006.11239 (linear), 2112.10752 (scaled), 2102.09672 (cosine)."""
        count = self.num_train_timesteps
        if self.trained_betas is not None:
            return torch.tensor(self.trained_betas, dtype=torch.float64)
        if self.beta_schedule == "squaredcos_cap_v2":
            angles = (torch.linspace(0, 1, count + 1, dtype=torch.float64) + 0.008) / 1.008 * math.pi / 2
            alpha_bar = angles.cos().square()
            return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999)
        power = 2 if self.beta_schedule == "scaled_linear" else 1
        return torch.linspace(self.beta_start ** (1 / power), self.beta_end ** (1 / power), count, dtype=torch.float64) ** power

    def path(self, bounded: bool = True) -> Schedule:
        """The way from picture to noise that it was trained on."""
        betas = self.plain_betas()
        return Schedule.of_betas(_without_a_trace(betas) if self.rescale_betas_zero_snr else betas, bounded)


def _without_a_trace(betas: Tensor) -> Tensor:
    """The same chain, with nothing of the picture left at its end. Lin et al., arXiv 2305.08891, algorithm 1."""
    signal = (1 - betas).cumprod(0).sqrt()
    signal = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
    alpha_bar = signal.square()
    return 1 - alpha_bar / torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])


class GrowingSchema(SchedulerSchema):
    """Noise from little to much, on a picture that keeps its size."""

    sigma_min: Sigma
    sigma_max: Sigma

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min = {self.sigma_min} is not below sigma_max = {self.sigma_max}")
        return self


class ExplodingSchema(GrowingSchema):
    """Noise that grows by the same factor at each step (Song et al., arXiv 2011.13456)."""

    names: ClassVar[tuple[str, ...]] = ("ScoreSdeVeScheduler",)
    title: ClassVar[str] = "Score SDE (VE)"
    num_train_timesteps: ManySteps = 2000
    sigma_min: Sigma = 0.01
    sigma_max: Sigma = 1348.0

    def path(self) -> Schedule:
        """The way that it was trained on, for pictures in [-1, 1]: it knows them in [0, 1], where noise looks half as large."""
        least, most = math.log(2 * self.sigma_min), math.log(2 * self.sigma_max)
        return Schedule(torch.linspace(least, most, self.num_train_timesteps, dtype=torch.float64))


class ConsistencySchema(GrowingSchema):
    """How much noise a consistency model met (Song et al., arXiv 2303.01469)."""

    names: ClassVar[tuple[str, ...]] = ("CMStochasticIterativeScheduler",)
    title: ClassVar[str] = "Consistency model"
    num_train_timesteps: Steps = 40
    sigma_min: Sigma = 0.002
    sigma_max: Sigma = 80.0
    sigma_data: Sigma = 0.5
    rho: float = Field(7.0, ge=1, le=100)
    s_noise: float = Field(1.0, ge=0, le=2)


_S = TypeVar("_S", bound=SchedulerSchema)


def read_scheduler(words: Mapping[str, Any], where: str, *kinds: type[_S]) -> _S:
    """What the configuration of a scheduler says. Raises `BadWeights` for one that is of none of those `kinds`."""
    name = words.get("_class_name")
    for kind in kinds:
        if name in kind.names:
            return kind.read(words, where)
    known = ", ".join(name for kind in kinds for name in kind.names)
    raise BadWeights(f"{where} is of the class {str(name)[:60]!r}.", f"Schedulers that fit: {known}.")
