"""Reflow: the pairs it learns from, how it weighs times and errors, and that its ways are straighter than its teacher's."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from playground.engine import Engine
from playground.families.diffusion import Diffusion, DiffusionParams
from playground.latent import Noise
from playground.nets.unet import UNetConfig
from playground.settings import Settings
from playground.training.recipes.rectified import RectifiedRecipe
from playground.training.recipes.reflow import CHUNK, ReflowRecipe
from playground.training.trainer import Budget, Trainer
from tests.toys import toy

SMALL = UNetConfig(widths=(8, 16), head_dim=8, norm_groups=4)
TEACHER = RectifiedRecipe(config=SMALL, batch_size=16, warmup_steps=5)
RECIPE = ReflowRecipe(config=SMALL, batch_size=16, warmup_steps=5, num_pairs=40, learning_rate=4e-3)
CPU = torch.device("cpu")
DEFAULTS = {"num_inference_steps": 3, "guidance_scale": 2.0, "scheduler": "euler"}
KNOBS = DiffusionParams.parse(DEFAULTS)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder of weights that holds a teacher."""
    folder = tmp_path / "weights"
    torch.manual_seed(3)
    network = TEACHER.network()
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    TEACHER.export(network, folder / TEACHER.card, toy(8), toy(8), {})
    words = 'family = "diffusion"\ntitle = "Teacher"\ndefaults = { num_inference_steps = 3, guidance_scale = 2.0, scheduler = "euler" }'
    (folder / "models.toml").write_text(f"[{TEACHER.card}]\n{words}\n")
    return folder


def test_pairs_are_what_the_teacher_makes_of_each_noise(tmp_path: Path, weights: Path):
    split = RECIPE.studies(toy(), weights, tmp_path / "run", CPU)
    assert split.pictures.shape == (40, 2, 28, 28) and split.labels.shape == (40,)
    teacher, noise = Diffusion.load(weights / TEACHER.card, CPU, torch.float32), Noise(range(40))
    z = teacher.draw(KNOBS, noise)
    torch.testing.assert_close(split.pictures[:, :1].float(), z, atol=2e-3, rtol=1e-3)
    *_, plain = teacher.decode(z, KNOBS, noise)
    torch.testing.assert_close(split.pictures[4:, 1:].float(), plain.x[4:], atol=2e-3, rtol=1e-3)
    told, _ = teacher.conditions(KNOBS, noise)
    assert torch.equal(split.labels[4:], told[4:]) and (split.labels[:4] == 10).all()
    *_, untold = teacher.decode(z[:4], DiffusionParams.parse(DEFAULTS | {"label": "none"}), Noise(range(4)))
    torch.testing.assert_close(split.pictures[:4, 1:].float(), untold.x, atol=2e-3, rtol=1e-3)


def test_pairs_are_kept_until_the_teacher_changes(tmp_path: Path, weights: Path):
    recipe, run = dataclasses.replace(RECIPE, num_pairs=CHUNK + 10), tmp_path / "run"
    first = recipe.studies(toy(), weights, run, CPU)
    files = sorted(run.iterdir())
    assert len(files) == 2
    files[1].unlink()
    kept = files[0].stat().st_mtime_ns
    again = recipe.studies(toy(), weights, run, CPU)
    assert again.fingerprint() == first.fingerprint() and files[0].stat().st_mtime_ns == kept
    fewer = dataclasses.replace(recipe, num_pairs=CHUNK + 3).studies(toy(), weights, run, CPU)
    assert len(fewer) == CHUNK + 3 and sorted(run.iterdir()) == files
    model = weights / TEACHER.card / "model.safetensors"
    save_file({name: 0.9 * value for name, value in load_file(model).items()}, model)
    other = recipe.studies(toy(), weights, run, CPU)
    assert other.fingerprint() != first.fingerprint() and files[0].stat().st_mtime_ns > kept


def test_times_lie_mostly_near_the_noise():
    times = RECIPE.times(100_000, torch.Generator().manual_seed(1), CPU)
    assert times.min() >= 0 and times.max() <= 1
    integral = torch.expm1(RECIPE.lateness * torch.linspace(0, 1, 11)) / math.expm1(RECIPE.lateness)
    torch.testing.assert_close(torch.histc(times, 10, 0, 1) / len(times), integral.diff(), atol=1e-3, rtol=0)


def test_a_large_error_counts_by_its_size_and_a_small_one_by_its_square():
    def loss(size: float) -> float:
        return RECIPE.distance(torch.full((3, 1, 4, 4), size)).item()

    assert loss(10.0) == pytest.approx(10 - RECIPE.tolerance, rel=1e-4)
    assert loss(1e-3) / loss(5e-4) == pytest.approx(4, rel=1e-2)


def test_training_on_pairs_lowers_the_loss(tmp_path: Path, weights: Path):
    pairs = RECIPE.studies(toy(), weights, tmp_path / "run", CPU)
    start = {name: value.float() for name, value in load_file(weights / TEACHER.card / "model.safetensors").items()}
    trainer = Trainer(RECIPE, pairs, tmp_path / "run", budget=Budget(steps=30), start=start)

    def loss_of(network: nn.Module) -> float:
        with torch.no_grad():
            return RECIPE.loss(network, pairs.pictures, pairs.labels, torch.Generator().manual_seed(9), 1.0)[0].item()

    before = loss_of(trainer.network)
    assert loss_of(trainer.run(quiet=True)) < 0.9 * before


def test_the_bundled_one_walks_straighter_than_its_teacher():
    engine, noise = Engine(Settings(hub="off", device="cpu")), Noise(range(6))

    def bend(card: str) -> float:
        """How far the picture of one step is from that of twenty, mean square."""
        model = engine.model(card)
        z = model.draw(model.Params(), noise)
        once, often = (model.Params.parse({"scheduler": "euler", "guidance_scale": 1.0, "num_inference_steps": steps}) for steps in (1, 20))
        *_, short = model.decode(z, once, noise)
        *_, long = model.decode(z, often, noise)
        return (short.x - long.x).square().mean().item()

    assert bend(RECIPE.card) < 0.5 * bend(TEACHER.card)
