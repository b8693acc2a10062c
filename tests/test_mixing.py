"""The ways between two latents or more: slerp and lerp, mixtures, and the weights of paths and grids."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from playground.latent import MAX_SEED, Latent, grid_weights, lerp, mix, path_weights, slerp

calm = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
"""No clock and no chance: a busy machine must not fail a test."""

SEEDS = st.integers(0, MAX_SEED)


def rows(count: int, dims: int, seed: int) -> Tensor:
    return torch.randn(count, dims, generator=torch.Generator().manual_seed(seed))


def pair_at(angle: float, long_a: float, long_b: float) -> tuple[Tensor, Tensor]:
    a = torch.tensor([[long_a, 0.0, 0.0]], dtype=torch.float64)
    b = long_b * torch.tensor([[math.cos(angle), math.sin(angle), 0.0]], dtype=torch.float64)
    return a, b


@calm
@given(angle=st.floats(0.05, 3.0), long_a=st.floats(0.1, 10), long_b=st.floats(0.1, 10), t=st.floats(0, 1))
def test_slerp_turns_and_stretches_evenly(angle: float, long_a: float, long_b: float, t: float):
    a, b = pair_at(angle, long_a, long_b)
    (between,) = slerp(a, b, torch.tensor([t], dtype=torch.float64))
    assert between.norm().item() == pytest.approx((1 - t) * long_a + t * long_b, rel=1e-6)
    assert math.atan2(between[1], between[0]) == pytest.approx(t * angle, abs=1e-6)


def test_slerp_takes_every_row_by_its_own_angle():
    pairs = [pair_at(angle, 1.0, 2.0) for angle in (0.3, 1.0, 2.5)]
    a, b = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    t = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    alone = [slerp(*pair, t[row : row + 1]) for row, pair in enumerate(pairs)]
    torch.testing.assert_close(slerp(a, b, t), torch.cat(alone))
    angles = torch.atan2(slerp(a, b, t)[:, 1], slerp(a, b, t)[:, 0])
    torch.testing.assert_close(angles, t * torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64))


@calm
@given(seed=SEEDS)
def test_both_ways_end_exactly_where_they_should(seed: int):
    a, b = rows(3, 8, seed), rows(3, 8, seed + 1)
    for way in (slerp, lerp):
        assert torch.equal(way(a, b, torch.zeros(3)), a)
        assert torch.equal(way(a, b, torch.ones(3)), b)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1.0, 2.0], [2.0, 4.0], [1.25, 2.5]),  # the same way
        ([1.0, 2.0], [-1.0, -2.0], [0.5, 1.0]),  # opposite ways: there is no one great circle
        ([0.0, 0.0], [3.0, 4.0], [0.75, 1.0]),  # from nowhere
        ([3.0, 4.0], [0.0, 0.0], [2.25, 3.0]),
        ([0.0, 0.0], [0.0, 0.0], [0.0, 0.0]),
    ],
)
def test_slerp_goes_straight_where_there_is_no_angle(first: list[float], second: list[float], expected: list[float]):
    between = slerp(torch.tensor([first]), torch.tensor([second]), torch.tensor([0.25]))
    torch.testing.assert_close(between, torch.tensor([expected]))


@calm
@given(gap=st.floats(1e-3, 0.1), t=st.floats(0, 1), turn=st.floats(0, 3))
def test_slerp_keeps_its_length_between_almost_opposite_rows_in_single_precision(gap: float, t: float, turn: float):
    angles = torch.tensor([turn, turn + math.pi - gap], dtype=torch.float64)
    a, b = torch.stack([angles.cos(), angles.sin()], dim=1).float()
    assert slerp(a[None], b[None], torch.tensor([t])).norm().item() == pytest.approx(1, abs=2e-3)


@calm
@given(seed=SEEDS, size=st.sampled_from([1e-30, 1e-10, 1e10, 1e18]), t=st.floats(0, 1))
def test_slerp_stays_finite(seed: int, size: float, t: float):
    a, b = rows(2, 5, seed) * size, rows(2, 5, seed + 1)
    assert torch.isfinite(slerp(a, b, torch.full((2,), t))).all()
    assert torch.isfinite(slerp(a, -a * (1 + 1e-7), torch.full((2,), t))).all()


def test_ways_keep_the_shape_of_latents():
    a, b, t = rows(2, 12, 0).view(2, 3, 2, 2), rows(2, 12, 1).view(2, 3, 2, 2), torch.tensor([0.3, 0.6])
    assert slerp(a, b, t).shape == (2, 3, 2, 2)
    torch.testing.assert_close(lerp(a, b, t)[1], 0.4 * a[1] + 0.6 * b[1])


@calm
@given(seed=SEEDS, t=st.floats(0.01, 0.99))
def test_mixing_two_points_is_going_part_of_the_way(seed: int, t: float):
    a, b = rows(1, 6, seed), rows(1, 6, seed + 1)
    share = torch.tensor([t])
    torch.testing.assert_close(mix([a, b], [1 - t, t], "slerp"), slerp(a, b, share))
    torch.testing.assert_close(mix([a, b], [1 - t, t], "lerp"), lerp(a, b, share))


def test_mixing_takes_weights_relative_to_each_other():
    a, b, c = (rows(1, 6, seed) for seed in range(3))
    torch.testing.assert_close(mix([a, b, c], [1, 2, 5], "lerp"), (a + 2 * b + 5 * c) / 8)
    assert torch.equal(mix([a], [0.3], "slerp"), a)
    assert torch.isfinite(mix([a, b], [1, -1], "slerp")).all()


@calm
@given(num_ends=st.integers(2, 6), num_frames=st.integers(2, 40))
def test_path_weights_go_through_all_ends_in_turn(num_ends: int, num_frames: int):
    found = path_weights(num_ends, num_frames)
    assert len(found) == num_frames
    assert found[0] == tuple(float(end == 0) for end in range(num_ends))
    assert found[-1] == tuple(float(end == num_ends - 1) for end in range(num_ends))
    for row in found:
        assert sum(row) == pytest.approx(1)
        assert min(row) >= 0
        assert sum(weight > 0 for weight in row) <= 2
    places = [sum(end * weight for end, weight in enumerate(row)) for row in found]
    steps = [later - earlier for earlier, later in pairwise(places)]
    assert steps == pytest.approx([(num_ends - 1) / (num_frames - 1)] * (num_frames - 1))


@pytest.mark.parametrize("num_frames", [3, 5, 9])
def test_path_weights_meet_the_middle_of_three_ends(num_frames: int):
    assert path_weights(3, num_frames)[num_frames // 2] == (0.0, 1.0, 0.0)


@calm
@given(side=st.integers(2, 9))
def test_grid_weights_are_bilinear_and_exact_in_the_corners(side: int):
    found = grid_weights(side)
    assert len(found) == side * side
    corners = [found[place] for place in (0, side - 1, side * (side - 1), side * side - 1)]
    assert corners == [tuple(float(place == corner) for place in range(4)) for corner in range(4)]
    for row in found:
        assert sum(row) == pytest.approx(1)
        assert min(row) >= 0
    for index, (top_left, top_right, bottom_left, bottom_right) in enumerate(found):
        down, right = divmod(index, side)
        assert (top_right + bottom_right) * (side - 1) == pytest.approx(right)
        assert (bottom_left + bottom_right) * (side - 1) == pytest.approx(down)
        assert top_left * bottom_right == pytest.approx(top_right * bottom_left)


@calm
@given(latents=st.lists(SEEDS, min_size=2, max_size=4, unique=True), num_frames=st.integers(2, 12))
def test_every_frame_of_a_way_is_a_recipe_that_can_be_written(latents: list[int], num_frames: int):
    ends = [Latent.seed(seed) for seed in latents]
    for row in path_weights(len(ends), num_frames):
        mixed = Latent.mix(ends, row)
        assert Latent.parse(str(mixed)) == mixed
