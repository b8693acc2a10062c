"""What models with an encoder share: a prior fitted to their codes, directions among them, and a map of them."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from typing_extensions import Self

from playground.families.base import Dial, Geometry, LatentSpec
from playground.families.landmarks import LandmarkedModel, Landmarks
from playground.families.loading import config_of, load_network, reading, weight_bytes
from playground.knobs import Knob, Knobs
from playground.latent import Noise
from playground.nets.conv import ConvConfig

NEIGHBOURS = 12


class CodedParams(Knobs):
    """How a latent is drawn by a model whose codes were summarised."""

    temperature: float = Knob(
        0.85,
        label="Temperature",
        help="Spread of the latents: 0 gives the most typical picture, above 1 the pictures get stranger.",
        ge=0.0,
        le=2.0,
        step=0.05,
        stage="draw",
    )
    prior: Literal["standard", "fitted"] = Knob(
        "fitted",
        label="Prior",
        help="Where latents come from: the standard bell curve, or a mixture fitted to where the codes really are.",
        choices={"standard": "N(0, I)", "fitted": "fitted to codes"},
        stage="draw",
    )


@dataclasses.dataclass
class Codes(Landmarks):
    """What the encoder made of the data set; see `training.codes.summarise_codes` for the shapes."""

    prior_weight: Tensor
    prior_mean: Tensor
    prior_factor: Tensor
    map_code: Tensor
    map_layout: Tensor

    @classmethod
    def tiny(cls, dim: int = 4, **more: Tensor) -> Self:
        return super().tiny(
            dim,
            prior_weight=torch.tensor([0.5, 0.5]),
            prior_mean=torch.randn(2, dim),
            prior_factor=torch.linalg.cholesky(torch.eye(dim).expand(2, dim, dim) * 0.5),
            map_code=torch.randn(20, dim),
            map_layout=torch.rand(20, 2) * 2 - 1,
            **more,
        )


_N = TypeVar("_N", bound=nn.Module)
_C = TypeVar("_C", bound=Codes)


class CodedModel(LandmarkedModel, Generic[_N, _C]):
    """A network with an encoder, and its `codes`: loads both, draws from a prior fitted to them, knows its way among them."""

    Network: ClassVar[type[nn.Module]]
    Config: ClassVar[type[ConvConfig]]
    Summary: ClassVar[type[Codes]]
    geometry: ClassVar[Geometry]
    dial: ClassVar[Dial | None] = Dial("temperature", (0.4, 0.6, 0.8, 1.0, 1.2))

    def __init__(
        self, network: _N, codes: _C, config: ConvConfig, device: torch.device, dtype: torch.dtype, classes: tuple[str, ...]
    ) -> None:
        self.network = network.to(device, dtype).eval().requires_grad_(False)
        if device.type == "cpu":
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.codes = self.landmarks = codes
        self.device, self.dtype, self.classes = device, dtype, classes
        self.latent = LatentSpec("z", (config.latent_dim,), self.geometry)
        self.image_size, self.channels = config.image_size, config.channels

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> Self:
        network, words = load_network(folder, lambda words: cls.Network(config_of(cls.Config, words)), device, dtype)
        with reading(folder):
            codes = cls.Summary.load(folder / "codes.safetensors", device)
        config = config_of(cls.Config, words)
        model = cls(cast("_N", network), cast("_C", codes), config, device, dtype, tuple(words.get("classes", ())))
        with reading(folder):
            model.read(words)
        return model

    def read(self, words: Mapping[str, Any]) -> None:
        """Takes from `config.json` what concerns no network. Raises `ValueError` or `TypeError`."""

    @classmethod
    def tiny(cls) -> Self:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            config = cls.Config(latent_dim=4, width=8, encoder_blocks=1, decoder_blocks=1, trunk_width=16)
            network = cls.Network(config)
            for parameter in network.parameters():
                if parameter.dim() > 1:
                    parameter.data.mul_(1.7)  # away from initialisation, so that every knob shows
            codes = cls.Summary.tiny()
        classes = ("one", "two", "three")
        return cls(cast("_N", network), cast("_C", codes), config, torch.device("cpu"), torch.float32, classes)

    def bytes(self) -> int:
        return weight_bytes(self.network) + self.codes.bytes()

    def draw(self, params: Knobs, noise: Noise) -> Tensor:
        assert isinstance(params, CodedParams)
        eps = params.temperature * noise.normal(self.latent.shape).to(self.device)
        if params.prior == "standard":
            return eps
        which = noise.uniform((1,), "component").to(self.device)
        component = torch.searchsorted(self.codes.prior_weight.cumsum(0), which).clamp(max=len(self.codes.prior_weight) - 1)
        component = component.squeeze(1)
        offset = (self.codes.prior_factor[component] * eps[:, None]).sum(dim=-1)
        return self.codes.prior_mean[component] + offset

    def through(self, x: Tensor, params: Knobs) -> Tensor:
        *_, last = self.decode(self.encode(x, params), params, Noise([0] * len(x)))
        return last.x

    @abc.abstractmethod
    def encode(self, x: Tensor, params: Knobs) -> Tensor:
        """See `Encodes`."""

    def principal_words(self, index: int) -> str:
        share = self.codes.principal_std.square() / self.codes.principal_std.square().sum()
        return f"Principal direction {index + 1} · {100 * share[index]:.0f} % of the spread"

    def map_points(self, projection: str) -> Tensor:
        if projection == "neighbours":
            return self.codes.map_layout
        plane = (self.codes.map_code - self.codes.mean) @ self.codes.principal[:2].T
        return plane / (3 * self.codes.principal_std[:2])

    def map_latent(self, projection: str, x: float, y: float) -> str:
        if projection == "neighbours":
            return f"near:{x:.4g},{y:.4g}"
        return f"origin + {3 * x:.6g}*pc:1 + {3 * y:.6g}*pc:2"

    def near(self, x: float, y: float) -> Tensor:
        """The codes of the nearest map points, weighted by nearness: continuous, and exact where there is a point."""
        distance = (self.codes.map_layout - torch.tensor([x, y], device=self.device)).norm(dim=1)
        nearest = distance.topk(min(NEIGHBOURS, len(distance)), largest=False)
        weight = 1 / (nearest.values + 1e-3) ** 2 - 1 / (nearest.values[-1] + 1e-3) ** 2
        weight = weight.clamp(min=0) + 1e-6
        return (weight[:, None] * self.codes.map_code[nearest.indices]).sum(dim=0, keepdim=True) / weight.sum()
