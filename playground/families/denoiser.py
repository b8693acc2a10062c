"""What every model of the family diffusion does: it asks a denoiser many times on the way from noise to picture, as its knobs say."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path as Folder
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from typing_extensions import Self

from playground.errors import BadWeights
from playground.families.base import Dial, LatentSpec, Look, Model, Step
from playground.families.labels import labels_of
from playground.families.loading import weight_bytes
from playground.families.samplers import CORRECTIONS, Predict, denoise, renoise
from playground.families.schedulers import num_looks
from playground.knobs import ClassChoice, ClassLabel, Knob, Knobs, KnobSpec
from playground.latent import Noise
from playground.nets.diffusion import Path

WAVES = 40
WORDS = ("prompt", "second_prompt", "prompt_mix")
"""Knobs of models that are told what to draw in words."""
CLASSES = ("guidance_scale", "label")
"""Knobs of models that are told a class."""


class DiffusionParams(Knobs):
    """How a diffusion model draws one picture."""

    prompt: str = Knob(
        "", label="Prompt", help="What is drawn, in a few words; empty leaves it to the model.", max_length=300, stage="decode"
    )
    second_prompt: str = Knob(
        "", label="Second prompt", help="Another prompt, for the way between the two.", max_length=300, stage="decode"
    )
    prompt_mix: float = Knob(
        0.0,
        label="Between prompts",
        help="How far from the first prompt to the second: 0 is the first alone, 1 the second.",
        ge=0.0,
        le=1.0,
        step=0.05,
        stage="decode",
    )
    num_inference_steps: int = Knob(
        20,
        label="Steps",
        help="How many steps lead from noise to the picture; more take longer and follow the path more closely.",
        ge=1,
        le=100,
        step=1,
        stage="decode",
    )
    scheduler: Literal["ddpm", "ddim", "euler", "heun", "dpmsolver++", "unipc"] = Knob(
        "dpmsolver++",
        label="Scheduler",
        help="How a step is taken. DDPM adds fresh noise at every step, the others follow one curve; the last three need fewer steps.",
        choices={"ddpm": "DDPM", "ddim": "DDIM", "euler": "Euler", "heun": "Heun", "dpmsolver++": "DPM-Solver++", "unipc": "UniPC"},
        stage="decode",
    )
    guidance_scale: float = Knob(
        1.5,
        label="Guidance",
        help="How strongly a picture is pushed towards its class: 1 is not at all, more is more typical and less varied.",
        ge=1.0,
        le=8.0,
        step=0.25,
        stage="decode",
    )
    eta: float = Knob(
        0.0,
        label="Fresh noise η",
        help="For DDIM alone: how much noise each step draws anew; 0 none, 1 as much as DDPM.",
        ge=0.0,
        le=1.0,
        step=0.05,
        stage="decode",
    )
    label: ClassChoice = ClassLabel()


class NoiseModel(Model):
    """A model of this family: its latent is x_T, pure noise of the shape of what its network denoises."""

    family: ClassVar[str] = "diffusion"
    equation: ClassVar[str] = (
        r"\min_u \; \mathbb{E}_{x_0, \epsilon, t} \, \| u(x_t, t) - \dot{x}_t \|^2, \quad x_t = \alpha_t x_0 + \sigma_t \epsilon"
    )
    look: ClassVar[Look] = Look(colour="#E69F00", glyph="✦")
    Params: ClassVar[type[Knobs]] = DiffusionParams
    dial: ClassVar[Dial | None] = Dial("guidance_scale", (4.0, 3.0, 2.0, 1.5, 1.0))
    noisy = True
    live: ClassVar[bool] = False

    def __init__(
        self, network: nn.Module, shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype, classes: tuple[str, ...]
    ) -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        if device.type == "cpu":
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        from playground.nets.lean import lean  # here, because it imports diffusers' models, which takes a second

        lean(self.network)
        self.device, self.dtype, self.classes = device, dtype, classes
        self.channels, self.image_size = shape[:2]
        self.latent = LatentSpec("x_T", shape, "gaussian")

    @classmethod
    def load(cls, folder: Folder, device: torch.device, dtype: torch.dtype) -> Self:
        raise BadWeights(f"{folder} is not kept as a card of this page.", "Its format opens it.")

    def bytes(self) -> int:
        return weight_bytes(self.network)

    def draw(self, params: Knobs, noise: Noise) -> Tensor:
        return noise.normal(self.latent.shape).to(self.device)

    # -- directions -------------------------------------------------------------------------------------------------

    def origin(self) -> Tensor:
        return torch.zeros(1, *self.latent.shape, device=self.device)

    @cached_property
    def frequencies(self) -> list[tuple[int, int]]:
        """Waves down and across of each pattern, slow ones first; of equal speed, those that go across first."""
        size = range(self.latent.shape[-1])
        return sorted(((down, across) for down in size for across in size), key=lambda wave: (sum(wave), wave))

    def direction(self, kind: str, value: str) -> Tensor | None:
        """`pc:N` is the Nth cosine pattern, of unit length: noise has no principal directions of its own, but pictures are smooth."""
        if kind != "pc" or not 1 <= int(value) <= len(self.frequencies):
            return super().direction(kind, value)
        channels, _, size = self.latent.shape
        down, across = self.frequencies[int(value) - 1]
        middles = (torch.arange(size, device=self.device) + 0.5) * math.pi / size
        pattern = torch.outer((down * middles).cos(), (across * middles).cos())
        return (pattern / pattern.norm()).expand(1, *self.latent.shape) / math.sqrt(channels)

    def directions(self) -> Mapping[str, str]:
        return {f"pc:{index + 1}": _words(*wave) for index, wave in enumerate(self.frequencies[:WAVES])}


class Denoiser(abc.ABC):
    """A network that is shown x_t and says where it is heading, whatever it was trained to say."""

    network: nn.Module
    path: Path
    """The way on which it was trained."""
    shape: tuple[int, int, int]
    """Of what it denoises: (C, S, S)."""
    num_classes: int = 0
    """How many classes it can be told, by labels from 0; this number itself tells it none. 0 when it knows no classes."""

    @cached_property
    def dtype(self) -> torch.dtype:
        """Of the weights; asked at every pass."""
        return next(self.network.parameters()).dtype

    @abc.abstractmethod
    def heading(self, x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """The tangent u of the path at x_t (B, C, S, S), float32, at times (B,) in 0..1. `condition` (B, *) is what the model tells it."""


class DiffusionModel(NoiseModel):
    """A denoiser, asked step by step on the way from noise to picture."""

    def __init__(self, denoiser: Denoiser, device: torch.device, dtype: torch.dtype, classes: tuple[str, ...]) -> None:
        super().__init__(denoiser.network, denoiser.shape, device, dtype, classes)
        self.denoiser, self.path = denoiser, denoiser.path

    def knobs(self) -> tuple[KnobSpec, ...]:
        unheard = WORDS if self.denoiser.num_classes else WORDS + CLASSES
        return tuple(spec for spec in super().knobs() if spec.name not in unheard)

    # -- from noise to what is denoised -----------------------------------------------------------------------------

    def decode(self, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        yield from self.finish(z, None, params, noise)

    def finish(self, x_t: Tensor, num_left: int | None, params: Knobs, noise: Noise, labels: Tensor | None = None) -> Iterator[Step]:
        """The last `num_left` steps from x_t (B, C, S, S), or all of them; `labels` (B,) instead of the knob's. `x` is what is denoised."""
        assert isinstance(params, DiffusionParams)
        yield from denoise(
            self.path,
            self.guided(params, noise, labels),
            x_t,
            scheduler=params.scheduler,
            num_inference_steps=params.num_inference_steps,
            eta=params.eta,
            noise=noise,
            num_left=num_left,
        )

    def passes(self, params: Knobs) -> int:
        assert isinstance(params, DiffusionParams)
        return self.asks(params) * num_looks(params.scheduler, params.num_inference_steps)

    def passes_back(self, params: Knobs) -> int:
        assert isinstance(params, DiffusionParams)
        return self.asks(params) * CORRECTIONS * params.num_inference_steps

    def asks(self, params: DiffusionParams) -> int:
        """How often the denoiser is asked at each look: with guidance, with the class and without."""
        return 2 if params.guidance_scale != 1 and params.label != "none" and self.denoiser.num_classes else 1

    def conditions(self, params: DiffusionParams, noise: Noise, labels: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """What the denoiser is told, (B, *), and the same when it is told nothing; None when that is all that it is told."""
        none = self.denoiser.num_classes
        told = (labels_of(params.label, noise, none) if labels is None else labels).to(self.device)
        return told, None if bool((told == none).all()) else torch.full_like(told, none)

    def guided(self, params: DiffusionParams, noise: Noise, labels: Tensor | None = None) -> Predict:
        """The denoiser, told what the knobs (or `labels`) say, and taken further than it goes without.

        Source: Ho & Salimans, arXiv 2207.12598.
        """
        told, nothing = self.conditions(params, noise, labels)
        if params.guidance_scale == 1 or nothing is None:
            return lambda x, time: self.heading(x, time, told)
        both = torch.cat([told, nothing])

        def predict(x: Tensor, time: Tensor) -> Tensor:
            with_it, without = self.heading(torch.cat([x, x]), torch.cat([time, time]), both).chunk(2)
            return without + params.guidance_scale * (with_it - without)

        return predict

    def heading(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """What the denoiser says of x_t (B, C, S, S) at times (B,) in 0..1 when it is told that."""
        return self.together(self.denoiser.heading, x, time, condition)

    # -- back to noise ----------------------------------------------------------------------------------------------

    def encode(self, x: Tensor, params: Knobs) -> Tensor:
        assert isinstance(params, DiffusionParams)
        *_, z = renoise(self.path, self.unseeded(params, x), x.to(self.device), params.num_inference_steps)
        return z

    def unseeded(self, params: DiffusionParams, x: Tensor) -> Predict:
        """As `guided`, for given pictures."""
        return self.guided(params, Noise([0] * len(x)))  # a picture has no seed; all that is made of one has the class of seed 0


def _words(down: int, across: int) -> str:
    known = {(0, 0): "Brightness", (0, 1): "Left to right", (1, 0): "Top to bottom", (1, 1): "Corner to corner"}
    return known.get((down, across), f"Waves: {across / 2:g} across, {down / 2:g} down")
