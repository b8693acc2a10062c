"""Runs and the command that starts them: what they write, what they begin with, and one sentence for a mistake."""

from __future__ import annotations

import dataclasses
import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from playground import hub
from playground.__main__ import main
from playground.cards import bundled_cards
from playground.errors import BadWeights, TrainingError, UnknownCard
from playground.nets.classifier import ClassifierConfig
from playground.settings import Settings
from playground.shelf import Shelf
from playground.training import run as run_module
from playground.training.data import FASHION_CLASSES, Split, load_fashion_mnist
from playground.training.pictures import BUNDLES
from playground.training.recipes.classifier import ClassifierRecipe
from playground.training.recipes.gan import GANRecipe
from playground.training.recipes.vae import VAERecipe
from playground.training.run import TrainingRun
from playground.training.trainer import Budget, Trainer
from tests.toys import CLASSIFIER_RECIPE, toy


@pytest.fixture(scope="module")
def pictures() -> Split:
    return toy()


def run_of(card: str, folder: Path, **options: Any) -> TrainingRun:
    plain = {"minutes": 1.0, "steps": 3, "seed": 0, "device": "cpu", "threads": 1, "learning_rate": None, "data": folder / "data"}
    places = {"runs": folder / "runs", "weights": folder / "weights"}
    return TrainingRun(card=card, **(places | plain | options))


def test_a_run_writes_card_shelf_and_hashes(tmp_path: Path, pictures: Split, monkeypatch: pytest.MonkeyPatch):
    test = toy(220, seed=1)
    monkeypatch.setattr(run_module, "load_fashion_mnist", lambda split, folder: pictures if split == "train" else test)
    monkeypatch.setitem(run_module.RECIPES, CLASSIFIER_RECIPE.card, lambda: CLASSIFIER_RECIPE)
    card = "classifier-fashion-28"
    manifest = tmp_path / "weights" / "models.toml"
    manifest.parent.mkdir()
    entries = {card: "classifier"} | dict.fromkeys(BUNDLES, "pictures")
    manifest.write_text("\n".join(f'[{name}]\nfamily = "{family}"\ntitle = "Toy"\n' for name, family in entries.items()))
    folder = run_of(card, tmp_path).run()
    assert folder == tmp_path / "weights" / card
    cards = bundled_cards(tmp_path / "weights")
    assert set(cards[card].files) == {"config.json", "model.safetensors"}
    assert hub.resolve(cards[card], weights_dir=tmp_path / "weights", allow_hub=False) == folder  # the hashes fit
    assert np.array_equal(Shelf.load(tmp_path / "weights" / "pictures-fashion-28").pictures[..., 0], test.pictures[:, 0].numpy())
    near = Shelf.load(tmp_path / "weights" / "training-fashion-28")
    assert np.allclose(near.pictures[..., 0], pictures.pictures[:, 0].numpy(), atol=40)
    facts = json.loads((folder / "config.json").read_text())["training"]
    assert facts["command"] == f"python -m playground train {card} --steps 3 --seed 0 --device cpu"
    assert (facts["steps"], facts["pictures_seen"]) == (3, 48)
    first = (folder / "model.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="another seed"):
        run_of(card, tmp_path, seed=1).run()
    assert (folder / "model.safetensors").read_bytes() == first
    run_of(card, tmp_path, seed=1, restart=True).run()
    assert (folder / "model.safetensors").read_bytes() != first


@pytest.fixture
def weights(tmp_path: Path, pictures: Split, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights whose one card, the classifier, trains in no time on a toy data set."""
    monkeypatch.setattr(run_module, "load_fashion_mnist", lambda split, folder: pictures)
    monkeypatch.setitem(run_module.RECIPES, CLASSIFIER_RECIPE.card, lambda: CLASSIFIER_RECIPE)
    folder = tmp_path / "weights"
    folder.mkdir()
    entries = (f'[{name}]\nfamily = "toy"\ntitle = "Toy"\n' for name in (CLASSIFIER_RECIPE.card, *BUNDLES))
    (folder / "models.toml").write_text("".join(entries))
    return folder


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device (os error 28)")]
)
def test_a_disk_that_fills_up_during_the_export_leaves_the_card_as_it_was(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    card = CLASSIFIER_RECIPE.card
    folder = run_of(card, tmp_path).run()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def export(self: ClassifierRecipe, network: nn.Module, folder: Path, *rest: object) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half of it")
        raise error

    monkeypatch.setattr(ClassifierRecipe, "export", export)
    with pytest.raises(TrainingError, match=r"could not be written .*No space left.*Free some disk space"):
        run_of(card, tmp_path, steps=4).run()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert {path.name for path in weights.iterdir()} <= {card, *BUNDLES, "models.toml", "models.lock"}


def test_further_training_begins_with_the_weights_and_says_so(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch):
    card = CLASSIFIER_RECIPE.card
    with pytest.raises(BadWeights, match="cannot be used"):
        run_of(card, tmp_path, further=True).run()
    file = run_of(card, tmp_path).run() / "model.safetensors"
    first = load_file(file)
    run_of(card, tmp_path, further=True, steps=1, learning_rate=1e-9).run()
    after = load_file(file)
    moved = [name for name in first if "running" not in name and first[name].is_floating_point()]
    assert all(torch.allclose(first[name].float(), after[name].float(), atol=1e-3) for name in moved)
    facts = json.loads((weights / card / "config.json").read_text())["training"]
    assert (facts["steps"], facts["pictures_seen"], facts["earlier"]["steps"]) == (4, 64, 3)
    assert (
        facts["command"].endswith("--steps 1 --seed 0 --device cpu --learning-rate 1e-09 --further")
        and "--further" not in facts["earlier"]["command"]
    )
    other = dataclasses.replace(CLASSIFIER_RECIPE, config=ClassifierConfig(width=8, feature_dim=8))
    monkeypatch.setitem(run_module.RECIPES, card, lambda: other)
    with pytest.raises(TrainingError, match="do not fit its recipe"):
        run_of(card, tmp_path, further=True).run()


def test_a_card_may_begin_with_the_weights_of_another(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch):
    card = CLASSIFIER_RECIPE.card
    first = load_file(run_of(card, tmp_path).run() / "model.safetensors")

    class Later(ClassifierRecipe):
        begins_with = card

    later = Later(**vars(CLASSIFIER_RECIPE))
    monkeypatch.setitem(run_module.RECIPES, card, lambda: later)
    folder = run_of(card, tmp_path, restart=True, steps=1, learning_rate=1e-9).run()
    after = load_file(folder / "model.safetensors")
    moved = [name for name in first if "running" not in name and first[name].is_floating_point()]
    assert all(torch.allclose(first[name].float(), after[name].float(), atol=1e-3) for name in moved)
    assert json.loads((folder / "config.json").read_text())["training"]["earlier"]["steps"] == 3


def test_older_weights_without_a_neutral_part_go_on(tmp_path: Path):
    recipe = GANRecipe()
    start = {name: value for name, value in recipe.network().state_dict().items() if not name.endswith("gain") or "attention" in name}
    trainer = Trainer(recipe, toy(8), tmp_path, budget=Budget(steps=1), start=start)
    gains = [value for name, value in trainer.network.state_dict().items() if "freckles" in name]
    assert len(gains) == 4 and not any(gain.any() for gain in gains)
    assert all(torch.equal(trainer.network.state_dict()[name], value) for name, value in start.items())
    short = {name: value for name, value in start.items() if "paint" not in name}
    with pytest.raises(TrainingError, match="do not fit its recipe"):
        Trainer(recipe, toy(8), tmp_path, budget=Budget(steps=1), start=short)


@pytest.mark.parametrize("name", BUNDLES)
def test_bundled_pictures_are_the_first_of_their_split(tmp_path: Path, name: str):
    split = toy(60, seed=3)
    exact = dataclasses.replace(BUNDLES[name], quality=None)
    exact.write(split, tmp_path)
    shelf = Shelf.load(tmp_path)
    assert shelf.classes == FASHION_CLASSES
    assert shelf.labels.tolist() == split.labels.tolist()
    assert np.array_equal(shelf.picture(37)[..., 0], split.pictures[37, 0].numpy())
    few = dataclasses.replace(exact, count=7)
    few.write(split, tmp_path)
    assert np.array_equal(Shelf.load(tmp_path).pictures, shelf.pictures[:7])
    bundled = Settings().weights_dir / name
    BUNDLES[name].write(split, tmp_path)
    assert (tmp_path / "README.md").read_text() == (bundled / "README.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} >= {path.name for path in bundled.iterdir()}
    assert json.loads((tmp_path / "pictures.json").read_text())["source"] == json.loads((bundled / "pictures.json").read_text())["source"]


def test_what_is_bundled_is_the_data_set_as_its_words_say():
    exact, near = (
        Shelf.load(Settings().weights_dir / name).pictures[..., 0].astype(float) for name in ("pictures-fashion-28", "training-fashion-28")
    )
    assert np.array_equal(exact, load_fashion_mnist("test").pictures[: len(exact), 0].numpy())
    error = near - load_fashion_mnist("train").pictures[: len(near), 0].numpy()
    assert f"{np.sqrt(np.square(error).mean()):.1f} of 255" in BUNDLES["training-fashion-28"].words


def test_bundled_pictures_are_written_without_training(tmp_path: Path, weights: Path, pictures: Split):
    folder = run_of("training-fashion-28", tmp_path).run()
    assert {path.name for path in weights.iterdir()} <= {folder.name, "models.toml", "models.lock"}
    card = bundled_cards(weights)[folder.name]
    assert set(card.files) == {"pictures.json", "pictures.webp"}
    assert hub.resolve(card, weights_dir=weights, allow_hub=False) == folder
    assert Shelf.load(folder).labels.tolist() == pictures.labels.tolist()


def test_a_run_takes_the_recipe_of_its_card(tmp_path: Path):
    assert run_of("vae-fashion-28", tmp_path).recipe() == VAERecipe()
    assert run_of("classifier-fashion-28", tmp_path, learning_rate=0.5).recipe() == ClassifierRecipe(learning_rate=0.5)
    with pytest.raises(UnknownCard, match=rf"no training recipe called 'nonsense'\. There are: {', '.join(run_module.RECIPES)}\."):
        run_of("nonsense", tmp_path).recipe()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "nonsense"], "There is no training recipe called 'nonsense'."),
        (["train", "vae-fashion-28", "--data", "nowhere"], "The data set is not here: "),
        (["train", "vae-fashion-28", "--runs", "/dev/null/runs"], "/dev/null/runs/vae-fashion-28 could not be written ("),
        (["train", "--all", "--runs", "/dev/null/runs"], "/dev/null/runs/classifier-fashion-28 could not be written ("),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"playground: {words}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []  # nothing was begun


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("--threads", "-3", "'-3' is not a whole number from 0 to"),
        ("--seed", "1.5", "'1.5' is not a whole number from 0 to"),
        ("--jobs", "0", "'0' is not a whole number from 1 to"),
        ("--learning-rate", "nan", "'nan' is not a number above 0"),
        ("--learning-rate", "fast", "'fast' is not a number above 0"),
    ],
)
def test_a_number_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str], option: str, text: str, words: str):
    with pytest.raises(SystemExit):
        main(["train", "vae-fashion-28", option, text])
    assert f"argument {option}: {words}" in capsys.readouterr().err


@pytest.mark.parametrize("there", [True, False])
def test_bfloat16_is_advised_against_where_a_processor_has_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: bool
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": there})
    assert main(["train", "nonsense", "--bf16", "--device", "cpu"]) == 2
    assert ("no bfloat16 of its own" in capsys.readouterr().err) != there
