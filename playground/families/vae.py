"""The variational autoencoder as a playground family."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from typing_extensions import Self

from playground.families.base import Geometry, Look, Step, register
from playground.families.codes import CodedModel, CodedParams, Codes
from playground.knobs import Knob, Knobs
from playground.latent import Noise
from playground.nets.conv import ConvConfig
from playground.nets.likelihood import LogisticMixture, kl_to_standard_normal
from playground.nets.vae import ConvVAE, VAEConfig


class VAEParams(CodedParams):
    """How a VAE draws one picture."""

    pixels: Literal["mean", "sample"] = Knob(
        "mean",
        label="Pixels",
        help="A VAE predicts a distribution for every pixel: show its mean, or one honest draw from it.",
        choices={"mean": "mean", "sample": "one draw"},
        stage="decode",
    )


@dataclasses.dataclass
class VAECodes(Codes):
    """Codes with the KL of each dimension in nats, (D,)."""

    kl: Tensor

    @classmethod
    def tiny(cls, dim: int = 4, **more: Tensor) -> Self:
        return super().tiny(dim, kl=torch.tensor([2.1, 1.4, 0.3, 0.001]), **more)


@register
class VAE(CodedModel[ConvVAE, VAECodes]):
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
    Network: ClassVar[type[nn.Module]] = ConvVAE
    Config: ClassVar[type[ConvConfig]] = VAEConfig
    Summary: ClassVar[type[Codes]] = VAECodes
    geometry: ClassVar[Geometry] = "gaussian"
    noisy = True  # pixels can be drawn
    beta: float = 1.0

    def read(self, words: Mapping[str, Any]) -> None:
        self.beta = float(words.get("beta", self.beta))

    # -- from noise to picture --------------------------------------------------------------------------------------

    def decode(self, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        assert isinstance(params, VAEParams)
        likelihood = self._likelihood(z)
        if params.pixels == "mean":
            x = likelihood.mean()
        else:
            uniform = noise.uniform((2, self.image_size, self.image_size), "pixels")
            x = likelihood.sample(uniform.to(self.device))
        yield Step(x.float(), index=1, total=1)

    # -- from picture to latent -------------------------------------------------------------------------------------

    def encode(self, x: Tensor, params: Knobs) -> Tensor:
        return self.posterior(x)[0]

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = self.together(self.network.posterior, x.to(self.device, self.dtype))
        return mu.float(), log_var.float()

    def average_kl(self) -> Tensor:
        return self.codes.kl

    def evidence(self, x: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        mu, log_var = self.posterior(x)
        z = mu + torch.exp(0.5 * log_var) * noise.normal(self.latent.shape, "posterior").to(self.device)
        return -self._log_likelihood(x, z), kl_to_standard_normal(mu, log_var).sum(dim=1)

    def log_weights(self, x: Tensor, noise: Noise, num_draws: int) -> Tensor:
        mu, log_var = self.posterior(x)
        eps = noise.normal((num_draws, *self.latent.shape), "posterior").to(self.device).transpose(0, 1)
        z = mu + torch.exp(0.5 * log_var) * eps
        log_ratio = 0.5 * (eps.square() - z.square() + log_var).sum(dim=2)  # log p(z) / q(z | x): their 2π cancels
        again = x.expand(num_draws, *x.shape).flatten(0, 1)
        return log_ratio + self._log_likelihood(again, z.flatten(0, 1)).view(num_draws, len(x))

    def _log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        levels = ((x.to(self.device) + 1) * 127.5).round()
        return self._likelihood(z).log_prob(levels).flatten(1).sum(dim=1).float()

    def _likelihood(self, z: Tensor) -> LogisticMixture:
        return LogisticMixture(self.together(self.network.decoder, z.to(self.dtype)))

    def axes(self) -> Mapping[str, str]:
        order = self.codes.kl.argsort(descending=True).tolist()
        return {f"dim:{i + 1}": f"Dimension {i + 1} · KL {self.codes.kl[i]:.2f} nats" for i in order}
