"""The trainer and both recipes on toy pictures: exact, resumable, and with a sentence for what can go wrong."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from playground.errors import TrainingError
from playground.nets.vae import VAEConfig
from playground.training import trainer as trainer_module
from playground.training.data import Split
from playground.training.recipes.base import Recipe
from playground.training.recipes.classifier import accuracy_on
from playground.training.recipes.vae import VAERecipe
from playground.training.trainer import Budget, Trainer, read_log
from tests.toys import CLASSIFIER_RECIPE, STEPS, VAE_RECIPE, toy, trained


@pytest.fixture(scope="module")
def pictures() -> Split:
    return toy()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of the log and a checkpoint at every step."""
    monkeypatch.setattr(Recipe, "log_every", 1)
    monkeypatch.setattr(trainer_module, "CHECKPOINT_SECONDS", -1.0)


def bytes_of(network: nn.Module) -> bytes:
    return save({name: value.contiguous() for name, value in network.state_dict().items()})


def interrupt(monkeypatch: pytest.MonkeyPatch, recipe: Any, at_call: int, act: Callable[[Tensor], Tensor]) -> None:
    """Lets `act` change (or prevent) the loss of one step."""
    calls, plain = itertools.count(), type(recipe).loss

    def loss(self: Any, *arguments: Any) -> tuple[Tensor, dict[str, Tensor]]:
        value, figures = plain(self, *arguments)
        return (act(value) if next(calls) == at_call else value), figures

    monkeypatch.setattr(type(recipe), "loss", loss)


def stop(_: Tensor) -> Tensor:
    raise KeyboardInterrupt


# -- exactness ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [VAE_RECIPE, CLASSIFIER_RECIPE], ids=["vae", "classifier"])
def test_a_seed_and_a_number_of_steps_decide_the_weights(tmp_path: Path, pictures: Split, recipe: Any):
    first = bytes_of(trained(tmp_path / "first", pictures, recipe))
    torch.rand(7)  # what else drew numbers before must not matter
    assert bytes_of(trained(tmp_path / "second", pictures, recipe)) == first
    assert bytes_of(trained(tmp_path / "third", pictures, recipe, seed=1)) != first
    assert bytes_of(trained(tmp_path / "fourth", pictures, recipe, steps=STEPS + 1)) != first


@pytest.mark.parametrize("recipe", [VAE_RECIPE, CLASSIFIER_RECIPE], ids=["vae", "classifier"])
@pytest.mark.parametrize("stopped_at", [9, 16, 21])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(
    tmp_path: Path, pictures: Split, often: None, monkeypatch: pytest.MonkeyPatch, recipe: Any, stopped_at: int
):
    whole = bytes_of(trained(tmp_path / "whole", pictures, recipe))
    with monkeypatch.context() as patched:
        interrupt(patched, recipe, stopped_at, stop)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "parts", pictures, recipe)
    resumed = Trainer(recipe, pictures, tmp_path / "parts", budget=Budget(steps=STEPS))
    assert resumed.step == stopped_at
    assert bytes_of(resumed.run(quiet=True)) == whole
    steps = [line["step"] for line in read_log(tmp_path / "parts")]
    assert steps == list(range(1, STEPS + 1))


def test_a_finished_run_stays_as_it_is(tmp_path: Path, pictures: Split):
    first = bytes_of(trained(tmp_path, pictures))
    again = Trainer(VAE_RECIPE, pictures, tmp_path, budget=Budget(steps=STEPS))
    assert again.step == STEPS
    assert bytes_of(again.run(quiet=True)) == first


def test_every_picture_is_seen_once_an_epoch(tmp_path: Path, pictures: Split, monkeypatch: pytest.MonkeyPatch):
    seen: list[Tensor] = []
    plain = VAERecipe.loss

    def loss(self: Any, network: nn.Module, part: Tensor, *arguments: Any) -> tuple[Tensor, dict[str, Tensor]]:
        seen.append(part)
        return plain(self, network, part, *arguments)

    monkeypatch.setattr(VAERecipe, "loss", loss)
    trained(tmp_path, pictures, steps=32)
    epochs = [torch.cat(seen[:16]), torch.cat(seen[16:])]
    assert not torch.equal(*epochs)
    wanted = sorted(picture.numpy().tobytes() for picture in pictures.pictures)
    for epoch in epochs:
        assert sorted(picture.numpy().tobytes() for picture in epoch) == wanted


# -- what a checkpoint refuses ------------------------------------------------------------------------------------------


def other_pixel(split: Split) -> Split:
    changed = split.pictures.clone()
    changed[3, 0, 5, 5] += 1
    return Split(changed, split.labels)


@pytest.mark.parametrize(
    ("recipe", "seed", "change", "words"),
    [
        (dataclasses.replace(VAE_RECIPE, batch_size=32), 0, None, r"another configuration: batch_size was 16 and is 32\."),
        (dataclasses.replace(VAE_RECIPE, learning_rate=0.1), 0, None, r"another configuration: learning_rate was 0\.004 and is 0\.1\."),
        (dataclasses.replace(VAE_RECIPE, config=VAEConfig(width=8)), 0, None, r"another configuration: config was .*'latent_dim': 4"),
        (VAE_RECIPE, 7, None, r"another seed: it was 0 and is 7\."),
        (VAE_RECIPE, 0, other_pixel, r"another data: it was '[0-9a-f]{64}' and is '[0-9a-f]{64}'\."),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    tmp_path: Path, pictures: Split, recipe: VAERecipe, seed: int, change: Callable[[Split], Split] | None, words: str
):
    trained(tmp_path, pictures, steps=2)
    split = change(pictures) if change else pictures
    with pytest.raises(TrainingError, match=words) as caught:
        Trainer(recipe, split, tmp_path, budget=Budget(steps=2), seed=seed)
    assert "--restart" in caught.value.remedy


@pytest.mark.parametrize("kept", [0, 10, 3000, -50])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, pictures: Split, kept: int):
    trained(tmp_path, pictures, steps=1)
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(TrainingError, match=r"checkpoint\.pt cannot be read") as caught:
        Trainer(VAE_RECIPE, pictures, tmp_path, budget=Budget(steps=1))
    assert caught.value.remedy == "Delete it to start from the beginning."


@pytest.mark.parametrize("content", [{"step": 1}, [1, 2], torch.zeros(3)], ids=["half", "list", "tensor"])
def test_a_file_of_another_kind_is_no_checkpoint(tmp_path: Path, pictures: Split, content: object):
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt cannot be read \(it (lacks|is no)"):
        Trainer(VAE_RECIPE, pictures, tmp_path, budget=Budget(steps=1))


# -- what can go wrong on the way ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_and_keeps_the_good_checkpoint(
    tmp_path: Path, pictures: Split, often: None, monkeypatch: pytest.MonkeyPatch, wrong: float
):
    interrupt(monkeypatch, VAE_RECIPE, 6, lambda loss: loss * wrong)
    with pytest.raises(TrainingError, match=rf"loss of vae-fashion-28 is {wrong} at step 6\.") as caught:
        trained(tmp_path, pictures)
    assert "--learning-rate" in caught.value.remedy
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 6
    assert all(value.isfinite().all() for name in ("network", "average") for value in state[name].values())


def test_a_gradient_that_is_no_number_never_reaches_the_weights(
    tmp_path: Path, pictures: Split, often: None, monkeypatch: pytest.MonkeyPatch
):
    # The loss is 1, but the slope of the square root at 0 is infinite, and 0 · ∞ is no number.
    interrupt(monkeypatch, VAE_RECIPE, 3, lambda loss: (loss * 0).sqrt() + 1)
    trainer = Trainer(VAE_RECIPE, pictures, tmp_path, budget=Budget(steps=STEPS))
    with pytest.raises(TrainingError, match="gradient of vae-fashion-28 is nan at step 3"):
        trainer.run(quiet=True)
    assert all(value.isfinite().all() for value in trainer.network.state_dict().values())


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path: Path, pictures: Split, often: None, monkeypatch: pytest.MonkeyPatch):
    whole = bytes_of(trained(tmp_path / "whole", pictures))
    plain, calls = torch.save, itertools.count()

    def save_until_full(state: object, file: Path) -> None:
        if next(calls) < 5:
            return plain(state, file)
        Path(file).write_bytes(b"half a checkpoint")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", save_until_full)
        with pytest.raises(TrainingError, match="could not be written") as caught:
            trained(tmp_path / "full", pictures)
    assert "No space left on device" in caught.value.what
    assert "Free some disk space" in caught.value.remedy
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["checkpoint.pt", "log.jsonl"]
    resumed = Trainer(VAE_RECIPE, pictures, tmp_path / "full", budget=Budget(steps=STEPS))
    assert resumed.step == 5
    assert bytes_of(resumed.run(quiet=True)) == whole


# -- the loop -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.999, 0.3])
def test_the_average_follows_its_definition(tmp_path: Path, pictures: Split, monkeypatch: pytest.MonkeyPatch, decay: float):
    recipe = dataclasses.replace(CLASSIFIER_RECIPE, ema_decay=decay)
    trainer = Trainer(recipe, pictures, tmp_path, budget=Budget(steps=8))
    expected = {name: value.double() for name, value in trainer.network.state_dict().items()}
    steps, plain = itertools.count(1), trainer.moves[0].optimizer.step

    def step() -> None:
        plain()
        share = min(decay, (1 + (number := next(steps))) / (10 + number))
        for name, value in trainer.network.state_dict().items():
            expected[name] = share * expected[name] + (1 - share) * value.double() if value.is_floating_point() else value.double()

    monkeypatch.setattr(trainer.moves[0].optimizer, "step", step)
    found = trainer.run(quiet=True)
    assert not found.training
    for name, value in found.state_dict().items():
        torch.testing.assert_close(value.double(), expected[name], atol=1e-6, rtol=1e-5)
    assert bytes_of(found) != bytes_of(trainer.network)


def test_the_loss_goes_down(tmp_path: Path, pictures: Split, often: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trainer_module, "CHECKPOINT_SECONDS", 1e9)
    trained(tmp_path, pictures, dataclasses.replace(VAE_RECIPE, learning_rate=0.01), steps=80)
    bits = [line["elbo_bits_per_dim"] for line in read_log(tmp_path)]
    assert np.mean(bits[-10:]) < 0.8 * np.mean(bits[:10])


def test_the_classifier_learns(tmp_path: Path, pictures: Split):
    recipe = dataclasses.replace(CLASSIFIER_RECIPE, ema_decay=0.9)
    network = trained(tmp_path, pictures, recipe, steps=120)
    assert accuracy_on(network, toy(seed=1)) > 0.3  # chance is 0.1


def test_augmentation_mirrors_and_shifts_onto_black():
    recipe = dataclasses.replace(CLASSIFIER_RECIPE, max_shift=2)
    x = torch.full((64, 1, 28, 28), -1.0)
    x[:, :, 10, 5] = 1.0
    places = set()
    for seed in range(40):
        changed = recipe.augment(x, torch.Generator().manual_seed(seed))
        assert changed.shape == x.shape
        assert changed.sum().item() == x.sum().item()  # nothing but black came in, nothing of the dot was lost
        rows, columns = (changed[:, 0] == 1).nonzero()[:, 1:].T.tolist()
        places |= set(zip(rows, columns, strict=True))
    down, right = {row for row, _ in places}, {column for _, column in places}
    assert down == {8, 9, 10, 11, 12}
    assert right == {3, 4, 5, 6, 7, 20, 21, 22, 23, 24}


def test_the_learning_rate_warms_up_and_falls_as_a_cosine(tmp_path: Path, pictures: Split, monkeypatch: pytest.MonkeyPatch):
    trainer = Trainer(VAE_RECIPE, pictures, tmp_path, budget=Budget(steps=20))
    rates, plain = [], trainer.moves[0].optimizer.step

    def step() -> None:
        rates.append(trainer.moves[0].optimizer.param_groups[0]["lr"])
        plain()

    monkeypatch.setattr(trainer.moves[0].optimizer, "step", step)
    trainer.run(quiet=True)
    cosine = [0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * step / 20)) for step in range(20)]
    expected = [VAE_RECIPE.learning_rate * min(1, (step + 1) / 5) * cosine[step] for step in range(20)]
    assert rates == pytest.approx(expected)


def test_the_kl_counts_in_full_after_its_warm_up(pictures: Split):
    torch.manual_seed(0)
    network = VAE_RECIPE.network()
    terms = {}
    for progress in (0.0, 0.05, 0.1, 1.0):
        rng = torch.Generator().manual_seed(0)
        loss, figures = VAE_RECIPE.loss(network, pictures.pictures[:16], pictures.labels[:16], rng, progress)
        bound = figures["elbo_bits_per_dim"].item() * math.log(2)  # nats a pixel, with the KL in full
        terms[progress] = (bound - loss.item()) * 784 / figures["kl_nats"].item()
    assert terms == pytest.approx({0.0: 0.7, 0.05: 0.35, 0.1: 0.0, 1.0: 0.0}, abs=0.02)


def test_a_budget_of_steps_or_of_minutes():
    steps, minutes = Budget(steps=40), Budget(minutes=2)
    assert [steps.progress(step, 1e6) for step in (0, 10, 40, 50)] == [0, 0.25, 1, 1]
    assert [minutes.progress(10**6, seconds) for seconds in (0, 30, 120, 500)] == [0, 0.25, 1, 1]
    assert Budget().progress(0, 600) == 0.5  # 20 minutes when nothing is said
    assert Budget(minutes=1, steps=10).progress(5, 60) == 0.5


@pytest.mark.parametrize("given", [{"steps": 0}, {"steps": -3}, {"minutes": 0.0}, {"minutes": -1.0}, {"minutes": math.nan}])
def test_a_budget_of_nothing_is_refused(given: dict[str, Any]):
    with pytest.raises(TrainingError, match=r"trains nothing\. Give --"):
        Budget(**given)


def test_a_budget_of_minutes_stops_and_saves_by_the_clock(tmp_path: Path, pictures: Split, monkeypatch: pytest.MonkeyPatch):
    ticks = itertools.count()
    monkeypatch.setattr(trainer_module, "time", SimpleNamespace(monotonic=lambda: 10.0 * next(ticks)))  # a step takes 10 seconds
    saved, plain = [], Trainer.save
    monkeypatch.setattr(Trainer, "save", lambda self: (saved.append(self.step), plain(self))[1])
    trainer = Trainer(VAE_RECIPE, pictures, tmp_path, budget=Budget(minutes=3.1))
    trainer.run(quiet=True)
    assert (trainer.step, trainer.seconds) == (19, 190)
    assert saved == [7, 14, 19]  # two readings a step: a save is due after 120 seconds by the clock, and at the end
    again = Trainer(VAE_RECIPE, pictures, tmp_path, budget=Budget(minutes=4))
    again.run(quiet=True)
    assert (again.step, again.seconds) == (24, 240)


def test_the_log_says_how_it_went(tmp_path: Path, pictures: Split, often: None):
    trained(tmp_path, pictures, steps=3)
    lines = list(read_log(tmp_path))
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert set(lines[0]) == {"step", "minutes", "pictures_per_second", "loss", "elbo_bits_per_dim", "kl_nats", "gradient"}
    assert all(math.isfinite(value) for line in lines for value in line.values())
