"""The variational autoencoder as a playground family."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from playground.errors import BadWeights
from playground.families.base import LatentSpec, Look, Model, Step, register
from playground.knobs import Knob, Knobs
from playground.latent import Noise
from playground.nets.likelihood import kl_to_standard_normal
from playground.nets.vae import ConvVAE, VAEConfig

_REMEDY = "Restore the card's folder (git checkout -- weights) or train it again."
NEIGHBOURS = 12


class VAEParams(Knobs):
    """How a VAE draws one picture."""

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
        help="Where latents come from: the bell curve that training aims at, or one fitted to where the codes really are.",
        choices={"standard": "N(0, I)", "fitted": "fitted to codes"},
        stage="draw",
    )
    pixels: Literal["mean", "sample"] = Knob(
        "mean",
        label="Pixels",
        help="A VAE predicts a distribution for every pixel: show its mean, or one honest draw from it.",
        choices={"mean": "mean", "sample": "one draw"},
        stage="decode",
    )


@dataclasses.dataclass
class Codes:
    """What the encoder made of the data set; see `training.recipes.vae.summarise_codes` for the shapes."""

    mean: Tensor
    principal: Tensor
    principal_std: Tensor
    class_mean: Tensor
    kl: Tensor
    prior_weight: Tensor
    prior_mean: Tensor
    prior_factor: Tensor
    map_code: Tensor
    map_layout: Tensor


@register
class VAE(Model):
    """A variational autoencoder squeezes every picture through a few numbers, and keeps those numbers bell-shaped.

    The *encoder* looks at a picture and answers with a small cloud: a mean μ and a spread σ for each latent number. The
    *decoder* turns any point of that space back into a picture. Training pulls two ways: the picture must come back well
    (reconstruction), and all clouds together must look like one standard bell curve (the KL term). Because of the second
    pull you can draw a random point, decode it, and get something that looks like clothing; because of the first you
    can walk between two pictures and see every picture on the way make sense.
    """

    family: ClassVar[str] = "vae"
    title: ClassVar[str] = "VAE"
    equation: ClassVar[str] = r"\log p(x) \;\ge\; \mathbb{E}_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x)\,\|\,\mathcal{N}(0, I))"
    limits: ClassVar[str] = (
        "The pictures are smooth: pixels are predicted independently of each other once the latent is known, so fine texture is "
        "averaged away."
    )
    look: ClassVar[Look] = Look(colour="#0072B2", glyph="◉")
    Params: ClassVar[type[Knobs]] = VAEParams

    def __init__(self, network: ConvVAE, codes: Codes, device: torch.device, dtype: torch.dtype, classes: tuple[str, ...]) -> None:
        self.network = network.to(device, dtype).eval().requires_grad_(False)
        if device.type == "cpu":
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.codes = codes
        self.device, self.dtype, self.classes = device, dtype, classes
        self.latent = LatentSpec("z", (network.config.latent_dim,), "gaussian")
        self.image_size, self.channels = network.config.image_size, network.config.channels

    # -- weights ----------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> VAE:
        try:
            config = json.loads((folder / "config.json").read_text())
            known = {field.name for field in dataclasses.fields(VAEConfig)}
            with torch.device("meta"):
                network = ConvVAE(VAEConfig(**{key: value for key, value in config.items() if key in known}))
            state = load_file(folder / "model.safetensors", device=str(device))
            network.load_state_dict({name: value.to(dtype) for name, value in state.items()}, assign=True)
            codes = Codes(**{name: value.float() for name, value in load_file(folder / "codes.safetensors", device=str(device)).items()})
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            raise BadWeights(f"The weights in {folder} cannot be used: {error}.", _REMEDY) from error
        return cls(network, codes, device, dtype, tuple(config.get("classes", ())))

    @classmethod
    def tiny(cls) -> VAE:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            network = ConvVAE(VAEConfig(latent_dim=4, width=8, encoder_blocks=1, decoder_blocks=1, trunk_width=16))
            for parameter in network.parameters():
                if parameter.dim() > 1:
                    parameter.data.mul_(1.7)  # away from initialisation, so that every knob shows
            codes = Codes(
                mean=0.1 * torch.randn(4),
                principal=torch.linalg.qr(torch.randn(4, 4)).Q,
                principal_std=torch.tensor([1.2, 0.9, 0.6, 0.1]),
                class_mean=torch.randn(3, 4),
                kl=torch.tensor([2.1, 1.4, 0.3, 0.001]),
                prior_weight=torch.tensor([0.5, 0.5]),
                prior_mean=torch.randn(2, 4),
                prior_factor=torch.linalg.cholesky(torch.eye(4).expand(2, 4, 4) * 0.5),
                map_code=torch.randn(20, 4),
                map_layout=torch.rand(20, 2) * 2 - 1,
            )
        return cls(network, codes, torch.device("cpu"), torch.float32, ("one", "two", "three"))

    def bytes(self) -> int:
        tensors = [*self.network.state_dict().values(), *vars(self.codes).values()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    # -- from noise to picture --------------------------------------------------------------------------------------

    def draw(self, params: Knobs, noise: Noise) -> Tensor:
        assert isinstance(params, VAEParams)
        eps = params.temperature * noise.normal(self.latent.shape).to(self.device)
        if params.prior == "standard":
            return eps
        which = noise.uniform((1,), "component").to(self.device)
        component = torch.searchsorted(self.codes.prior_weight.cumsum(0), which).clamp(max=len(self.codes.prior_weight) - 1)
        component = component.squeeze(1)
        offset = (self.codes.prior_factor[component] * eps[:, None]).sum(dim=-1)
        return self.codes.prior_mean[component] + offset

    def decode(self, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        assert isinstance(params, VAEParams)
        likelihood = self.network.likelihood(z.to(self.dtype))
        if params.pixels == "mean":
            x = likelihood.mean()
        else:
            uniform = noise.uniform((2, self.image_size, self.image_size), "pixels")
            x = likelihood.sample(uniform.to(self.device))
        yield Step(x.float(), index=1, total=1)

    # -- from picture to latent -------------------------------------------------------------------------------------

    def encode(self, x: Tensor) -> Tensor:
        return self.posterior(x)[0]

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = self.network.posterior(x.to(self.device, self.dtype))
        return mu.float(), log_var.float()

    def average_kl(self) -> Tensor:
        return self.codes.kl

    def evidence(self, x: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        mu, log_var = self.posterior(x)
        z = mu + torch.exp(0.5 * log_var) * noise.normal(self.latent.shape, "posterior").to(self.device)
        levels = ((x.to(self.device) + 1) * 127.5).round()
        distortion = -self.network.likelihood(z.to(self.dtype)).log_prob(levels).flatten(1).sum(dim=1)
        return distortion.float(), kl_to_standard_normal(mu, log_var).sum(dim=1)

    # -- directions and map -----------------------------------------------------------------------------------------

    def origin(self) -> Tensor:
        return self.codes.mean[None]

    def direction(self, kind: str, value: str) -> Tensor | None:
        index = int(value)
        if kind == "pc" and 1 <= index <= len(self.codes.principal):
            return (self.codes.principal[index - 1] * self.codes.principal_std[index - 1])[None]
        if kind == "class" and 0 <= index < len(self.codes.class_mean):
            return (self.codes.class_mean[index] - self.codes.mean)[None]
        return super().direction(kind, value)

    def directions(self) -> Mapping[str, str]:
        share = self.codes.principal_std.square() / self.codes.principal_std.square().sum()
        count = min(10, len(share))
        principal = {f"pc:{i + 1}": f"Principal direction {i + 1} · {100 * share[i]:.0f} % of the spread" for i in range(count)}
        classes = {f"class:{i}": f"Towards {name}" for i, name in enumerate(self.classes)}
        order = self.codes.kl.argsort(descending=True).tolist()
        axes = {f"dim:{i + 1}": f"Dimension {i + 1} · KL {self.codes.kl[i]:.2f} nats" for i in order}
        return {**principal, **classes, **axes}

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
