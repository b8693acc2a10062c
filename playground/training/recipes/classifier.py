"""The classifier whose features the evaluation compares pictures in: cross-entropy on the training split alone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from playground.nets.classifier import Classifier, ClassifierConfig
from playground.training.data import Split
from playground.training.recipes.base import Recipe, write_card_files


@dataclass(frozen=True)
class ClassifierRecipe(Recipe):
    """`classifier-fashion-28`."""

    card: ClassVar[str] = "classifier-fashion-28"
    share: ClassVar[float] = 0.5
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    max_shift: int = 2
    config: ClassifierConfig = field(default_factory=ClassifierConfig)

    def network(self) -> Classifier:
        return Classifier(self.config)

    def loss(
        self, network: nn.Module, pictures: Tensor, labels: Tensor, rng: torch.Generator, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        scores = network(self.augment(pictures / 127.5 - 1, rng))
        loss = F.cross_entropy(scores, labels, label_smoothing=self.label_smoothing)
        return loss, {"accuracy": (scores.argmax(dim=1) == labels).float().mean()}

    def augment(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Mirrors half of the pictures and shifts the batch by up to two pixels; new borders are black, as all borders are."""
        mirrored = torch.rand(len(x), generator=rng, device=x.device) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
        shift = self.max_shift
        down, right = torch.randint(0, 2 * shift + 1, (2,), generator=rng, device=x.device).tolist()
        padded = F.pad(x, (shift, shift, shift, shift), value=-1.0)
        return padded[:, :, down : down + x.shape[2], right : right + x.shape[3]]

    def export(self, network: nn.Module, folder: Path, train: Split, test: Split, facts: dict[str, object]) -> None:
        config = {"family": "classifier", **dataclasses.asdict(self.config), "test_accuracy": round(accuracy_on(network, test), 4)}
        write_card_files(folder, network, config, facts)


@torch.no_grad()
def accuracy_on(network: nn.Module, test: Split, batch: int = 500) -> float:
    """The share of test pictures that get their class, 0..1."""
    device = next(network.parameters()).device
    right = 0
    for pictures, labels in zip(test.pictures.split(batch), test.labels.split(batch), strict=True):
        right += int((network(pictures.to(device) / 127.5 - 1).argmax(dim=1).cpu() == labels.cpu()).sum())
    return right / len(test)
