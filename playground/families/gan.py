"""The generative adversarial network as a playground family."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from playground.families.base import Inversion, LatentSpec, Look, Step, register
from playground.families.landmarks import LandmarkedModel, Landmarks
from playground.families.loading import config_of, load_network, reading, weight_bytes
from playground.knobs import Knob, Knobs
from playground.latent import Noise
from playground.nets.gan import AdversarialNets
from playground.nets.stylegan import GANConfig

INVERSION_STEPS = 150
SHOWN_EVERY = 10
INVERSION_RATE = 0.1
"""Step size of the search, in standard deviations of w."""
PULL = 2e-4
"""What it costs to leave the encoder's guess by one standard deviation; pictures err by about 0.05."""


class GANParams(Knobs):
    """How a GAN draws one picture."""

    truncation_psi: float = Knob(
        1.0,
        label="Truncation ψ",
        help="How far latents may stray from the average: 0 is the average picture, below 1 safer, above 1 bolder.",
        ge=0.0,
        le=1.5,
        step=0.05,
        stage="draw",
    )


@register
class GAN(LandmarkedModel):
    """A generative adversarial network learns from a quarrel: one network makes pictures, another tells them from real ones.

    The *generator* turns noise into a picture and never sees a real one. The *critic* sees both and learns to tell which is which;
    the slope of its opinion tells the generator how to become more convincing. Nobody measures pixels, so nothing is averaged and
    pictures are crisp; but nobody checks either that every kind of clothing is made. When the generator finds a few pictures that
    pass and makes nothing else, its modes have collapsed; one of the models here, whose generator outran its critic, shows how most
    of the variety is lost.

    A *mapping network* first bends the noise z into w, a space that is free to take the shape of the data, and w then modulates
    every convolution. Latents on this page are points of w: it is w that is walked through, and w that a search finds for a
    picture of yours. A GAN cannot say how likely a picture is.
    """

    family: ClassVar[str] = "gan"
    title: ClassVar[str] = "GAN"
    equation: ClassVar[str] = r"\min_G \max_D \; \mathbb{E}_x [\log D(x)] + \mathbb{E}_z [\log (1 - D(G(z)))]"
    limits: ClassVar[str] = (
        "It has no likelihood, and nothing makes it cover all that there is: rare clothing is made more seldom than it should be. A "
        "given picture has to be searched for, and what is found resembles it rather than repeats it."
    )
    look: ClassVar[Look] = Look(colour="#D55E00", glyph="▲")
    Params: ClassVar[type[Knobs]] = GANParams

    def __init__(
        self, network: AdversarialNets, landmarks: Landmarks, device: torch.device, dtype: torch.dtype, classes: tuple[str, ...]
    ) -> None:
        self.network = network.to(device, dtype).eval().requires_grad_(False)
        if device.type == "cpu":
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.landmarks, self.device, self.dtype, self.classes = landmarks, device, dtype, classes
        config = network.config
        self.latent = LatentSpec("w", (config.latent_dim,), "euclidean")
        self.image_size, self.channels = config.image_size, config.channels

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> Self:
        network, words = load_network(folder, lambda words: AdversarialNets(config_of(GANConfig, words)), device, dtype)
        with reading(folder):
            landmarks = Landmarks.load(folder / "landmarks.safetensors", device)
        return cls(network, landmarks, device, dtype, tuple(words.get("classes", ())))

    @classmethod
    def tiny(cls) -> Self:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            network = AdversarialNets(GANConfig(latent_dim=4, width=8, critic_width=8, trunk_width=16, mapping_layers=2))
            landmarks = Landmarks.tiny()
        return cls(network, landmarks, torch.device("cpu"), torch.float32, ("one", "two", "three"))

    def bytes(self) -> int:
        return weight_bytes(self.network) + self.landmarks.bytes()

    # -- from noise to picture --------------------------------------------------------------------------------------

    def draw(self, params: Knobs, noise: Noise) -> Tensor:
        assert isinstance(params, GANParams)
        z = noise.normal(self.latent.shape).to(self.device, self.dtype)
        # Row by row: a product of matrices rounds differently when the batch has another size.
        w = torch.cat([self.network.generator.mapping(row) for row in z.split(1)]).float()
        return self.landmarks.mean + params.truncation_psi * (w - self.landmarks.mean)

    def decode(self, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        yield Step(self._picture(z), index=1, total=1)

    def _picture(self, w: Tensor) -> Tensor:
        return self.network.generator.synthesis(w.to(self.dtype)).float()

    # -- from picture to latent -------------------------------------------------------------------------------------

    def encode(self, x: Tensor, params: Knobs) -> Tensor:
        return self.network.encoder(x.to(self.device, self.dtype)).float()

    def invert(self, x: Tensor, params: Knobs) -> Iterator[Inversion]:
        """Down the slope of the squared error from the encoder's guess, with a pull back to it so that w stays where pictures are."""
        # What follows is differentiated, and no tensor made in inference mode can be: all are made anew outside it.
        with torch.inference_mode(False):
            search = _Search(self, x.to(self.device, copy=True))
        for index in range(INVERSION_STEPS):
            with torch.inference_mode(False), torch.enable_grad():
                search.step(0.5 * (1 + math.cos(math.pi * index / INVERSION_STEPS)))
            if (index + 1) % SHOWN_EVERY == 0:
                w = search.w.detach().clone()
                yield Inversion(w, index + 1, INVERSION_STEPS, self._picture(w))

    # -- opinions and places ----------------------------------------------------------------------------------------

    def score(self, x: Tensor) -> Tensor:
        """The critic's raw opinion of pictures (B, C, H, W) in [-1, 1], (B,): higher is more real.

        It learned on real pictures and on those of its generator; of anything else, such as noise, it never had to think.
        """
        return self.network.critic(x.to(self.device, self.dtype))

    def direction(self, kind: str, value: str) -> Tensor | None:
        found = super().direction(kind, value)
        # A class that it never makes has no mean of its own, so there is no way to it.
        return None if kind == "class" and found is not None and found.abs().max() < 1e-4 else found

    def directions(self) -> Mapping[str, str]:
        return {name: words for name, words in super().directions().items() if self.direction(*name.split(":")) is not None}


class _Search:
    """Adam on w, all pictures of a batch at once and none minding the others."""

    def __init__(self, model: GAN, x: Tensor) -> None:
        self.model, self.x = model, x
        self.guess = model.encode(x, model.Params())
        self.w = self.guess.clone().requires_grad_()
        scale = model.landmarks.principal_std.square().mean().sqrt().item()
        self.rate, self.pull = INVERSION_RATE * scale, PULL / scale**2
        self.optimizer = torch.optim.Adam([self.w], lr=self.rate, betas=(0.9, 0.99))

    def step(self, share: float) -> None:
        """One step at that share of the step size."""
        self.optimizer.param_groups[0]["lr"] = self.rate * share
        error = (self.model._picture(self.w) - self.x).square().flatten(1).mean(dim=1)
        loss = error + self.pull * (self.w - self.guess).square().mean(dim=1)
        (self.w.grad,) = torch.autograd.grad(loss.sum(), self.w)
        self.optimizer.step()
