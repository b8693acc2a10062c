"""The GAN: its layers against plain ones, its penalties against autograd and differences, its turns, and export."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from playground.families.gan import GAN, GANParams
from playground.families.loading import load_classifier
from playground.latent import Noise
from playground.nets.classifier import Classifier, ClassifierConfig
from playground.nets.critic import Comparison, Critic, settle
from playground.nets.gan import AdversarialNets
from playground.nets.stylegan import EqualLinear, GANConfig, Generator, Mapping, ModulatedConv, SelfAttention
from playground.training.data import FASHION_CLASSES
from playground.training.recipes.base import Recipe, write_card_files
from playground.training.recipes.collapsed import CollapsedRecipe
from playground.training.recipes.gan import AdversarialRecipe, GANRecipe, squared_slope
from playground.training.recipes.wgan import WGANRecipe
from playground.training.trainer import Budget, Trainer
from tests.toys import toy

SMALL = GANConfig(latent_dim=4, width=8, critic_width=8, trunk_width=16, mapping_layers=2, decoder_blocks=1)
SIZES: dict[str, Any] = {"batch_size": 8, "penalised": 4, "encoded": 4, "warmup_steps": 2}
RECIPES = [
    GANRecipe(config=SMALL, **SIZES),
    GANRecipe(config=dataclasses.replace(SMALL, spectral_norm=True), **SIZES),
    WGANRecipe(config=dataclasses.replace(SMALL, group=0), **SIZES),
    CollapsedRecipe(config=dataclasses.replace(SMALL, group=0, attention=False), **SIZES),
]
NAMES = ["r1", "spectral", "wgan", "collapsed"]


@pytest.fixture(autouse=True)
def same_numbers() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        yield


# -- layers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_modulated_convolution_is_a_plain_one_with_each_pictures_own_weights(kernel: int, demodulate: bool):
    layer = ModulatedConv(5, 7, kernel, 4, demodulate=demodulate).double()
    nn.init.normal_(layer.bias)
    x, w = torch.randn(3, 5, 6, 6, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    style = layer.style(w)
    for index in range(3):
        weight = layer.weight / math.sqrt(5 * kernel**2) * style[index, None, :, None, None]
        if demodulate:
            weight = weight / weight.square().sum(dim=(1, 2, 3), keepdim=True).add(1e-8).sqrt()
        alone = F.conv2d(x[index : index + 1], weight, layer.bias, padding=kernel // 2)
        torch.testing.assert_close(layer(x, w)[index : index + 1], alone, atol=1e-5, rtol=1e-5)


def test_demodulation_gives_unit_size_whatever_the_style():
    layer = ModulatedConv(16, 6, 3, 4)
    x, w = torch.randn(8, 16, 64, 64), 5 * torch.randn(8, 4)
    inside = layer(x, w)[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(inside.std(dim=(2, 3)), torch.ones(8, 6), atol=0.08, rtol=0)
    layer.demodulate = False
    assert layer(x, w)[:, :, 1:-1, 1:-1].std(dim=(2, 3)).max() > 2


def test_equalised_layers_start_with_unit_outputs_and_learn_at_their_rate():
    for rate in (1.0, 0.1):
        layer = EqualLinear(64, 500, bias=0.5, rate=rate)
        y = layer(torch.randn(400, 64))
        assert y.mean().item() == pytest.approx(0.5, abs=0.02)
        assert (y - 0.5).std().item() == pytest.approx(1, abs=0.05)
    steep, calm = (EqualLinear(8, 1, rate=rate) for rate in (1.0, 0.1))
    x = torch.randn(1, 8)
    moved = []
    for layer in (steep, calm):
        before = layer(x)
        layer(x).sum().backward()
        for parameter in layer.parameters():
            assert parameter.grad is not None
            parameter.data += 0.01 * parameter.grad.sign()  # as Adam steps
        moved.append((layer(x) - before).item())
    assert moved[1] == pytest.approx(0.1 * moved[0], rel=1e-3)


def test_the_mapping_network_hears_the_direction_of_z_alone():
    mapping, z = Mapping(6, 3), torch.randn(5, 6)
    torch.testing.assert_close(mapping(3 * z), mapping(z), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(mapping(-z), mapping(z), atol=0.1)


def test_attention_is_softmax_attention_and_starts_as_nothing():
    layer, x = SelfAttention(8).double(), torch.randn(2, 8, 3, 3, dtype=torch.float64)
    assert torch.equal(layer(x), x)
    nn.init.constant_(layer.gain, 0.7)
    query, key, value = (part.transpose(1, 2) for part in layer.read(x).flatten(2).split([2, 2, 4], dim=1))
    read = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).unflatten(2, (3, 3))
    torch.testing.assert_close(layer(x), x + 0.7 * layer.write(read))


def test_the_generator_makes_pictures_of_its_size_that_hang_on_w():
    generator = Generator(SMALL)
    x = generator(torch.randn(6, 4))
    assert x.shape == (6, 1, 28, 28)
    assert x.abs().max().item() <= 1
    assert x.std(dim=0).mean().item() > 0.01
    (gradient,) = torch.autograd.grad(generator.synthesis(w := torch.randn(2, 4, requires_grad=True)).square().sum(), w)
    assert gradient.abs().min().item() > 0


# -- the critic ---------------------------------------------------------------------------------------------------------


def test_the_comparison_measures_each_group_by_itself():
    layer = Comparison(4)
    x = torch.randn(12, 5, 3, 3)
    x[4:8] = x[4]
    extra = layer(x)[:, 5]
    assert layer(x).shape == (12, 6, 3, 3)
    assert torch.equal(layer(x)[:, :5], x)
    expected = x[:4].std(dim=0, correction=0).mean()
    torch.testing.assert_close(extra[:4], expected.expand(4, 3, 3), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(extra[4:8], torch.full((4, 3, 3), 1e-4), atol=1e-6, rtol=0)
    uneven = layer(x[:7])[:, 5]  # no whole groups: the batch is one
    torch.testing.assert_close(uneven, x[:7].std(dim=0, correction=0).mean().expand(7, 3, 3), atol=1e-4, rtol=1e-4)


def test_outside_training_no_score_depends_on_the_company():
    critic, x = Critic(SMALL), torch.randn(8, 1, 28, 28).clamp(-1, 1)
    together, company = critic(x)[:4], critic(torch.cat([x[:1].expand(4, -1, -1, -1), x[4:]]))[:1]
    assert not torch.allclose(together[:1], company, atol=1e-4)  # in training it does
    critic.eval()
    torch.testing.assert_close(critic(x), torch.cat([critic(row) for row in x.split(1)]), atol=1e-5, rtol=1e-4)


def test_outside_training_the_comparison_says_what_was_usual():
    layer, x = Comparison(4), 3 * torch.randn(8, 2, 5, 5)
    for _ in range(600):
        layer(x)
    usual = layer(x)[:, 2].mean().item()
    layer.eval()
    assert layer(torch.zeros(1, 2, 5, 5))[:, 2].mean().item() == pytest.approx(usual, rel=0.01)


def matrices(critic: Critic) -> list[Tensor]:
    return [layer.weight.detach().flatten(1) for layer in critic.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]


@pytest.mark.parametrize("spectral", [True, False])
def test_spectral_normalisation_bounds_every_singular_value(spectral: bool):
    critic = Critic(dataclasses.replace(SMALL, spectral_norm=spectral))
    for name, parameter in critic.named_parameters():
        if "weight" in name:
            parameter.data.mul_(9)
    for _ in range(60):
        critic(torch.randn(4, 1, 28, 28))
    largest = [torch.linalg.matrix_norm(weight, 2).item() for weight in matrices(critic)]
    assert len(largest) >= 10
    assert (max(largest) < 1.03) == spectral
    assert (min(largest) > 1.03) != spectral


def test_a_bounded_critic_is_bounded_again_after_averaging_and_rounding() -> None:
    critic = Critic(GANConfig(critic_width=8, trunk_width=16, spectral_norm=True)).eval()
    for name, buffer in critic.named_buffers():
        if name.endswith(("_u", "_v")):
            buffer.mul_(0.3)  # what an average over changing unit vectors does
    matrices = [layer.weight.flatten(1) for layer in critic.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert min(torch.linalg.matrix_norm(weight, 2).item() for weight in matrices) > 5
    settle(critic)
    matrices = [layer.weight.flatten(1) for layer in critic.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert [torch.linalg.matrix_norm(weight, 2).item() for weight in matrices] == pytest.approx([1] * len(matrices), abs=1e-4)


# -- penalties ----------------------------------------------------------------------------------------------------------


def test_the_squared_slope_of_a_known_critic():
    a = torch.rand(1, 3, 3, dtype=torch.float64, requires_grad=True)
    x = torch.randn(5, 1, 3, 3, dtype=torch.float64)
    found = squared_slope(lambda x: (a * x.square()).flatten(1).sum(dim=1), x)
    torch.testing.assert_close(found, (2 * a * x).square().flatten(1).sum(dim=1).detach().float(), check_dtype=False)
    (gradient,) = torch.autograd.grad(found.sum(), a)
    torch.testing.assert_close(gradient, (8 * a * x.square()).sum(dim=0).detach(), atol=1e-5, rtol=1e-5)


def test_the_penalties_of_known_critics():
    recipe, rng = GANRecipe(gamma=3.0), torch.Generator().manual_seed(0)
    real, fake = torch.randn(6, 1, 4, 4), torch.randn(6, 1, 4, 4)
    r1 = recipe.penalty(lambda x: x.square().flatten(1).sum(dim=1) / 2, real, fake, rng)
    assert r1.item() == pytest.approx(1.5 * real.square().flatten(1).sum(dim=1).mean().item(), rel=1e-5)
    assert GANRecipe(gamma=0.0).penalty(lambda x: x.flatten(1).sum(dim=1), real, fake, rng).item() == 0
    wasserstein = WGANRecipe(weight=7.0)
    line = wasserstein.penalty(lambda x: 0.75 * x.flatten(1).sum(dim=1), real, fake, rng)  # its slope is 0.75 · 4
    assert line.item() == pytest.approx(7 * (3 - 1) ** 2, rel=1e-5)
    seen: list[Tensor] = []
    wasserstein.penalty(lambda x: (seen.append(x), x.flatten(1).sum(dim=1))[1], real, fake, rng)
    share = ((seen[0] - real) / (fake - real)).flatten(1).detach()
    assert (share.amin(dim=1) >= -1e-3).all() and (share.amax(dim=1) <= 1.001).all()
    torch.testing.assert_close(share, share[:, :1].expand_as(share), atol=2e-2, rtol=0)  # on the straight line, each at its own place
    assert share[:, 0].std().item() > 0.05


@pytest.mark.parametrize("recipe", [RECIPES[0], RECIPES[2]], ids=["r1", "wgan"])
def test_a_penaltys_gradient_is_that_of_differences(recipe: AdversarialRecipe):
    critic = Critic(recipe.config)
    attention = next(layer for layer in critic.modules() if isinstance(layer, SelfAttention))
    nn.init.constant_(attention.gain, 0.5)
    real, fake = (torch.rand(4, 1, 28, 28, dtype=torch.float64) * 2 - 1 for _ in range(2))
    critic.double()

    def value() -> Tensor:
        return recipe.penalty(lambda x: critic.layers(x).squeeze(1), real, fake, torch.Generator().manual_seed(1)).double()

    parameters = [critic.layers[1].weight, attention.read.weight, critic.layers[-1].weight]
    gradients = torch.autograd.grad(value(), parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        way = gradient / gradient.norm()
        parameter.data += 1e-3 * way
        above = value().item()
        parameter.data -= 2e-3 * way
        below = value().item()
        parameter.data += 1e-3 * way
        assert (above - below) / 2e-3 == pytest.approx(gradient.norm().item(), rel=0.02)


# -- training -----------------------------------------------------------------------------------------------------------


def parameters_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_every_turn_moves_its_own_network_and_no_other(tmp_path: Path, recipe: Recipe):
    trainer = Trainer(recipe, toy(64), tmp_path, budget=Budget(steps=5))
    generators = recipe.generator_moves if isinstance(recipe, CollapsedRecipe) else 1
    assert [(move.turn.name, move.turn.times) for move in trainer.moves] == [("critic", 1), ("generator", generators), ("encoder", 1)]
    for index, move in enumerate(trainer.moves):
        before = parameters_of(trainer.network)
        figures = trainer._move(move, index, 0.0)
        assert all(math.isfinite(float(value)) for value in figures.values())
        moved = {name.split(".")[0] for name, value in parameters_of(trainer.network).items() if not torch.equal(value, before[name])}
        assert moved == {move.turn.name}


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch):
    def weights(folder: str, steps: int) -> bytes:
        network = Trainer(recipe, toy(64), tmp_path / folder, budget=Budget(steps=steps)).run(quiet=True)
        return save({name: value.contiguous() for name, value in network.state_dict().items()})

    monkeypatch.setattr(type(recipe), "schedule", lambda self, progress: 1.0)  # else the shorter budget would slow down
    whole = weights("whole", 9)
    first = weights("parts", 4)
    assert weights("parts", 9) == whole
    assert first != whole


def test_the_learning_rate_stays_and_then_falls():
    recipe = GANRecipe(decay_from=0.5)
    assert [recipe.schedule(progress) for progress in (0.0, 0.3, 0.5)] == [1, 1, 1]
    assert recipe.schedule(0.75) == pytest.approx(0.505)
    assert recipe.schedule(1.0) == pytest.approx(0.01)


def test_a_critic_learns_to_tell_and_a_generator_to_pass(tmp_path: Path):
    recipe = dataclasses.replace(RECIPES[0], learning_rate=5e-3)
    trainer = Trainer(recipe, toy(64), tmp_path, budget=Budget(steps=100))
    critic, generator, _ = trainer.moves
    first = trainer._move(critic, 0, 0.0)
    for trainer.step in range(1, 25):
        figures = trainer._move(critic, 0, 0.0)
    assert figures["real"] - figures["fake"] > first["real"] - first["fake"] + 1
    losses = []
    for trainer.step in range(25, 50):
        losses.append(float(trainer._move(generator, 1, 0.0)["loss"]))
    assert losses[-1] < losses[0] - 0.5


# -- export -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[AdversarialNets, Path]:
    """A short run, exported twice: beside no classifier, and beside one."""
    folder = tmp_path_factory.mktemp("gan")
    network = Trainer(RECIPES[0], toy(64), folder / "run", budget=Budget(steps=6)).run(quiet=True)
    assert isinstance(network, AdversarialNets)
    config = ClassifierConfig(width=4, feature_dim=8)
    torch.manual_seed(0)
    judge = Classifier(config).eval()
    write_card_files(folder / "judged" / "classifier-fashion-28", judge, dataclasses.asdict(config), {})
    for where in ("alone", "judged"):
        RECIPES[0].export(network, folder / where / "card", toy(64), toy(64), {"steps": 6})
    return network, folder


def test_an_exported_gan_makes_the_same_pictures(exported: tuple[AdversarialNets, Path]):
    network, folder = exported
    card = folder / "judged" / "card"
    assert sorted(path.name for path in card.iterdir()) == ["config.json", "landmarks.safetensors", "model.safetensors"]
    words = json.loads((card / "config.json").read_text())
    assert words["family"] == "gan" and words["training"] == {"steps": 6} and words["classes"] == list(FASHION_CLASSES)
    assert all(value.dtype == torch.float16 for value in load_file(card / "model.safetensors").values())
    model = GAN.load(card, torch.device("cpu"), torch.float32)
    z = Noise([3, 4]).normal((4,))
    w = model.draw(GANParams(), Noise([3, 4]))
    *_, last = model.decode(w, GANParams(), Noise([0, 0]))
    with torch.no_grad():
        assert w.shape == (2, *model.latent.shape) == (2, 4, 4) and not model.noisy
        torch.testing.assert_close(w, network.generator.mapping(z)[:, None].expand(-1, 4, -1), atol=0.01, rtol=0.01)
        torch.testing.assert_close(last.x, network(z), atol=0.02, rtol=0)
        torch.testing.assert_close(model.score(last.x), network.critic(last.x), atol=0.02, rtol=0.02)
        encoded = model.encode(last.x, GANParams())
        torch.testing.assert_close(encoded, network.encoder(last.x)[:, None].expand(-1, 4, -1), atol=0.02, rtol=0.02)


def test_landmarks_are_those_of_w(exported: tuple[AdversarialNets, Path]):
    network, folder = exported
    model = GAN.load(folder / "judged" / "card", torch.device("cpu"), torch.float32)
    with torch.no_grad():
        w = network.generator.mapping(torch.randn(4000, 4))
    torch.testing.assert_close(model.origin()[0], w.mean(dim=0).expand(4, 4), atol=0.05, rtol=0)
    along = (w - w.mean(dim=0)) @ model.landmarks.principal.T
    torch.testing.assert_close(along.std(dim=0), model.landmarks.principal_std, atol=0.05, rtol=0.05)
    judge = load_classifier(folder / "judged" / "classifier-fashion-28")
    with torch.no_grad():
        label = judge(network.generator.synthesis(w)).argmax(dim=1).bincount(minlength=10).argmax().item()
        mean = w[judge(network.generator.synthesis(w)).argmax(dim=1) == label].mean(dim=0)
    torch.testing.assert_close(model.landmarks.class_mean[int(label)], mean, atol=0.05, rtol=0.05)


def test_only_classes_that_it_makes_are_offered(exported: tuple[AdversarialNets, Path]):
    alone = GAN.load(exported[1] / "alone" / "card", torch.device("cpu"), torch.float32)  # nobody told it classes
    assert not [name for name in alone.directions() if name.startswith("class:")]
    assert alone.direction("class", "0") is None
    model = GAN.tiny()
    assert [name for name in model.directions() if name.startswith("class:")] == ["class:0", "class:1", "class:2"]
    model.landmarks.class_mean[1] = model.landmarks.mean  # what a class that never occurs gets
    assert [name for name in model.directions() if name.startswith("class:")] == ["class:0", "class:2"]
    assert model.direction("class", "1") is None
