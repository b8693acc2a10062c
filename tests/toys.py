"""Toy pictures, and recipes small enough to be trained on them in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from playground.nets.classifier import ClassifierConfig
from playground.nets.vae import VAEConfig
from playground.training.data import Split
from playground.training.recipes.classifier import ClassifierRecipe
from playground.training.recipes.vae import VAERecipe
from playground.training.trainer import Budget, Trainer

STEPS = 24  # one epoch of 16 steps and half of the next
VAE_RECIPE = VAERecipe(
    config=VAEConfig(latent_dim=4, width=8, encoder_blocks=1, decoder_blocks=1, trunk_width=16, mixture_components=2),
    batch_size=16,
    warmup_steps=5,
)
CLASSIFIER_RECIPE = ClassifierRecipe(config=ClassifierConfig(width=4, feature_dim=8), batch_size=16, warmup_steps=5)


def toy(count: int = 256, seed: int = 0) -> Split:
    """Round blobs, whose class says how wide they are."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    across, down = np.meshgrid(np.linspace(-1, 1, 28), np.linspace(-1, 1, 28))
    centres = rng.uniform(-0.3, 0.3, (count, 2))
    square = (across[None] - centres[:, :1, None]) ** 2 + (down[None] - centres[:, 1:, None]) ** 2
    blobs = 255 * np.exp(-square / (0.02 + 0.04 * labels[:, None, None]))
    return Split(torch.from_numpy(blobs.astype(np.uint8)).unsqueeze(1), torch.from_numpy(labels))


def trained(folder: Path, split: Split, recipe: Any = VAE_RECIPE, steps: int = STEPS, seed: int = 0) -> nn.Module:
    return Trainer(recipe, split, folder, budget=Budget(steps=steps), seed=seed).run(quiet=True)
