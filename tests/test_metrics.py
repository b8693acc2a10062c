"""Errors of pictures and distances between sets of features, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from playground.metrics import frechet_distance, kernel_distance, manifold_scores, psnr_db, sharpness, ssim


def normal(count: int, dims: int, seed: int) -> Tensor:
    return torch.randn(count, dims, generator=torch.Generator().manual_seed(seed))


def flat(level: float) -> Tensor:
    return torch.full((1, 1, 28, 28), level)


# -- pictures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (-1.0, 1.0, 0.0),  # black against white: the error is the whole range
        (0.0, 0.2, 20.0),  # a tenth of the range: -10·log10(0.01)
        (0.5, 0.3, 20.0),
        (0.0, 0.02, 40.0),
    ],
)
def test_psnr_of_flat_pictures(first: float, second: float, expected: float):
    assert psnr_db(flat(first), flat(second)).item() == pytest.approx(expected, abs=1e-3)


def test_psnr_is_per_picture_and_capped():
    x = torch.zeros(3, 1, 4, 4)
    y = x.clone()
    y[1, 0, 0, 0] = 2.0  # one of 16 pixels is off by the whole range
    y[2] = 1.0  # all are off by half of it
    expected = torch.tensor([100.0, 10 * math.log10(16), 10 * math.log10(4)])
    torch.testing.assert_close(psnr_db(x, y), expected)


def test_ssim_of_itself_is_one():
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(ssim(x, x), torch.ones(3))


@pytest.mark.parametrize(("first", "second"), [(0.6, 0.8), (0.25, 0.75), (0.95, 0.05), (0.0, 1.0)])
def test_ssim_of_flat_pictures_is_the_luminance_term(first: float, second: float):
    # The levels count from black = 0, as in the paper; without that, two greys on either side of the middle come out negative.
    luminance = (2 * first * second + 0.01**2) / (first**2 + second**2 + 0.01**2)
    assert ssim(flat(2 * first - 1), flat(2 * second - 1)).item() == pytest.approx(luminance, abs=1e-3)


def test_ssim_tells_noise_from_a_slight_change():
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(2, 1, 28, 28, generator=rng) * 2 - 1
    slight = (x + 0.02).clamp(-1, 1)
    noise = torch.rand(2, 1, 28, 28, generator=rng) * 2 - 1
    assert (ssim(x, slight) > 0.95).all()
    assert (ssim(x, noise) < 0.3).all()


# -- Fréchet distance ---------------------------------------------------------------------------------------------------


def test_frechet_distance_of_a_set_with_itself_is_zero():
    a = normal(300, 6, seed=0)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_a_shifted_set_is_the_squared_shift():
    a = normal(300, 6, seed=0).double()
    shift = torch.tensor([3.0, 0.0, -4.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    assert frechet_distance(a, a + shift) == pytest.approx(26.0, rel=1e-9)


def test_frechet_distance_of_a_scaled_set_follows_the_closed_form():
    # Covariances C and sCs commute only when C is diagonal, so the sample's own axes are made uncorrelated first.
    raw = normal(400, 4, seed=2).double()
    centred = raw - raw.mean(dim=0)
    white = torch.linalg.qr(centred).Q * math.sqrt(len(raw) - 1)  # covariance exactly the identity
    first, second = torch.tensor([1.0, 2.0, 0.5, 3.0]), torch.tensor([2.0, 2.0, 1.5, 1.0])
    expected = (first - second).square().sum().item()  # |μ gap|² = 0, and Σ (σa - σb)²
    assert frechet_distance(white * first, white * second) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_is_symmetric():
    a, b = normal(200, 5, seed=3), normal(150, 5, seed=4) @ normal(5, 5, seed=5) + 0.5
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(a, b) > 0.1


def test_frechet_distance_stays_real_when_features_are_constant():
    a, b = normal(50, 4, seed=6), normal(50, 4, seed=7)
    a[:, 2] = b[:, 2] = 0.0
    value = frechet_distance(a, b)
    assert math.isfinite(value)
    assert value >= 0


# -- kernel distance ----------------------------------------------------------------------------------------------------


def test_kernel_distance_is_near_zero_for_one_distribution_and_large_for_two():
    a, same, other = normal(400, 6, seed=0), normal(400, 6, seed=1), normal(400, 6, seed=2) + 1.0
    near, far = kernel_distance(a, same), kernel_distance(a, other)
    assert abs(near) < 0.2
    assert far > 20 * abs(near)
    assert far > 2


def test_kernel_distance_repeats_itself_and_leaves_the_global_generator_alone():
    a, b = normal(300, 6, seed=0), normal(300, 6, seed=1) + 0.3
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    first = kernel_distance(a, b, subset=50, subsets=10)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(12)
    assert kernel_distance(a, b, subset=50, subsets=10) == first


def test_kernel_distance_takes_sets_smaller_than_a_subset():
    assert math.isfinite(kernel_distance(normal(30, 4, seed=0), normal(20, 4, seed=1), subset=1000, subsets=3))


# -- precision, recall, density, coverage -------------------------------------------------------------------------------


def test_manifold_scores_of_identical_sets_are_one():
    a = normal(200, 4, seed=0)
    assert manifold_scores(a, a) == pytest.approx({"precision": 1, "recall": 1, "density": 1, "coverage": 1})


def test_manifold_scores_of_sets_far_apart_are_zero():
    a, b = normal(200, 4, seed=0), normal(200, 4, seed=1) + 100
    assert manifold_scores(a, b) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_pictures_of_one_kind_are_precise_but_cover_little():
    two_kinds = torch.cat([normal(100, 4, seed=0), normal(100, 4, seed=1) + 100])
    one_kind = normal(200, 4, seed=2) * 0.3
    scores = manifold_scores(two_kinds, one_kind)
    assert scores["precision"] > 0.95
    assert scores["coverage"] < 0.55
    assert scores["recall"] < 0.55


def test_sharpness_is_the_mean_squared_laplacian():
    x = torch.rand(3, 1, 9, 7) * 2 - 1
    padded = np.pad(x[:, 0].numpy(), ((0, 0), (1, 1), (1, 1)), mode="edge")
    expected = [
        np.mean([(padded[n, i - 1, j] + padded[n, i + 1, j] + padded[n, i, j - 1] + padded[n, i, j + 1] - 4 * padded[n, i, j]) ** 2
                 for i in range(1, 10) for j in range(1, 8)])
        for n in range(3)
    ]  # fmt: skip
    assert sharpness(x).numpy() == pytest.approx(expected, rel=1e-5)
    soft = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    assert (sharpness(soft) < sharpness(x)).all() and sharpness(torch.ones(1, 1, 8, 8)).item() == 0
