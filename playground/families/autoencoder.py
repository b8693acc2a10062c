"""The autoencoder as a playground family."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from playground.families.base import Geometry, Look, Step, register
from playground.families.codes import CodedModel, CodedParams, Codes
from playground.knobs import Knob, Knobs
from playground.latent import Noise
from playground.nets.autoencoder import AutoencoderConfig, ConvAutoencoder
from playground.nets.conv import ConvConfig

MAX_NOISE = 0.6
"""Training adds noise up to this standard deviation to a part of the pictures, and asks for the clean ones; pictures span 2."""


class AutoencoderParams(CodedParams):
    """How an autoencoder makes one picture."""

    code_size: int = Knob(
        32,
        label="Code size",
        help="How many numbers of the code are used; the first ones carry the most. Fewer is stronger compression.",
        ge=2,
        le=64,
        step=1,
        stage="decode",
    )


@register
class Autoencoder(CodedModel[ConvAutoencoder, Codes]):
    """An autoencoder squeezes every picture through a short code, and learns nothing but to get it back.

    The *encoder* turns a picture into a few numbers, the *decoder* turns the numbers into a picture again, and training makes the
    two agree. The code here can be cut anywhere: its first numbers say what kind of thing it is, later ones add detail,
    so the code size is a dial of compression. Nobody asked the codes to lie in any particular place. That is why a random
    point is seldom a good picture: an autoencoder has no prior of its own, and one has to be fitted to its codes afterwards.
    """

    family: ClassVar[str] = "ae"
    title: ClassVar[str] = "Autoencoder"
    equation: ClassVar[str] = r"\min_{E, D} \; \mathbb{E}_x \, \| D(E(x)) - x \|^2"
    limits: ClassVar[str] = (
        "The pictures are smooth, because squared error makes it average over what it cannot know; new ones come from a mixture "
        "fitted to its codes, not from a prior that it learned."
    )
    look: ClassVar[Look] = Look(colour="#009E73", glyph="◆")
    Params: ClassVar[type[Knobs]] = AutoencoderParams
    Network: ClassVar[type[nn.Module]] = ConvAutoencoder
    Config: ClassVar[type[ConvConfig]] = AutoencoderConfig
    Summary: ClassVar[type[Codes]] = Codes
    geometry: ClassVar[Geometry] = "euclidean"

    def decode(self, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        assert isinstance(params, AutoencoderParams)
        yield Step(self.cut(z, params.code_size), index=1, total=1)

    def encode(self, x: Tensor, params: Knobs) -> Tensor:
        return self.together(self.network.encode, x.to(self.device, self.dtype)).float()

    # -- compression ------------------------------------------------------------------------------------------------

    def code_sizes(self) -> tuple[int, ...]:
        whole = self.latent.shape[0]
        return (*(2**power for power in range(1, whole.bit_length()) if 2**power < whole), whole)

    def code_size(self, params: Knobs) -> int:
        assert isinstance(params, AutoencoderParams)
        return min(params.code_size, self.latent.shape[0])

    def cut(self, z: Tensor, size: int) -> Tensor:
        sizes = torch.full((len(z),), size, device=self.device)
        return self.together(self.network.decode, z.to(self.dtype), sizes).float().clamp(-1, 1)

    def quantise(self, z: Tensor) -> Tensor:
        low, high = self.code_range()
        step = (high - low).clamp(min=1e-6) / 255
        return low + ((z - low) / step).round().clamp(0, 255) * step

    def code_range(self) -> tuple[Tensor, Tensor]:
        return self.codes.map_code.amin(dim=0), self.codes.map_code.amax(dim=0)

    # -- noise ------------------------------------------------------------------------------------------------------

    def fitted(self, noise: Noise) -> Tensor:
        return self.draw(AutoencoderParams(temperature=1.0, prior="fitted"), noise)

    def noise_learned(self) -> float:
        return MAX_NOISE
