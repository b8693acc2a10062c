"""The discretised mixture of logistics: a distribution over 256 grey levels, also where its parameters are extreme."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from playground.nets.likelihood import LogisticMixture, bits_per_dim, kl_to_standard_normal

calm = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
"""No clock and no chance: a busy machine must not fail a test."""

LEVELS = torch.arange(256).view(1, 1, 1, 256)
EXTREMES = st.sampled_from([-1e4, -300.0, -20.0, 20.0, 300.0, 1e4])


def raw_of(logits: list[float], means: list[float], log_scales: list[float], width: int = 1) -> Tensor:
    """Raw outputs for one row of `width` pixels that all have the same distribution; float64, so that sums are exact."""
    values = torch.tensor([*logits, *means, *log_scales], dtype=torch.float64)
    return values.view(1, -1, 1, 1).expand(1, len(values), 1, width).clone()


def probabilities(logits: list[float], means: list[float], log_scales: list[float]) -> Tensor:
    return LogisticMixture(raw_of(logits, means, log_scales, 256)).log_prob(LEVELS).exp().flatten()


MIXTURES = [
    ([0.0, 0.0, 0.0], [-0.5, 0.5], [-2.0, -1.0]),
    ([3.0, 0.0, 1.0], [0.0, 0.9], [-4.0, 0.0]),
    ([-5.0, 0.0], [1.4], [-1.0]),  # its middle is beyond white
    ([-5.0, 0.0], [-1.4], [1.5]),
    ([0.0, 1.0, 2.0, 0.5], [-0.95, 0.1, 0.97], [-6.0, -6.5, -3.0]),
]


@calm
@given(
    logits=st.lists(st.floats(-8, 8), min_size=4, max_size=4),
    means=st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    log_scales=st.lists(st.floats(-12, 8), min_size=3, max_size=3),
)
def test_probabilities_of_all_levels_sum_to_one(logits: list[float], means: list[float], log_scales: list[float]):
    assert probabilities(logits, means, log_scales).sum().item() == pytest.approx(1, abs=1e-9)


@calm
@given(log_scale=st.one_of(EXTREMES, st.floats(-7.5, 3.5)), mean=st.floats(-1, 1))
def test_probabilities_sum_to_one_at_extreme_scales(log_scale: float, mean: float):
    assert probabilities([0.0, 0.0], [mean], [log_scale]).sum().item() == pytest.approx(1, abs=1e-9)


def test_single_precision_sums_to_one_too():
    raw = torch.randn(16, 16, 1, 256, generator=torch.Generator().manual_seed(0))[..., :1].expand(16, 16, 1, 256) * 2
    total = LogisticMixture(raw).log_prob(LEVELS.expand(16, 1, 1, 256)).exp().sum(dim=-1)
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-4, rtol=0)


@calm
@given(mean=st.floats(-1.2, 1.2), log_scale=st.floats(-6, 2), level=st.integers(0, 255))
def test_a_lone_logistic_has_the_mass_of_its_bin(mean: float, log_scale: float, level: int):
    def below(edge: float) -> float:
        return float(expit((edge - mean) / math.exp(log_scale)))

    middle = level / 127.5 - 1
    upper = 1.0 if level == 255 else below(middle + 1 / 255)
    lower = 0.0 if level == 0 else below(middle - 1 / 255)
    raw = raw_of([-80.0, 0.0], [mean], [log_scale])
    found = LogisticMixture(raw).log_prob(torch.full((1, 1, 1, 1), level)).exp().item()
    assert found == pytest.approx(upper - lower, rel=1e-6, abs=1e-14)


def test_the_spike_adds_to_black_alone():
    with_spike, without = probabilities([1.0, 0.0], [0.2], [-1.0]), probabilities([-80.0, 0.0], [0.2], [-1.0])
    spike = math.e / (math.e + 1)
    torch.testing.assert_close(with_spike[1:], without[1:] * (1 - spike))
    assert with_spike[0].item() == pytest.approx(spike + without[0].item() * (1 - spike))


@calm
@given(values=st.lists(st.one_of(EXTREMES, st.floats(-5, 5)), min_size=7, max_size=7), level=st.integers(0, 255))
def test_extreme_outputs_of_a_network_give_finite_numbers_and_gradients(values: list[float], level: int):
    raw = torch.tensor(values).view(1, 7, 1, 1).requires_grad_()
    log_prob = LogisticMixture(raw).log_prob(torch.full((1, 1, 1, 1), level))
    assert torch.isfinite(log_prob).all()
    assert log_prob.item() <= 1e-5
    log_prob.sum().backward()
    assert torch.isfinite(raw.grad).all()


def test_gradients_are_those_of_finite_differences():
    raw = raw_of([0.3, -0.2, 0.5], [-0.4, 0.6], [-2.0, -1.5], 5).requires_grad_()
    levels = torch.tensor([0, 1, 100, 254, 255]).view(1, 1, 1, 5)
    assert torch.autograd.gradcheck(lambda values: LogisticMixture(values).log_prob(levels), (raw,))


@pytest.mark.parametrize(("logits", "means", "log_scales"), MIXTURES)
def test_mean_is_the_expectation_of_the_clipped_mixture(logits: list[float], means: list[float], log_scales: list[float]):
    weights = torch.tensor(logits, dtype=torch.float64).softmax(0).tolist()
    expected = -weights[0]
    for weight, mean, log_scale in zip(weights[1:], means, log_scales, strict=True):
        scale = math.exp(log_scale)
        # E[clip(X)] = -1·P(X < -1) + 1·P(X > 1) + ∫ x p(x) dx over what is between.
        inside = quad(lambda x, m=mean, s=scale: x * expit((x - m) / s) * expit((m - x) / s) / s, -1, 1, points=[mean], limit=200)[0]
        expected += weight * (inside - expit((-1 - mean) / scale) + expit((mean - 1) / scale))
    assert LogisticMixture(raw_of(logits, means, log_scales)).mean().item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("logits", "means", "log_scales"), MIXTURES)
def test_mean_is_that_of_the_256_levels_within_half_a_level(logits: list[float], means: list[float], log_scales: list[float]):
    expected = (probabilities(logits, means, log_scales) * (torch.arange(256) / 127.5 - 1)).sum().item()
    assert LogisticMixture(raw_of(logits, means, log_scales)).mean().item() == pytest.approx(expected, abs=1 / 255)


@calm
@given(values=st.lists(st.one_of(EXTREMES, st.floats(-5, 5)), min_size=7, max_size=7))
def test_mean_and_draws_stay_in_range(values: list[float]):
    mixture = LogisticMixture(torch.tensor(values).view(1, 7, 1, 1))
    uniform = torch.tensor([0.0, 0.5, 0.999999]).view(1, 1, 1, 3).expand(1, 2, 1, 3)
    wide = LogisticMixture(torch.tensor(values).view(1, 7, 1, 1).expand(1, 7, 1, 3))
    for x in (mixture.mean(), wide.sample(uniform)):
        assert torch.isfinite(x).all()
        assert x.abs().max().item() <= 1


@pytest.mark.parametrize(("logits", "means", "log_scales"), MIXTURES)
def test_draws_come_as_often_as_their_probability_says(logits: list[float], means: list[float], log_scales: list[float]):
    count = 40_000
    mixture = LogisticMixture(raw_of(logits, means, log_scales, count))
    uniform = torch.rand(1, 2, 1, count, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    levels = (mixture.sample(uniform) + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-6, rtol=0)
    frequency = np.bincount(levels.round().long().flatten().numpy(), minlength=256) / count
    expected = probabilities(logits, means, log_scales).numpy()
    five_deviations = 5 * np.sqrt(expected * (1 - expected) / count) + 5 / count
    assert (np.abs(frequency - expected) <= five_deviations).all()


@settings(calm, max_examples=30)
@given(pairs=st.lists(st.tuples(st.floats(-6, 6), st.floats(-6, 4)), min_size=1, max_size=8))
def test_kl_agrees_with_torch_distributions(pairs: list[tuple[float, float]]):
    mu, log_var = torch.tensor(pairs, dtype=torch.float64).T
    expected = kl_divergence(Normal(mu, (0.5 * log_var).exp()), Normal(torch.zeros_like(mu), torch.ones_like(mu)))
    torch.testing.assert_close(kl_to_standard_normal(mu, log_var), expected)


def test_kl_of_the_prior_itself_is_zero():
    assert kl_to_standard_normal(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2


def test_bits_per_dim_of_a_uniform_guess_is_eight():
    assert bits_per_dim(torch.tensor(784 * math.log(256)), 784).item() == pytest.approx(8)
