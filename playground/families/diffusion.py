"""Diffusion and rectified flow as one playground family: a network that denoises, and samplers that ask it many times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path as Folder
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from playground.families.base import Dial, Inversion, LatentSpec, Look, Model, Step, register
from playground.families.labels import labels_of
from playground.families.likelihood import chain_bound, ode_log_density
from playground.families.loading import config_of, load_network, reading, weight_bytes
from playground.families.samplers import Predict, denoise, num_looks, renoise, repaint, time_left
from playground.knobs import ClassChoice, ClassLabel, Knob, Knobs
from playground.latent import Noise
from playground.nets.diffusion import PATHS, TIME_SCALE, Path
from playground.nets.unet import PatchUNet, UNetConfig

BOUND_TERMS = 64
"""How many of the chain's steps are looked at for a picture's variational bound."""
WAVES = 40


class DiffusionParams(Knobs):
    """How a diffusion model draws one picture."""

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


@register
class Diffusion(Model):
    """A diffusion model learns to remove noise, and makes pictures by removing it from nothing but noise.

    Training is simple: take a picture, mix it with noise, and let the network say what was mixed. No quarrel, no bottleneck. To draw,
    start at pure noise and take many small steps; each asks the network what picture might be hidden in there, and moves a little
    towards it. What it guesses first is a blur, the average of all that is possible; detail comes step by step.

    The latent is the noise it starts from, as large as the picture. *Guidance* exaggerates the difference that knowing the class
    makes. A *rectified flow* learns straight lines from picture to noise instead of curves, so fewer steps will do. Run backwards,
    both find the noise that a given picture would come from.
    """

    family: ClassVar[str] = "diffusion"
    title: ClassVar[str] = "Diffusion"
    equation: ClassVar[str] = (
        r"\min_u \; \mathbb{E}_{x_0, \epsilon, t} \, \| u(x_t, t) - \dot{x}_t \|^2, \quad x_t = \alpha_t x_0 + \sigma_t \epsilon"
    )
    limits: ClassVar[str] = (
        "A picture takes many passes of the network, so nothing follows the finger. With few steps or strong guidance, pictures lose "
        "detail and variety."
    )
    look: ClassVar[Look] = Look(colour="#E69F00", glyph="✦")
    Params: ClassVar[type[Knobs]] = DiffusionParams
    dial: ClassVar[Dial | None] = Dial("guidance_scale", (4.0, 3.0, 2.0, 1.5, 1.0))
    noisy = True
    live: ClassVar[bool] = False

    def __init__(self, network: PatchUNet, path: Path, device: torch.device, dtype: torch.dtype, classes: tuple[str, ...]) -> None:
        self.network = network.to(device, dtype).eval().requires_grad_(False)
        if device.type == "cpu":
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.path, self.device, self.dtype, self.classes = path, device, dtype, classes
        self.image_size, self.channels = network.config.image_size, network.config.channels
        self.latent = LatentSpec("x_T", (self.channels, self.image_size, self.image_size), "gaussian")

    @classmethod
    def load(cls, folder: Folder, device: torch.device, dtype: torch.dtype) -> Self:
        def build(words: Mapping[str, Any]) -> PatchUNet:
            return PatchUNet(config_of(UNetConfig, words))

        network, words = load_network(folder, build, device, dtype)
        with reading(folder):
            path = PATHS[words["path"]]
        return cls(network, path, device, dtype, tuple(words.get("classes", ())))

    @classmethod
    def tiny(cls, path: str = "diffusion") -> Self:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            network = PatchUNet(UNetConfig(num_classes=3, widths=(8, 16), head_dim=8, norm_groups=4))
            for parameter in network.parameters():
                if parameter.dim() > 1:
                    parameter.data.add_(0.1 * torch.randn_like(parameter))  # away from initialisation, so that every knob shows
        return cls(network, PATHS[path], torch.device("cpu"), torch.float32, ("one", "two", "three"))

    def bytes(self) -> int:
        return weight_bytes(self.network)

    # -- from noise to picture --------------------------------------------------------------------------------------

    def draw(self, params: Knobs, noise: Noise) -> Tensor:
        return noise.normal(self.latent.shape).to(self.device)

    def decode(self, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        yield from self.finish(z, None, params, noise)

    def finish(self, x_t: Tensor, num_left: int | None, params: Knobs, noise: Noise, labels: Tensor | None = None) -> Iterator[Step]:
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
        guided = params.guidance_scale != 1 and params.label != "none"  # with and without the class
        return num_looks(self.path, params.scheduler, params.num_inference_steps) * (2 if guided else 1)

    def guided(self, params: DiffusionParams, noise: Noise, given: Tensor | None = None) -> Predict:
        """The network, told the classes (`given` or those of the knob), and taken further than it goes without them.

        Source: Ho & Salimans, arXiv 2207.12598.
        """
        none = self.network.config.num_classes
        labels = (labels_of(params.label, noise, none) if given is None else given).to(self.device)
        if params.guidance_scale == 1 or bool((labels == none).all()):
            return lambda x, time: self.heading(x, time, labels)

        def predict(x: Tensor, time: Tensor) -> Tensor:
            both = torch.cat([labels, torch.full_like(labels, none)])
            told, untold = self.heading(torch.cat([x, x]), torch.cat([time, time]), both).chunk(2)
            return untold + params.guidance_scale * (told - untold)

        return predict

    def heading(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        """What the network says of x_t (B, C, H, W) at times (B,) in 0..1 and labels (B,)."""
        return self.network(x.to(self.dtype), TIME_SCALE * time, labels).float()

    # -- from picture to noise --------------------------------------------------------------------------------------

    def encode(self, x: Tensor, params: Knobs) -> Tensor:
        assert isinstance(params, DiffusionParams)
        *_, z = renoise(self.path, self._unseeded(params, x), x.to(self.device), params.num_inference_steps)
        return z

    def _unseeded(self, params: DiffusionParams, x: Tensor) -> Predict:
        return self.guided(params, Noise([0] * len(x)))  # a picture has no seed; all that is made of one has the class of seed 0

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
        back = renoise(self.path, self._unseeded(params, x), x.to(self.device), params.num_inference_steps, num_left)
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
        density = ode_log_density(self.path, self.unconditional, (levels + uniform) / 128 - 1, probe)
        return density - x[0].numel() * math.log(128)

    def variational_bound(self, x: Tensor, noise: Noise) -> Tensor:
        x = x.to(self.device)
        eps = noise.normal((BOUND_TERMS + 1, *x.shape[1:]), "chain").to(self.device).transpose(0, 1)
        shift = noise.uniform((1,), "places").to(self.device).T
        places = (torch.arange(BOUND_TERMS, device=self.device)[:, None] + shift) / BOUND_TERMS
        return chain_bound(self.path, self.unconditional, x, eps, places)

    def unconditional(self, x: Tensor, time: Tensor) -> Tensor:
        """The heading when no class is told."""
        return self.heading(x, time, torch.full((len(x),), self.network.config.num_classes, device=x.device))

    # -- directions -------------------------------------------------------------------------------------------------

    def origin(self) -> Tensor:
        return torch.zeros(1, *self.latent.shape, device=self.device)

    @cached_property
    def frequencies(self) -> list[tuple[int, int]]:
        """Waves down and across of each pattern, slow ones first; of equal speed, those that go across first."""
        size = range(self.image_size)
        return sorted(((down, across) for down in size for across in size), key=lambda wave: (sum(wave), wave))

    def direction(self, kind: str, value: str) -> Tensor | None:
        """`pc:N` is the Nth cosine pattern, of unit length: noise has no principal directions of its own, but pictures are smooth."""
        if kind != "pc" or not 1 <= int(value) <= len(self.frequencies):
            return super().direction(kind, value)
        down, across = self.frequencies[int(value) - 1]
        middles = (torch.arange(self.image_size, device=self.device) + 0.5) * math.pi / self.image_size
        pattern = torch.outer((down * middles).cos(), (across * middles).cos())
        return (pattern / pattern.norm()).expand(1, *self.latent.shape) / math.sqrt(self.channels)

    def directions(self) -> Mapping[str, str]:
        return {f"pc:{index + 1}": _words(*wave) for index, wave in enumerate(self.frequencies[:WAVES])}


def _words(down: int, across: int) -> str:
    known = {(0, 0): "Brightness", (0, 1): "Left to right", (1, 0): "Top to bottom", (1, 1): "Corner to corner"}
    return known.get((down, across), f"Waves: {across / 2:g} across, {down / 2:g} down")
