"""Latent diffusion and text to image from others' repos: opened, compared with diffusers' own pipelines, and put to work."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from playground.cards import Card
from playground.engine import Engine, _Seat
from playground.families.base import Model
from playground.families.capabilities import Diffuses, Encodes, HasODE, HasVariationalBound
from playground.families.latent_diffusion import LatentDiffusion, TextToImage
from playground.families.prompts import Prompts
from playground.formats.latents import Latents
from playground.formats.prompts import open_prompts, recognise_text
from playground.latent import Noise
from playground.request import Request
from playground.settings import Settings
from playground.shelf import Shelf
from playground.tasks import TASKS
from playground.tasks.base import able
from tests.public_latents import DIT_XL, ENCODER, LDM, PUBLIC, TURBO, UNET, Repo, files_of, written

CLOSE = 2e-4
"""Pixels of [-1, 1] may differ by this from diffusers' own: sums are taken in another order, and headings in another form."""
LEVEL = 1 / 127.5
"""One of 256 grey levels."""
SEEDS = [3, 4]


def opened(repo: Repo, folder: Path) -> LatentDiffusion:
    """As a visitor gets it: only the files that are needed are there."""
    found = Latents().recognise(files_of(repo))
    assert found is not None
    model = Latents().open(written(repo, folder, found.files), "diffusion", torch.device("cpu"), torch.float32)
    assert isinstance(model, LatentDiffusion) and model.bytes() == 4 * found.parameters and model.classes == found.classes
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: written(build(), tmp_path_factory.mktemp("repo")) for name, build in PUBLIC.items()}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LatentDiffusion]:
    return {name: opened(build(), tmp_path_factory.mktemp("needed")) for name, build in PUBLIC.items()}


@pytest.fixture(scope="module", params=[*PUBLIC])
def model(request: pytest.FixtureRequest, models: dict[str, LatentDiffusion]) -> LatentDiffusion:
    return models[request.param]


def drawn(model: LatentDiffusion, seeds: list[int] = SEEDS, **knobs: Any) -> Tensor:
    params, noise = model.Params.parse(knobs), Noise(seeds)
    with torch.inference_mode():
        *_, last = model.decode(model.draw(params, noise), params, noise)
    return last.x


# -- opening --------------------------------------------------------------------------------------------------------------


def prompts_of(repo: Repo, folder: Path) -> Prompts:
    return open_prompts(written(repo, folder), recognise_text(files_of(repo)), torch.device("cpu"), torch.float32)


def test_places_of_an_old_file_are_not_believed_and_new_ones_need_none(tmp_path: Path, models: dict[str, LatentDiffusion]) -> None:
    state, right = load(PUBLIC[TURBO]()[ENCODER]), models[TURBO]
    assert isinstance(right, TextToImage)
    wrong = state | {"text_model.embeddings.position_ids": torch.full((1, 77), 10**6)}
    new = {name.removeprefix("text_model."): value for name, value in state.items() if "position_ids" not in name}
    for index, held in enumerate((wrong, new)):
        prompts = prompts_of({**PUBLIC[TURBO](), ENCODER: save(held)}, tmp_path / str(index))
        assert torch.equal(prompts.embed("a cat"), right.prompts.embed("a cat"))


def test_half_precision_files_will_do(tmp_path: Path, models: dict[str, LatentDiffusion]) -> None:
    repo = dict(PUBLIC[TURBO]())
    for file in (UNET, ENCODER):
        half = {key: value.half() if value.is_floating_point() else value for key, value in load(repo.pop(file)).items()}
        repo[file.replace(".safetensors", ".fp16.safetensors")] = save(half)
    model = opened(repo, tmp_path)
    assert next(model.network.parameters()).dtype == torch.float32
    assert 0 < (drawn(model, num_inference_steps=2) - drawn(models[TURBO], num_inference_steps=2)).abs().max() < 0.05


# -- against diffusers ----------------------------------------------------------------------------------------------------


def pipeline(kind: str, folder: Path, trailing: bool = True) -> Any:
    """diffusers' own, whose steps end evenly at the last time as ours do (Lin et al., arXiv 2305.08891)."""
    import diffusers

    whole = {"dtype" if sys.version_info >= (3, 11) else "torch_dtype": torch.float32}  # as the diffusers of Python 3.10 called it
    pipe = getattr(diffusers, kind).from_pretrained(folder, **whole)
    if trailing:
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, timestep_spacing="trailing", set_alpha_to_one=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def generators() -> list[torch.Generator]:
    """Those that draw what our noise is for the seeds."""
    return [torch.Generator().manual_seed(seed) for seed in SEEDS]


def pixels(pictures: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2) * 2 - 1


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_ldm_is_diffusers(folders: dict[str, Path], models: dict[str, LatentDiffusion]) -> None:
    pipe = pipeline("LDMPipeline", folders[LDM])
    theirs = pixels(pipe(batch_size=2, generator=generators(), num_inference_steps=5, output_type="np").images)
    ours = drawn(models[LDM], scheduler="ddim", num_inference_steps=5)
    assert theirs.std() > 0.05
    assert ((ours - theirs).abs() > LEVEL).float().mean() < 0.01  # where two codes are about as near, either may be taken


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_dit_is_diffusers(guidance: float, folders: dict[str, Path], models: dict[str, LatentDiffusion]) -> None:
    pipe, knobs = pipeline("DiTPipeline", folders[DIT_XL]), {"guidance_scale": guidance, "num_inference_steps": 5}
    theirs = pixels(pipe(class_labels=[207, 207], generator=generators(), output_type="np", **knobs).images)
    ours = drawn(models[DIT_XL], scheduler="ddim", label="207", **knobs)
    assert theirs.std() > 0.05 and (ours - theirs).abs().max() < CLOSE
    assert (ours - drawn(models[DIT_XL], scheduler="ddim", label="8", **knobs)).abs().max() > 20 * CLOSE


@pytest.mark.parametrize(("steps", "guidance"), [(1, 1.0), (3, 1.0), (3, 5.0)])
def test_stable_diffusion_is_diffusers(steps: int, guidance: float, folders: dict[str, Path], models: dict[str, LatentDiffusion]) -> None:
    pipe, knobs = (
        pipeline("StableDiffusionPipeline", folders[TURBO], trailing=False),
        {"guidance_scale": guidance, "num_inference_steps": steps},
    )
    latents = Noise(SEEDS).normal((4, 8, 8))
    theirs = pixels(pipe("A cat, and a DOG!", num_images_per_prompt=2, latents=latents, output_type="np", **knobs).images)
    ours = drawn(models[TURBO], scheduler="euler", prompt="A cat, and a DOG!", **knobs)
    assert theirs.std() > 0.05 and (ours - theirs).abs().max() < CLOSE
    assert (ours - drawn(models[TURBO], scheduler="euler", prompt="red", **knobs)).abs().max() > 20 * CLOSE


def test_words_are_cut_into_the_same_tokens(folders: dict[str, Path], models: dict[str, LatentDiffusion]) -> None:
    pipe, model = pipeline("StableDiffusionPipeline", folders[TURBO], trailing=False), models[TURBO]
    assert isinstance(model, TextToImage)
    for prompt in ("", "a cat and a dog", "CAFÉ – naïve  café\n日本語 🙂", "cat " * 200, "it's <|endoftext|> 12"):
        tokens = pipe.tokenizer(prompt, padding="max_length", max_length=77, truncation=True).input_ids
        assert list(model.prompts.tokenise(prompt)) == tokens and len(tokens) == 77
        torch.testing.assert_close(model.prompts.embed(prompt), pipe.encode_prompt(prompt, "cpu", 1, False)[0][0])
    assert model.prompts.tokenise("")[2:] == [json.loads(PUBLIC[TURBO]()["tokenizer/vocab.json"])["!"]] * 75


# -- what they do ---------------------------------------------------------------------------------------------------------


def test_prompts_are_mixed(models: dict[str, LatentDiffusion]) -> None:
    model, knobs = models[TURBO], {"prompt": "a cat", "second_prompt": "a red dog", "num_inference_steps": 2}
    first, second = (drawn(model, prompt=prompt, num_inference_steps=2) for prompt in ("a cat", "a red dog"))
    assert torch.equal(drawn(model, prompt_mix=0.0, **knobs), first) and torch.equal(drawn(model, prompt_mix=1.0, **knobs), second)
    half = drawn(model, prompt_mix=0.5, **knobs)
    assert (half - first).abs().max() > CLOSE and (half - second).abs().max() > CLOSE


def test_prompts_are_remembered_but_not_all() -> None:
    model = TextToImage.tiny()
    read: list[Tensor] = []
    model.prompts.encoder.register_forward_hook(lambda module, given, made: read.append(made[0]))
    for _ in range(3):
        model.prompts.between("one", "two", 0.3)
    assert len(read) == 2
    for index in range(100):
        model.prompts.embed(f"{index}")
    model.prompts.embed("one")
    assert len(read) == 103


def test_guidance_of_one_is_one_pass(model: LatentDiffusion) -> None:
    asked: list[int] = []
    handle = model.network.register_forward_hook(lambda module, given, made: asked.append(len(made[0])))
    guided = {spec.name for spec in model.knobs()} >= {"guidance_scale"}
    for scale in (1.0, 3.0) if guided else (1.0,):
        asked.clear()
        knobs = {"guidance_scale": scale, "num_inference_steps": 2, "scheduler": "ddim"}
        drawn(model, [1], **knobs)
        assert sum(asked) == model.passes(model.Params.parse(knobs)) == (2 if scale == 1 else 4)
    handle.remove()


def test_only_knobs_that_matter_are_shown(models: dict[str, LatentDiffusion]) -> None:
    names = {name: {spec.name for spec in model.knobs()} for name, model in models.items()}
    words, steps = {"prompt", "second_prompt", "prompt_mix"}, {"num_inference_steps", "scheduler", "eta"}
    assert names == {LDM: steps, DIT_XL: steps | {"guidance_scale", "label"}, TURBO: steps | words | {"guidance_scale"}}


def test_alone_and_in_a_batch(model: LatentDiffusion) -> None:
    knobs = {"num_inference_steps": 3, "scheduler": "ddpm"}
    together = drawn(model, [5, 6, 7], **knobs)
    alone = torch.cat([drawn(model, [seed], **knobs) for seed in (5, 6, 7)])
    assert ((together - alone).abs() > LEVEL).float().mean() < 0.01


def test_previews_are_small_and_of_the_right_shape(model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    sides: list[tuple[int, int]] = []
    decode = type(model.codec).decode

    def spied(codec: Any, z: Tensor) -> Tensor:
        sides.append((len(z), z.shape[-1]))
        return decode(codec, z)

    monkeypatch.setattr(type(model.codec), "decode", spied)
    params, noise = model.Params.parse({"num_inference_steps": 3, "scheduler": "ddim"}), Noise([1, 2])
    with torch.inference_mode():
        steps = [*model.decode(model.draw(params, noise), params, noise)]
    side = model.latent.shape[-1]
    assert sides == [(2, side // 4)] * 2 + [(1, side)] * 2
    assert [step.index for step in steps] == [1, 2, 3]
    assert all(step.x.shape == (2, model.channels, model.image_size, model.image_size) and step.x.abs().max() <= 1 for step in steps)


def test_a_picture_comes_back_of_its_noise() -> None:
    model = LatentDiffusion.tiny()
    params = model.Params.parse({"num_inference_steps": 20, "scheduler": "ddim"})
    x = drawn(model, [1, 2], num_inference_steps=20, scheduler="ddim")
    with torch.inference_mode():
        z = model.encode(x, params)
        *_, last = model.decode(z, params, Noise([0, 0]))
    assert z.shape == (2, *model.latent.shape)
    assert (last.x - x).abs().mean() < 0.1 * x.std()


def test_what_they_cannot_do(model: LatentDiffusion) -> None:
    assert able(model, Encodes) and not any(able(model, capability) for capability in (Diffuses, HasODE, HasVariationalBound))


class OneEngine(Engine):
    """Holds one model that is there already."""

    def __init__(self, model: Model) -> None:
        self.only = model
        super().__init__(
            Settings(hub="off", device="cpu", batch_size=4), {"only": Card("only", "diffusion", "Only", {"model.safetensors": "0" * 64})}
        )

    def _load(self, card: Card) -> _Seat:
        return _Seat(self.only, "0" * 64)

    def shelf_of(self, card: str) -> Shelf:
        return Shelf.tiny()


COMMON = {
    "sample": {"num_samples": 2},
    "traverse": {"start": "seed:5", "direction": "pc:1", "num_frames": 3},
    "interpolate": {"ends": ["seed:1", "seed:2"], "num_frames": 3},
    "reconstruct": {"picture": "test:3"},
    "decode": {"latent": "0.5*seed:1 + 0.5*test:2"},
}


def test_common_tasks_run(model: LatentDiffusion) -> None:
    engine = OneEngine(model)
    for name, task in TASKS.items():
        if task.common and task.missing(model) is None:
            known = {spec.name for spec in task.specs()}
            brief = COMMON.get(name, {"num_samples": 1, "seed": 1})
            knobs = {key: value for key, value in brief.items() if key in known}
            result = engine.run(Request.build("only", name, cards=engine.cards, num_inference_steps=2, **knobs))
            assert result.sheet.progress == 1 and result.pictures.any(), name
            assert result.pictures.shape[1:] == (64, 64, 3)
    assert {"sample", "interpolate", "reconstruct", "vary", "arithmetic"} <= {
        name for name, task in TASKS.items() if task.missing(model) is None
    }
