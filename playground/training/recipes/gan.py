"""The GAN: a critic learns to tell pictures from makings, a generator to pass; an encoder learns the way back beside them.

Sources: Goodfellow et al., arXiv 1406.2661, with the loss that does not saturate; the penalty R1 on the critic's slope at real
pictures, Mescheder et al., arXiv 1801.04406, equation 9.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from playground.families.loading import load_classifier
from playground.nets.gan import AdversarialNets
from playground.nets.stylegan import GANConfig
from playground.training.codes import summarise_landmarks
from playground.training.data import Split
from playground.training.evaluate import CLASSIFIER
from playground.training.recipes.base import Recipe, Turn, write_card_files

LANDMARK_PICTURES = 10_000
W_WEIGHT = 0.1
"""What an error of the encoder in w counts beside one in the picture."""

Figures = dict[str, Tensor]


@dataclass(frozen=True)
class AdversarialRecipe(Recipe):
    """What all GANs share: three networks that take turns, and the noise that they start from."""

    config: GANConfig = field(default_factory=GANConfig)
    batch_size: int = 32
    learning_rate: float = 2e-3
    betas: tuple[float, float] = (0.0, 0.99)
    weight_decay: float = 0.0
    gradient_clip: float = 1000.0
    """Only against accidents: a critic's gradients are large where it is steep, and that is its message."""
    penalised: int = 8
    """Pictures of each batch at which the slope is measured: second derivatives are dear, and a part will do."""
    encoded: int = 8
    """Pictures of each batch that the encoder learns from, and as many generated ones."""
    decay_from: float = 0.6
    """The learning rate stays until this share of the budget, so that the two keep their balance, and then falls."""

    def network(self) -> AdversarialNets:
        return AdversarialNets(self.config)

    def schedule(self, progress: float) -> float:
        late = max(0.0, progress - self.decay_from) / (1 - self.decay_from)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * late))

    def turns(self) -> tuple[Turn, ...]:
        return (
            Turn("critic", lambda network: _gan(network).critic.parameters(), self.critic_loss),
            Turn("generator", lambda network: _gan(network).generator.parameters(), self.loss),
            Turn("encoder", lambda network: _gan(network).encoder.parameters(), self.encoder_loss),
        )

    def critic_loss(
        self, network: nn.Module, pictures: Tensor, labels: Tensor, rng: torch.Generator, progress: float
    ) -> tuple[Tensor, Figures]:
        """How badly the critic tells real from made, and how steep it is; `loss` is the generator's."""
        gan, real = _gan(network), pictures / 127.5 - 1
        with torch.no_grad():
            fake = gan(self.noise(len(real), rng), rng).float()
        of_real, of_fake = gan.critic(torch.cat([real, fake])).chunk(2)
        figures = {"real": of_real.detach().mean(), "fake": of_fake.detach().mean()}
        penalty = self.penalty(gan.critic, real[: self.penalised], fake[: self.penalised], rng)
        return self.verdict(of_real, of_fake) + penalty, {**figures, "penalty": penalty.detach()}

    @abc.abstractmethod
    def verdict(self, of_real: Tensor, of_fake: Tensor) -> Tensor:
        """The critic's loss for its scores (B,) of real and of generated pictures."""

    @abc.abstractmethod
    def penalty(self, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
        """What the critic pays for being steep, at pictures (B, C, H, W) in [-1, 1]."""

    def encoder_loss(
        self, network: nn.Module, pictures: Tensor, labels: Tensor, rng: torch.Generator, progress: float
    ) -> tuple[Tensor, Figures]:
        """The way back: to the known w of generated pictures, and to any w that gives the real ones."""
        gan, real = _gan(network), pictures[: self.encoded] / 127.5 - 1
        with torch.no_grad():
            w = gan.generator.mapping(self.noise(len(real), rng)).float()
            fake = gan.generator.synthesis(w, gan.generator.random_noise(len(w), rng)).float()
        guess = gan.encoder(torch.cat([real, fake])).float()
        of_real, of_fake = guess.chunk(2)
        picture_error = (gan.generator.synthesis(of_real).float() - real).square().mean()
        w_error = (of_fake - w).square().mean() / w.var().clamp(min=1e-6)
        figures = {"w_error": w_error.detach(), "psnr_db": -10 * torch.log10(picture_error.detach() / 4)}
        return picture_error + W_WEIGHT * w_error, figures

    def noise(self, count: int, rng: torch.Generator) -> Tensor:
        """z of N(0, I), (count, latent_dim)."""
        return torch.randn(count, self.config.latent_dim, generator=rng, device=rng.device)

    def export(self, network: nn.Module, folder: Path, train: Split, test: Split, facts: dict[str, object]) -> None:
        write_card_files(folder, network, {"family": "gan", **dataclasses.asdict(self.config)}, facts)
        landmarks = landmarks_of(_gan(network), folder.parent / CLASSIFIER)
        save_file(landmarks, folder / "landmarks.safetensors", metadata={"format": "pt"})


@dataclass(frozen=True)
class GANRecipe(AdversarialRecipe):
    """`gan-fashion-28`: the original game, calmed by R1."""

    card: ClassVar[str] = "gan-fashion-28"
    share: ClassVar[float] = 2.5
    neutral: ClassVar[tuple[str, ...]] = ("gain",)
    config: GANConfig = field(default_factory=lambda: GANConfig(noise=True))
    gamma: float = 0.5
    """Weight of R1: too little and the critic outruns the generator, too much and it sees nothing."""

    def loss(self, network: nn.Module, pictures: Tensor, labels: Tensor, rng: torch.Generator, progress: float) -> tuple[Tensor, Figures]:
        gan = _gan(network)
        return F.softplus(-gan.critic(gan(self.noise(len(pictures), rng), rng))).mean(), {}

    def verdict(self, of_real: Tensor, of_fake: Tensor) -> Tensor:
        return F.softplus(-of_real).mean() + F.softplus(of_fake).mean()

    def penalty(self, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
        if self.gamma == 0:
            return real.new_zeros(())
        return self.gamma / 2 * squared_slope(critic, real).mean()


@dataclass(frozen=True)
class SpectralRecipe(GANRecipe):
    """`gan-spectral-fashion-28`: the same, calmed by bounding each layer of the critic instead (Miyato et al., arXiv 1802.05957)."""

    card: ClassVar[str] = "gan-spectral-fashion-28"
    share: ClassVar[float] = 1.0
    config: GANConfig = field(default_factory=lambda: GANConfig(noise=True, spectral_norm=True))
    gamma: float = 0.0


def squared_slope(critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """|∇D(x)|² at each picture, (B,), for a critic D: (B, C, H, W) to (B,); itself differentiable."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1)


@torch.no_grad()
def landmarks_of(gan: AdversarialNets, classifier: Path) -> dict[str, Tensor]:
    """The middle of w and its principal directions (Härkönen et al., arXiv 2004.02546), and, when there is a classifier in
    that folder to name generated pictures, the mean w of each class."""
    device = next(gan.parameters()).device
    z = torch.randn(LANDMARK_PICTURES, gan.config.latent_dim, generator=torch.Generator().manual_seed(0)).to(device)
    w = gan.generator.mapping(z).float()
    if not classifier.exists():
        found = summarise_landmarks(w.cpu(), torch.full((len(w),), -1), rank=w.shape[1])
        return found | {"class_mean": found["class_mean"][:0]}
    judge = load_classifier(classifier)
    labels = torch.cat([judge(gan.generator.synthesis(part).float().cpu()).argmax(dim=1) for part in w.split(250)])
    return summarise_landmarks(w.cpu(), labels, rank=w.shape[1])


def _gan(network: nn.Module) -> AdversarialNets:
    assert isinstance(network, AdversarialNets)
    return network
