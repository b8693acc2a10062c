"""What only a flow can be asked: the share of each step, the slope of its density, and what could be missing from a picture."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from playground.errors import BadKnob
from playground.families.capabilities import HasDensity, HasFlowSteps
from playground.families.flow import NormalizingFlow, unit
from playground.families.tarflow import TransformerFlow
from playground.images import from_uint8
from playground.knobs import Knobs
from playground.latent import Noise
from playground.metrics import psnr_db
from playground.nets.couplings import Chain, MultiScale
from playground.nets.glow import ActNorm
from playground.request import Request
from playground.tasks.complete import SIGMA, Search, off_line, on_line
from tests.test_flow import SMALL, awake, jacobian_log_det
from tests.tiny import TinyEngine

CARDS = ("flow-tiny-28", "flow-transformer-tiny-28")


@pytest.fixture(scope="module")
def engine() -> TinyEngine:
    return TinyEngine(batch_size=64)


def ask(engine: TinyEngine, card: str, task: str, **knobs: object):
    return engine.run(Request.build(card, task, cards=engine.cards, **knobs)).sheet


# -- steps ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_each_steps_share_is_what_it_adds_to_the_jacobian(name: str):
    """Up to any step the shares add up to log |det| of everything so far, by autograd; in the end to the flow's own."""
    flow = awake(SMALL[name]())
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    walked = [*flow.walk(x)]
    so_far = torch.zeros(2, dtype=torch.float64)
    for index, passed in enumerate(walked):
        so_far = so_far + passed.log_det
        assert passed.x.shape == x.shape

        def upto(row: torch.Tensor, index: int = index) -> tuple[torch.Tensor]:
            return ([*flow.walk(row)][index].x,)

        torch.testing.assert_close(so_far, jacobian_log_det(upto, x))
    z, log_det = flow(x)
    torch.testing.assert_close(so_far, log_det)
    torch.testing.assert_close(walked[-1].x.flatten(1).sort().values, z.sort().values)  # the same numbers, at their places
    assert len(walked) > 3 and sum(passed.log_det.abs().min() > 1e-3 for passed in walked) > 3


@pytest.mark.parametrize("name", SMALL)
def test_the_way_back_passes_through_the_same_places(name: str):
    flow = awake(SMALL[name](), seed=1, by=0.05)
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    there = [passed.x for passed in flow.walk(x)]
    back = [*flow.walk_back(flow(x)[0])]
    assert len(there) == len(back)
    for a, b in zip(there, reversed(back), strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=0)
    torch.testing.assert_close(flow.logit.inverse(back[-1]), x, atol=1e-7, rtol=0)
    assert all(not torch.allclose(a, b) for a, b in itertools.pairwise(there))


def test_numbers_that_are_done_stay_where_their_pixels_were():
    """With norms that do nothing, every state is the picture itself, however many scales there are."""
    scales = MultiScale([nn_chain(4), nn_chain(8), nn_chain(16)], 1, 8)
    x = torch.rand(2, 1, 8, 8)
    z, _ = scales(x)
    assert all(torch.equal(passed.x, x) for passed in scales.walk(x))
    states = [*scales.walk_back(z)]
    assert len(states) == 4 and all(torch.equal(state, x) for state in states)


def nn_chain(channels: int) -> nn.Module:
    return Chain([ActNorm(channels)]).eval()


@pytest.mark.parametrize("card", CARDS)
def test_steps_shows_both_ways_and_adds_up(engine: TinyEngine, card: str):
    model = engine.model(card)
    assert isinstance(model, HasFlowSteps)
    sheet = ask(engine, card, "steps", picture="test:3", seed=7)
    x = from_uint8(engine.shelf_of(card).pictures[3:4])
    with torch.inference_mode():
        z, log_det = model.network(unit(x))
        density = model.network.log_prob(unit(x))
        *_, drawn = model.decode(model.draw(model.Params(), Noise([7])), model.Params(), Noise([7]))
    facts, columns = sheet.facts, sheet.columns
    assert sum(facts["nats"]) == pytest.approx(log_det.item(), abs=0.05)
    assert facts["total_nats"] + facts["normal_nats"] == pytest.approx(density.item(), abs=0.05)
    assert facts["z_std"] == pytest.approx(z.std().item(), rel=1e-4)
    assert len(sheet.pictures) == sheet.group * columns and columns == len(facts["names"]) + 1
    there, back = sheet.pictures[:columns].astype(int), sheet.pictures[columns : 2 * columns].astype(int)
    assert abs(there - back).max() <= 1 and facts["error_levels"] < 0.1
    assert (sheet.pictures[0] == engine.shelf_of(card).pictures[3]).all()
    assert psnr_db(from_uint8(sheet.pictures[2 * columns : 2 * columns + 1]), drawn.x).item() > 45


# -- density --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("card", CARDS)
def test_density_orders_pictures_and_counts_those_beaten(engine: TinyEngine, card: str):
    sheet = ask(engine, card, "density", picture="test:3", seed=0)
    facts, model, shelf = sheet.facts, engine.model(card), engine.shelf_of(card)
    assert facts["bits"] == sorted(facts["bits"]) and len(facts["bits"]) == len(sheet.pictures) == 8
    place = facts["names"].index("this one")
    assert (sheet.pictures[place] == shelf.pictures[3]).all()
    black = facts["names"].index("all black")
    assert (sheet.pictures[black] == 0).all() and (sheet.pictures[facts["names"].index("all white")] == 255).all()
    with torch.inference_mode():
        lone = model.log_prob(from_uint8(shelf.pictures[3:4]), Noise([0])).item()
        test = model.log_prob(from_uint8(shelf.pictures), Noise(range(len(shelf.pictures))))
    assert facts["nats"][place] == pytest.approx(lone, abs=0.05)
    bits = -test / (784 * math.log(2))
    torch.testing.assert_close(torch.tensor(facts["test_bits"]), bits, atol=2e-3, rtol=0)
    beaten = int((bits > facts["bits"][place]).sum())
    assert f"likelier than {beaten / len(bits):.0%} of {len(bits)} test pictures" in sheet.says


# -- completion -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [NormalizingFlow, TransformerFlow])
def test_the_slope_of_the_density_is_that_of_finite_differences(family: type[NormalizingFlow]):
    model = family.tiny()
    assert isinstance(model, HasDensity)
    network = model.network.double()
    v = 0.1 + 0.8 * torch.rand(1, 1, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (slope,) = torch.autograd.grad(network.log_prob(v.requires_grad_()).sum(), v)
    for row, column in ((3, 4), (13, 14), (27, 0)):
        nudge = torch.zeros_like(v)
        nudge[0, 0, row, column] = 1e-5
        with torch.no_grad():
            found = (network.log_prob(v + nudge) - network.log_prob(v - nudge)).item() / 2e-5
        assert slope[0, 0, row, column].item() == pytest.approx(found, rel=1e-5)
    model.network.float()
    torch.testing.assert_close(model.log_density(v.detach().float()), network.log_prob(v.detach().float()))


@pytest.mark.parametrize("family", [NormalizingFlow, TransformerFlow])
def test_the_slope_of_the_search_is_that_of_finite_differences(family: type[NormalizingFlow]):
    model = family.tiny()
    model.network.double()
    rng = torch.Generator().manual_seed(1)
    z = (0.5 * torch.randn(1, 784, dtype=torch.float64, generator=rng)).requires_grad_()
    search = Search(model, torch.zeros(1, 1, 28, 28, dtype=torch.float64), torch.ones(28, 28).tril().bool(), z.detach().clone())

    def loss(z: torch.Tensor) -> torch.Tensor:
        return search.loss(z, model.network.inverse(z))

    (slope,) = torch.autograd.grad(loss(z).sum(), z)
    for index in (0, 100, 700):
        nudge = torch.zeros_like(z)
        nudge[0, index] = 1e-6
        with torch.no_grad():
            found = (loss(z + nudge) - loss(z - nudge)).item() / 2e-6
        assert slope[0, index].item() == pytest.approx(found, rel=1e-4)


def test_the_search_finds_the_mean_of_a_gaussian_posterior():
    """Where y(z) = z, each kept pixel's posterior under N(0, 1) and noise σ has its mean at y/(1 + σ²), each missing one at 0."""

    class Plain:
        def log_density(self, v: torch.Tensor) -> torch.Tensor:
            return -v.flatten(1).sum(dim=1)

        def continuous(self, z: torch.Tensor) -> torch.Tensor:
            return off_line(z.view(-1, 1, 4, 4))

    x = torch.linspace(-0.9, 0.9, 16).view(1, 1, 4, 4)
    missing = torch.zeros(4, 4, dtype=torch.bool)
    missing[2:] = True
    search = Search(Plain(), x, missing, torch.randn(3, 16, generator=torch.Generator().manual_seed(0)))
    for _ in range(600):
        search.step(1.0)
    for _ in range(200):
        search.step(0.05)
    expected = torch.where(missing, 0.0, on_line(search.given) / (1 + SIGMA**2)).view(1, 16).expand(3, -1)
    torch.testing.assert_close(search.z.detach(), expected, atol=0.02, rtol=0)
    torch.testing.assert_close(search.pasted()[:, :, :2], x.expand(3, -1, -1, -1)[:, :, :2], atol=1e-5, rtol=0)
    before = search.v.mean()
    for _ in range(5):
        search.climb()
    assert search.v.mean() < before and torch.equal(search.v[:, :, :2], search.given.expand(3, -1, -1, -1)[:, :, :2])


@pytest.mark.parametrize("card", CARDS)
def test_completions_keep_what_was_kept_and_differ_where_it_was_not(engine: TinyEngine, card: str):
    sheet = ask(engine, card, "complete", picture="test:3", mask="left", num_samples=2, num_steps=3)
    given = engine.shelf_of(card).pictures[3]
    found = sheet.pictures[2:]
    assert (found[:, :, 14:] == given[:, 14:]).all() and not (found[0, :, :14] == found[1, :, :14]).all()
    alone = ask(engine, card, "complete", picture="test:3", mask="left", num_samples=1, num_steps=3)
    assert abs(alone.pictures[2].astype(int) - found[0].astype(int)).max() <= 1


def test_more_steps_fit_better_and_climbing_makes_likelier(engine: TinyEngine):
    few, many = (ask(engine, CARDS[0], "complete", mask="bottom", num_samples=1, num_steps=steps) for steps in (2, 80))
    assert many.facts["off_levels"][0] < 0.8 * few.facts["off_levels"][0]
    climbed = ask(engine, CARDS[0], "complete", mask="bottom", num_samples=1, num_steps=2, num_climbs=60)
    assert climbed.facts["before_bits"] == few.facts["after_bits"]
    assert climbed.facts["after_bits"][0] < climbed.facts["before_bits"][0] - 0.05


def test_nothing_missing_is_a_sentence(engine: TinyEngine):
    with pytest.raises(BadKnob, match="Nothing is missing"):
        ask(engine, CARDS[0], "complete", mask="none")


def test_the_line_and_back():
    v = torch.linspace(0, 1, 257, dtype=torch.float64).view(1, 1, 1, -1)
    torch.testing.assert_close(off_line(on_line(v)), v.clamp(1e-6, 1 - 1e-6))


def test_a_model_that_was_borrowed_first_can_still_be_differentiated():
    """What is loaded in inference mode could not be; a card may be loaded because another task borrows it."""
    engine = TinyEngine()
    with torch.inference_mode(), engine._lease(CARDS[0]):
        pass
    assert ask(engine, CARDS[0], "complete", num_samples=1, num_steps=1).facts["after_bits"]
    assert isinstance(engine.model(CARDS[0]).Params(), Knobs)
