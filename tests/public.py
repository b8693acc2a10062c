"""Repos as they lie on the Hub, narrowed: the same files and the same keys of configuration, fewer channels, random weights."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from safetensors.torch import save
from torch import Tensor

from playground.formats.base import Files

OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

DDPM_UNET = {
    "_class_name": "UNet2DModel",
    "_diffusers_version": "0.0.4",
    "act_fn": "silu",
    "attention_head_dim": None,
    "block_out_channels": [8, 16],
    "center_input_sample": False,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 3,
    "layers_per_block": 1,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-06,
    "norm_num_groups": 4,
    "out_channels": 3,
    "sample_size": 16,
    "time_embedding_type": "positional",
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
}
DDPM_SCHEDULER = {
    "_class_name": "DDPMScheduler",
    "_diffusers_version": "0.1.1",
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "clip_sample": True,
    "num_train_timesteps": 1000,
    "trained_betas": None,
    "variance_type": "fixed_large",
}
BUTTERFLIES_UNET = {
    **DDPM_UNET,
    "_diffusers_version": "0.2.4",
    "attention_head_dim": 8,
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "norm_eps": 1e-05,
}
NCSNPP_UNET = {
    **DDPM_UNET,
    "block_out_channels": [32, 32, 32],
    "center_input_sample": True,
    "down_block_types": ["SkipDownBlock2D", "AttnSkipDownBlock2D", "SkipDownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": 1.4142135623730951,
    "norm_num_groups": None,
    "time_embedding_type": "fourier",
    "up_block_types": ["SkipUpBlock2D", "AttnSkipUpBlock2D", "SkipUpBlock2D"],
}
NCSNPP_SCHEDULER = {
    "_class_name": "ScoreSdeVeScheduler",
    "_diffusers_version": "0.1.1",
    "correct_steps": 1,
    "num_train_timesteps": 2000,
    "sampling_eps": 1e-05,
    "sigma_max": 1348,
    "sigma_min": 0.01,
    "snr": 0.15,
}
CONSISTENCY_UNET = {
    "_class_name": "UNet2DModel",
    "_diffusers_version": "0.18.0.dev0",
    "act_fn": "silu",
    "add_attention": True,
    "attention_head_dim": 8,
    "attn_norm_num_groups": 4,
    "block_out_channels": [8, 16],
    "center_input_sample": False,
    "class_embed_type": None,
    "down_block_types": ["ResnetDownsampleBlock2D", "AttnDownBlock2D"],
    "downsample_padding": 1,
    "downsample_type": "resnet",
    "dropout": 0.0,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 3,
    "layers_per_block": 1,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 4,
    "num_class_embeds": 1000,
    "out_channels": 3,
    "resnet_time_scale_shift": "scale_shift",
    "sample_size": 16,
    "time_embedding_type": "positional",
    "up_block_types": ["AttnUpBlock2D", "ResnetUpsampleBlock2D"],
    "upsample_type": "resnet",
}
CONSISTENCY_SCHEDULER = {
    "_class_name": "CMStochasticIterativeScheduler",
    "_diffusers_version": "0.18.0.dev0",
    "clip_denoised": True,
    "num_train_timesteps": 40,
    "rho": 7.0,
    "s_noise": 1.0,
    "sigma_data": 0.5,
    "sigma_max": 80.0,
    "sigma_min": 0.002,
}

PIXELS: dict[str, tuple[str, dict[str, Any], dict[str, Any], bool]] = {
    "google/ddpm-cifar10-32": ("DDPMPipeline", DDPM_UNET, DDPM_SCHEDULER, True),
    "anton-l/ddpm-butterflies-128": ("DDPMPipeline", BUTTERFLIES_UNET, {**DDPM_SCHEDULER, "variance_type": "fixed_small"}, False),
    "google/ncsnpp-celebahq-256": ("ScoreSdeVePipeline", NCSNPP_UNET, NCSNPP_SCHEDULER, True),
    "openai/diffusers-cd_imagenet64_l2": ("ConsistencyModelPipeline", CONSISTENCY_UNET, CONSISTENCY_SCHEDULER, False),
}
"""Pipeline, configurations, and whether it is of the first days: all files side by side, attention with its old names."""


def pixels(name: str, unet: Mapping[str, Any] | None = None, scheduler: Mapping[str, Any] | None = None) -> dict[str, bytes]:
    """A pipeline on pixels, with changes to its configurations."""
    pipeline, told, settings, old = PIXELS[name]
    told, settings = {**copy.deepcopy(told), **(unet or {})}, {**settings, **(scheduler or {})}
    state = state_of(told)
    index = {
        "_class_name": pipeline,
        "_diffusers_version": told["_diffusers_version"],
        "scheduler": ["diffusers", settings["_class_name"]],
        "unet": ["diffusers", "UNet2DModel"],
    }
    network, settings_folder = ("", "") if old else ("unet/", "scheduler/")
    return {
        "README.md": b"---\nlicense: apache-2.0\n---\n",
        "model_index.json": words(index),
        f"{network}config.json": words(told),
        f"{network}diffusion_pytorch_model.safetensors": save(aged(state) if old else state, {"format": "pt"}),
        f"{network}diffusion_pytorch_model.bin": b"a pickle, never read",
        f"{settings_folder}scheduler_config.json": words(settings),
    }


def state_of(config: Mapping[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """Random weights of a `UNet2DModel`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet2DModel(**{key: value for key, value in config.items() if not key.startswith("_")}).state_dict()


def aged(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under the names that attention had before diffusers 0.15."""
    renamed = {}
    for name, value in state.items():
        for new, old in OLD_NAMES.items():
            name = name.replace(f".{new}.", f".{old}.")
        renamed[name] = value
    return renamed


def words(config: Mapping[str, Any]) -> bytes:
    return json.dumps(config, indent=2, sort_keys=True).encode()


def listing(repo: Mapping[str, bytes], where: str = "owner/name") -> Files:
    """A repo as a format sees it; what is no configuration cannot be read."""

    def fetch(name: str) -> bytes:
        assert name.endswith(".json"), name
        return repo[name]

    return Files(where, {name: len(content) for name, content in repo.items()}, fetch)


def write(repo: Mapping[str, bytes], folder: Path) -> Path:
    """The repo as a folder."""
    for name, content in repo.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
