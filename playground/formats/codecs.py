"""Autoencoders of pictures as diffusers keeps them: AutoencoderKL, AutoencoderTiny, VQModel and AutoencoderDC.

A latent diffusion model paints with the latents of one (`recognise_codec`, `open_codec`); a repo may also be one and nothing else.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from pydantic import BeforeValidator, Field
from torch import nn

from playground.errors import BadWeights
from playground.families import Model
from playground.families.picture_codec import Codec as Codec
from playground.families.picture_codec import PictureCodec
from playground.formats.base import Files, Format, Found, Schema, register
from playground.formats.networks import REFUSED, STEM, count_of, fitting, load_weights, modern_name

Width = Annotated[int, Field(ge=1, le=2048)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)]
Depth = Annotated[int, Field(ge=0, le=16)]
Depths = Annotated[tuple[Depth, ...], Field(min_length=1, max_length=8)]
Pixels = Literal[1, 3]
LatentWidth = Annotated[int, Field(ge=1, le=512)]
Factor = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
Shift = Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)]
Activation = Literal["silu", "swish", "mish", "gelu", "relu", "relu6"]
Norm = Literal["rms_norm", "batch_norm"]
DCBlock = Literal["ResBlock", "EfficientViTBlock"]
Scales = Annotated[tuple[Annotated[tuple[Annotated[int, Field(ge=1, le=15)], ...], Field(max_length=4)], ...], Field(max_length=8)]


def _side(value: Any) -> Any:
    return max(value) if isinstance(value, (list, tuple)) and value and all(isinstance(side, int) for side in value) else value


# -- what a configuration may say -----------------------------------------------------------------------------------


class CodecSchema(Schema, abc.ABC):
    """What all of them say. `build` gives diffusers' own network of the fields that its class takes."""

    kind: ClassVar[str]
    not_built_of: ClassVar[frozenset[str]] = frozenset({"sample_size"})
    """Fields that diffusers' class does not take, or that change nothing here."""
    in_channels: Pixels = 3
    out_channels: Pixels = 3
    latent_channels: LatentWidth = 4
    scaling_factor: Factor = 1.0
    sample_size: Annotated[Annotated[int, Field(ge=1, le=8192)] | None, BeforeValidator(_side)] = None

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return self.latent_channels

    @property
    @abc.abstractmethod
    def factor(self) -> int:
        """How much smaller the sides of a latent are than those of its picture."""

    def build(self) -> nn.Module:
        import diffusers

        return cast("nn.Module", getattr(diffusers, self.kind)(**self.model_dump(exclude=set(self.not_built_of))))

    def shift_and_scale(self) -> tuple[list[float], list[float]]:
        """By `(raw - shift) · scale` a raw latent has about unit variance; one value for each channel, or for all."""
        return [0.0], [self.scaling_factor]

    def precision(self, dtype: torch.dtype) -> torch.dtype:
        """What to compute in where the page computes in `dtype`."""
        return dtype

    def codec(self, network: nn.Module, device: torch.device) -> Codec:
        """The network with all that a stranger needs to know of it."""
        shift, scale = (torch.tensor(part, device=device).view(-1, 1, 1) for part in self.shift_and_scale())
        return Codec(self.channels, self.factor, self.in_channels, network, shift, scale, self.sample_size)


class BlocksSchema(CodecSchema):
    """Blocks of convolutions that halve the sides, and as many that double them."""

    down_block_types: Annotated[tuple[Literal["DownEncoderBlock2D", "AttnDownEncoderBlock2D"], ...], Field(max_length=8)] = (
        "DownEncoderBlock2D",
    )
    up_block_types: Annotated[tuple[Literal["UpDecoderBlock2D", "AttnUpDecoderBlock2D"], ...], Field(max_length=8)] = ("UpDecoderBlock2D",)
    block_out_channels: Widths = (64,)
    layers_per_block: Annotated[int, Field(ge=1, le=8)] = 1
    act_fn: Activation = "silu"
    norm_num_groups: Width = 32
    scaling_factor: Factor = 0.18215
    mid_block_add_attention: bool = True

    @property
    def factor(self) -> int:
        return 2 ** (len(self.block_out_channels) - 1)


class KLSchema(BlocksSchema):
    """The autoencoder of Stable Diffusion and its kin (Rombach et al., arXiv 2112.10752)."""

    kind: ClassVar[str] = "AutoencoderKL"
    shift_factor: Shift | None = None
    latents_mean: Annotated[tuple[Shift, ...], Field(max_length=512)] | None = None
    latents_std: Annotated[tuple[Factor, ...], Field(max_length=512)] | None = None
    force_upcast: bool = True
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True

    def shift_and_scale(self) -> tuple[list[float], list[float]]:
        if self.latents_mean is None or self.latents_std is None:
            return [self.shift_factor or 0.0], [self.scaling_factor]
        return list(self.latents_mean), [self.scaling_factor / std for std in self.latents_std]

    def precision(self, dtype: torch.dtype) -> torch.dtype:
        """Some overflow in half precision, and their configuration says so."""
        return torch.float32 if self.force_upcast and dtype == torch.float16 else dtype


class VQSchema(BlocksSchema):
    """The same network with a codebook between its halves (Esser et al., arXiv 2012.09841), as CompVis' LDM-4 has."""

    kind: ClassVar[str] = "VQModel"
    latent_channels: LatentWidth = 3
    num_vq_embeddings: Annotated[int, Field(ge=1, le=65536)] = 256
    vq_embed_dim: LatentWidth | None = None
    norm_type: Literal["group", "spatial"] = "group"

    @property
    def channels(self) -> int:
        return self.vq_embed_dim or self.latent_channels


class TinySchema(CodecSchema):
    """A small convolutional copy of another autoencoder (madebyollin/taesd). Its latents are scaled as they come."""

    kind: ClassVar[str] = "AutoencoderTiny"
    encoder_block_out_channels: Widths = (64, 64, 64, 64)
    decoder_block_out_channels: Widths = (64, 64, 64, 64)
    act_fn: Activation = "relu"
    upsample_fn: Literal["nearest", "bilinear", "bicubic"] = "nearest"
    upsampling_scaling_factor: Annotated[int, Field(ge=2, le=2)] = 2
    num_encoder_blocks: Depths = (1, 3, 3, 3)
    num_decoder_blocks: Depths = (3, 3, 3, 1)
    latent_magnitude: Factor = 3.0
    latent_shift: Shift = 0.5
    shift_factor: Shift = 0.0

    @property
    def factor(self) -> int:
        return 2 ** (len(self.encoder_block_out_channels) - 1)

    def shift_and_scale(self) -> tuple[list[float], list[float]]:
        return [self.shift_factor], [self.scaling_factor]


class DCSchema(CodecSchema):
    """The deep compression autoencoder (Chen et al., arXiv 2410.10733): 32 to 128 times smaller, with many channels."""

    kind: ClassVar[str] = "AutoencoderDC"
    not_built_of: ClassVar[frozenset[str]] = frozenset({"sample_size", "out_channels"})
    latent_channels: LatentWidth = 32
    attention_head_dim: Width = 32
    encoder_block_types: DCBlock | tuple[DCBlock, ...] = "ResBlock"
    decoder_block_types: DCBlock | tuple[DCBlock, ...] = "ResBlock"
    encoder_block_out_channels: Widths = (128, 256, 512, 512, 1024, 1024)
    decoder_block_out_channels: Widths = (128, 256, 512, 512, 1024, 1024)
    encoder_layers_per_block: Depths = (2, 2, 2, 3, 3, 3)
    decoder_layers_per_block: Depths = (3, 3, 3, 3, 3, 3)
    encoder_qkv_multiscales: Scales = ((), (), (), (5,), (5,), (5,))
    decoder_qkv_multiscales: Scales = ((), (), (), (5,), (5,), (5,))
    upsample_block_type: Literal["pixel_shuffle", "interpolate"] = "pixel_shuffle"
    downsample_block_type: Literal["pixel_unshuffle", "Conv", "conv"] = "pixel_unshuffle"
    decoder_norm_types: Norm | tuple[Norm, ...] = "rms_norm"
    decoder_act_fns: Activation | tuple[Activation, ...] = "silu"
    encoder_out_shortcut: bool = True
    decoder_in_shortcut: bool = True
    decoder_conv_act_fn: Activation = "relu"

    @property
    def factor(self) -> int:
        return 2 ** (len(self.encoder_block_out_channels) - 1)


SCHEMAS: dict[str, type[CodecSchema]] = {schema.kind: schema for schema in (KLSchema, VQSchema, TinySchema, DCSchema)}


# -- recognising ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CodecFound:
    """An autoencoder that was recognised in a repo."""

    files: tuple[str, ...]
    kind: str
    """Its class in diffusers."""
    parameters: int
    channels: int
    factor: int
    sample_size: int | None
    """The side of the pictures that it was trained on, where it says so."""


def recognise_codec(files: Files, prefix: str) -> CodecFound:
    """The autoencoder in the folder `prefix` ("vae/", "vqvae/", "") of a repo. Raises `BadWeights`."""
    schema, network, needed = understand(files, prefix)
    return CodecFound(needed, schema.kind, count_of(network, files.where), schema.channels, schema.factor, schema.sample_size)


def understand(files: Files, prefix: str) -> tuple[CodecSchema, nn.Module, tuple[str, str]]:
    """What its configuration says, its network without weights, and the paths of both. Raises `BadWeights`."""
    config = f"{prefix}config.json"
    where = f"{config} of {files.where}"
    schema = read_schema(files.words(config), where)
    network = sketch(schema, where)
    count_of(network, where)
    return schema, network, (config, files.weights(f"{prefix}{STEM}"))


def is_codec(words: Mapping[str, Any]) -> bool:
    """Whether a configuration is that of a class that is read here."""
    return isinstance(kind := words.get("_class_name"), str) and kind in SCHEMAS


def read_schema(words: Mapping[str, Any], where: str) -> CodecSchema:
    """What the configuration says. Raises `BadWeights` for another class, and for what is out of bounds."""
    kind = words.get("_class_name")
    if not is_codec(words):
        raise BadWeights(f"{where} is of the class {str(kind)[:60]!r}.", f"Autoencoders that fit: {', '.join(SCHEMAS)}.")
    schema = SCHEMAS[str(kind)].read(words, where)
    if schema.in_channels != schema.out_channels:
        what = f"{where} takes pictures of {schema.in_channels} channels and gives {schema.out_channels}."
        raise BadWeights(what, "An autoencoder gives back what it takes.")
    if any(len(part) not in (1, schema.channels) for part in schema.shift_and_scale()):
        raise BadWeights(f"{where} does not give one mean and one spread for each of {schema.channels} channels.", REFUSED)
    return schema


def sketch(schema: CodecSchema, where: str) -> nn.Module:
    """The network without its weights, on the meta device. Raises `BadWeights` when its parts do not fit together."""
    with fitting(where), torch.device("meta"), torch.no_grad():
        network = schema.build().eval()
        codec = schema.codec(network, torch.device("meta"))
        x = torch.zeros(1, schema.in_channels, 2 * schema.factor, 2 * schema.factor)
        z = torch.zeros(1, schema.channels, 2, 2)
        there, back = codec.encode(x).shape, codec.decode(z).shape
        if (there, back) != (z.shape, x.shape):
            raise ValueError(f"it makes latents {tuple(there)[1:]} and pictures {tuple(back)[1:]}, not {tuple(z.shape)[1:]}")
    return network


# -- opening --------------------------------------------------------------------------------------------------------


def open_codec(folder: Path, device: torch.device, dtype: torch.dtype) -> Codec:
    """The autoencoder in a folder with its `config.json` and safetensors. Raises `BadWeights`."""
    sizes = {path.name: path.stat().st_size for path in folder.glob("*") if path.is_file()}
    schema, network, (_, weights) = understand(Files(str(folder), sizes, lambda name: (folder / name).read_bytes()), "")
    load_weights(network, folder / weights, device, schema.precision(dtype), modern_name)
    return schema.codec(network, device)


@register
class DiffusersAutoencoder(Format):
    """A repo that is an autoencoder and nothing more: stabilityai/sd-vae-ft-mse, madebyollin/taesd, mit-han-lab/dc-ae-…-diffusers."""

    name: ClassVar[str] = "diffusers-autoencoder"
    says: ClassVar[str] = f"an autoencoder of diffusers ({', '.join(SCHEMAS)}) with its config.json and {STEM}.safetensors"

    def recognise(self, files: Files) -> Found | None:
        if "config.json" not in files or not is_codec(files.words("config.json")):
            return None
        found = recognise_codec(files, "")
        title = f"{found.kind}, {found.factor}× smaller, {found.channels} channels"
        return Found(self.name, PictureCodec.family, title, found.files, found.parameters, defaults={"temperature": 1.0})

    def open(self, folder: Path, family: str, device: torch.device, dtype: torch.dtype) -> Model:
        return PictureCodec(open_codec(folder, device, dtype), device)
