"""Repos of diffusers' pipelines on pixels: what is recognised, and what is refused with which sentence."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from playground.errors import BadWeights
from playground.families.denoiser import DiffusionParams
from playground.families.pixel_diffusion import PixelDiffusion
from playground.formats.pixels import Pixels
from playground.formats.schemas import UNet2DSchema
from tests.public import PIXELS, listing, pixels, words, write

DDPM, BUTTERFLIES, NCSNPP, CONSISTENCY = PIXELS


def opened(folder: Path, repo: dict[str, bytes]) -> Any:
    return Pixels().open(write(repo, folder), "diffusion", torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    ("name", "title", "steps"),
    [
        (DDPM, "DDPM, 16×16 in colour", 20),
        (BUTTERFLIES, "DDPM, 16×16 in colour", 20),
        (NCSNPP, "Score SDE (VE), 16×16 in colour", 40),
        (CONSISTENCY, "Consistency model, 16×16 in colour, 1,000 classes", 2),
    ],
)
def test_public_repos_are_recognised(name: str, title: str, steps: int):
    repo = pixels(name)
    found = Pixels().recognise(listing(repo))
    assert (found.format, found.family, found.title) == ("diffusers-pixels", "diffusion", title)
    assert set(found.files) == set(repo) - {"README.md"} - {path for path in repo if path.endswith(".bin")}
    weights = load(repo[next(path for path in repo if path.endswith(".safetensors"))])
    assert found.parameters == sum(value.numel() for value in weights.values())
    assert DiffusionParams.parse(found.defaults).num_inference_steps == steps


@pytest.mark.parametrize("pipeline", ["DDIMPipeline", "PNDMPipeline", ""])
def test_any_chain_of_steps_will_do_and_a_network_that_lies_alone(tmp_path: Path, pipeline: str):
    repo = pixels(DDPM, scheduler={"_class_name": "PNDMScheduler", "skip_prk_steps": True})
    repo["model_index.json"] = words({"_class_name": pipeline})
    if not pipeline:
        del repo["model_index.json"]
    found = Pixels().recognise(listing(repo))
    assert found.title.startswith(pipeline.removesuffix("Pipeline") or "Diffusion, 16")
    model = opened(tmp_path, {path: repo[path] for path in found.files})
    assert isinstance(model, PixelDiffusion) and (model.image_size, model.channels, model.classes) == (16, 3, ())


def test_other_repos_are_left_to_others():
    assert Pixels().recognise(listing({"config.json": words({"family": "vae"})})) is None
    assert Pixels().recognise(listing({"model_index.json": words({"_class_name": "StableDiffusionPipeline"})})) is None
    assert Pixels().recognise(listing({"model_index.json": words({"_class_name": ["pipeline", "Mine"]})})) is None
    assert Pixels().recognise(listing({"model.safetensors": b""})) is None


@pytest.mark.parametrize(
    ("unet", "sentence"),
    [
        ({"block_out_channels": [8, 1_000_000]}, "block_out_channels.1 = 1000000"),
        ({"layers_per_block": 10**9}, "layers_per_block = 1000000000"),
        ({"sample_size": 4096}, "sample_size = 4096"),
        ({"sample_size": [16, 24]}, "sample_size"),
        ({"sample_size": None}, "does not say how large its pictures are"),
        ({"in_channels": 4, "out_channels": 4}, "works on 4 channels"),
        ({"out_channels": 5}, "takes 3 channels and gives 5"),
        ({"num_class_embeds": 10}, "must be told one of 10 classes"),
        ({"norm_num_groups": 3}, "parts do not fit"),
        ({"sample_size": 17}, "17"),
        ({"norm_eps": float("nan")}, "norm_eps"),
        ({"time_embedding_type": "fourier"}, "reads times as fourier"),
        ({"down_block_types": ["DownBlock2D", "os.system"]}, "down_block_types.1 = 'os.system'"),
        ({"_class_name": "UNet3DModel"}, "of the class 'UNet3DModel'"),
    ],
)
def test_a_configuration_out_of_bounds_is_refused_with_what_it_asks(unet: dict[str, Any], sentence: str):
    repo = pixels(DDPM)
    told = {**PIXELS[DDPM][1], **unet}
    repo["config.json"] = words(told)
    with pytest.raises(BadWeights, match=sentence.replace("(", "\\(")) as caught:
        Pixels().recognise(listing(repo))
    assert "config.json of owner/name" in str(caught.value)


def test_a_network_of_too_many_parameters_is_refused_with_their_number():
    wide = {"block_out_channels": [4096, 4096], "layers_per_block": 4, "norm_num_groups": 32}
    repo = pixels(DDPM) | {"config.json": words({**PIXELS[DDPM][1], **wide})}
    with pytest.raises(BadWeights, match=r"asks for [\d,]{13,} parameters"):
        Pixels().recognise(listing(repo))


@pytest.mark.parametrize(
    ("name", "scheduler", "sentence"),
    [
        (DDPM, {"beta_schedule": "laplace"}, "beta_schedule = 'laplace'"),
        (DDPM, {"num_train_timesteps": 10**7}, "num_train_timesteps = 10000000"),
        (DDPM, {"trained_betas": [0.5] * 10}, "10 betas are not one for each of 1000 steps"),
        (DDPM, {"beta_end": 0.9}, "of a picture, which is nothing"),
        (DDPM, {"prediction_type": "flow_prediction"}, "prediction_type = 'flow_prediction'"),
        (DDPM, {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "of the class 'FlowMatchEulerDiscreteScheduler'"),
        (NCSNPP, {"sigma_max": 1e9}, "sigma_max = 1000000000.0"),
        (NCSNPP, {"sigma_min": 2000}, "sigma_min = 2000.0 is not below"),
        (CONSISTENCY, {"rho": 0}, "rho = 0"),
    ],
)
def test_a_scheduler_out_of_bounds_is_refused(name: str, scheduler: dict[str, Any], sentence: str):
    with pytest.raises(BadWeights, match=sentence):
        Pixels().recognise(listing(pixels(name, scheduler=scheduler)))


NUMBERS = st.one_of(st.integers(-2, 40), st.sampled_from([0.5, -1.0, 1e9, 10**30, math.nan, math.inf]))
VALUES = st.one_of(NUMBERS, st.none(), st.booleans(), st.text(max_size=5), st.lists(NUMBERS, max_size=3), st.just({"a": 1}), st.just([[]]))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_whatever_a_configuration_says_there_is_a_model_or_a_sentence(data: st.DataObject):
    name = data.draw(st.sampled_from([DDPM, NCSNPP, CONSISTENCY]))
    _, unet, scheduler, old = PIXELS[name]
    repo = dict.fromkeys(pixels_of(name), b"")
    changed = [{**told, data.draw(st.sampled_from(sorted(told))): data.draw(VALUES)} for told in (unet, scheduler)]
    repo["config.json" if old else "unet/config.json"] = words(changed[0])
    repo["scheduler_config.json" if old else "scheduler/scheduler_config.json"] = words(changed[1])
    repo["model_index.json"] = words({"_class_name": PIXELS[name][0]})
    try:
        assert Pixels().recognise(listing(repo)).parameters > 0
    except BadWeights as error:
        assert "owner/name" in str(error)


@cache
def pixels_of(name: str) -> tuple[str, ...]:
    return tuple(pixels(name))


def test_only_safetensors_are_loaded():
    repo = {name: content for name, content in pixels(DDPM).items() if not name.endswith(".safetensors")}
    with pytest.raises(BadWeights, match=r"diffusion_pytorch_model\.bin, a pickle"):
        Pixels().recognise(listing(repo))


@pytest.mark.parametrize("fault", ["lacks", "holds more", "shape", "damaged"])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, fault: str):
    repo = pixels(DDPM)
    state = load(repo["diffusion_pytorch_model.safetensors"])
    if fault == "lacks":
        del state["conv_in.bias"]
    if fault == "holds more":
        state["extra.weight"] = torch.zeros(2)
    if fault == "shape":
        state["conv_in.weight"] = torch.zeros(8, 4, 3, 3)
    repo["diffusion_pytorch_model.safetensors"] = b"nothing" if fault == "damaged" else save(state)
    with pytest.raises(BadWeights, match=fault):
        opened(tmp_path, repo)


def test_old_names_of_blocks_are_read():
    told = {**PIXELS[DDPM][1], "down_block_types": ["UNetResDownBlock2D", "UNetResAttnDownBlock2D"]}
    assert UNet2DSchema.read(told, "").down_block_types == ("DownBlock2D", "AttnDownBlock2D")
