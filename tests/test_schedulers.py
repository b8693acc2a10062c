"""Samplers against diffusers' own pipelines on the same noise, and against data whose flow is known in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UNet2DModel,
    UniPCMultistepScheduler,
)
from torch import Tensor

from playground.families.base import Step
from playground.families.samplers import Predict, denoise, renoise
from playground.families.schedulers import CIRCLE, course, num_looks
from playground.latent import Noise
from playground.nets.diffusion import PATHS, Circle, Line, Path

SEEDS = (3, 4)
CURVES = ["ddim", "euler", "heun", "dpmsolver++", "unipc"]
DIFFUSION: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "trained_betas": Circle().betas().tolist(),
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}


@pytest.fixture(scope="module")
def unet() -> UNet2DModel:
    torch.manual_seed(0)
    blocks = {"block_out_channels": (8, 8), "down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    net = UNet2DModel(sample_size=8, in_channels=1, out_channels=1, norm_num_groups=4, layers_per_block=1, **blocks)
    for parameter in net.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(1.5)
    return net.eval().requires_grad_(False)


class Replay(Noise):
    """Noise that goes on with generators that have drawn before, as a pipeline's do."""

    def __init__(self, seeds: Sequence[int]) -> None:
        super().__init__(seeds)
        self.going = [torch.Generator().manual_seed(seed) for seed in seeds]

    def normal(self, shape: Sequence[int], stream: str = "latent") -> Tensor:
        return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in self.going])


def headings(unet: UNet2DModel, path: Path) -> Predict:
    last = 999 if path.name == "diffusion" else 1000
    return lambda x, time: unet(x, last * time, return_dict=False)[0]


def sample(path: Path, predict: Predict, z: Tensor, scheduler: str, steps: int, noise: Noise | None = None, eta: float = 0.0) -> list[Step]:
    noise = noise or Noise(range(len(z)))
    return [*denoise(path, predict, z, scheduler=scheduler, num_inference_steps=steps, eta=eta, noise=noise)]


# -- diffusers as the oracle ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "eta"), [("ddpm", 0.0), ("ddim", 0.0), ("ddim", 0.7)])
def test_the_loop_makes_what_the_pipeline_makes(unet: UNet2DModel, name: str, eta: float):
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    asked: dict[str, Any] = {"batch_size": 2, "generator": generators, "num_inference_steps": 7, "output_type": "np"}
    if name == "ddpm":
        pipeline = DDPMPipeline(unet, DDPMScheduler(**DIFFUSION, clip_sample=True))
    else:
        pipeline = DDIMPipeline(unet, DDIMScheduler(**DIFFUSION, clip_sample=True))
        asked |= {"eta": eta, "use_clipped_model_output": True}
    pipeline.set_progress_bar_config(disable=True)
    expected = torch.from_numpy(np.asarray(pipeline(**asked).images)).permute(0, 3, 1, 2) * 2 - 1
    replay = Replay(SEEDS)
    z = replay.normal((1, 8, 8))
    made = sample(Circle(), headings(unet, Circle()), z, name, 7, replay, eta)[-1].x
    torch.testing.assert_close(made, expected, atol=2e-4, rtol=0)
    assert expected.std() > 0.1


@pytest.mark.parametrize(
    ("path", "name", "oracle"),
    [
        (Circle(), "euler", EulerDiscreteScheduler(**{**DIFFUSION, "prediction_type": "sample"})),
        (Circle(), "heun", HeunDiscreteScheduler(**DIFFUSION, clip_sample=True)),
        (Circle(), "dpmsolver++", DPMSolverMultistepScheduler(**DIFFUSION, thresholding=True)),
        (Circle(), "unipc", UniPCMultistepScheduler(**DIFFUSION, thresholding=True)),
        (Line(), "euler", FlowMatchEulerDiscreteScheduler()),
        (Line(), "dpmsolver++", DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", thresholding=True)),
        (Line(), "unipc", UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", thresholding=True)),
    ],
    ids=lambda value: getattr(value, "name", value if isinstance(value, str) else ""),
)
def test_the_loop_makes_what_a_plain_scheduler_makes(unet: UNet2DModel, path: Path, name: str, oracle: Any):
    """diffusers clips the guess by options of its own, and Euler is handed the clipped guess."""
    z, steps = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)), 9
    flow_euler = isinstance(oracle, FlowMatchEulerDiscreteScheduler)
    oracle.set_timesteps(**({"sigmas": np.linspace(1, 1 / steps, steps)} if flow_euler else {"num_inference_steps": steps}))
    x = z * getattr(oracle, "init_noise_sigma", 1)
    for t in oracle.timesteps:
        x_t = x if flow_euler else oracle.scale_model_input(x, t)
        exact_t = 1000 * oracle.sigmas[oracle.step_index or 0] if path.name == "rectified" else t.float()  # diffusers rounds some
        said = unet(x_t, exact_t, return_dict=False)[0]
        if flow_euler:
            said = (x - (x - t / 1000 * said).clamp(-1, 1)) / (t / 1000)
        elif oracle.config.prediction_type == "sample":
            alpha_bar = oracle.alphas_cumprod[int(t)]
            said = (alpha_bar.sqrt() * x_t - (1 - alpha_bar).sqrt() * said).clamp(-1, 1)
        x = oracle.step(said, t, x).prev_sample
    made = sample(path, headings(unet, path), z, name, steps)[-1].x
    torch.testing.assert_close(made, x.clamp(-1, 1), atol=5e-4, rtol=0)


# -- bell-shaped data, whose flow is a plain shrinking ----------------------------------------------------------------------

SPREAD = 0.2


def exact(path: Path, spread: float = SPREAD) -> Predict:
    """What a perfect network says when pixels are N(0, spread²): the tangent at the expected picture and noise."""

    def predict(x: Tensor, time: Tensor) -> Tensor:
        at = path.at(time.to(x))
        total = (at.signal * spread) ** 2 + at.sigma**2
        return at.tangent(at.signal * spread**2 / total * x, at.sigma / total * x)

    return predict


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("name", CURVES)
def test_curves_come_closer_with_more_steps(path: Path, name: str):
    z = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    coarse, fine = (float((sample(path, exact(path), z, name, steps)[-1].x - SPREAD * z).std()) for steps in (20, 40))
    assert fine < 0.62 * coarse or fine < 0.011 * SPREAD  # where diffusers starts a thousandth below 1, that much is left
    assert fine < (0.08 if name in ("ddim", "euler") else 0.015) * SPREAD


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize(("name", "eta"), [("ddpm", 0.0), ("ddim", 1.0), ("ddim", 0.5)])
def test_fresh_noise_keeps_the_spread(path: Path, name: str, eta: float):
    z = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(3))
    first, second = (sample(path, exact(path), z, name, 100, Noise(range(start, start + 4)), eta)[-1].x for start in (0, 10))
    assert float(first.std()) == pytest.approx(SPREAD, rel=0.08)
    correlation = float((first * second).mean() / first.std() / second.std())
    assert correlation < (0.2 if eta != 0.5 else 0.95)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_ddim_without_noise_is_euler_and_with_all_of_it_ddpm(unet: UNet2DModel, path: Path):
    z, predict = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(4)), headings(unet, path)
    made = {(name, eta): sample(path, predict, z, name, 10, eta=eta)[-1].x for name in ("ddim", "euler", "ddpm") for eta in (0.0, 1.0)}
    torch.testing.assert_close(made["ddim", 0.0], made["euler", 0.0], atol=1e-3, rtol=0)
    torch.testing.assert_close(made["ddim", 1.0], made["ddpm", 0.0], atol=1e-3, rtol=0)
    assert (made["ddim", 0.0] - made["ddpm", 0.0]).abs().max() > 0.1


# -- what every step tells ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("name", CIRCLE)
def test_steps_tell_where_they_are_and_what_they_see(unet: UNet2DModel, path: Path, name: str):
    z = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    told: list[Tensor] = []

    def predict(x: Tensor, time: Tensor) -> Tensor:
        told.append(time[0])
        return headings(unet, path)(x, time)

    steps = sample(path, predict, z, name, 6)
    assert [step.index for step in steps] == list(range(1, steps[0].total + 1)) and steps[0].total == (11 if name == "heun" else 6)
    torch.testing.assert_close(steps[0].x_t, z, atol=1e-4, rtol=1e-4)
    assert told[0] == pytest.approx(1, abs=2e-3) and all(later <= earlier for earlier, later in pairwise(told))
    for step, time in zip(steps[:-1], told, strict=False):
        assert step.x_t is not None and step.eps is not None
        assert step.x.abs().max() <= 1.001
        torch.testing.assert_close(path.at(time.view(1)).noised(step.x, step.eps), step.x_t, atol=1e-3, rtol=0)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("name", CIRCLE)
def test_every_number_of_steps_is_that_many_and_ends_at_the_picture(path: Path, name: str):
    for steps in (1, 2, 3, 7, 20, 61, 99, 100):
        way = course(path, name, steps).moves
        assert len(way) == num_looks(name, steps) == (2 * steps - 1 if name == "heun" else steps)
        assert way[0].time == pytest.approx(1, abs=2e-3) and 0 < min(move.time for move in way) <= 1 / steps + 1e-3
        assert all(later.time <= earlier.time for earlier, later in pairwise(way))
        assert (way[-1].kept, sum(way[-1].guesses), way[-1].fresh) == pytest.approx((0, 1, 0), abs=1e-2)  # a picture is left


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("name", CIRCLE)
def test_moves_keep_what_does_not_change(path: Path, name: str):
    """A guess that stays is approached from wherever a sampler stands, with as much noise as belongs to the next place."""
    x_0, eps = torch.tensor(0.5), torch.tensor(2.0)
    for num_left in (None, 8, 3):
        way = course(path, name, 12, num_left=num_left).moves
        assert [move.time for move in way] == [move.time for move in course(path, name, 12).moves[-len(way) :]]
        for move, at, then in zip(way, *([path.along(torch.tensor([m.time for m in each])) for each in (way, way[1:])]), strict=False):
            x = move.on(at.noised(x_0, eps), [x_0] * 3, None)
            kept = (then.sigma**2 - move.fresh**2).sqrt()
            torch.testing.assert_close(x, then.noised(x_0, kept / then.sigma * eps), atol=2e-2, rtol=0)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize(("name", "eta"), [("ddpm", 0.0), ("ddim", 0.8)])
def test_fresh_noise_depends_on_the_pictures_own_seed(unet: UNet2DModel, path: Path, name: str, eta: float):
    z, predict = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(6)), headings(unet, path)
    together = sample(path, predict, z, name, 5, Noise([7, 8, 9]), eta)[-1].x
    for index, seed in enumerate((7, 8, 9)):
        alone = sample(path, predict, z[index : index + 1], name, 5, Noise([seed]), eta)[-1].x
        torch.testing.assert_close(alone[0], together[index], atol=1e-4, rtol=0)
    assert not torch.allclose(together, sample(path, predict, z, name, 5, Noise([17, 18, 19]), eta)[-1].x, atol=1e-2)


# -- backwards --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_the_way_back_leads_to_where_the_picture_came_from(path: Path):
    z = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(7))
    x = sample(path, exact(path), z, "ddim", 50)[-1].x
    *_, found = renoise(path, exact(path), x, 50)
    torch.testing.assert_close(found, z, atol=0.15, rtol=0)
    again = sample(path, exact(path), found, "ddim", 50)[-1].x
    assert 10 * math.log10(4 / float((again - x).square().mean())) > 40


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_pictures_come_back(unet: UNet2DModel, path: Path):
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(8)) - 0.5
    predict = headings(unet, path)
    *_, z = renoise(path, predict, x, 50)
    back = sample(path, predict, z, "ddim", 50)[-1].x
    assert 10 * math.log10(4 / float((back - x).square().mean())) > 25


@pytest.mark.parametrize("name", [*CIRCLE])
@pytest.mark.parametrize("path", [Circle(), Line()])
def test_two_who_sample_by_turns_do_not_disturb_each_other(unet: UNet2DModel, path: Path, name: str):
    predict = headings(unet, path)
    first, second = torch.randn(2, 2, 1, 8, 8)
    alone = [sample(path, predict, z, name, 4)[-1].x for z in (first, second)]
    ways = [
        denoise(path, predict, z, scheduler=name, num_inference_steps=4, eta=0.0, noise=Noise(range(2))) for z in (first, second, first)
    ]
    by_turns = [*zip(*ways, strict=True)][-1]
    assert [torch.equal(step.x, x) for step, x in zip(by_turns, [*alone, alone[0]], strict=True)] == [True] * 3
