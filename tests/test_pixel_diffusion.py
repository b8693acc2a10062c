"""Diffusion and consistency models that others trained on pixels: diffusers' own pipelines are the oracle of what they draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    CMStochasticIterativeScheduler,
    ConsistencyModelPipeline,
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    ScoreSdeVeScheduler,
    UNet2DModel,
)
from torch import Tensor
from torch.distributions import Normal

from playground.engine import Engine
from playground.errors import BadKnob
from playground.families.base import Model
from playground.families.capabilities import Diffuses, Encodes, HasODE, HasVariationalBound
from playground.families.consistency import Consistency, Noising
from playground.families.denoiser import DiffusionParams
from playground.families.diffusion import Diffusion
from playground.families.pixel_diffusion import PixelDiffusion
from playground.families.samplers import denoise
from playground.families.schedulers import CIRCLE
from playground.formats.pixels import Pixels
from playground.formats.schemas import ChainSchema, ConsistencySchema, ExplodingSchema, read_scheduler
from playground.images import from_uint8, to_uint8
from playground.latent import Noise
from playground.metrics import psnr_db
from playground.nets.diffusion import Schedule
from playground.request import Request
from playground.settings import Settings
from playground.tasks import TASKS
from tests.public import PIXELS, pixels, write

DDPM, BUTTERFLIES, NCSNPP, CONSISTENCY = PIXELS
SEEDS = (3, 4)
CPU = torch.device("cpu")


class Replay(Noise):
    """Noise that goes on with generators that have drawn before, as a pipeline's do."""

    def __init__(self, seeds: Sequence[int]) -> None:
        super().__init__(seeds)
        self.going = [torch.Generator().manual_seed(seed) for seed in seeds]

    def normal(self, shape: Sequence[int], stream: str = "latent") -> Tensor:
        return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in self.going])


def opened(folder: Path, repo: dict[str, bytes]) -> Any:
    return Pixels().open(write(repo, folder), "diffusion", CPU, torch.float32)


def made(model: Model, noise: Noise, **knobs: Any) -> Tensor:
    params = DiffusionParams(**knobs)
    with torch.inference_mode():
        *_, last = model.decode(model.draw(params, noise), params, noise)
    return last.x


def drawn(pipeline: Any, **asked: Any) -> Tensor:
    """What a pipeline of diffusers draws, (B, C, H, W) in [-1, 1]."""
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    images = pipeline(batch_size=len(SEEDS), generator=generators, output_type="np", **asked).images
    return torch.from_numpy(np.asarray(images)).permute(0, 3, 1, 2) * 2 - 1


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {name: opened(tmp_path_factory.mktemp("repo"), pixels(name)) for name in PIXELS}


# -- pictures, as diffusers makes them --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [DDPM, BUTTERFLIES])
def test_ddpm_makes_what_the_pipeline_makes(tmp_path: Path, name: str):
    model = opened(tmp_path, pixels(name))
    pipeline = DDPMPipeline.from_pretrained(tmp_path)
    changes = {"timestep_spacing": "trailing", "variance_type": "fixed_small"}
    expected = drawn(DDPMPipeline(pipeline.unet, DDPMScheduler.from_config(pipeline.scheduler.config, **changes)), num_inference_steps=7)
    found = made(model, Replay(SEEDS), scheduler="ddpm", num_inference_steps=7)
    torch.testing.assert_close(found, expected, atol=5e-4, rtol=0)
    assert expected.std() > 0.1


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
def test_ddim_makes_what_the_pipeline_makes_whatever_is_predicted(tmp_path: Path, prediction: str, schedule: str):
    changes = {"_class_name": "DDIMScheduler", "prediction_type": prediction, "beta_schedule": schedule}
    model = opened(tmp_path, pixels(BUTTERFLIES, scheduler=changes))
    scheduler = DDIMScheduler.from_pretrained(tmp_path, subfolder="scheduler", timestep_spacing="trailing")
    pipeline = DDIMPipeline(UNet2DModel.from_pretrained(tmp_path, subfolder="unet"), scheduler)
    expected = drawn(pipeline, num_inference_steps=6, eta=0.6, use_clipped_model_output=True)
    found = made(model, Replay(SEEDS), scheduler="ddim", num_inference_steps=6, eta=0.6)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)
    assert expected.std() > 0.1


def test_a_network_that_learned_its_variance_is_asked_for_the_noise_alone(tmp_path: Path):
    model = opened(tmp_path, pixels(BUTTERFLIES, unet={"out_channels": 6}))
    x, time = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)), torch.tensor([0.2, 0.9])
    eps = model.network(x, 999 * time).sample[:, :3]
    at = model.path.at(time)
    torch.testing.assert_close(at.noise(x, model.unconditional(x, time)), eps, atol=1e-5, rtol=1e-5)


def test_the_score_of_exploding_noise_is_the_networks(models: dict[str, Any], tmp_path: Path):
    model, unet = models[NCSNPP], UNet2DModel.from_pretrained(write(pixels(NCSNPP), tmp_path))
    scheduler = ScoreSdeVeScheduler.from_pretrained(tmp_path)
    time = torch.tensor([0.0, 0.3, 0.8])
    sigma = scheduler.config.sigma_min * (scheduler.config.sigma_max / scheduler.config.sigma_min) ** time
    signal, noise = model.schedule(time)
    torch.testing.assert_close(noise / signal / 2, sigma, rtol=1e-4, atol=0)
    y = 0.5 + sigma.view(3, 1, 1, 1) * torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        score = unet(y, sigma).sample
        tweedie = y + sigma.view(3, 1, 1, 1) ** 2 * score  # the mean of all pictures that it may be
        seen = model.guess((2 * y - 1) * signal.view(3, 1, 1, 1), time, DiffusionParams(), Noise([0] * 3))
    torch.testing.assert_close(seen[:2], (2 * tweedie - 1).clamp(-1, 1)[:2], atol=1e-3, rtol=0)
    assert (seen[2] - (2 * tweedie[2] - 1).clamp(-1, 1)).abs().median() < 1e-3  # a guess of thousands, cut to black or white


def test_exploding_noise_is_taken_away_along_the_same_curve(models: dict[str, Any], tmp_path: Path):
    """Euler's method in the noise itself, on pictures in [0, 1], with guesses cut to that."""
    unet = UNet2DModel.from_pretrained(write(pixels(NCSNPP), tmp_path))
    model, z = models[NCSNPP], Noise(SEEDS).normal((3, 16, 16))
    steps = torch.round(torch.arange(2000, 0, -2000 / 8)) - 1
    sigmas = [*(0.01 * (1348 / 0.01) ** (steps / 1999)), torch.zeros(())]
    y = (sigmas[0] ** 2 + 0.25) ** 0.5 * z + 0.5
    with torch.no_grad():
        for now, then in pairwise(sigmas):
            picture = (y + now**2 * unet(y, now.expand(2)).sample).clamp(0, 1)
            y = picture + then / now * (y - picture)
    found = made(model, Noise(SEEDS), scheduler="euler", num_inference_steps=8)
    torch.testing.assert_close(found, 2 * y - 1, atol=5e-3, rtol=0)
    assert found.std() > 0.1


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_consistency_makes_what_the_pipeline_makes(models: dict[str, Any], tmp_path: Path, steps: int):
    pipeline = ConsistencyModelPipeline.from_pretrained(write(pixels(CONSISTENCY), tmp_path))
    expected = drawn(pipeline, num_inference_steps=steps, class_labels=[7, 7])
    found = made(models[CONSISTENCY], Replay(SEEDS), num_inference_steps=steps, label="7")
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert expected.std() > 0.1


@pytest.mark.parametrize("steps", [1, 2, 7, 40])
def test_consistency_meets_the_noise_that_diffusers_meets(steps: int):
    scheduler = CMStochasticIterativeScheduler()
    scheduler.set_timesteps(steps)
    assert Noising().sigmas(steps) == pytest.approx(scheduler.sigmas.tolist())
    assert len(Noising().sigmas(100)) == 41


def test_at_the_least_noise_a_jump_goes_nowhere(models: dict[str, Any]):
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(models[CONSISTENCY].jump(x, 0.002, torch.tensor([1, 2])), x)


# -- schedules --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "told",
    [
        {"beta_schedule": "linear"},
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"trained_betas": [0.001 * step for step in range(1, 201)], "num_train_timesteps": 200},
        {"beta_schedule": "scaled_linear", "rescale_betas_zero_snr": True},
    ],
    ids=["linear", "scaled", "cosine", "trained", "zero"],
)
def test_schedules_are_those_of_diffusers(told: dict[str, Any]):
    path = read_scheduler({"_class_name": "DDIMScheduler", **told}, "", ChainSchema, ExplodingSchema, ConsistencySchema).path()
    oracle = DDIMScheduler(**told)
    count = len(oracle.betas)
    at = path.at(torch.linspace(0, 1, count, dtype=torch.float64))
    last = count - 1 if told.get("rescale_betas_zero_snr") else count
    torch.testing.assert_close(at.signal.flatten().square()[:last].float(), oracle.alphas_cumprod[:last], atol=2e-6, rtol=2e-3)
    torch.testing.assert_close(path.betas()[:last].float(), oracle.betas[:last], atol=1e-6, rtol=1e-3)
    assert 0 < at.signal.flatten()[-1] < 0.07 and path.num_train_timesteps == count


@pytest.fixture(params=["chain", "exploding"])
def path(request: pytest.FixtureRequest) -> Schedule:
    return ChainSchema().path() if request.param == "chain" else ExplodingSchema().path()


def test_a_table_of_angles_is_a_path(path: Schedule):
    torch.manual_seed(1)
    x_0, eps = torch.randn(2, 5, 1, 2, 2, dtype=torch.float64)
    time, nudge = torch.linspace(0.1, 0.9, 5, dtype=torch.float64) + 1e-4, 1e-6
    moved = path.at(time + nudge).noised(x_0, eps) - path.at(time - nudge).noised(x_0, eps)
    length = (path.place(time + nudge) - path.place(time - nudge)).view(-1, 1, 1, 1)
    torch.testing.assert_close(path.at(time).tangent(x_0, eps), moved / length, atol=1e-5, rtol=1e-5)
    at = path.at(time)
    torch.testing.assert_close(at.picture(at.noised(x_0, eps), at.tangent(x_0, eps)), x_0, atol=1e-8, rtol=1e-6)
    torch.testing.assert_close(path.time_of((at.sigma / at.signal).flatten()), time)
    ends = path.at(torch.tensor([0.0, 1.0]))
    assert path.time_of(torch.tensor([1e-6, 1e6])).tolist() == [0, 1]
    assert path.evened().at(torch.tensor([0.0])).sigma.item() == pytest.approx(ends.sigma[0].item(), rel=1e-4)


def test_even_times_of_a_table_lose_the_same_factor_at_every_step(path: Schedule):
    at = path.at(path.even_times(50).double())
    ratio = (at.sigma / at.signal).flatten().log()
    torch.testing.assert_close(ratio.diff(), (ratio[-1] - ratio[0]).expand(50) / 50, rtol=1e-3, atol=0)
    whole = path.at(torch.tensor([0.0, 1.0])).sigma.flatten()
    torch.testing.assert_close(at.sigma.flatten()[[0, -1]].float(), whole)


# -- what they can do -------------------------------------------------------------------------------------------------------


def test_a_model_shows_the_knobs_that_matter_to_it(models: dict[str, Any]):
    known = {name: [spec.name for spec in model.knobs()] for name, model in models.items()}
    assert known[DDPM] == known[NCSNPP] == ["num_inference_steps", "scheduler", "eta"]
    assert known[CONSISTENCY] == ["num_inference_steps", "label"]
    assert [spec.name for spec in Diffusion.tiny().knobs()] == ["num_inference_steps", "scheduler", "guidance_scale", "eta", "label"]


def test_a_prompt_has_bounds():
    assert DiffusionParams.parse({"prompt": "a" * 300, "second_prompt": "", "prompt_mix": 1}).prompt_mix == 1
    for knobs in ({"prompt": "a" * 301}, {"second_prompt": "a" * 301}, {"prompt_mix": 1.01}):
        with pytest.raises(BadKnob):
            DiffusionParams.parse(knobs)


def test_what_each_can_do(models: dict[str, Any]):
    for name in (DDPM, NCSNPP):
        assert all(isinstance(models[name], kind) for kind in (Diffuses, Encodes, HasODE, HasVariationalBound))
    assert not any(isinstance(models[CONSISTENCY], kind) for kind in (Diffuses, Encodes, HasODE, HasVariationalBound))


def test_classes_of_a_consistency_model(models: dict[str, Any]):
    model = models[CONSISTENCY]
    assert model.classes[7] == "class 7" and len(model.classes) == 1000
    same, other, free, unsaid = (made(model, Noise([3]), label=label) for label in ("7", "8", "any", "none"))
    assert not torch.allclose(same, other, atol=1e-3) and torch.equal(free, unsaid)
    with pytest.raises(BadKnob, match=r"no class 1000 here.* 0 to 999"):
        made(model, Noise([3]), label="1000")
    assert model.passes(DiffusionParams(num_inference_steps=3)) == 3 and model.passes(DiffusionParams(num_inference_steps=100)) == 40


def test_a_model_without_classes_is_told_none(models: dict[str, Any]):
    free, unsaid = (made(models[DDPM], Noise([3]), label=label, num_inference_steps=2) for label in ("any", "none"))
    assert torch.equal(free, unsaid) and models[DDPM].passes(DiffusionParams(num_inference_steps=2)) == 2
    with pytest.raises(BadKnob, match="knows no classes"):
        made(models[DDPM], Noise([3]), label="1", num_inference_steps=2)


@pytest.mark.parametrize("name", PIXELS)
def test_the_same_seed_gives_the_same_picture_alone_and_in_a_batch(models: dict[str, Any], name: str):
    asked = {"num_inference_steps": 3, "scheduler": "ddpm"}
    together = made(models[name], Noise([7, 8, 9]), **asked)
    alone = torch.cat([made(models[name], Noise([seed]), **asked) for seed in (7, 8, 9)])
    torch.testing.assert_close(alone, together, atol=2e-4, rtol=0)
    assert together.abs().max() <= 1 and not torch.allclose(together[0], together[1], atol=0.01)


@pytest.fixture(params=[DDPM, NCSNPP])
def perfect(models: dict[str, Any], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PixelDiffusion:
    """A model whose network knows that pixels are N(0, ½²)."""
    model = models[request.param]

    def heading(x_t: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        at = model.path.at(time)
        total = 0.25 * at.signal**2 + at.sigma**2
        return at.tangent(0.25 * at.signal / total * x_t, at.sigma / total * x_t)

    monkeypatch.setattr(model, "heading", heading)
    return model


def test_a_picture_comes_back_of_its_noise(perfect: PixelDiffusion):
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
    params = DiffusionParams(num_inference_steps=20, scheduler="ddim")
    with torch.inference_mode():
        z = perfect.encode(x, params)
        *_, last = perfect.decode(z, params, Noise([0, 0]))
    assert psnr_db(x, last.x).min() > 40 and z.std().item() == pytest.approx(2 * x.std().item(), rel=0.2)


def test_likelihoods_of_a_bell_curve(perfect: PixelDiffusion):
    """Both answers are those of the rounded bell curve."""
    x = from_uint8(to_uint8(torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8))

    known = (Normal(0, 0.5).cdf(x + 1 / 255) - Normal(0, 0.5).cdf(x - 1 / 255)).log().flatten(1).sum(dim=1)
    with torch.inference_mode():
        torch.testing.assert_close(perfect.ode_log_prob(x, Noise([5, 6])), known, atol=4, rtol=0)
        off = perfect.variational_bound(x[:1].expand(60, -1, -1, -1), Noise(range(60))) - known[0]
    error = off.std().item() / math.sqrt(60)
    assert abs(off.mean().item()) < 4 * error + 2 and error < 10  # smooth data lose nothing to a chain


def engine_of(folder: Path) -> tuple[Engine, str]:
    engine = Engine(Settings(hub="off", device="cpu", batch_size=4))
    return engine, engine.adopt(str(folder)).id


@pytest.mark.parametrize("name", [DDPM, NCSNPP, CONSISTENCY])
def test_every_common_task_runs_on_them(tmp_path: Path, name: str):
    engine, card = engine_of(write(pixels(name), tmp_path))
    model = engine.model(card)
    run = []
    for task in TASKS.values():
        if not task.common or task.missing(model) is not None:
            continue
        small = {
            "num_samples": 2,
            "num_frames": 3,
            "num_inference_steps": 2,
            "ends": ["seed:1", "seed:2"],
            "start": "seed:1",
            "latent": "seed:1",
        }
        known = {spec.name for spec in (*task.specs(), *DiffusionParams.specs())}
        asked = {key: value for key, value in small.items() if key in known}
        result = engine.run(Request.build(card, task.name, cards=engine.cards, **asked))
        assert result.pictures.shape[1:] == (16, 16, 3) and result.pictures.std() > 1
        run.append(task.name)
    assert {"sample", "traverse", "interpolate"} <= set(run) and ("reconstruct" in run) == (name != CONSISTENCY)


@pytest.mark.parametrize("task", ["trajectory", "noising", "schedulers"])
def test_tools_of_diffusion_run_on_them(tmp_path: Path, task: str):
    engine, card = engine_of(write(pixels(DDPM), tmp_path))
    few = {"most_steps": 5} if task == "schedulers" else {"num_inference_steps": 3}
    result = engine.run(Request.build(card, task, cards=engine.cards, **few))
    assert result.pictures.shape[1:] == (16, 16, 3) and result.sheet.progress == 1


@pytest.mark.parametrize("name", PIXELS)
def test_half_the_digits_make_much_the_same_picture(models: dict[str, Any], tmp_path: Path, name: str):
    half = Pixels().open(write(pixels(name), tmp_path), "diffusion", CPU, torch.bfloat16)
    assert next(half.network.parameters()).dtype == half.dtype == (torch.float32 if name == NCSNPP else torch.bfloat16)
    one, other = (made(model, Noise([3]), num_inference_steps=2) for model in (half, models[name]))
    assert other.std() > 0.1 and (one - other).abs().mean() < 0.03


@pytest.mark.parametrize(("bounded", "end"), [(True, 1.0), (False, 3.0)])
def test_only_what_is_a_picture_is_cut_to_its_bounds(bounded: bool, end: float):
    path, z = ChainSchema().path(bounded), torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    told: dict[str, Any] = {"num_inference_steps": 9, "eta": 0.0, "noise": Noise([0])}
    for scheduler in CIRCLE:
        *_, last = denoise(path, lambda x, t: path.at(t).towards(x, torch.full_like(x, 3)), z, scheduler=scheduler, **told)
        torch.testing.assert_close(last.x, torch.full_like(z, end), atol=2e-2, rtol=0)


@pytest.mark.parametrize("kind", [PixelDiffusion, Consistency])
def test_tiny_ones_draw(kind: Any):
    assert made(kind.tiny(), Noise([1]), num_inference_steps=2).std() > 0.05
