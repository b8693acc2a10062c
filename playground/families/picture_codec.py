"""Autoencoders of large pictures that others trained, to be a latent diffusion model's canvas: as models of the family `ae`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from typing_extensions import Self

from playground.errors import BadWeights
from playground.families.autoencoder import Autoencoder, AutoencoderParams
from playground.families.base import LatentSpec, Look, Model, Step
from playground.families.loading import pass_work, weight_bytes
from playground.knobs import Knobs, KnobSpec
from playground.latent import Noise

MAX_SIDE = 256
"""Pixels of the side that is shown: larger pictures take minutes without a graphics card."""
LIVE_WORK = 2e10
"""Parameters times pixels up to which a picture follows a finger. TAESD (2.4 million at 256×256) has eight times as many, and two cores
take more than half a second for it."""
UNHEARD = ("prior", "code_size")
"""Knobs of the family that say nothing here: no prior was fitted to its codes, and they cannot be cut."""


@dataclass(frozen=True)
class Codec:
    """An autoencoder: pixels (B, pixel_channels, H, W) in [-1, 1] to latents (B, channels, H/factor, W/factor) and back.

    Latents are scaled to about unit variance by what its configuration says: scale · (raw - shift).
    """

    channels: int
    factor: int
    pixel_channels: int
    network: nn.Module
    """One of diffusers' autoencoders."""
    shift: Tensor
    scale: Tensor
    """Each for every channel, or for all: (channels, 1, 1) or (1, 1, 1)."""
    sample_size: int | None = None
    """The side of the pictures that it was trained on, None where nobody says; any side would do."""

    @property
    def dtype(self) -> torch.dtype:
        """What its network computes in."""
        return next(self.network.parameters()).dtype

    def encode(self, x: Tensor) -> Tensor:
        """Latents, float32: the mean of the posterior where there is one, what comes before the codebook where there is that."""
        answer = cast("Any", self.network).encode(x.to(self.dtype), return_dict=False)[0]
        raw = answer if isinstance(answer, Tensor) else answer.mode()
        return cast("Tensor", (raw.float() - self.shift) * self.scale)

    def decode(self, z: Tensor) -> Tensor:
        """Pictures, float32, not clamped; through the codebook where there is one."""
        raw = z / self.scale + self.shift
        return cast("Tensor", cast("Any", self.network).decode(raw.to(self.dtype), return_dict=False)[0].float())


class PictureCodec(Model):
    """A picture codec is an autoencoder that keeps where things are: its code is a small picture of many channels.

    A latent diffusion model paints in such codes and decodes them once, at the end. It was trained to bring pictures back, sharp ones by
    the help of a critic. One with a KL term (AutoencoderKL) is a VAE by its form, but its KL has next to no weight, so its posterior is a
    point and its codes do not fill N(0, I); it is an autoencoder here. One with a codebook (VQModel) rounds its codes on the way to pixels.

    It has no prior of its own, and none was fitted to its codes here: a draw from N(0, I) is a texture, no picture.
    """

    family: ClassVar[str] = "ae"
    title: ClassVar[str] = "Picture codec"
    equation: ClassVar[str] = Autoencoder.equation
    limits: ClassVar[str] = (
        "It has no prior: a draw from N(0, I) decodes to a texture, no picture. Large pictures take seconds each without a graphics card."
    )
    look: ClassVar[Look] = Autoencoder.look
    Params: ClassVar[type[Knobs]] = AutoencoderParams

    def __init__(self, codec: Codec, device: torch.device) -> None:
        side = min(codec.sample_size or MAX_SIDE, MAX_SIDE) // codec.factor or 1
        self.codec, self.device, self.dtype = codec, device, codec.dtype
        self.image_size, self.channels, self.classes = side * codec.factor, codec.pixel_channels, ()
        self.latent = LatentSpec("z", (codec.channels, side, side), "euclidean")
        self.live = pass_work(codec.network, self.image_size) <= LIVE_WORK  # type: ignore[misc]

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> Self:
        raise BadWeights(f"{folder} is not kept as a card of this page.", "Its format opens it.")

    @classmethod
    def tiny(cls) -> Self:
        from diffusers import AutoencoderTiny

        widths, depths = (8, 8, 8), (1, 1, 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            network = AutoencoderTiny(1, 1, widths, widths, num_encoder_blocks=depths, num_decoder_blocks=depths)
        assert isinstance(network, nn.Module)
        plain = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
        return cls(Codec(4, 4, 1, network.eval().requires_grad_(False), *plain, sample_size=28), torch.device("cpu"))

    def knobs(self) -> tuple[KnobSpec, ...]:
        return tuple(spec for spec in super().knobs() if spec.name not in UNHEARD)

    def bytes(self) -> int:
        return weight_bytes(self.codec.network)

    # -- there and back ---------------------------------------------------------------------------------------------

    def draw(self, params: Knobs, noise: Noise) -> Tensor:
        assert isinstance(params, AutoencoderParams)
        return params.temperature * noise.normal(self.latent.shape).to(self.device)

    def decode(self, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        """One picture at a time: a batch of large ones would not fit in memory. Those not made yet are black."""
        x = torch.full((len(z), self.channels, self.image_size, self.image_size), -1.0, device=self.device)
        for index, each in enumerate(z.split(1)):
            x[index] = self.together(self.codec.decode, each)[0].clamp(-1, 1)
            yield Step(x.clone(), index + 1, len(z))

    def encode(self, x: Tensor, params: Knobs) -> Tensor:
        return torch.cat([self.together(self.codec.encode, each) for each in x.to(self.device).split(1)])

    def through(self, x: Tensor, params: Knobs) -> Tensor:
        *_, last = self.decode(self.encode(x, params), params, Noise([0] * len(x)))
        return last.x

    # -- directions -------------------------------------------------------------------------------------------------

    def origin(self) -> Tensor:
        return torch.zeros(1, *self.latent.shape, device=self.device)

    def direction(self, kind: str, value: str) -> Tensor | None:
        """`pc:N` raises the Nth channel by 1 at every place: codes have about unit variance, and one number of thousands says little."""
        if kind != "pc" or not 1 <= int(value) <= self.codec.channels:
            return super().direction(kind, value)
        offset = self.origin()
        offset[:, int(value) - 1] = 1
        return offset

    def directions(self) -> Mapping[str, str]:
        return {f"pc:{index}": f"Channel {index}, everywhere" for index in range(1, min(64, self.codec.channels) + 1)}
