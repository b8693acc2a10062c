"""The trainer and both recipes on toy pictures: exact, resumable, and with a sentence for what can go wrong."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from playground import hub
from playground.__main__ import main
from playground.cards import bundled_cards
from playground.errors import BadWeights, TrainingError, UnknownCard
from playground.families.loading import load_classifier
from playground.families.vae import VAE
from playground.latent import Noise
from playground.nets.classifier import ClassifierConfig
from playground.nets.vae import VAEConfig
from playground.settings import Settings
from playground.shelf import Shelf
from playground.training import run as run_module
from playground.training import trainer as trainer_module
from playground.training.data import FASHION_CLASSES, Split
from playground.training.pictures import BUNDLES
from playground.training.recipes.base import Recipe
from playground.training.recipes.classifier import ClassifierRecipe, accuracy_on
from playground.training.recipes.gan import GANRecipe
from playground.training.recipes.vae import VAERecipe
from playground.training.run import TrainingRun
from playground.training.trainer import Budget, Trainer, read_log

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


@pytest.fixture(scope="module")
def pictures() -> Split:
    return toy()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of the log and a checkpoint at every step."""
    monkeypatch.setattr(Recipe, "log_every", 1)
    monkeypatch.setattr(trainer_module, "CHECKPOINT_SECONDS", -1.0)


def trained(folder: Path, split: Split, recipe: Any = VAE_RECIPE, steps: int = STEPS, seed: int = 0) -> nn.Module:
    return Trainer(recipe, split, folder, budget=Budget(steps=steps), seed=seed).run(quiet=True)


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


# -- what comes out -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, pictures: Split) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    network = trained(folder / "run", pictures, steps=40)
    with threadpool_limits(1):  # t-SNE waits for itself on busy cores
        VAE_RECIPE.export(network, folder / "card", pictures, toy(220, seed=1), {"steps": 40, "command": "by hand"})
    torch.save(network.state_dict(), folder / "network.pt")
    return folder


def test_a_vae_is_exported_in_half_precision(exported: Path):
    assert sorted(path.name for path in (exported / "card").iterdir()) == ["codes.safetensors", "config.json", "model.safetensors"]
    config = json.loads((exported / "card" / "config.json").read_text())
    assert config["family"] == "vae"
    assert config["classes"] == list(FASHION_CLASSES)
    assert config["training"] == {"steps": 40, "command": "by hand"}
    assert {name: config[name] for name in dataclasses.asdict(VAE_RECIPE.config)} == dataclasses.asdict(VAE_RECIPE.config)
    weights = load_file(exported / "card" / "model.safetensors")
    network = torch.load(exported / "network.pt", weights_only=True)
    assert {name: value.dtype for name, value in weights.items()} == dict.fromkeys(network, torch.float16)
    for name, value in weights.items():
        assert torch.equal(value, network[name].half())


def test_the_codes_of_an_export_have_the_documented_shapes(exported: Path):
    codes = load_file(exported / "card" / "codes.safetensors")
    shapes = {name: tuple(value.shape) for name, value in codes.items()}
    assert shapes == {
        "mean": (4,),
        "principal": (4, 4),
        "principal_std": (4,),
        "class_mean": (10, 4),
        "kl": (4,),
        "prior_weight": (20,),
        "prior_mean": (20, 4),
        "prior_factor": (20, 4, 4),
        "map_code": (220, 4),
        "map_layout": (220, 2),
    }
    values = {name: value.float() for name, value in codes.items()}
    assert all(value.isfinite().all() for value in values.values())
    torch.testing.assert_close(values["principal"] @ values["principal"].T, torch.eye(4), atol=5e-3, rtol=0)
    assert values["principal_std"].tolist() == sorted(values["principal_std"].tolist(), reverse=True)
    assert values["prior_weight"].sum().item() == pytest.approx(1, abs=5e-3)
    assert values["map_layout"].abs().max().item() == pytest.approx(1, abs=1e-3)
    assert (values["kl"] >= 0).all()
    assert torch.equal(values["prior_factor"].triu(1), torch.zeros(20, 4, 4))


def test_the_codes_are_what_the_encoder_makes_of_the_pictures(exported: Path, pictures: Split):
    model = VAE.load(exported / "card", torch.device("cpu"), torch.float32)
    with torch.no_grad():
        mu, _ = model.posterior(pictures.pictures / 127.5 - 1)
    torch.testing.assert_close(model.codes.mean, mu.mean(dim=0), atol=0.02, rtol=0.02)
    torch.testing.assert_close(model.codes.class_mean[3], mu[pictures.labels == 3].mean(dim=0), atol=0.02, rtol=0.02)
    along = ((mu - mu.mean(dim=0)) @ model.codes.principal.T).std(dim=0, correction=0)
    torch.testing.assert_close(along, model.codes.principal_std, atol=0.02, rtol=0.02)


def test_an_exported_vae_decodes(exported: Path):
    model = VAE.load(exported / "card", torch.device("cpu"), torch.float32)
    assert model.classes == FASHION_CLASSES
    for prior in ("standard", "fitted"):
        params = model.Params.parse({"prior": prior})
        noise = Noise([1, 2])
        with torch.inference_mode():
            *_, last = model.decode(model.draw(params, noise), params, noise)
        assert last.x.shape == (2, 1, 28, 28)
        assert last.x.isfinite().all()
        assert last.x.abs().max().item() <= 1


def test_a_classifier_survives_its_export(tmp_path: Path, pictures: Split):
    network = trained(tmp_path / "run", pictures, CLASSIFIER_RECIPE)
    test = toy(100, seed=1)
    CLASSIFIER_RECIPE.export(network, tmp_path / "card", pictures, test, {"steps": STEPS})
    config = json.loads((tmp_path / "card" / "config.json").read_text())
    assert config["family"] == "classifier"
    assert config["training"] == {"steps": STEPS}
    assert config["test_accuracy"] == round(accuracy_on(network, test), 4)
    loaded = load_classifier(tmp_path / "card")
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    with torch.no_grad():
        x = test.pictures / 127.5 - 1
        torch.testing.assert_close(loaded(x), network(x), atol=0.02, rtol=0.02)
        assert loaded.features(x).shape == (100, 8)
        assert loaded.features(x).min().item() >= 0


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


# -- the command --------------------------------------------------------------------------------------------------------


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
    assert np.array_equal(Shelf.load(tmp_path / "weights" / "training-fashion-28").pictures[..., 0], pictures.pictures[:, 0].numpy())
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


def test_a_disk_that_fills_up_during_the_export_leaves_the_card_as_it_was(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch):
    card = CLASSIFIER_RECIPE.card
    folder = run_of(card, tmp_path).run()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def export(self: ClassifierRecipe, network: nn.Module, folder: Path, *rest: object) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

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
    BUNDLES[name].write(split, tmp_path)
    shelf = Shelf.load(tmp_path)
    assert shelf.classes == FASHION_CLASSES
    assert shelf.labels.tolist() == split.labels.tolist()
    assert np.array_equal(shelf.picture(37)[..., 0], split.pictures[37, 0].numpy())
    few = dataclasses.replace(BUNDLES[name], count=7)
    few.write(split, tmp_path)
    assert np.array_equal(Shelf.load(tmp_path).pictures, shelf.pictures[:7])
    bundled = Settings().weights_dir / name
    BUNDLES[name].write(split, tmp_path)
    assert (tmp_path / "README.md").read_text() == (bundled / "README.md").read_text()
    assert json.loads((tmp_path / "pictures.json").read_text())["source"] == json.loads((bundled / "pictures.json").read_text())["source"]


def test_bundled_pictures_are_written_without_training(tmp_path: Path, weights: Path, pictures: Split):
    folder = run_of("training-fashion-28", tmp_path).run()
    assert {path.name for path in weights.iterdir()} <= {folder.name, "models.toml", "models.lock"}
    card = bundled_cards(weights)[folder.name]
    assert set(card.files) == {"pictures.json", "pictures.png"}
    assert hub.resolve(card, weights_dir=weights, allow_hub=False) == folder
    assert np.array_equal(Shelf.load(folder).pictures[..., 0], pictures.pictures[:, 0].numpy())


def test_a_run_takes_the_recipe_of_its_card(tmp_path: Path):
    assert run_of("vae-fashion-28", tmp_path).recipe() == VAERecipe()
    assert run_of("classifier-fashion-28", tmp_path, learning_rate=0.5).recipe() == ClassifierRecipe(learning_rate=0.5)
    with pytest.raises(UnknownCard, match=rf"no training recipe for 'nonsense'\. There are: {', '.join(run_module.RECIPES)}\."):
        run_of("nonsense", tmp_path).recipe()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "nonsense"], "There is no training recipe for 'nonsense'."),
        (["train", "vae-fashion-28", "--data", "nowhere"], "The data set is not here: "),
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
