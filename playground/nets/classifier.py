"""A small picture classifier; its features are where generated and real pictures are compared.

Pre-activation residual blocks: He et al., arXiv 1603.05027.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class ClassifierConfig:
    """The shape of a `Classifier`; what `config.json` holds."""

    image_size: int = 28
    channels: int = 1
    num_classes: int = 10
    width: int = 32
    feature_dim: int = 128


class ResidualBlock(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x)))))), (B, width, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Classifier(nn.Module):
    """Pictures (B, C, S, S) in [-1, 1] to class scores (B, num_classes)."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.trunk = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * config.channels, width, 3, padding=1),
            ResidualBlock(width),
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * width, 2 * width, 1),
            ResidualBlock(2 * width),
            ResidualBlock(2 * width),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(9 * 2 * width, config.feature_dim),
        )
        self.head = nn.Linear(config.feature_dim, config.num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Penultimate activations after the rectifier, (B, feature_dim)."""
        return self.trunk(x).relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))
