"""The generative adversarial network as a playground family."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor
from typing_extensions import Self

from playground.families.base import Dial, Inversion, LatentSpec, Look, Step, register
from playground.families.landmarks import OFFERED, LandmarkedModel, Landmarks
from playground.families.loading import config_of, load_network, reading, weight_bytes
from playground.knobs import Knob, Knobs, KnobSpec
from playground.latent import Noise
from playground.nets.critic import settle
from playground.nets.folding import fold
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
    cutoff: int = Knob(
        6,
        label="Truncation cutoff",
        help="How many layers ψ acts on, from the coarse end: shape is kept safe, and what later layers add is left bold.",
        ge=0,
        le=6,
        step=1,
        unit="layers",
        stage="draw",
    )
    noise: Literal["none", "own"] = Knob(
        "own",
        label="Noise inputs",
        help="Fine grain that is added beside w: each picture's own, by its seed, or none.",
        choices={"none": "none", "own": "its own"},
        stage="decode",
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
    picture of yours. Each layer may be given another w (w+), coarse layers for the shape, fine ones for the cloth. A GAN cannot
    say how likely a picture is.
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
    dial: ClassVar[Dial | None] = Dial("truncation_psi", (0.4, 0.55, 0.7, 0.85, 1.0))

    def __init__(
        self, network: AdversarialNets, landmarks: Landmarks, device: torch.device, dtype: torch.dtype, classes: tuple[str, ...]
    ) -> None:
        self.network = network.to(device, dtype).eval().requires_grad_(False)
        if device.type == "cpu":
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        fold(self.network)
        self.landmarks, self.device, self.dtype, self.classes = landmarks, device, dtype, classes
        config = network.config
        self.latent = LatentSpec("w", (len(network.generator.convolutions), config.latent_dim), "euclidean")
        self.noisy = bool(network.generator.noise_shapes())
        self.image_size, self.channels = config.image_size, config.channels

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> Self:
        network, words = load_network(folder, lambda words: AdversarialNets(config_of(GANConfig, words)), device, dtype)
        settle(network.critic)
        with reading(folder):
            landmarks = Landmarks.load(folder / "landmarks.safetensors", device)
        return cls(network, landmarks, device, dtype, tuple(words.get("classes", ())))

    @classmethod
    def tiny(cls) -> Self:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            network = AdversarialNets(GANConfig(latent_dim=4, width=8, critic_width=8, trunk_width=16, mapping_layers=2, noise=True))
            for gain in network.generator.freckles.parameters():
                gain.data.fill_(0.3)  # an untrained one is nought
            landmarks = Landmarks.tiny()
        return cls(network, landmarks, torch.device("cpu"), torch.float32, ("one", "two", "three"))

    def bytes(self) -> int:
        return weight_bytes(self.network) + self.landmarks.bytes()

    # -- from noise to picture --------------------------------------------------------------------------------------

    def knobs(self) -> tuple[KnobSpec, ...]:
        return tuple(spec for spec in super().knobs() if self.noisy or spec.name != "noise")

    def draw(self, params: Knobs, noise: Noise) -> Tensor:
        """Truncation, and its cutoff: Karras et al., arXiv 1812.04948, appendix B."""
        assert isinstance(params, GANParams)
        count, dim = self.latent.shape
        z = noise.normal((dim,)).to(self.device, self.dtype)
        w = self.network.generator.mapping.each(z).float()[:, None]
        safe = torch.arange(count, device=self.device) < params.cutoff
        psi = torch.where(safe, params.truncation_psi, 1.0)[:, None]
        return self.landmarks.mean + psi * (w - self.landmarks.mean)

    def decode(self, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        yield Step(self._picture(z, self._noise(params, noise)), index=1, total=1)

    def _noise(self, params: Knobs, noise: Noise) -> list[Tensor] | None:
        assert isinstance(params, GANParams)
        return self._inputs(noise) if params.noise == "own" else None

    def _inputs(self, noise: Noise) -> list[Tensor] | None:
        """Each picture's own noise inputs; None where the network has none."""
        shapes = self.network.generator.noise_shapes()
        return [noise.normal(shape, f"noise/{index}").to(self.device, self.dtype) for index, shape in enumerate(shapes)] or None

    def _picture(self, w: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        return self.together(self._synthesis, w.to(self.dtype), *(noise or [])).float()

    def _synthesis(self, w: Tensor, *noise: Tensor) -> Tensor:
        return self.network.generator.synthesis(w, noise or None)

    def layer_sides(self) -> tuple[int, ...]:
        return tuple(self.network.generator.layer_sides())

    def noise_sides(self) -> tuple[int, ...]:
        return tuple(shape[-1] for shape in self.network.generator.noise_shapes())

    def freckled(self, z: Tensor, noise: Noise | None, inputs: Collection[int] | None = None, strength: float = 1.0) -> Tensor:
        added = self._inputs(noise) if noise is not None else None
        if added is not None and inputs is not None:
            added = [part if index in inputs else torch.zeros_like(part) for index, part in enumerate(added)]
        return self._picture(z, None if added is None else [strength * part for part in added])

    # -- from picture to latent -------------------------------------------------------------------------------------

    def encode(self, x: Tensor, params: Knobs) -> Tensor:
        return self._everywhere(self.guess(x))

    def guess(self, x: Tensor) -> Tensor:
        """The encoder's w of pictures (B, C, H, W) in [-1, 1], (B, D)."""
        return self.together(self.network.encoder, x.to(self.device, self.dtype)).float()

    def invert(self, x: Tensor, params: Knobs) -> Iterator[Inversion]:
        """Down the slope of the squared error from the encoder's guess, with a pull back to it so that w stays where pictures are.

        One w is sought for all layers. Noise inputs are those of seed 0, with which what is found is then decoded.
        """
        # What follows is differentiated, and no tensor made in inference mode can be: all are made anew outside it.
        with torch.inference_mode(False):
            search = _Search(self, x.to(self.device, copy=True), self._noise(params, Noise([0] * len(x))))
        for index in range(INVERSION_STEPS):
            with torch.inference_mode(False), torch.enable_grad():
                search.step(0.5 * (1 + math.cos(math.pi * index / INVERSION_STEPS)))
            if (index + 1) % SHOWN_EVERY == 0:
                w = search.w.detach().clone()
                yield Inversion(self._everywhere(w), index + 1, INVERSION_STEPS, self._picture(w, search.noise))

    def passes_back(self, params: Knobs) -> int:
        return 1 + INVERSION_STEPS  # the encoder's guess, then the search

    # -- opinions and places ----------------------------------------------------------------------------------------

    def score(self, x: Tensor) -> Tensor:
        """The critic's raw opinion of pictures (B, C, H, W) in [-1, 1], (B,): higher is more real.

        It learned on real pictures and on those of its generator; of anything else, such as noise, it never had to think.
        """
        return self.together(self.network.critic, x.to(self.device, self.dtype))

    def slope(self, x: Tensor) -> Tensor:
        # Differentiated, as in `invert`: made anew outside inference mode.
        with torch.inference_mode(False), torch.enable_grad():
            given = x.detach().to(self.device, self.dtype, copy=True).requires_grad_()
            (gradient,) = torch.autograd.grad(self.network.critic(given).sum(), given)
        return gradient.float().flatten(1).norm(dim=1)

    def origin(self) -> Tensor:
        return self._everywhere(self.landmarks.mean[None])

    def direction(self, kind: str, value: str) -> Tensor | None:
        """The same offset in every layer. `sefa:N` is an eigenvector of the layers' weights, as long as one standard deviation of w."""
        index, dim = int(value), self.latent.shape[1]
        found = self.landmarks.direction(kind, value)
        if kind == "dim" and 1 <= index <= dim:
            found = torch.eye(dim, device=self.device)[index - 1]
        elif kind == "sefa" and 1 <= index <= dim:
            way = self.factors[1][index - 1]
            found = way * ((self.landmarks.principal @ way) * self.landmarks.principal_std).norm()
        elif kind == "class" and found is not None and found.abs().max() < 1e-4:
            return None  # a class that it never makes has no mean of its own, so there is no way to it
        return None if found is None else self._everywhere(found[None])

    @functools.cached_property
    def factors(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues (D,), falling, and eigenvectors (D, D), in rows, of AᵀA, where A stacks the weights by which all layers read w.

        Closed-form factorisation: Shen & Zhou, arXiv 2007.06600, equation 5. An eigenvector points where its largest number is positive.
        """
        styles = [conv.style for conv in self.network.generator.convolutions]
        a = torch.cat([style.weight.double().cpu() * style.scale for style in styles])
        values, vectors = torch.linalg.eigh(a.T @ a)
        rows = vectors.T.flip(0)
        largest = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
        return values.flip(0).clamp(min=0).float().to(self.device), (rows * largest.sign()).float().to(self.device)

    def spectrum(self, kind: str) -> Tensor:
        return self.factors[0] if kind == "sefa" else self.landmarks.principal_std.square()

    def directions(self) -> Mapping[str, str]:
        found = {name: words for name, words in super().directions().items() if self.direction(*name.split(":")) is not None}
        values = self.spectrum("sefa")[:OFFERED].tolist()
        sefa = {f"sefa:{index}": f"SeFa direction {index} · eigenvalue {value:.2f}" for index, value in enumerate(values, start=1)}
        count = sum(name.startswith("pc:") for name in found)
        return {**dict(list(found.items())[:count]), **sefa, **dict(list(found.items())[count:])}

    def principal_words(self, index: int) -> str:
        share = self.spectrum("pc")[index] / self.spectrum("pc").sum()
        return f"Principal direction {index + 1} · {100 * share:.0f} % of the variance of w"

    def _everywhere(self, w: Tensor) -> Tensor:
        """The same w (B, D) in every layer, (B, L, D)."""
        return w[:, None].expand(-1, self.latent.shape[0], -1)


class _Search:
    """Adam on w, all pictures of a batch at once and none minding the others."""

    def __init__(self, model: GAN, x: Tensor, noise: Sequence[Tensor] | None) -> None:
        self.model, self.x, self.noise = model, x, noise
        self.guess = model.guess(x)
        self.w = self.guess.clone().requires_grad_()
        scale = model.landmarks.principal_std.square().mean().sqrt().item()
        self.rate, self.pull = INVERSION_RATE * scale, PULL / scale**2
        self.optimizer = torch.optim.Adam([self.w], lr=self.rate, betas=(0.9, 0.99))

    def step(self, share: float) -> None:
        """One step at that share of the step size."""
        self.optimizer.param_groups[0]["lr"] = self.rate * share
        error = (self.model._picture(self.w, self.noise) - self.x).square().flatten(1).mean(dim=1)
        loss = error + self.pull * (self.w - self.guess).square().mean(dim=1)
        (self.w.grad,) = torch.autograd.grad(loss.sum(), self.w)
        self.optimizer.step()
