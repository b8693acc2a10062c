"""Diffusion: its paths, its guidance, its recipes, and likelihoods against bell curves whose answers are known."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path as Folder
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

from playground.errors import BadKnob, BadWeights
from playground.families.capabilities import HasODE, HasVariationalBound
from playground.families.diffusion import Diffusion, DiffusionParams
from playground.families.labels import labels_of
from playground.families.likelihood import chain_bound, heading, normal_log_density, ode_log_density
from playground.images import from_uint8, to_uint8
from playground.latent import Noise
from playground.metrics import psnr_db
from playground.nets.diffusion import FIRST_SIGMA, LAST_SIGNAL, PATHS, TIME_SCALE, Circle, Path
from playground.nets.unet import PatchUNet, UNetConfig
from playground.training.recipes.diffusion import DiffusionRecipe
from playground.training.recipes.rectified import RectifiedRecipe
from playground.training.trainer import Budget, Trainer
from tests.toys import toy

SMALL = UNetConfig(widths=(8, 16), head_dim=8, norm_groups=4)
RECIPES = [DiffusionRecipe(config=SMALL, batch_size=16, warmup_steps=5), RectifiedRecipe(config=SMALL, batch_size=16, warmup_steps=5)]
each_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
each_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=PATHS)


@pytest.fixture(scope="module", params=PATHS)
def model(request: pytest.FixtureRequest) -> Diffusion:
    return Diffusion.tiny(request.param)


def pictures(count: int, side: int = 28) -> Tensor:
    """Grey levels, as pictures in [-1, 1]."""
    return from_uint8(to_uint8(torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8))


# -- paths ----------------------------------------------------------------------------------------------------------------


@each_path
def test_the_tangent_is_the_slope_of_the_way(path: Path):
    torch.manual_seed(1)
    x_0, eps = torch.randn(2, 5, 1, 2, 2, dtype=torch.float64)
    time, nudge = torch.linspace(0.1, 0.9, 5, dtype=torch.float64), 1e-6
    moved = path.at(time + nudge).noised(x_0, eps) - path.at(time - nudge).noised(x_0, eps)
    length = (path.place(time + nudge) - path.place(time - nudge)).view(-1, 1, 1, 1)
    torch.testing.assert_close(path.at(time).tangent(x_0, eps), moved / length, atol=1e-7, rtol=1e-7)


@each_path
def test_picture_and_noise_come_back_from_where_it_is_and_heads(path: Path):
    torch.manual_seed(2)
    x_0, eps = torch.randn(2, 7, 1, 3, 3, dtype=torch.float64)
    at = path.at(torch.linspace(0, 1, 7, dtype=torch.float64))
    x_t, u = at.noised(x_0, eps), at.tangent(x_0, eps)
    torch.testing.assert_close(at.picture(x_t, u), x_0)
    torch.testing.assert_close(at.noise(x_t, u), eps)
    assert at.signal.flatten()[-1] < 0.01 and at.sigma.flatten()[0] < 0.01


@each_path
def test_clipping_moves_only_guesses_beyond_black_and_white(path: Path):
    at = path.at(torch.tensor([0.3]))
    eps = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    for factor, changed in ((0.9, False), (3.0, True)):
        x_0 = factor * torch.linspace(-1, 1, 16).view(1, 1, 4, 4)
        x_t, u = at.noised(x_0, eps), at.tangent(x_0, eps)
        guess, rest = path.seen(at, x_t, u)
        torch.testing.assert_close(guess, x_0.clamp(-1, 1), atol=1e-5, rtol=0)
        torch.testing.assert_close(at.noised(guess, rest), x_t, atol=1e-5, rtol=0)
        assert torch.allclose(at.tangent(guess, rest), u, atol=1e-5) != changed


@each_path
def test_each_place_along_the_way_is_that_of_its_time(path: Path):
    times = torch.tensor([1.0, 0.4, 0.1])
    for time, at in zip(times, path.along(times), strict=True):
        assert vars(at) == vars(path.at(time.view(1)))


@each_path
def test_even_times_lose_the_same_factor_at_every_step(path: Path):
    at = path.at(path.even_times(50).double())
    ratio = (at.sigma / at.signal).flatten()
    torch.testing.assert_close(
        ratio[1:] / ratio[:-1], torch.full((50,), (1 / FIRST_SIGMA / LAST_SIGNAL) ** 0.02).double(), rtol=1e-3, atol=0
    )


def test_betas_are_steps_along_the_circle():
    path = Circle()
    alpha_bar = (1 - path.betas()).cumprod(0)
    expected = path.at(torch.linspace(0, 1, 1000, dtype=torch.float64)).signal.flatten().square()
    torch.testing.assert_close(alpha_bar, expected)
    assert path.betas().min() > 0 and path.betas().max() < 0.999


# -- classes and guidance ---------------------------------------------------------------------------------------------------


def test_labels_are_what_the_knob_says():
    noise = Noise(range(600))
    drawn = labels_of("any", noise, 3)
    assert drawn.dtype == torch.int64 and drawn.bincount(minlength=3).min() > 160 and drawn.max() == 2
    assert all(labels_of("any", Noise([seed]), 3).item() == drawn[seed] for seed in (0, 7, 599))
    assert labels_of("none", Noise([1, 2]), 3).tolist() == [3, 3] and labels_of("2", Noise([1, 2]), 3).tolist() == [2, 2]
    with pytest.raises(BadKnob, match=r"no class 3 here.* 0 to 2"):
        labels_of("3", noise, 3)


def test_guidance_exaggerates_what_the_class_changes(model: Diffusion):
    torch.manual_seed(5)
    x, time, labels = torch.randn(2, 1, 28, 28), torch.tensor([0.4, 0.8]), torch.tensor([2, 2])
    told, untold = model.heading(x, time, labels), model.unconditional(x, time)
    assert (told - untold).abs().max() > 0.01
    for scale in (1.0, 2.5):
        said = model.guided(DiffusionParams(guidance_scale=scale, label="2"), Noise([0, 1]))(x, time)
        torch.testing.assert_close(said, untold + scale * (told - untold), atol=1e-4, rtol=0)
    said = model.guided(DiffusionParams(guidance_scale=4.0, label="none"), Noise([0, 1]))(x, time)
    torch.testing.assert_close(said, untold)


def test_a_class_that_is_not_there_is_refused(model: Diffusion):
    with pytest.raises(BadKnob):
        [*model.decode(model.origin(), DiffusionParams(label="7", num_inference_steps=2), Noise([1]))]


def test_a_picture_is_made_back_from_its_noise(model: Diffusion):
    x, params = pictures(3), DiffusionParams(num_inference_steps=50, scheduler="ddim")
    with torch.inference_mode():
        z = model.encode(x, params)
        *_, last = model.decode(z, params, Noise([0] * 3))
    assert psnr_db(x, last.x).min() > 25 and z.shape == x.shape


def test_directions_are_slow_patterns_at_right_angles(model: Diffusion):
    rows = torch.cat([model.direction("pc", str(index)).flatten(1) for index in range(1, 785)])
    torch.testing.assert_close(rows @ rows.T, torch.eye(784), atol=1e-5, rtol=0)
    assert rows[0].std() < 1e-6 and model.direction("pc", "785") is None
    across = model.direction("pc", "2").view(28, 28)
    assert (across.diff(dim=1) < 0).all() and across.diff(dim=0).abs().max() < 1e-6
    words = model.directions()
    assert words["pc:2"] == "Left to right" and len({*words.values()}) == len(words)


# -- likelihood -------------------------------------------------------------------------------------------------------------


def bell(path: Path, covariance: Tensor) -> Any:
    """A perfect network for data N(0, covariance) of D = 4 pixels, and that data."""
    size = len(covariance)

    def predict(x: Tensor, time: Tensor) -> Tensor:
        at = path.at(time.to(x))
        signal, sigma = at.signal.view(-1, 1, 1), at.sigma.view(-1, 1, 1)
        seen = torch.linalg.inv(signal**2 * covariance + sigma**2 * torch.eye(size).to(x)) @ x.view(-1, size, 1)
        return at.tangent((signal * covariance @ seen).view_as(x), (sigma * seen).view_as(x))

    return predict


COVARIANCE = torch.tensor([[0.3, 0.1, 0.0, 0.05], [0.1, 0.2, 0.05, 0.0], [0.0, 0.05, 0.4, -0.1], [0.05, 0.0, -0.1, 0.25]]).double()


@each_path
def test_the_ode_finds_the_density_of_a_bell_curve(path: Path):
    torch.manual_seed(4)
    x = MultivariateNormal(torch.zeros(4).double(), COVARIANCE).sample((6,)).view(6, 1, 2, 2)
    start = path.at(torch.tensor([path.first]).double())
    known = MultivariateNormal(torch.zeros(4).double(), start.signal.item() ** 2 * COVARIANCE + start.sigma.item() ** 2 * torch.eye(4))
    found = ode_log_density(path, bell(path, COVARIANCE), x)
    torch.testing.assert_close(found, known.log_prob(x.flatten(1)), atol=2e-3, rtol=0)
    assert (found - normal_log_density(x)).abs().max() > 0.1


def test_probes_estimate_the_divergence_without_bias():
    torch.manual_seed(0)
    matrix, x = torch.randn(4, 4).double(), torch.randn(2, 1, 2, 2).double()

    def predict(x: Tensor, time: Tensor) -> Tensor:
        return (x.flatten(1) @ matrix.T).tanh().view_as(x)

    u, divergence = heading(predict, x, torch.zeros(2), None)
    slope = torch.autograd.functional.jacobian(lambda row: (matrix @ row).tanh(), x[1].flatten())
    torch.testing.assert_close(divergence[1], slope.trace())
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4).double().view(16, 1, 1, 2, 2)
    estimates = torch.stack([heading(predict, x, torch.zeros(2), corner.expand_as(x))[1] for corner in corners])
    torch.testing.assert_close(estimates.mean(dim=0), divergence)
    assert estimates.std(dim=0).min() > 0.01
    torch.testing.assert_close(u, predict(x, torch.zeros(2)))


def lost_by_rounding() -> float:
    """Nats a pixel that go because the perfect network of smooth data does not know that greys are 256."""
    noise = FIRST_SIGMA * torch.randn(200_000, generator=torch.Generator().manual_seed(0)).double()
    around = torch.arange(-6, 7) * 2 / 255
    decoded = (-0.5 * ((noise[:, None] - around) / FIRST_SIGMA).square()).log_softmax(dim=1)[:, 6]
    return -decoded.mean().item() + math.log(2 / 255) - 0.5 * math.log(2 * math.pi * math.e * FIRST_SIGMA**2)


@each_path
def test_the_chains_bound_of_a_bell_curve_is_tight(path: Path):
    """With a perfect network and many steps, nothing but rounding is lost on average: the bound is the log-probability itself."""
    spread, count = 0.2, 3000
    torch.manual_seed(3)
    x = from_uint8(to_uint8(spread * torch.randn(count, 1, 2, 2))).double()
    half = 1 / 255
    known = (Normal(0, spread).cdf(x + half) - Normal(0, spread).cdf(x - half)).log().flatten(1).sum(dim=1)
    places = (torch.arange(128)[:, None] + torch.rand(1, count)).double() / 128
    found = chain_bound(path, bell(path, spread**2 * torch.eye(4).double()), x, torch.randn(129, count, 1, 2, 2).double(), places)
    error = (found - known).std().item() / math.sqrt(count)
    assert error < 0.05
    assert (found - known).mean().item() == pytest.approx(-4 * lost_by_rounding(), abs=0.02 + 3 * error)


def test_a_model_says_how_likely_a_picture_is(model: Diffusion, monkeypatch: pytest.MonkeyPatch):
    """A stand-in network that knows N(0, ½²) per pixel: both answers are those of the rounded bell curve."""
    x, noise = pictures(3), Noise([5, 6, 7])
    assert isinstance(model, HasODE) and isinstance(model, HasVariationalBound)
    with torch.inference_mode():
        for ask in (model.ode_log_prob, model.variational_bound):
            assert torch.isfinite(ask(x[:1], noise.slice(0, 1))).all()

        def perfect(at_x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
            at = model.path.at(time)
            total = 0.25 * at.signal**2 + at.sigma**2
            return at.tangent(0.25 * at.signal / total * at_x, at.sigma / total * at_x)

        monkeypatch.setattr(model, "heading", perfect)
        known = (Normal(0, 0.5).cdf(x + 1 / 255) - Normal(0, 0.5).cdf(x - 1 / 255)).log().flatten(1).sum(dim=1)
        torch.testing.assert_close(model.ode_log_prob(x, noise), known, atol=2, rtol=0)
        assert torch.equal(model.variational_bound(x, noise), model.variational_bound(x, noise))
        alone = torch.cat([model.variational_bound(x[index : index + 1], Noise([5 + index])) for index in range(3)])
        torch.testing.assert_close(alone, model.variational_bound(x, noise), atol=0.5, rtol=0)


# -- recipes ------------------------------------------------------------------------------------------------------------------


class Listener(nn.Module):
    """Says nothing (zero everywhere), and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.time, self.labels = torch.empty(0), torch.empty(0), torch.empty(0)

    def forward(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        self.x, self.time, self.labels = x, time, labels
        return torch.zeros_like(x)


@each_recipe
def test_the_loss_is_the_distance_to_the_tangent(recipe: DiffusionRecipe):
    listener, count = Listener(), 2000
    grey, labels = torch.full((count, 1, 2, 2), 191), torch.arange(count) % 10
    loss, _ = recipe.loss(listener, grey, labels, torch.Generator().manual_seed(0), 0.0)
    x_0 = torch.full_like(listener.x, 191 / 127.5 - 1)
    at = PATHS[recipe.path].at(listener.time / TIME_SCALE)
    eps = (listener.x - at.signal * x_0) / at.sigma
    assert loss.item() == pytest.approx(at.tangent(x_0, eps).square().mean().item(), rel=1e-3)
    assert eps.mean().item() == pytest.approx(0, abs=0.05) and eps.std().item() == pytest.approx(1, abs=0.05)
    forgotten = listener.labels == 10
    assert forgotten.float().mean().item() == pytest.approx(0.1, abs=0.03)
    assert torch.equal(listener.labels[~forgotten], labels[~forgotten])


@each_recipe
def test_times_are_spread_over_the_whole_way(recipe: DiffusionRecipe):
    times = recipe.times(1000, torch.Generator().manual_seed(1), torch.device("cpu"))
    again = recipe.times(1000, torch.Generator().manual_seed(2), torch.device("cpu"))
    assert times.min() >= 0 and times.max() <= 1 and not torch.equal(times, again)
    shares = torch.histc(times, 10, 0, 1) / 1000
    assert shares.min() >= (0.1 if recipe.path == "diffusion" else 0.06) - 1e-3
    torch.testing.assert_close(shares, torch.histc(again, 10, 0, 1) / 1000, atol=2e-3, rtol=0)


@each_recipe
def test_training_lowers_the_loss_and_its_card_loads(tmp_path: Folder, recipe: DiffusionRecipe):
    split = toy(64)

    def loss_of(network: nn.Module) -> float:
        rng = torch.Generator().manual_seed(9)
        with torch.no_grad():
            return recipe.loss(network, split.pictures, split.labels, rng, 1.0)[0].item()

    before = loss_of(recipe.network())
    network = Trainer(recipe, split, tmp_path / "run", budget=Budget(steps=30)).run(quiet=True)
    assert loss_of(network) < 0.8 * before
    recipe.export(network, tmp_path / "card", split, split, {})
    model = Diffusion.load(tmp_path / "card", torch.device("cpu"), torch.float32)
    assert model.path.name == recipe.path and dataclasses.asdict(model.network.config)["widths"] == [8, 16]
    x, time, labels = torch.randn(2, 1, 28, 28), torch.tensor([0.2, 0.9]), torch.tensor([3, 10])
    with torch.no_grad():
        torch.testing.assert_close(model.heading(x, time, labels), network(x, TIME_SCALE * time, labels), atol=2e-2, rtol=0)
    words = json.loads((tmp_path / "card" / "config.json").read_text())
    (tmp_path / "card" / "config.json").write_text(json.dumps({**words, "path": "detour"}))
    with pytest.raises(BadWeights, match="detour"):
        Diffusion.load(tmp_path / "card", torch.device("cpu"), torch.float32)


def test_the_network_is_diffusers_own_on_patches():
    network = PatchUNet(SMALL)
    nn.init.normal_(network.unet.conv_out.weight)
    x, time, labels = torch.randn(2, 1, 28, 28), torch.tensor([10.0, 900.0]), torch.tensor([0, 10])
    out = network(x, time, labels)
    corners = torch.stack([x[:, 0, down::2, across::2] for down in (0, 1) for across in (0, 1)], dim=1)
    plain = network.unet(corners, time, class_labels=labels).sample
    torch.testing.assert_close(out[:, 0, 1::2, ::2], plain[:, 2])
    assert out.shape == x.shape and network.unet.sample_size == 14
