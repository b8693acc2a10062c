"""One training run from the command line: data, recipe, trainer, export, manifest."""

from __future__ import annotations

import dataclasses
import datetime
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from playground.cards import write_hashes
from playground.device import device_words, pick_device
from playground.errors import UnknownCard
from playground.training.data import load_fashion_mnist
from playground.training.pictures import write_shelf
from playground.training.recipes.autoencoder import AutoencoderRecipe
from playground.training.recipes.base import Recipe
from playground.training.recipes.classifier import ClassifierRecipe
from playground.training.recipes.vae import VAERecipe
from playground.training.trainer import Budget, Trainer

SHELF = "pictures-fashion-28"
UNHASHED = ("README.md", "metrics.json")
"""Words about the weights may change; the weights may not."""

RECIPES: dict[str, type[Recipe]] = {recipe.card: recipe for recipe in (AutoencoderRecipe, VAERecipe, ClassifierRecipe)}


@dataclass(frozen=True)
class TrainingRun:
    """What `python -m playground train` was asked for."""

    card: str
    minutes: float
    steps: int | None
    seed: int
    device: str
    threads: int
    learning_rate: float | None
    data: Path
    runs: Path
    weights: Path
    restart: bool = False
    bf16: bool = False

    def run(self) -> Path:
        """Trains, exports into `weights/<card>/`, records the hashes; returns that folder.

        Raises `UnknownCard` for a card without a recipe, `TrainingError` for all that `Trainer` refuses.
        """
        recipe = self.recipe()
        train, test = (load_fashion_mnist(split, self.data) for split in ("train", "test"))
        torch.set_num_threads(self.threads or os.cpu_count() or 1)
        budget = Budget(steps=self.steps) if self.steps is not None else Budget(minutes=self.minutes)
        if self.restart:
            (self.runs / self.card / "checkpoint.pt").unlink(missing_ok=True)
        device = pick_device(self.device)
        trainer = Trainer(recipe, train, self.runs / self.card, budget=budget, seed=self.seed, device=device, bf16=self.bf16)
        network = trainer.run()
        folder = self.weights / self.card
        recipe.export(network, folder, train, test, self.facts(trainer))
        self._record(self.card)
        if not (self.weights / SHELF).exists():
            write_shelf(test, self.weights / SHELF)
            self._record(SHELF)
        return folder

    def _record(self, card: str) -> None:
        names = [path.name for path in (self.weights / card).iterdir() if path.name not in UNHASHED]
        write_hashes(self.weights / "models.toml", card, names)

    def recipe(self) -> Recipe:
        """The card's recipe with the command line's changes."""
        if self.card not in RECIPES:
            raise UnknownCard(f"There is no training recipe for {self.card!r}.", f"There are: {', '.join(RECIPES)}.")
        recipe = RECIPES[self.card]()
        return recipe if self.learning_rate is None else dataclasses.replace(recipe, learning_rate=self.learning_rate)

    def facts(self, trainer: Trainer) -> dict[str, object]:
        """What the model card says of how the weights came to be."""
        budget = f"--steps {self.steps}" if self.steps is not None else f"--minutes {self.minutes:g}"
        return {
            "command": f"python -m playground train {self.card} {budget} --seed {self.seed} --device {self.device}{' --bf16' * self.bf16}",
            "steps": trainer.step,
            "minutes": round(trainer.seconds / 60, 1),
            "pictures_seen": trainer.step * trainer.recipe.batch_size,
            "device": device_words(trainer.device),
            "date": datetime.date.today().isoformat(),
            "torch": torch.__version__,
        }
