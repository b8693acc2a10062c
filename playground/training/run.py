"""One training run from the command line: data, recipe, trainer, export, manifest."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from playground.cards import JUDGED, bundled_cards, find_card, write_hashes
from playground.device import device_words, pick_device
from playground.errors import UnknownCard, unknown
from playground.families import FAMILIES
from playground.families.loading import reading
from playground.training.data import load_fashion_mnist
from playground.training.pictures import BUNDLES
from playground.training.recipes.autoencoder import AutoencoderRecipe
from playground.training.recipes.base import Recipe
from playground.training.recipes.classifier import ClassifierRecipe
from playground.training.recipes.collapsed import CollapsedRecipe
from playground.training.recipes.diffusion import DiffusionRecipe
from playground.training.recipes.gan import GANRecipe, SpectralRecipe
from playground.training.recipes.glow import GlowRecipe
from playground.training.recipes.realnvp import RealNVPRecipe
from playground.training.recipes.rectified import RectifiedRecipe
from playground.training.recipes.reflow import ReflowRecipe
from playground.training.recipes.tarflow import TarFlowRecipe
from playground.training.recipes.vae import CheapRateRecipe, DearRateRecipe, EvenRateRecipe, VAERecipe
from playground.training.recipes.wgan import WGANRecipe
from playground.training.report import REPORT, write_report
from playground.training.trainer import CHECKPOINT, LOG, Budget, Trainer, writing

UNHASHED = ("README.md", "metrics.json", "sweeps.json", JUDGED, REPORT)
"""Words about the weights may change; the weights may not."""

RECIPES: dict[str, type[Recipe]] = {
    recipe.card: recipe
    for recipe in (
        AutoencoderRecipe,
        VAERecipe,
        CheapRateRecipe,
        EvenRateRecipe,
        DearRateRecipe,
        GANRecipe,
        SpectralRecipe,
        WGANRecipe,
        CollapsedRecipe,
        RealNVPRecipe,
        GlowRecipe,
        TarFlowRecipe,
        DiffusionRecipe,
        RectifiedRecipe,
        ReflowRecipe,
        ClassifierRecipe,
    )
}


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
    further: bool = False

    def run(self) -> Path:
        """Trains, exports into `weights/<card>/`, records the hashes; returns that folder. Bundled pictures are written, without training.

        Raises `UnknownCard` for a card without a recipe, `TrainingError` for all that `Trainer` refuses.
        """
        if self.card in BUNDLES:
            return self._bundle(self.card)
        recipe = self.recipe()
        train, test = (load_fashion_mnist(split, self.data) for split in ("train", "test"))
        torch.set_num_threads(self.threads or os.cpu_count() or 1)
        budget = Budget(steps=self.steps) if self.steps is not None else Budget(minutes=self.minutes)
        run = self.runs / (f"{self.card}-further" if self.further else self.card)
        if self.restart:
            for name in (CHECKPOINT, LOG):
                (run / name).unlink(missing_ok=True)
        device = pick_device(self.device)
        folder = self.weights / self.card
        start, earlier = self._start(recipe, folder)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            studied = recipe.studies(train, self.weights, self.runs / self.card, device)
        trainer = Trainer(recipe, studied, run, budget=budget, seed=self.seed, device=device, bf16=self.bf16, start=start)
        network = trainer.run()
        part = folder.with_suffix(".part")
        with writing(part):  # the card stays as it was until all its new files are there
            recipe.export(network, part, train, test, self.facts(trainer, earlier))
            folder.mkdir(parents=True, exist_ok=True)
            for file in part.iterdir():
                file.replace(folder / file.name)
            part.rmdir()
        self._record(self.card)
        if self.further:  # what it led to is in the weights now; to go on from there is another run
            trainer.checkpoint_path.unlink()
        self._report(run, folder)
        for name in BUNDLES.keys() & bundled_cards(self.weights).keys():
            if not (self.weights / name).exists():
                self._bundle(name)
        return folder

    def _bundle(self, card: str) -> Path:
        """Writes pictures of the data set that every card shares, and records their hashes."""
        folder = self.weights / card
        find_card(bundled_cards(self.weights), card)  # no folder without an entry
        BUNDLES[card].write(load_fashion_mnist(BUNDLES[card].split, self.data), folder)
        self._record(card)
        return folder

    def _start(self, recipe: Recipe, folder: Path) -> tuple[dict[str, Tensor] | None, dict[str, Any] | None]:
        """The weights to begin with and how those were trained: the card's own, another's, or none."""
        if self.further:
            return self._weights(folder)
        return self._weights(self.weights / recipe.begins_with) if recipe.begins_with else (None, None)

    def _weights(self, folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a card holds now, and how that was trained."""
        with reading(folder):
            words = json.loads((folder / "config.json").read_text())
            state = load_file(folder / "model.safetensors")
            return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}, words["training"]

    def _report(self, run: Path, folder: Path) -> None:
        card = find_card(bundled_cards(self.weights), self.card)
        family = FAMILIES.get(card.family)
        model = family.load(folder, torch.device("cpu"), torch.float32) if family else None
        write_report(run, folder, model, family.Params.parse(card.defaults) if family else None)

    def _record(self, card: str) -> None:
        names = [path.name for path in (self.weights / card).iterdir() if path.name not in UNHASHED]
        write_hashes(self.weights / "models.toml", card, names)

    def recipe(self) -> Recipe:
        """The card's recipe with the command line's changes."""
        if self.card not in RECIPES:
            raise UnknownCard(*unknown("training recipe", self.card, RECIPES))
        recipe = RECIPES[self.card]()
        return recipe if self.learning_rate is None else dataclasses.replace(recipe, learning_rate=self.learning_rate)

    def facts(self, trainer: Trainer, earlier: Mapping[str, Any] | None) -> dict[str, object]:
        """What the model card says of how the weights came to be; steps, minutes and pictures count those of `earlier` training."""
        before = earlier or {"steps": 0, "minutes": 0.0, "pictures_seen": 0}
        return {
            "command": self.command(),
            "steps": before["steps"] + trainer.step,
            "minutes": round(before["minutes"] + trainer.seconds / 60, 1),
            "pictures_seen": before["pictures_seen"] + trainer.step * trainer.recipe.batch_size,
            **({"earlier": earlier} if earlier else {}),
            "device": device_words(trainer.device),
            "date": datetime.date.today().isoformat(),
            "torch": torch.__version__,
        }

    def command(self) -> str:
        """What trains the same again."""
        words = [f"python -m playground train {self.card}"]
        words.append(f"--steps {self.steps}" if self.steps is not None else f"--minutes {self.minutes:g}")
        words.append(f"--seed {self.seed} --device {self.device}")
        words += [f"--learning-rate {self.learning_rate:g}"] if self.learning_rate is not None else []
        words += [f"--{name}" for name in ("bf16", "further") if getattr(self, name)]
        return " ".join(words)
