"""What the normalizing flows share: maximise the exact log-likelihood of uniformly dequantised pictures.

Sources: Dinh, Sohl-Dickstein & Bengio, arXiv 1605.08803; uniform dequantisation, Theis, van den Oord & Bethge, arXiv 1511.01844.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from playground.nets.likelihood import bits_per_dim
from playground.training.codes import encode_all, summarise_landmarks
from playground.training.data import Split
from playground.training.recipes.base import Recipe, write_card_files

CODED_PICTURES = 10_000
"""How many training pictures tell where classes and directions lie among the latents."""
RANK = 10


@dataclass(frozen=True)
class FlowRecipe(Recipe):
    """Base of the flows' recipes. Their networks map pictures in [0, 1] to latents (B, D) and a log-determinant (B,)."""

    architecture: ClassVar[str]
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.0

    def loss(
        self, network: nn.Module, pictures: Tensor, labels: Tensor, rng: torch.Generator, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        nats = -network.log_prob(dequantised(pictures, rng)).mean()  # type: ignore[operator]
        return nats / pictures[0].numel(), {"bits_per_dim": native_bits(nats, pictures[0].numel())}

    def export(self, network: nn.Module, folder: Path, train: Split, test: Split, facts: dict[str, object]) -> None:
        words = {"family": "flow", "architecture": self.architecture, **self.words(network)}
        write_card_files(folder, network, words, facts)
        known = train.head(CODED_PICTURES)
        z = encode_all(lambda x: network((x * 255 + 256) / 512)[0], known, next(network.parameters()).device)
        landmarks = summarise_landmarks(z, known.labels.cpu(), RANK)
        save_file(landmarks, folder / "landmarks.safetensors", metadata={"format": "pt"})

    def words(self, network: nn.Module) -> dict[str, object]:
        """The network's configuration."""
        config = network.config
        assert dataclasses.is_dataclass(config) and not isinstance(config, type)
        return dataclasses.asdict(config)


def dequantised(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """(levels + u)/256 in [0, 1), u uniform: grey levels 0..255 (B, 1, H, W) as a density can see them."""
    return (pictures + torch.rand(pictures.shape, generator=rng, device=pictures.device)) / 256


def native_bits(nats: Tensor, dims: int) -> Tensor:
    """Bits per dimension of 8-bit pictures from -log p in [0, 1] units: a grey level is 1/256 wide."""
    return bits_per_dim(nats.detach() + dims * math.log(256), dims)
