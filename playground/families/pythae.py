"""Variational and plain autoencoders that were trained with the library pythae, as models of the families `vae` and `ae`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor
from typing_extensions import Self

from playground.errors import BadWeights
from playground.families.autoencoder import Autoencoder, AutoencoderParams
from playground.families.base import Geometry, LatentSpec, Look, Model, Step
from playground.families.codes import CodedParams
from playground.families.landmarks import OFFERED
from playground.families.loading import weight_bytes
from playground.families.vae import VAE, VAEParams
from playground.knobs import Knobs, KnobSpec
from playground.latent import Noise
from playground.nets.pythae import About, PythaeNet, mlp_decoder, mlp_encoder

Loss = Literal["bce", "mse"]
"""What a pixel is taken for: a coin (`bce`), whose mean the decoder says, or a number with noise of variance 1 (`mse`)."""


class PythaeModel(Model):
    """What both kinds do: pythae's pictures lie in [0, 1], and draws are from N(0, I)."""

    geometry: ClassVar[Geometry]
    variational: ClassVar[bool]
    unheard: tuple[str, ...] = ("prior",)
    """Knobs of the family that say nothing here: no prior was fitted to its codes."""

    def __init__(self, network: PythaeNet, about: About, device: torch.device, dtype: torch.dtype) -> None:
        self.network, self.device, self.dtype, self.classes = network, device, dtype, ()
        if device.type == "cpu":
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.channels, self.image_size = about.shape[:2]
        self.latent = LatentSpec("z", (about.latent_dim,), self.geometry)

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> Self:
        raise BadWeights(f"{folder} is not kept as a card of this page.", "Its format opens it.")

    @classmethod
    def tiny(cls) -> Self:
        about = About((1, 28, 28), 4, cls.variational)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            network = PythaeNet(mlp_encoder(about, 16), mlp_decoder(about, 16))
            for parameter in network.parameters():
                parameter.data.mul_(3)  # away from initialisation, so that every knob shows
        return cls(network.eval().requires_grad_(False), about, torch.device("cpu"), torch.float32)

    def knobs(self) -> tuple[KnobSpec, ...]:
        return tuple(spec for spec in super().knobs() if spec.name not in self.unheard)

    def bytes(self) -> int:
        return weight_bytes(self.network)

    # -- there and back ---------------------------------------------------------------------------------------------

    def draw(self, params: Knobs, noise: Noise) -> Tensor:
        assert isinstance(params, CodedParams)
        return params.temperature * noise.normal(self.latent.shape).to(self.device)

    def decode(self, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        yield Step(2 * self.mean(z) - 1, index=1, total=1)

    def encode(self, x: Tensor, params: Knobs) -> Tensor:
        return self.code(x)[0].float()

    def through(self, x: Tensor, params: Knobs) -> Tensor:
        """There and back by the means, with nothing drawn."""
        return 2 * self.mean(self.encode(x, params)) - 1

    def code(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """`mu` and `log_var` of pictures (B, C, H, W) in [-1, 1]."""
        return self.together(self.network.encode, ((x + 1) / 2).to(self.device, self.dtype))

    def mean(self, z: Tensor) -> Tensor:
        """The mean of each pixel, float32 (B, C, H, W) in [0, 1]."""
        return self.together(self.network.decode, z.to(self.dtype)).float().clamp(0, 1)

    # -- directions -------------------------------------------------------------------------------------------------

    def origin(self) -> Tensor:
        return torch.zeros(1, *self.latent.shape, device=self.device)

    @cached_property
    def principal(self) -> Tensor:
        """Unit directions (D, D) in rows, those first that the decoder's first layer reads most. Shen & Zhou, arXiv 2007.06600 (SeFa)."""
        weight = next(parameter for parameter in self.network.decoder.parameters() if parameter.dim() == 2).double()
        rows = torch.linalg.eigh(weight.T @ weight).eigenvectors.T.flip(0)
        largest = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
        return (rows * largest.sign()).float()  # an eigenvector may point both ways: its largest number is positive here

    def direction(self, kind: str, value: str) -> Tensor | None:
        """`pc:N` is the Nth of `principal`; nobody kept what its training pictures' codes were."""
        if kind != "pc" or not 1 <= int(value) <= len(self.principal):
            return super().direction(kind, value)
        return self.principal[None, int(value) - 1]

    def directions(self) -> Mapping[str, str]:
        read = {f"pc:{index}": f"Decoder's direction {index}" for index in range(1, min(OFFERED, len(self.principal)) + 1)}
        return {**read, **super().directions()}


class PythaeVAE(PythaeModel):
    """A variational autoencoder that somebody else trained with pythae: a few numbers, kept bell-shaped, say what a picture is.

    It may be any of those that share one pair of networks: VAE, β-VAE, β-TC-VAE, InfoVAE, or importance weighted (IWAE and its kin). They
    differ in what training asked of them, not in how a picture is made.

    How well its bound fits cannot be said here: nobody kept how far its codes are from the prior over its training pictures, and its pixels
    are coins, or numbers with noise of variance 1, which is no likelihood of 256 grey levels.
    """

    family: ClassVar[str] = "vae"
    title: ClassVar[str] = VAE.title
    equation: ClassVar[str] = VAE.equation
    limits: ClassVar[str] = VAE.limits
    look: ClassVar[Look] = VAE.look
    Params: ClassVar[type[Knobs]] = VAEParams
    geometry: ClassVar[Geometry] = "gaussian"
    variational: ClassVar[bool] = True

    def __init__(self, network: PythaeNet, about: About, device: torch.device, dtype: torch.dtype, loss: Loss = "bce") -> None:
        super().__init__(network, about, device, dtype)
        self.noisy = loss == "bce"  # noise of variance 1 on a number in [0, 1] would leave no picture
        self.unheard = ("prior",) if self.noisy else ("prior", "pixels")

    def decode(self, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        assert isinstance(params, VAEParams)
        y = self.mean(z)
        if self.noisy and params.pixels == "sample":
            y = (noise.uniform(y.shape[1:], "pixels").to(self.device) < y).float()
        yield Step(2 * y - 1, index=1, total=1)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`mu` and `log_var`, each (B, D), for pictures (B, C, H, W) in [-1, 1]."""
        mu, log_var = self.code(x)
        assert log_var is not None
        return mu.float(), log_var.float()


class PythaeAutoencoder(PythaeModel):
    """An autoencoder that somebody else trained with pythae: plain, regularised (RAE), or drawn towards N(0, I) as a whole (WAE).

    Only the last was asked to let its codes fill N(0, I). Draws are from there all the same: no prior was fitted to the others' codes.
    """

    family: ClassVar[str] = "ae"
    title: ClassVar[str] = Autoencoder.title
    equation: ClassVar[str] = Autoencoder.equation
    limits: ClassVar[str] = (
        "Its pictures are smooth, because squared error makes it average over what it cannot know. It may never have been asked to let its "
        "codes fill N(0, I), from which they are drawn here."
    )
    look: ClassVar[Look] = Autoencoder.look
    Params: ClassVar[type[Knobs]] = AutoencoderParams
    geometry: ClassVar[Geometry] = "euclidean"
    variational: ClassVar[bool] = False
    unheard = ("prior", "code_size")
