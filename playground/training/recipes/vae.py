"""The VAE: maximise the evidence lower bound, E_q[log p(x | z)] - KL(q(z | x) ‖ N(0, I)).

Sources: Kingma & Welling, arXiv 1312.6114, equation 10; the warm-up of the KL term is Bowman et al., arXiv 1511.06349.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from playground.nets.likelihood import bits_per_dim, kl_to_standard_normal
from playground.nets.vae import ConvVAE, VAEConfig
from playground.training.data import FASHION_CLASSES, Split
from playground.training.recipes.base import Recipe

MAP_PICTURES = 2000
PRIOR_COMPONENTS = 20


@dataclass(frozen=True)
class VAERecipe(Recipe):
    """`vae-fashion-28`: a convolutional VAE with 32 latent dimensions."""

    card: ClassVar[str] = "vae-fashion-28"
    config: VAEConfig = field(default_factory=VAEConfig)
    kl_warmup: float = 0.1
    """The KL term counts in full from this share of the budget on."""

    def network(self) -> ConvVAE:
        return ConvVAE(self.config)

    def loss(
        self, network: nn.Module, pictures: Tensor, labels: Tensor, rng: torch.Generator, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(network, ConvVAE)
        eps = torch.randn(len(pictures), self.config.latent_dim, generator=rng, device=pictures.device)
        mu, log_var = network.posterior(pictures / 127.5 - 1)
        z = mu + torch.exp(0.5 * log_var) * eps
        distortion = -network.likelihood(z).log_prob(pictures).flatten(1).sum(dim=1).mean()
        rate = kl_to_standard_normal(mu, log_var).sum(dim=1).mean()
        dims = pictures[0].numel()
        weight = min(1.0, 0.3 + 0.7 * progress / self.kl_warmup)
        figures = {"elbo_bits_per_dim": bits_per_dim((distortion + rate).detach(), dims), "kl_nats": rate.detach()}
        return (distortion + weight * rate) / dims, figures

    def export(self, network: nn.Module, folder: Path, train: Split, test: Split, facts: dict[str, object]) -> None:
        assert isinstance(network, ConvVAE)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"family": "vae", **dataclasses.asdict(self.config), "classes": FASHION_CLASSES, "training": facts}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        weights = {name: value.detach().cpu().half().contiguous() for name, value in network.state_dict().items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        save_file(summarise_codes(network, train, test), folder / "codes.safetensors", metadata={"format": "pt"})


def summarise_codes(network: ConvVAE, train: Split, test: Split) -> dict[str, Tensor]:
    """What the encoder makes of the data set: directions, a fitted prior, the KL of each dimension, and a map.

    `mean` (D,); `principal` (D, D), unit rows by falling variance, `principal_std` (D,); `class_mean` (10, D); `kl` (D,) in
    nats; `prior_weight` (K,), `prior_mean` (K, D), `prior_factor` (K, D, D): a Gaussian mixture on the training codes;
    `map_code` (N, D), `map_layout` (N, 2) in [-1, 1]: the first N test pictures and where t-SNE puts them.
    """
    from sklearn.manifold import TSNE
    from sklearn.mixture import GaussianMixture

    mu, log_var = encode_all(network, train)
    eps = torch.randn(mu.shape, generator=torch.Generator().manual_seed(0))
    mean = mu.mean(dim=0)
    _, values, rows = torch.linalg.svd(mu - mean, full_matrices=False)
    labels = train.labels.cpu()
    prior = GaussianMixture(PRIOR_COMPONENTS, covariance_type="full", max_iter=60, random_state=0, reg_covar=1e-4)
    prior.fit((mu + torch.exp(0.5 * log_var) * eps).numpy()[:: max(1, len(mu) // 30_000)])
    map_code, _ = encode_all(network, Split(test.pictures[:MAP_PICTURES], test.labels[:MAP_PICTURES]))
    layout = TSNE(perplexity=40, init="pca", random_state=0).fit_transform(map_code.numpy())
    layout = layout / np.abs(layout).max()
    arrays = {
        "mean": mean,
        "principal": rows,
        "principal_std": values / len(mu) ** 0.5,
        "class_mean": torch.stack([mu[labels == label].mean(dim=0) for label in range(10)]),
        "kl": kl_to_standard_normal(mu, log_var).mean(dim=0),
        "prior_weight": torch.from_numpy(prior.weights_),
        "prior_mean": torch.from_numpy(prior.means_),
        "prior_factor": torch.linalg.cholesky(torch.from_numpy(prior.covariances_)),
        "map_code": map_code,
        "map_layout": torch.from_numpy(layout),
    }
    return {name: value.half().contiguous() for name, value in arrays.items()}


@torch.no_grad()
def encode_all(network: ConvVAE, split: Split, batch: int = 500) -> tuple[Tensor, Tensor]:
    """`mu` and `log_var` of every picture, each (N, D), float32 on the CPU."""
    device = next(network.parameters()).device
    pairs = [network.posterior(part.to(device) / 127.5 - 1) for part in split.pictures.split(batch)]
    mu, log_var = (torch.cat(parts).float().cpu() for parts in zip(*pairs, strict=True))
    return mu, log_var
