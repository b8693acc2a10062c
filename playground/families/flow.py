"""Normalizing flows as a playground family: RealNVP, Glow, and what every other flow has in common with them.

Everything runs in single precision, whatever the device prefers: an exact inverse forgives no rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

import torch
from torch import Tensor, nn
from typing_extensions import Self

from playground.errors import BadKnob, BadWeights
from playground.families.base import Dial, LatentSpec, Look, Step, register
from playground.families.capabilities import FlowStep
from playground.families.landmarks import LandmarkedModel, Landmarks
from playground.families.loading import RESTORE, config_of, load_network, reading, weight_bytes
from playground.knobs import Knob, Knobs, KnobSpec
from playground.latent import Noise
from playground.nets.couplings import Bijection
from playground.nets.folding import fold
from playground.nets.glow import Glow, GlowConfig
from playground.nets.realnvp import RealNVP, RealNVPConfig

LEVELS = 256
"""Grey levels of a picture; as far as a density is concerned each is a bin, 1/256 wide."""


class FlowConfig(Protocol):
    """What every flow's configuration says."""

    @property
    def image_size(self) -> int: ...
    @property
    def channels(self) -> int: ...


class FlowParams(Knobs):
    """How a flow draws one picture."""

    temperature: float = Knob(
        0.8,
        label="Temperature",
        help="Spread of the latents: 1 is the density as learned, lower keeps to its likelier middle, 0 is one picture.",
        ge=0.0,
        le=1.3,
        step=0.05,
        stage="draw",
    )
    denoise: bool = Knob(
        False,
        label="Denoise",
        help="Draw from the density of slightly noisy pictures, then take the noise out by one step up its slope: smoother pictures.",
        stage="decode",
    )


@register
class NormalizingFlow(LandmarkedModel):
    """A normalizing flow bends noise into pictures without ever tearing or folding it, so that every step can be undone.

    Each step is a change of variables: some pixels stay, and say how the others are stretched and shifted. What stretches space thins
    out probability, by the determinant of the Jacobian; adding up its logarithm gives *exactly* how likely a picture is,
    which no other family here can say so directly. Run forward, a picture becomes noise of as many numbers as it has pixels;
    run backward, the same picture comes back, to the last grey level.

    *RealNVP* splits pixels like a checkerboard, then channels, by turns. *Glow* learns how to mix the channels before each split. The
    *transformer flow* reads a picture patch by patch, as a language model reads words: each patch is stretched and shifted as those
    before it say. Its likelihood is quick, its pictures are slow, for every patch must wait for the others.
    """

    family: ClassVar[str] = "flow"
    title: ClassVar[str] = "Normalizing flow"
    equation: ClassVar[str] = r"\log p(x) = \log \mathcal{N}(f(x); 0, I) + \log \left| \det \frac{\partial f}{\partial x} \right|"
    limits: ClassVar[str] = (
        "It must account for every pixel, so it spends itself on texture: outlines are less sure than a GAN's, and now and then "
        "a picture dissolves into noise. Its latent is as large as the picture, so single dimensions mean little."
    )
    look: ClassVar[Look] = Look(colour="#CC79A7", glyph="⇄")
    Params: ClassVar[type[Knobs]] = FlowParams
    dial: ClassVar[Dial | None] = Dial("temperature", (0.6, 0.7, 0.8, 0.9, 1.0))
    exact: ClassVar[bool] = True

    def __init__(
        self, network: nn.Module, landmarks: Landmarks, config: FlowConfig, device: torch.device, classes: tuple[str, ...]
    ) -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        if device.type == "cpu":
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        fold(self.network)
        self.landmarks, self.device, self.dtype, self.classes = landmarks, device, torch.float32, classes
        self.image_size, self.channels = config.image_size, config.channels
        self.latent = LatentSpec("z", (config.channels * config.image_size**2,), "gaussian")

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> NormalizingFlow:
        network, words = load_network(folder, _build, device, torch.float32)
        with reading(folder):
            landmarks = Landmarks.load(folder / "landmarks.safetensors", device)
        kind = ARCHITECTURES[words["architecture"]].model
        return kind(network, landmarks, cast("FlowConfig", network.config), device, tuple(words.get("classes", ())))

    @classmethod
    def tiny(cls) -> Self:
        return cls._tiny(lambda: Glow(GlowConfig(steps=(2, 2), widths=(8, 8), blocks=1)))

    @classmethod
    def _tiny(cls, build: Callable[[], nn.Module]) -> Self:
        """A model of random weights, far enough from initialisation that it does something to a picture."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            network = build()
            for parameter in network.parameters():
                parameter.data.add_(0.05 * torch.randn_like(parameter))
            config = cast("FlowConfig", network.config)
            landmarks = Landmarks.tiny(config.channels * config.image_size**2)
        return cls(network, landmarks, config, torch.device("cpu"), ("one", "two", "three"))

    def bytes(self) -> int:
        return weight_bytes(self.network) + self.landmarks.bytes()

    # -- from noise to picture --------------------------------------------------------------------------------------

    def draw(self, params: Knobs, noise: Noise) -> Tensor:
        assert isinstance(params, FlowParams)
        return params.temperature * noise.normal(self.latent.shape).to(self.device)

    def decode(self, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        assert isinstance(params, FlowParams)
        if params.denoise:
            raise BadKnob("This flow knows no noisy pictures, so it cannot denoise.", "Switch Denoise off, or choose the transformer flow.")
        yield Step(picture(self.continuous(z)), index=1, total=1)

    # -- from picture to noise --------------------------------------------------------------------------------------

    def encode(self, x: Tensor, params: Knobs) -> Tensor:
        return self.together(self.network, unit(x.to(self.device).float()))[0]

    def log_prob(self, x: Tensor, noise: Noise) -> Tensor:
        u = noise.uniform((self.channels, self.image_size, self.image_size), "dequantise").to(self.device)
        log_density = self.log_density(unit(x.to(self.device).float(), u))
        return log_density - x[0].numel() * math.log(LEVELS)

    # -- step by step, and the slope --------------------------------------------------------------------------------

    def steps_there(self, x: Tensor) -> Iterator[FlowStep]:
        for passed in self.network.walk(unit(x.to(self.device).float())):  # type: ignore[operator]
            yield FlowStep(*passed)

    def steps_back(self, z: Tensor) -> Iterator[Tensor]:
        for y in self.network.walk_back(z.float()):  # type: ignore[operator]
            yield y
        yield picture(cast("Bijection", self.network.logit).inverse(y))

    def log_density(self, v: Tensor) -> Tensor:
        return self.together(self.network.log_prob, v.to(self.device).float())

    def continuous(self, z: Tensor) -> Tensor:
        return self.together(self.network.inverse, z.to(self.device).float())

    def knobs(self) -> tuple[KnobSpec, ...]:
        return tuple(spec for spec in super().knobs() if spec.name != "denoise")


def unit(x: Tensor, u: Tensor | float = 0.5) -> Tensor:
    """Pictures in [-1, 1] to [0, 1): a grey level goes to the middle of its bin, or to the share `u` of it."""
    return ((x + 1) * 127.5 + u) / LEVELS


def picture(x: Tensor) -> Tensor:
    """The way back from the middle of the bins, within [-1, 1]."""
    return ((LEVELS * x - 0.5) / 127.5 - 1).clamp(-1, 1)


@dataclass(frozen=True)
class Architecture:
    """A kind of flow: its network, `forward(x) -> z, log_det`, `inverse(z)` and `log_prob(x)` on pictures in [0, 1], and its model."""

    network: Callable[[Any], nn.Module]
    config: Callable[..., FlowConfig]
    model: type[NormalizingFlow]


ARCHITECTURES: dict[str, Architecture] = {
    "realnvp": Architecture(RealNVP, RealNVPConfig, NormalizingFlow),
    "glow": Architecture(Glow, GlowConfig, NormalizingFlow),
}
"""By the `architecture` of `config.json`; files of other flows add theirs."""


def _build(words: Mapping[str, Any]) -> nn.Module:
    if words.get("architecture") not in ARCHITECTURES:
        raise BadWeights(f"There is no flow of the architecture {words.get('architecture')!r}.", RESTORE)
    kind = ARCHITECTURES[words["architecture"]]
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in words.items()}
    return kind.network(config_of(kind.config, lists))
