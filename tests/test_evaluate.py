"""The evaluation on the bundled VAE with few pictures: every figure is there, repeats itself, and is written where it is read."""

from __future__ import annotations

import datetime
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from playground.__main__ import main
from playground.cards import bundled_cards
from playground.device import device_words
from playground.errors import BadWeights, TrainingError, UnknownCard
from playground.families.loading import load_classifier
from playground.families.vae import VAE
from playground.knobs import Knobs
from playground.latent import Noise
from playground.nets.classifier import Classifier
from playground.settings import PROJECT, Settings
from playground.training.data import DEFAULT_FOLDER, FASHION_CLASSES, Split, load_fashion_mnist
from playground.training.evaluate import CLASSIFIER, EvaluationRun
from playground.training.measures import Evaluation, Yardstick
from playground.training.model_card import MEANING, figures_table
from playground.training.recipes.classifier import accuracy_on

CARD = "vae-fashion-28"
FEW = 200
CPU = torch.device("cpu")
OF_OTHERS = {"bits_per_dim", "ode_bits_per_dim", "variational_bits_per_dim", "inversion_error"}
"""Figures of families that know their likelihood in another way."""
NAMES = set(MEANING) - OF_OTHERS
MEANS = {name for name in NAMES if name.endswith(("bits_per_dim", "_nats")) or name.startswith("reconstruction")} - {"class_imbalance_nats"}
QUALITY = sorted(NAMES - {"parameters", "bytes", "gflop_per_picture", "ms_per_picture"})


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled weights, copied, without earlier figures."""
    words = shutil.ignore_patterns("metrics.json", "README.md")
    return shutil.copytree(PROJECT / "weights", tmp_path_factory.mktemp("evaluated") / "weights", ignore=words)


def settings_of(weights: Path) -> Settings:
    return Settings(weights_dir=weights, hub="off", port=0)


def evaluate(weights: Path, *cards: str, data: Path = DEFAULT_FOLDER, **options: Any) -> dict[str, dict[str, Any]]:
    """What the command does with few pictures; the figures of the last card."""
    options = {"num_samples": FEW, "device": "cpu", **options}
    return EvaluationRun(settings_of(weights), data=data, **options).run(cards)


@pytest.fixture(scope="module")
def figures(weights: Path) -> dict[str, dict[str, Any]]:
    """What one evaluation answers; its files lie in `weights`."""
    return evaluate(weights, CARD, seed=3)


@pytest.fixture(scope="module")
def splits() -> tuple[Split, Split]:
    """The first pictures of both splits: nothing beyond them is looked at."""
    train, test = (load_fashion_mnist(name) for name in ("train", "test"))
    return Split(train.pictures[:FEW], train.labels[:FEW]), Split(test.pictures[:FEW], test.labels[:FEW])


def evaluation(weights: Path, splits: tuple[Split, Split], *, seed: int = 3, params: Knobs | None = None) -> Evaluation:
    card = bundled_cards(weights)[CARD]
    return Evaluation(
        model=VAE.load(weights / CARD, CPU, torch.float32),
        params=params or VAE.Params.parse(card.defaults),
        yardstick=Yardstick(load_classifier(weights / CLASSIFIER), *splits, num_samples=FEW),
        seed=seed,
        weights=weights / CARD / "model.safetensors",
    )


# -- the figures --------------------------------------------------------------------------------------------------------


def test_every_documented_figure_is_there_and_finite(figures: dict[str, dict[str, Any]]):
    assert set(figures) == NAMES
    assert all(math.isfinite(figure["value"]) for figure in figures.values())


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("elbo_bits_per_dim", 0.5, 8.0),  # 8 is a uniform guess
        ("distortion_nats", 0.0, 8 * 784 * math.log(2)),
        ("rate_nats", 0.0, 1000.0),
        ("sharpness_ratio", 0.0, 100.0),
        ("reconstruction_psnr_db", 10.0, 60.0),
        ("reconstruction_ssim", 0.3, 1.0),
        ("precision", 0.0, 1.0),
        ("recall", 0.0, 1.0),
        ("coverage", 0.0, 1.0),
        ("density", 0.0, 3.0),
        ("gflop_per_picture", 1e-4, 10.0),
        ("ms_per_picture", 1e-3, 60_000.0),
    ],
)
def test_figures_lie_where_they_can(figures: dict[str, dict[str, Any]], name: str, low: float, high: float):
    assert low <= figures[name]["value"] <= high


def test_generated_pictures_are_farther_from_test_pictures_than_training_pictures_are(figures: dict[str, dict[str, Any]]):
    assert 0 < figures["classifier_fd_floor"]["value"] < figures["classifier_fd"]["value"]


def test_costs_are_those_of_the_file(figures: dict[str, dict[str, Any]], weights: Path):
    file = weights / CARD / "model.safetensors"
    assert figures["bytes"]["value"] == file.stat().st_size
    parameters = sum(value.numel() for value in VAE.load(weights / CARD, CPU, torch.float32).network.state_dict().values())
    assert figures["parameters"]["value"] == parameters
    assert 2 * parameters < file.stat().st_size < 2 * parameters + 50_000  # half precision and a header


def test_each_figure_says_how_it_was_measured(figures: dict[str, dict[str, Any]]):
    for name, figure in figures.items():
        error = {"standard_error"} if name in MEANS else set()
        assert set(figure) == {"value", "n", "seed", "command", "date", "device"} | error
        assert figure.get("standard_error", 1) > 0
        assert figure["n"] == (FEW if name in QUALITY else 1)
        assert figure["seed"] == 3
        assert figure["command"] == f"python -m playground evaluate {CARD} --num-samples {FEW} --seed 3"
        assert figure["device"] == device_words(CPU)
        assert datetime.date.fromisoformat(figure["date"])


def test_an_evaluation_repeats_itself(weights: Path, splits: tuple[Split, Split], figures: dict[str, dict[str, Any]]):
    torch.manual_seed(99)  # the global generator has no say
    with torch.inference_mode():
        again = evaluation(weights, splits)
        measured = again.bounds(again.model) | again.reconstruction(again.model) | again.generation()
    assert sorted(measured) == QUALITY
    for name in QUALITY:
        assert float(f"{measured[name].value:.5g}") == figures[name]["value"], name


def test_the_seed_and_the_knobs_decide_what_is_generated(weights: Path, splits: tuple[Split, Split], figures: dict[str, dict[str, Any]]):
    with torch.inference_mode():
        other_seed = evaluation(weights, splits, seed=4).generation()
        cold = evaluation(weights, splits, params=VAE.Params.parse({"temperature": 0.0, "prior": "standard"}))
        same_picture = cold.generation()
    assert float(f"{other_seed['classifier_fd'].value:.5g}") != figures["classifier_fd"]["value"]
    assert float(f"{other_seed['classifier_fd_floor'].value:.5g}") == figures["classifier_fd_floor"]["value"]
    # At temperature 0 there is one picture, again and again: one class, little coverage, far from the test pictures.
    assert sorted(cold.class_share.values())[-2:] == [0, 1]
    assert same_picture["coverage"].value < 0.1
    assert same_picture["classifier_fd"].value > 2 * figures["classifier_fd"]["value"]


def test_shares_of_classes_add_up(weights: Path, splits: tuple[Split, Split]):
    measured = evaluation(weights, splits)
    with torch.inference_mode():
        measured.generation()
    assert tuple(measured.class_share) == FASHION_CLASSES
    assert sum(measured.class_share.values()) == pytest.approx(1, abs=1e-3)


def test_the_classifier_knows_the_test_pictures(weights: Path, splits: tuple[Split, Split]):
    classifier = load_classifier(weights / CLASSIFIER)
    assert isinstance(classifier, Classifier)
    with torch.inference_mode():
        assert accuracy_on(classifier, splits[1]) > 0.85


def test_more_draws_make_a_tighter_bound(figures: dict[str, dict[str, Any]]):
    gap = figures["elbo_bits_per_dim"]["value"] - figures["iwae_64_bits_per_dim"]["value"]
    assert 0 < gap < 0.3


def test_log_weights_average_to_the_evidence_bound(weights: Path, splits: tuple[Split, Split]):
    model = VAE.load(weights / CARD, CPU, torch.float32)
    x, noise = splits[1].pictures[:4].float() / 127.5 - 1, Noise(range(4))
    with torch.inference_mode():
        log_weights = model.log_weights(x, noise, 400)
        elbo = torch.stack([-sum(model.evidence(x, Noise(range(start, start + 4)))) for start in range(0, 400, 4)])
    assert log_weights.shape == (400, 4)
    error = (log_weights.var(dim=0) / 400 + elbo.var(dim=0) / 100).sqrt()
    assert ((log_weights.mean(dim=0) - elbo.mean(dim=0)).abs() < 4.5 * error).all()


# -- what is written ----------------------------------------------------------------------------------------------------


def test_metrics_are_written_as_answered(figures: dict[str, dict[str, Any]], weights: Path):
    assert json.loads((weights / CARD / "metrics.json").read_text()) == figures
    assert not list(weights.rglob("*.part"))


def test_the_model_card_holds_every_figure(figures: dict[str, dict[str, Any]], weights: Path):
    card = bundled_cards(weights)[CARD]
    text = (weights / CARD / "README.md").read_text()
    assert text.startswith(f"---\nlicense: {card.license}\n")
    assert f"# {card.title}" in text
    assert "A variational autoencoder" in text
    assert "Traceback" not in text
    for name, figure in figures.items():
        error = f" ± {figure['standard_error']}" if name in MEANS else ""
        assert f"| `{name}` | {MEANING[name]} | {figure['value']}{error} | {figure['n']} |" in text
    assert figures["bytes"]["command"] in text
    for name, value in VAE.Params.parse(card.defaults).to_plain().items():
        assert f"{name} = {value}" in text
    training = json.loads((weights / CARD / "config.json").read_text())["training"]
    assert f"`{training['command']}`" in text
    assert f"{training['steps']:,} steps" in text
    assert all(name in text for name in FASHION_CLASSES)


def test_the_model_card_says_how_many_pictures_the_classifier_saw(figures: dict[str, dict[str, Any]], weights: Path):
    assert f"What the classifier takes {FEW:,} generated pictures for: " in (weights / CARD / "README.md").read_text()


def test_the_table_of_cards_holds_the_card(figures: dict[str, dict[str, Any]], weights: Path):
    head, rule, *rows = figures_table(weights).splitlines()
    assert head.count("|") == rule.count("|")
    (row,) = [row for row in rows if row.startswith(f"| `{CARD}` |")]
    cells = dict(zip(head.strip("| ").split(" | "), row.strip("| ").split(" | "), strict=True))
    assert cells["Bits/dim ↓"] == f"{figures['iwae_64_bits_per_dim']['value']:.3f}"
    assert cells["PSNR ↑"] == f"{figures['reconstruction_psnr_db']['value']:.1f}"
    assert cells["FD ↓"] == f"{figures['classifier_fd']['value']:.3f}"
    assert cells["MB"] == f"{figures['bytes']['value'] / 1e6:.1f}"
    assert "–" not in cells.values()
    assert not any(CLASSIFIER in row for row in rows)  # only what was measured


# -- what is refused ----------------------------------------------------------------------------------------------------


def test_an_unknown_card_is_refused(weights: Path):
    with pytest.raises(UnknownCard, match=rf"^There is no card called 'nonsense'\. There are: .*{CARD}"):
        evaluate(weights, "nonsense")


@pytest.mark.parametrize("card", [CLASSIFIER, "pictures-fashion-28"])
def test_a_card_that_is_no_generative_model_is_refused(weights: Path, card: str):
    with pytest.raises(UnknownCard, match=rf"^{card} is no generative model\. Cards to evaluate: .*{CARD}") as caught:
        evaluate(weights, card)
    assert CLASSIFIER not in caught.value.remedy


def test_missing_data_and_damaged_weights_are_refused(weights: Path, tmp_path: Path):
    with pytest.raises(TrainingError, match="The data set is not here"):
        evaluate(weights, CARD, data=tmp_path)
    damaged = shutil.copytree(weights, tmp_path / "weights")
    file = damaged / CARD / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BadWeights, match="is damaged"):
        evaluate(damaged, CARD)


@pytest.mark.parametrize("count", [0, -5, 9])
def test_too_few_pictures_are_refused(weights: Path, count: int):
    with pytest.raises(TrainingError, match=f"^{count} pictures are too few to measure"):
        evaluate(weights, CARD, num_samples=count)


def test_a_mistake_on_the_command_line_is_one_sentence(capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", "nonsense"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("playground: There is no card called 'nonsense'.")
    assert err.count("\n") == 1


def test_figures_of_other_knobs_are_shown_but_not_kept(weights: Path):
    for name in ("metrics.json", "README.md"):
        (weights / CARD / name).unlink(missing_ok=True)
    found = evaluate(weights, CARD, knobs={"prior": "standard"})
    assert found["classifier_fd"]["value"] > 0
    assert not (weights / CARD / "metrics.json").exists() and not (weights / CARD / "README.md").exists()


def test_all_means_every_trained_card_that_generates(weights: Path):
    run = EvaluationRun(settings_of(weights), data=DEFAULT_FOLDER)
    cards = bundled_cards(weights)
    assert CARD in run.trained() and CLASSIFIER not in run.trained()
    assert run.trained() == [card for card in cards if card in run.trained()]
    assert all((weights / card / "model.safetensors").is_file() for card in run.trained())


def test_no_card_at_all_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate"]) == 2
    assert "No card was named. Name one, or write --all." in capsys.readouterr().err


def test_a_knob_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", CARD, "--wobble", "1"]) == 2
    assert "no knob called 'wobble'" in capsys.readouterr().err
