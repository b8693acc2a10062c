"""Which pipelines on latents are recognised, and what is refused, in which words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from playground.errors import BadWeights
from playground.families.denoiser import DiffusionParams
from playground.formats.base import Found
from playground.formats.latents import Latents
from playground.formats.prompts import open_tokenizer, recognise_text
from tests.public_latents import (
    DIT_XL,
    ENCODER,
    LDM,
    PUBLIC,
    SPECIAL,
    TRANSFORMER,
    TURBO,
    UNET,
    VAE,
    Repo,
    changed,
    files_of,
    text,
    written,
)


def recognised(repo: Repo) -> Found:
    found = Latents().recognise(files_of(repo))
    assert found is not None
    return found


def refused(repo: Repo) -> str:
    with pytest.raises(BadWeights) as caught:
        recognised(repo)
    return str(caught.value)


# -- recognising ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "title"),
    [(LDM, "Latent diffusion, 64×64"), (DIT_XL, "DiT, 64×64, 1,000 classes"), (TURBO, "Text to image, 64×64")],
)
def test_public_repos_are_recognised(name: str, title: str) -> None:
    repo = PUBLIC[name]()
    found = recognised(repo)
    assert (found.title, found.family, found.format) == (title, "diffusion", "diffusers-latents")
    assert set(found.files) == set(repo) - {"README.md", "sd_turbo.safetensors"}
    held = [load(repo[file]) for file in found.files if file.endswith(".safetensors")]
    assert found.parameters == sum(value.numel() for part in held for key, value in part.items() if "position_ids" not in key)
    DiffusionParams.parse(found.defaults)


WIDE = {"block_out_channels": [128, 256, 512, 512]}
FULL: dict[str, tuple[str, dict[str, dict[str, Any]], tuple[int, ...], str]] = {
    "celebahq": (LDM, {
        "unet__config": {"block_out_channels": [224, 448, 672, 896], "sample_size": 64},
        "vqvae__config": {"block_out_channels": [128, 256, 512], "num_vq_embeddings": 8192},
    }, (274_056_163, 55_322_782), "Latent diffusion, 256×256"),
    "DiT": (DIT_XL, {
        "transformer__config": {"num_attention_heads": 16, "attention_head_dim": 72, "num_layers": 28, "sample_size": 32},
        "vae__config": WIDE,
    }, (749_826_464, 83_653_863), "DiT, 256×256, 1,000 classes"),
    "sd-turbo": (TURBO, {
        "unet__config": {"block_out_channels": [320, 640, 1280, 1280], "attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024,
                         "sample_size": 64},
        "text_encoder__config": {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 23,
                                 "vocab_size": 49408},
        "vae__config": WIDE,
    }, (865_910_724, 340_387_840, 83_653_863), "Text to image, 512×512"),
}  # fmt: skip
"""What was narrowed for tests, and how many numbers each part holds at its full size."""


@pytest.mark.parametrize("which", [*FULL])
def test_full_sizes_are_within_bounds(which: str) -> None:
    name, words, counts, title = FULL[which]
    found = recognised(changed(name, **words))
    assert (found.parameters, found.title) == (sum(counts), title)


def test_class_names_are_the_first_of_each() -> None:
    assert recognised(PUBLIC[DIT_XL]()).classes[:2] == ("tench", "sort 1")
    assert recognised(changed(DIT_XL, model_index={"id2label": {}})).classes == ("",) * 1000


def test_others_are_left_to_others() -> None:
    assert Latents().recognise(files_of({"config.json": b"{}"})) is None
    assert Latents().recognise(files_of({"model_index.json": text({"_class_name": "DDPMPipeline"})})) is None
    assert Latents().recognise(files_of({"model_index.json": text({"_class_name": ["LDMPipeline"]})})) is None


@pytest.mark.parametrize("kind", ["StableDiffusionXLPipeline", "FluxPipeline", "StableDiffusionPipeline"])
def test_two_text_encoders_get_a_sentence(kind: str) -> None:
    encoders = {"text_encoder": ["transformers", "CLIPTextModel"], "text_encoder_2": ["transformers", "T5EncoderModel"]}
    said = refused({"model_index.json": text({"_class_name": kind, **encoders})})
    assert kind in said and "CLIPTextModel and T5EncoderModel" in said and "stabilityai/sd-turbo" in said


def test_what_else_paints_words_gets_a_sentence() -> None:
    said = refused(changed(TURBO, model_index={"_class_name": "StableDiffusionInpaintPipeline"}))
    assert "StableDiffusionInpaintPipeline" in said and "StableDiffusionPipeline, as" in said


def test_steps_are_few_where_its_own_scheduler_means_few() -> None:
    assert recognised(PUBLIC[TURBO]()).defaults["num_inference_steps"] == 1
    slow = recognised(changed(TURBO, scheduler__scheduler_config={"timestep_spacing": "leading"}))
    assert slow.defaults["num_inference_steps"] == 20 and slow.defaults["guidance_scale"] == 7.5


# -- refusing -------------------------------------------------------------------------------------------------------------

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("name", "file", "words", "says"),
    [
        (LDM, "unet__config", {"block_out_channels": [32, MILLION]}, "1000000"),
        (DIT_XL, "transformer__config", {"num_attention_heads": MILLION}, "1000000"),
        (DIT_XL, "transformer__config", {"num_layers": MILLION}, "1000000"),
        (DIT_XL, "transformer__config", {"num_embeds_ada_norm": MILLION}, "1000000"),
        (DIT_XL, "transformer__config", {"out_channels": 5}, "5 channels"),
        (DIT_XL, "transformer__config", {"norm_type": "ada_norm_single"}, "ada_norm_single"),
        (DIT_XL, "transformer__config", {"sample_size": 9}, "9"),
        (TURBO, "unet__config", {"block_out_channels": [MILLION] * 4}, "1000000"),
        (TURBO, "unet__config", {"cross_attention_dim": MILLION}, "1000000"),
        (TURBO, "unet__config", {"cross_attention_dim": 48}, "48"),
        (TURBO, "unet__config", {"layers_per_block": MILLION}, "1000000"),
        (TURBO, "unet__config", {"transformer_layers_per_block": [1, MILLION]}, "1000000"),
        (TURBO, "unet__config", {"sample_size": 128, "in_channels": 9}, "9 channels"),
        (TURBO, "unet__config", {"time_cond_proj_dim": 256}, "time_cond_proj_dim"),
        (TURBO, "unet__config", {"addition_embed_type": "text_time"}, "addition_embed_type"),
        (TURBO, "unet__config", {"block_out_channels": [32, 64]}, "do not fit"),
        (TURBO, "unet__config", {"norm_num_groups": 5}, "do not fit"),
        (TURBO, "unet__config", {"_class_name": "UNet2DModel"}, "UNet2DModel"),
        (TURBO, "text_encoder__config", {"hidden_size": MILLION}, "1000000"),
        (TURBO, "text_encoder__config", {"num_hidden_layers": MILLION}, "1000000"),
        (TURBO, "text_encoder__config", {"vocab_size": 10 * MILLION}, "10000000"),
        (TURBO, "text_encoder__config", {"num_attention_heads": 5}, "no multiple"),
        (TURBO, "tokenizer__tokenizer_config", {"model_max_length": -1}, "model_max_length"),
        (TURBO, "tokenizer__special_tokens_map", {"pad_token": ["!"]}, "pad_token"),
        (TURBO, "vae__config", {"latent_channels": 8}, "8"),
        (TURBO, "scheduler__scheduler_config", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "FlowMatchEulerDiscreteScheduler"),
        (TURBO, "scheduler__scheduler_config", {"num_train_timesteps": MILLION}, "1000000"),
    ],
)  # fmt: skip
def test_out_of_bounds_is_refused_with_what_it_asks(name: str, file: str, words: Mapping[str, Any], says: str) -> None:
    assert says in refused(changed(name, **{file: words}))


def test_large_pictures_are_refused() -> None:
    assert "1040×1040" not in refused(changed(TURBO, unet__config={"sample_size": 130}))
    huge = changed(
        TURBO,
        unet__config={"sample_size": 128},
        vae__config={
            "block_out_channels": [32] * 5,
            "down_block_types": ["DownEncoderBlock2D"] * 5,
            "up_block_types": ["UpDecoderBlock2D"] * 5,
        },
    )
    assert "2048×2048" in refused(huge)


def test_too_many_parameters_are_refused_with_their_number() -> None:
    said = refused(changed(TURBO, unet__config={"block_out_channels": [2560, 2560, 2560, 2560], "attention_head_dim": 8}))
    assert "2,000,000,000" in said and "parameters" in said
    together = {"hidden_size": 4096, "intermediate_size": 16384, "num_hidden_layers": 9, "num_attention_heads": 32}
    unet = {"block_out_channels": [1280, 1280, 1280, 1280], "cross_attention_dim": 4096, "attention_head_dim": 8}
    said = refused(changed(TURBO, text_encoder__config=together, unet__config=unet))
    assert "in all" in said


@pytest.mark.parametrize(("name", "file"), [(LDM, UNET), (DIT_XL, TRANSFORMER), (TURBO, ENCODER), (TURBO, VAE)])
def test_a_pickle_is_refused_by_name(name: str, file: str) -> None:
    repo = dict(PUBLIC[name]())
    pickle = file.replace(".safetensors", ".bin").replace("/model.", "/pytorch_model.")
    repo[pickle] = repo.pop(file)
    assert pickle in refused(repo)


@pytest.mark.parametrize("file", ["unet/config.json", "tokenizer/vocab.json", "tokenizer/merges.txt", "scheduler/scheduler_config.json"])
def test_a_missing_file_is_named(file: str) -> None:
    repo = dict(PUBLIC[TURBO]())
    del repo[file]
    assert file in refused(repo)


def test_a_split_file_is_refused() -> None:
    repo = dict(PUBLIC[TURBO]())
    repo["unet/diffusion_pytorch_model-00001-of-00002.safetensors"] = repo.pop(UNET)
    assert "unsplit" in refused(repo)


@pytest.mark.parametrize(("name", "file"), [(LDM, UNET), (DIT_XL, TRANSFORMER), (TURBO, ENCODER)])
def test_weights_must_be_those_of_the_network(name: str, file: str, tmp_path: Path) -> None:
    def said(data: bytes) -> str:
        (folder / file).write_bytes(data)
        with pytest.raises(BadWeights) as caught:
            Latents().open(folder, "diffusion", torch.device("cpu"), torch.float32)
        return str(caught.value)

    folder, whole = written(PUBLIC[name](), tmp_path), load(PUBLIC[name]()[file])
    first = next(key for key, value in whole.items() if value.dim() == 2 and "position_ids" not in key)
    others = {key: value for key, value in whole.items() if key != first}
    assert "lacks" in said(save(others))
    assert "surplus" in said(save(whole | {"surplus": torch.zeros(1)}))
    assert "(2, 2)" in said(save(others | {first: torch.zeros(2, 2)}))
    assert "damaged" in said(PUBLIC[name]()[file][:-100])


@pytest.mark.parametrize(
    ("file", "data", "says"),
    [
        ("tokenizer/vocab.json", text({token: index for index, token in enumerate((*SPECIAL, "!", "a"))}), "lacks the token"),
        ("tokenizer/vocab.json", text(dict.fromkeys(SPECIAL, 520) | {"!": 1}), "520"),
        ("tokenizer/vocab.json", text(["a", "b", "c"]), "no list of tokens"),
        ("tokenizer/merges.txt", b"#version: 0.2\na t</w> x\n", "no pair"),
        ("tokenizer/merges.txt", b"#version: 0.2\nq u\n", "'qu'"),
        ("tokenizer/merges.txt", b"\xff\xfe", "not text"),
        ("tokenizer/special_tokens_map.json", text({"pad_token": "<pad>"}), "<pad>"),
    ],
)  # fmt: skip
def test_a_vocabulary_must_fit(file: str, data: bytes, says: str, tmp_path: Path) -> None:
    repo = {**PUBLIC[TURBO](), file: data}
    with pytest.raises(BadWeights) as caught:
        open_tokenizer(written(repo, tmp_path), recognise_text(files_of(repo)))
    assert says in str(caught.value)
