"""Public pipelines on latents, narrowed: the very keys of their configurations, the layout of their files, random weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from playground.formats.base import Files

Repo = dict[str, bytes]

NEW_ATTENTION = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
SPECIAL = ("<|startoftext|>", "<|endoftext|>")
MERGES = (("a", "t</w>"), ("c", "at</w>"), ("d", "o"), ("do", "g</w>"), ("e", "d</w>"))


def seeded(build: Callable[..., nn.Module], config: Mapping[str, Any]) -> nn.Module:
    """A random network, wilder than networks start out, so that everything shows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        network = build(**{key: value for key, value in config.items() if not key.startswith("_")})
        for parameter in network.parameters():
            parameter.data.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


def weights(network: nn.Module, renamed: Callable[[str], str] = str, dtype: torch.dtype = torch.float32, **more: torch.Tensor) -> bytes:
    return save({**{renamed(name): value.to(dtype).contiguous() for name, value in network.state_dict().items()}, **more})


def text(words: Any) -> bytes:
    return json.dumps(words, indent=2).encode()


def old_name(name: str) -> str:
    """What attention was called in the files of 2022."""
    for new, old in NEW_ATTENTION.items():
        name = name.replace(new, old)
    return name


# -- CompVis/ldm-celebahq-256 -------------------------------------------------------------------------------------------

LDM_UNET = {
    "_class_name": "UNet2DModel", "_diffusers_version": "0.0.4", "act_fn": "silu", "attention_head_dim": 32,
    "block_out_channels": [32, 32, 64, 64], "center_input_sample": False,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"], "downsample_padding": 1,
    "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 3, "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-05,
    "norm_num_groups": 32, "out_channels": 3, "sample_size": 16, "time_embedding_type": "positional",
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}  # fmt: skip
LDM_VQ = {
    "_class_name": "VQModel", "_diffusers_version": "0.1.2", "act_fn": "silu", "block_out_channels": [32, 32, 64],
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"], "in_channels": 3, "latent_channels": 3,
    "layers_per_block": 2, "num_vq_embeddings": 512, "out_channels": 3, "sample_size": 64,
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
}  # fmt: skip
LDM_SCHEDULER = {
    "_class_name": "DDIMScheduler", "_diffusers_version": "0.1.1", "beta_end": 0.0195, "beta_schedule": "scaled_linear",
    "beta_start": 0.0015, "clip_sample": False, "num_train_timesteps": 1000, "timestep_values": None, "trained_betas": None,
}  # fmt: skip


def ldm() -> Repo:
    from diffusers import UNet2DModel, VQModel

    parts = {"scheduler": ["diffusers", "DDIMScheduler"], "unet": ["diffusers", "UNet2DModel"], "vqvae": ["diffusers", "VQModel"]}
    codec = seeded(VQModel, LDM_VQ)
    codec.get_parameter("quantize.embedding.weight").data.mul_(1000)  # as far apart as what a random U-Net makes
    return {
        "model_index.json": text({"_class_name": "LDMPipeline", "_diffusers_version": "0.4.0.dev0", **parts}),
        "scheduler/scheduler_config.json": text(LDM_SCHEDULER),
        "unet/config.json": text(LDM_UNET),
        "unet/diffusion_pytorch_model.safetensors": weights(seeded(UNet2DModel, LDM_UNET), old_name),
        "vqvae/config.json": text(LDM_VQ),
        "vqvae/diffusion_pytorch_model.safetensors": weights(codec, old_name),
        "README.md": b"",
    }


# -- facebook/DiT-XL-2-256 ----------------------------------------------------------------------------------------------

DIT = {
    "_class_name": "Transformer2DModel", "_diffusers_version": "0.12.0.dev0", "activation_fn": "gelu-approximate",
    "attention_bias": True, "attention_head_dim": 16, "cross_attention_dim": None, "dropout": 0.0, "in_channels": 4,
    "norm_elementwise_affine": False, "norm_num_groups": 32, "norm_type": "ada_norm_zero", "num_attention_heads": 2,
    "num_embeds_ada_norm": 1000, "num_layers": 2, "num_vector_embeds": None, "only_cross_attention": False, "out_channels": 8,
    "patch_size": 2, "sample_size": 8, "upcast_attention": False, "use_linear_projection": False,
}  # fmt: skip
KL = {
    "_class_name": "AutoencoderKL", "_diffusers_version": "0.12.0.dev0", "act_fn": "silu", "block_out_channels": [32, 32, 32, 32],
    "down_block_types": ["DownEncoderBlock2D"] * 4, "in_channels": 3, "latent_channels": 4, "layers_per_block": 2,
    "norm_num_groups": 32, "out_channels": 3, "sample_size": 64, "scaling_factor": 0.18215, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip
DIT_SCHEDULER = {
    "_class_name": "DDIMScheduler", "_diffusers_version": "0.12.0.dev0", "beta_end": 0.02, "beta_schedule": "linear",
    "beta_start": 0.0001, "clip_sample": False, "num_train_timesteps": 1000, "prediction_type": "epsilon", "set_alpha_to_one": True,
    "steps_offset": 0, "trained_betas": None,
}  # fmt: skip


def dit() -> Repo:
    from diffusers import AutoencoderKL, DiTTransformer2DModel

    parts = {
        "scheduler": ["diffusers", "DDIMScheduler"],
        "transformer": ["diffusers", "Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    names = {str(label): f"sort {label}, of {label}" for label in range(1000)} | {"0": "tench, Tinca tinca"}
    unused = ("cross_attention_dim", "num_vector_embeds", "only_cross_attention", "use_linear_projection")
    config = {key: value for key, value in DIT.items() if key not in unused}
    return {
        "model_index.json": text({"_class_name": "DiTPipeline", "_diffusers_version": "0.12.0.dev0", "id2label": names, **parts}),
        "scheduler/scheduler_config.json": text(DIT_SCHEDULER),
        "transformer/config.json": text(DIT),
        "transformer/diffusion_pytorch_model.safetensors": weights(seeded(DiTTransformer2DModel, config)),
        "vae/config.json": text(KL),
        "vae/diffusion_pytorch_model.safetensors": weights(seeded(AutoencoderKL, KL)),
    }


# -- stabilityai/sd-turbo -----------------------------------------------------------------------------------------------

TURBO_UNET = {
    "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.24.0.dev0", "act_fn": "silu", "addition_embed_type": None,
    "addition_embed_type_num_heads": 64, "addition_time_embed_dim": None, "attention_head_dim": [2, 4, 4, 4],
    "attention_type": "default", "block_out_channels": [32, 64, 64, 64], "center_input_sample": False, "class_embed_type": None,
    "class_embeddings_concat": False, "conv_in_kernel": 3, "conv_out_kernel": 3, "cross_attention_dim": 32, "cross_attention_norm": None,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"], "downsample_padding": 1,
    "dropout": 0.0, "dual_cross_attention": False, "encoder_hid_dim": None, "encoder_hid_dim_type": None, "flip_sin_to_cos": True,
    "freq_shift": 0, "in_channels": 4, "layers_per_block": 2, "mid_block_only_cross_attention": None, "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn", "norm_eps": 1e-05, "norm_num_groups": 32, "num_attention_heads": None,
    "num_class_embeds": None, "only_cross_attention": False, "out_channels": 4, "projection_class_embeddings_input_dim": None,
    "resnet_out_scale_factor": 1.0, "resnet_skip_time_act": False, "resnet_time_scale_shift": "default",
    "reverse_transformer_layers_per_block": None, "sample_size": 8, "time_cond_proj_dim": None, "time_embedding_act_fn": None,
    "time_embedding_dim": None, "time_embedding_type": "positional", "timestep_post_act": None, "transformer_layers_per_block": 1,
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"], "upcast_attention": None,
    "use_linear_projection": True,
}  # fmt: skip
TURBO_KL = KL | {"_diffusers_version": "0.24.0.dev0", "force_upcast": True, "latents_mean": None, "latents_std": None}
TURBO_TEXT = {
    "architectures": ["CLIPTextModel"], "attention_dropout": 0.0, "bos_token_id": 0, "dropout": 0.0, "eos_token_id": 2,
    "hidden_act": "gelu", "hidden_size": 32, "initializer_factor": 1.0, "initializer_range": 0.02, "intermediate_size": 64,
    "layer_norm_eps": 1e-05, "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": 4,
    "num_hidden_layers": 2, "pad_token_id": 1, "projection_dim": 512, "torch_dtype": "float16", "transformers_version": "4.36.0.dev0",
    "vocab_size": 520,
}  # fmt: skip
TURBO_SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.24.0.dev0", "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "clip_sample": False, "interpolation_type": "linear", "num_train_timesteps": 1000,
    "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": False, "sigma_max": None, "sigma_min": None,
    "skip_prk_steps": True, "steps_offset": 1, "timestep_spacing": "trailing", "timestep_type": "discrete", "trained_betas": None,
    "use_karras_sigmas": False,
}  # fmt: skip
TOKENIZER = {
    "add_prefix_space": False, "bos_token": SPECIAL[0], "clean_up_tokenization_spaces": True, "do_lower_case": True,
    "eos_token": SPECIAL[1], "errors": "replace", "model_max_length": 77, "pad_token": SPECIAL[1], "tokenizer_class": "CLIPTokenizer",
    "unk_token": SPECIAL[1],
}  # fmt: skip


def turbo() -> Repo:
    """Its text encoder's file is of 2022's kind: `text_model.` before every name, and the numbers of the places among the weights."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    parts = {
        "feature_extractor": [None, None], "image_encoder": [None, None], "requires_safety_checker": True, "safety_checker": [None, None],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }  # fmt: skip
    encoder = seeded(lambda **config: CLIPTextModel(CLIPTextConfig(**config)), TURBO_TEXT)
    places = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    return {
        "model_index.json": text({"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.24.0.dev0", **parts}),
        "scheduler/scheduler_config.json": text(TURBO_SCHEDULER),
        "text_encoder/config.json": text(TURBO_TEXT),
        "text_encoder/model.safetensors": weights(encoder, "text_model.{}".format, **places),
        **tokenizer(),
        "unet/config.json": text(TURBO_UNET),
        "unet/diffusion_pytorch_model.safetensors": weights(seeded(UNet2DConditionModel, TURBO_UNET)),
        "vae/config.json": text(TURBO_KL),
        "vae/diffusion_pytorch_model.safetensors": weights(seeded(AutoencoderKL, KL)),
        "sd_turbo.safetensors": b"all of it in one file",
    }


def tokenizer() -> Repo:
    """All bytes, alone and at the end of a word, and a few merges. As in Stable Diffusion 2, a second file fills up with `!`."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in MERGES), *SPECIAL]
    special = {"bos_token": SPECIAL[0], "eos_token": SPECIAL[1], "pad_token": "!", "unk_token": SPECIAL[1]}
    objects = {
        key: {"content": token, "lstrip": False, "normalized": key != "unk_token", "rstrip": False, "single_word": False}
        for key, token in special.items()
        if token != "!"
    }
    return {
        "tokenizer/vocab.json": text({token: index for index, token in enumerate(tokens)}),
        "tokenizer/merges.txt": "\n".join(["#version: 0.2", *(" ".join(pair) for pair in MERGES), ""]).encode(),
        "tokenizer/tokenizer_config.json": text(TOKENIZER),
        "tokenizer/special_tokens_map.json": text(special | objects),
    }


LDM, DIT_XL, TURBO = "CompVis/ldm-celebahq-256", "facebook/DiT-XL-2-256", "stabilityai/sd-turbo"
PUBLIC: dict[str, Callable[[], Repo]] = {LDM: cache(ldm), DIT_XL: cache(dit), TURBO: cache(turbo)}
"""Builders of whole repos; what they give is shared, so copy before you change it."""
UNET, TRANSFORMER = "unet/diffusion_pytorch_model.safetensors", "transformer/diffusion_pytorch_model.safetensors"
ENCODER, VAE = "text_encoder/model.safetensors", "vae/diffusion_pytorch_model.safetensors"


def files_of(repo: Repo, where: str = "someone/something") -> Files:
    return Files(where, {name: len(data) for name, data in repo.items()}, repo.__getitem__)


def changed(name: str, **contents: Any) -> Repo:
    """A public repo with some files changed: `unet__config` is `unet/config.json`."""
    repo = dict(PUBLIC[name]())
    for key, words in contents.items():
        path = f"{key.replace('__', '/')}.json"
        repo[path] = text(json.loads(repo[path]) | words)
    return repo


def written(repo: Repo, folder: Path, names: tuple[str, ...] | None = None) -> Path:
    for name in names or tuple(repo):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(repo[name])
    return folder
