"""What a recipe must say. The trainer knows nothing else of a family."""

from __future__ import annotations

import abc
import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from playground.training.data import FASHION_CLASSES, Split

Loss = Callable[[nn.Module, Tensor, Tensor, torch.Generator, float], tuple[Tensor, dict[str, Tensor]]]
"""`Recipe.loss`, and what stands in its place in a turn."""


@dataclasses.dataclass(frozen=True)
class Turn:
    """One of the moves of a training step: whose weights move, down which loss, and how often. `name` is "" where there is only one."""

    name: str
    parameters: Callable[[nn.Module], Iterable[nn.Parameter]]
    loss: Loss
    times: int = 1


@dataclasses.dataclass(frozen=True)
class Recipe(abc.ABC):
    """How one card is trained: network, loss, and the optimiser's numbers. Fields are what two runs must share to resume."""

    card: ClassVar[str]
    share: ClassVar[float] = 1.0
    """How much of a common budget this card should get, beside the others'."""
    begins_with: ClassVar[str] = ""
    """Another card, with whose weights this one begins."""
    neutral: ClassVar[tuple[str, ...]] = ()
    """Last parts of the names of weights that change nothing when they are new: what was trained without them can go on with them."""
    log_every: ClassVar[int] = 50
    """Steps between two lines of the log, which are means over them."""
    batch_size: int = 128
    learning_rate: float = 4e-3
    betas: tuple[float, float] = (0.9, 0.99)
    """How long the optimiser remembers gradients and their squares."""
    weight_decay: float = 1e-4
    warmup_steps: int = 200
    gradient_clip: float = 1.0
    ema_decay: float = 0.999

    @abc.abstractmethod
    def network(self) -> nn.Module:
        """A freshly initialised network."""

    @abc.abstractmethod
    def loss(
        self, network: nn.Module, pictures: Tensor, labels: Tensor, rng: torch.Generator, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and figures for the progress bar.

        `pictures` are uint8 grey levels (B, 1, H, W), `labels` int64 (B,), `progress` the share of the budget used, 0..1.
        """

    def studies(self, train: Split, weights: Path, run: Path, device: torch.device) -> Split:
        """What it learns from: the training pictures, unless it learns from what another card in `weights` makes.

        What takes long to make is kept in the folder `run`. Raises `BadWeights`.
        """
        return train

    def turns(self) -> tuple[Turn, ...]:
        """The moves of a step, each on its own batch with its own optimiser; adversaries take turns."""
        return (Turn("", nn.Module.parameters, self.loss),)

    def schedule(self, progress: float) -> float:
        """The share of the learning rate at that share of the budget: half a cosine down to 0.005."""
        return 0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * progress))

    @abc.abstractmethod
    def export(self, network: nn.Module, folder: Path, train: Split, test: Split, facts: dict[str, object]) -> None:
        """Writes the card's folder: `config.json` (with `facts` of the run), `model.safetensors` and what else it needs."""

    def configuration(self) -> dict[str, object]:
        """All that decides the result besides seed and budget; a checkpoint of another configuration is refused."""
        return {"card": self.card, **dataclasses.asdict(self)}


def write_card_files(folder: Path, network: nn.Module, config: Mapping[str, object], facts: Mapping[str, object]) -> None:
    """Writes `config.json` and `model.safetensors` (floating-point numbers in half precision)."""
    folder.mkdir(parents=True, exist_ok=True)
    words = {**config, "classes": FASHION_CLASSES, "training": facts}
    (folder / "config.json").write_text(json.dumps(words, indent=2) + "\n")
    weights = {
        name: (value.half() if value.is_floating_point() else value).cpu().contiguous() for name, value in network.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
