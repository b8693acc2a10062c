"""The autoencoder as a playground family."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from playground.errors import BadWeights
from playground.families.base import RESTORE, LatentSpec, Look, Step, register
from playground.families.codes import CodedModel, CodedParams, Codes
from playground.knobs import Knob, Knobs
from playground.latent import Noise
from playground.nets.autoencoder import AutoencoderConfig, ConvAutoencoder


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
class Autoencoder(CodedModel):
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

    def __init__(self, network: ConvAutoencoder, codes: Codes, device: torch.device, dtype: torch.dtype, classes: tuple[str, ...]) -> None:
        self.network = network.to(device, dtype).eval().requires_grad_(False)
        if device.type == "cpu":
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.codes = codes
        self.device, self.dtype, self.classes = device, dtype, classes
        self.latent = LatentSpec("z", (network.config.latent_dim,), "euclidean")
        self.image_size, self.channels = network.config.image_size, network.config.channels

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> Autoencoder:
        try:
            config = json.loads((folder / "config.json").read_text())
            known = {field.name for field in dataclasses.fields(AutoencoderConfig)}
            with torch.device("meta"):
                network = ConvAutoencoder(AutoencoderConfig(**{key: value for key, value in config.items() if key in known}))
            state = load_file(folder / "model.safetensors", device=str(device))
            network.load_state_dict({name: value.to(dtype) for name, value in state.items()}, assign=True)
            codes = Codes.load(folder / "codes.safetensors", device)
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            raise BadWeights(f"The weights in {folder} cannot be used: {error}.", RESTORE) from error
        return cls(network, codes, device, dtype, tuple(config.get("classes", ())))

    @classmethod
    def tiny(cls) -> Autoencoder:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            network = ConvAutoencoder(AutoencoderConfig(latent_dim=4, width=8, encoder_blocks=1, decoder_blocks=1, trunk_width=16))
            for parameter in network.parameters():
                if parameter.dim() > 1:
                    parameter.data.mul_(1.7)  # away from initialisation, so that every knob shows
            codes = Codes.tiny()
        return cls(network, codes, torch.device("cpu"), torch.float32, ("one", "two", "three"))

    def bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self.network.state_dict().values()) + self.codes.bytes()

    def decode(self, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        assert isinstance(params, AutoencoderParams)
        sizes = torch.full((len(z),), params.code_size, device=self.device)
        yield Step(self.network.decode(z.to(self.dtype), sizes).float().clamp(-1, 1), index=1, total=1)

    def encode(self, x: Tensor) -> Tensor:
        return self.network.encode(x.to(self.device, self.dtype)).float()
