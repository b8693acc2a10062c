"""The autoencoder: minimise the squared error of decode(encode(x)), for codes cut at any length, of noisy pictures too.

Sources: Hinton & Salakhutdinov 2006; nested dropout of the code, Rippel, Gelbart & Adams, arXiv 1402.0915; denoising, Vincent et
al. 2008.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from playground.nets.autoencoder import AutoencoderConfig, ConvAutoencoder
from playground.training.codes import MAP_PICTURES, encode_all, summarise_codes
from playground.training.data import Split
from playground.training.recipes.base import Recipe, write_card_files

LEAK = 0.05
"""Slope beyond black and white: what is clamped on display costs little, but still finds its way back."""


@dataclass(frozen=True)
class AutoencoderRecipe(Recipe):
    """`ae-fashion-28`: one network for codes of 2 to 64 numbers."""

    card: ClassVar[str] = "ae-fashion-28"
    share: ClassVar[float] = 1.5
    config: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    noisy_share: float = 0.25
    """Share of the pictures that come with noise, to be taken out."""
    max_noise: float = 0.6
    """Largest standard deviation of that noise; pictures span 2."""
    favoured_sizes: tuple[int, ...] = (32, 64)
    """Half of the codes are cut at one of these lengths, the others at any."""
    fairness: float = 0.65
    """The error falls about as 1 / size to this power, and is weighed by the inverse: else short codes, which err most, decide all."""

    def network(self) -> ConvAutoencoder:
        return ConvAutoencoder(self.config)

    def loss(
        self, network: nn.Module, pictures: Tensor, labels: Tensor, rng: torch.Generator, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(network, ConvAutoencoder)
        x = pictures / 127.5 - 1
        noisy = self._uniform(x, rng) < self.noisy_share
        sigma = self.max_noise * self._uniform(x, rng) * noisy
        eps = torch.randn(x.shape, generator=rng, device=x.device)
        sizes = self.sizes(x, rng)
        raw = network.decode(network.encode((x + sigma[:, None, None, None] * eps).clamp(-1, 1)), sizes)
        shown = raw.clamp(-1, 1)
        error = (shown + LEAK * (raw - shown) - x).square().flatten(1).mean(dim=1)
        loss = (error * (sizes / self.config.latent_dim) ** self.fairness).mean()
        clean = (shown - x).square().flatten(1).mean(dim=1)[~noisy].mean().detach()
        return loss, {"psnr_db": -10 * torch.log10(clean / 4)}

    def sizes(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """How many numbers of each code are kept, (B,): a favoured size, or any, small ones as often as large on a log scale."""
        favoured = torch.tensor(self.favoured_sizes, device=x.device)
        chosen = favoured[(self._uniform(x, rng) * len(favoured)).long()]
        anything = (self.config.latent_dim ** self._uniform(x, rng)).ceil().long()
        return torch.where(self._uniform(x, rng) < 0.5, chosen, anything)

    @staticmethod
    def _uniform(x: Tensor, rng: torch.Generator) -> Tensor:
        return torch.rand(len(x), generator=rng, device=x.device)

    def export(self, network: nn.Module, folder: Path, train: Split, test: Split, facts: dict[str, object]) -> None:
        assert isinstance(network, ConvAutoencoder)
        write_card_files(folder, network, {"family": "ae", **dataclasses.asdict(self.config)}, facts)
        device = next(network.parameters()).device
        z = encode_all(network.encode, train, device)
        codes = summarise_codes(z, z, train.labels.cpu(), encode_all(network.encode, test.head(MAP_PICTURES), device))
        save_file(codes, folder / "codes.safetensors", metadata={"format": "pt"})
