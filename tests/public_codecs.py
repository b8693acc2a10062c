"""Public autoencoders as they lie on the Hub, narrowed: the same files and keys of configuration, fewer channels, random weights."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from safetensors.torch import save
from torch import Tensor, nn

from playground.nets import pythae as nets
from playground.nets.pythae import About
from tests.public import aged, words

WEIGHTS = "diffusion_pytorch_model.safetensors"

SD = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.4.2",
    "act_fn": "silu",
    "block_out_channels": [8, 16, 16, 16],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "out_channels": 3,
    "sample_size": 32,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
SDXL = {**SD, "_diffusers_version": "0.20.0.dev0", "_name_or_path": "../sdxl-vae/", "force_upcast": True, "scaling_factor": 0.13025}
PLAYGROUND = {**SDXL, "latents_mean": [-1.6574, 1.886, -1.383, 2.5155], "latents_std": [8.4927, 5.9022, 6.5498, 5.2299]}
FLUX = {
    **SD,
    "_diffusers_version": "0.30.0.dev0",
    "force_upcast": True,
    "latent_channels": 16,
    "latents_mean": None,
    "latents_std": None,
    "mid_block_add_attention": True,
    "sample_size": 1024,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "use_post_quant_conv": False,
    "use_quant_conv": False,
}
TAESD = {
    "_class_name": "AutoencoderTiny",
    "_diffusers_version": "0.20.0.dev0",
    "act_fn": "relu",
    "decoder_block_out_channels": [8, 8, 8, 8],
    "encoder_block_out_channels": [8, 8, 8, 8],
    "force_upcast": False,
    "in_channels": 3,
    "latent_channels": 4,
    "latent_magnitude": 3,
    "latent_shift": 0.5,
    "num_decoder_blocks": [1, 1, 1, 1],
    "num_encoder_blocks": [1, 1, 1, 1],
    "out_channels": 3,
    "scaling_factor": 1.0,
    "upsampling_scaling_factor": 2,
}
LDM = {
    "_class_name": "VQModel",
    "_diffusers_version": "0.1.2",
    "act_fn": "silu",
    "block_out_channels": [32, 32, 32],
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "in_channels": 3,
    "latent_channels": 3,
    "layers_per_block": 1,
    "num_vq_embeddings": 64,
    "out_channels": 3,
    "sample_size": 16,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
}
MOVQ = {
    **LDM,
    "_diffusers_version": "0.17.0.dev0",
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
    "latent_channels": 4,
    "norm_num_groups": 32,
    "norm_type": "spatial",
    "scaling_factor": 0.18215,
    "up_block_types": ["AttnUpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
    "vq_embed_dim": 4,
}
DC = {
    "_class_name": "AutoencoderDC",
    "_diffusers_version": "0.32.0.dev0",
    "attention_head_dim": 8,
    "decoder_act_fns": ["relu", "relu", "silu"],
    "decoder_block_out_channels": [8, 8, 16],
    "decoder_block_types": ["ResBlock", "ResBlock", "EfficientViTBlock"],
    "decoder_layers_per_block": [0, 1, 1],
    "decoder_norm_types": ["batch_norm", "batch_norm", "rms_norm"],
    "decoder_qkv_multiscales": [[], [], []],
    "downsample_block_type": "pixel_unshuffle",
    "encoder_block_out_channels": [8, 8, 16],
    "encoder_block_types": ["ResBlock", "ResBlock", "EfficientViTBlock"],
    "encoder_layers_per_block": [0, 1, 1],
    "encoder_qkv_multiscales": [[], [], []],
    "in_channels": 3,
    "latent_channels": 4,
    "scaling_factor": 0.3189,
    "upsample_block_type": "pixel_shuffle",
}
SANA = {
    **DC,
    "decoder_act_fns": "silu",
    "decoder_layers_per_block": [1, 1, 1],
    "decoder_norm_types": "rms_norm",
    "decoder_qkv_multiscales": [[], [], [5]],
    "downsample_block_type": "conv",
    "encoder_layers_per_block": [1, 1, 1],
    "encoder_qkv_multiscales": [[], [], [5]],
    "scaling_factor": 0.41407,
    "upsample_block_type": "interpolate",
}

CODECS: dict[str, dict[str, Any]] = {
    "stabilityai/sd-vae-ft-mse": SD,
    "stabilityai/sdxl-vae": SDXL,
    "playgroundai/playground-v2.5": PLAYGROUND,
    "black-forest-labs/FLUX.1-schnell": FLUX,
    "madebyollin/taesd": TAESD,
    "CompVis/ldm-celebahq-256": LDM,
    "kandinsky-community/kandinsky-2-2-decoder": MOVQ,
    "mit-han-lab/dc-ae-f32c32-in-1.0-diffusers": DC,
    "mit-han-lab/dc-ae-f32c32-sana-1.0-diffusers": SANA,
}
OLD = ("stabilityai/sd-vae-ft-mse", "CompVis/ldm-celebahq-256")
"""Those whose attention still has its first names."""


def codec(name: str, folder: str = "", **changed: Any) -> dict[str, bytes]:
    """An autoencoder with changes to its configuration, at the root of its repo or in a folder ("vae/")."""
    config = {**CODECS[name], **changed}
    state = shaken(getattr(diffusers, config["_class_name"])(**{key: value for key, value in config.items() if key[0] != "_"}))
    return {
        "README.md": b"---\nlicense: mit\n---\n",
        f"{folder}config.json": words(config),
        f"{folder}{WEIGHTS}": save(aged(state) if name in OLD else state, {"format": "pt"}),
        f"{folder}diffusion_pytorch_model.bin": b"a pickle, never read",
    }


def shaken(network: nn.Module) -> dict[str, Tensor]:
    """Its weights, random also where a fresh network has only zeros and ones."""
    generator = torch.Generator().manual_seed(3)
    state = {name: value.clone().contiguous() for name, value in network.state_dict().items()}
    for name, value in state.items():
        if name.endswith("running_var"):
            value += torch.rand(value.shape, generator=generator)
        elif value.is_floating_point():
            value += 0.05 * torch.randn(value.shape, generator=generator)
    return state


# -- pythae -------------------------------------------------------------------------------------------------------------

VAE = {
    "name": "VAEConfig",
    "input_dim": [1, 28, 28],
    "latent_dim": 16,
    "uses_default_encoder": False,
    "uses_default_decoder": False,
    "reconstruction_loss": "bce",
}
PLAIN = {key: value for key, value in VAE.items() if key != "reconstruction_loss"}
DEFAULT = {"uses_default_encoder": True, "uses_default_decoder": True}
WAE = {
    **PLAIN, "name": "WAE_MMD_Config", "kernel_choice": "imq", "reg_weight": 0.03, "kernel_bandwidth": 1.0,
    "scales": [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0], "reconstruction_loss_scale": 1.0,
}  # fmt: skip

Halves = tuple[Any, int, Any, int]
"""How the encoder and the decoder are built, each with its width."""
PYTHAE: dict[str, tuple[dict[str, Any], Halves]] = {
    "default": ({**VAE, **DEFAULT, "input_dim": [3, 8, 8], "reconstruction_loss": "mse"}, (nets.mlp_encoder, 512, nets.mlp_decoder, 512)),
    "default-ae": ({**PLAIN, **DEFAULT, "name": "AEConfig", "input_dim": [1, 8, 8]}, (nets.mlp_encoder, 512, nets.mlp_decoder, 512)),
    "reproduced_vae": ({**VAE, "latent_dim": 40}, (nets.mlp_encoder, 400, nets.mlp_decoder, 400)),
    "reproduced_iwae": (
        {**VAE, "name": "IWAEConfig", "input_dim": [784], "latent_dim": 50, "number_samples": 50},
        (lambda about, width: nets.TanhEncoder(about, width, True), 200, lambda about, width: nets.TanhDecoder(about, width, True), 200),
    ),
    "reproduced_beta_tc_vae": (
        {
            **VAE,
            "name": "BetaTCVAEConfig",
            "input_dim": [8, 8],
            "latent_dim": 10,
            "alpha": 1.0,
            "beta": 6.0,
            "gamma": 1.0,
            "use_mss": False,
        },
        (nets.deep_mlp_encoder, 1200, nets.deep_mlp_decoder, 1200),
    ),
    "conv-mnist": ({**VAE, "name": "BetaVAEConfig", "beta": 4.0}, (nets.conv_encoder, 8, nets.conv_decoder, 64)),
    "conv-cifar": ({**VAE, "input_dim": [3, 32, 32]}, (nets.conv_encoder, 8, nets.conv_decoder, 64)),
    "reproduced_wae": ({**WAE, "input_dim": [3, 64, 64], "latent_dim": 64}, (nets.conv_encoder, 8, nets.conv_decoder, 64)),
    "resnet-mnist": (VAE, (nets.resnet_encoder, 8, nets.resnet_decoder_28, 16)),
    "resnet-cifar": ({**WAE, "input_dim": [3, 32, 32]}, (nets.resnet_encoder, 8, nets.resnet_decoder_32, 4)),
    "resnet-celeba": ({**VAE, "input_dim": [3, 64, 64]}, (nets.resnet_encoder, 8, nets.resnet_decoder_64, 16)),
}


def pythae(which: str, **changed: Any) -> dict[str, bytes]:
    """A model of pythae, whose weights somebody saved as safetensors beside its pickles."""
    config = {**PYTHAE[which][0], **changed}
    return {
        "environment.json": words({"name": "EnvironmentConfig", "python_version": "3.8"}),
        "model_config.json": words(config),
        "model.pt": b"a pickle, never read",
        "encoder.pkl": b"a pickle, never read",
        "decoder.pkl": b"a pickle, never read",
        "model.safetensors": save(pythae_state(which), {"format": "pt"}),
    }


def pythae_state(name: str) -> dict[str, Tensor]:
    """Random weights by the names that pythae gives them."""
    config, (encoder, wide, decoder, narrow) = PYTHAE[name]
    given = config["input_dim"]
    side = given[-1] if len(given) > 1 else round(given[0] ** 0.5)
    about = About((given[0] if len(given) == 3 else 1, side, side), config["latent_dim"], "reconstruction_loss" in config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return shaken(nets.PythaeNet(encoder(about, wide), decoder(about, narrow)))
