"""What a recipe exports: a card in half precision, its codes, and that it loads and decodes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from threadpoolctl import threadpool_limits

from playground.families.loading import load_classifier
from playground.families.vae import VAE
from playground.latent import Noise
from playground.training.data import FASHION_CLASSES, Split
from playground.training.recipes.classifier import accuracy_on
from tests.toys import CLASSIFIER_RECIPE, STEPS, VAE_RECIPE, toy, trained


@pytest.fixture(scope="module")
def pictures() -> Split:
    return toy()


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
