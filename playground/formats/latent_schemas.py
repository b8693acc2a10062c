"""What configurations may say of networks on latents and of CLIP's text encoder and tokenizer: every field has bounds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from torch import nn
from typing_extensions import Self

from playground.formats.base import Schema
from playground.formats.schemas import square

Width = Annotated[int, Field(ge=4, le=4096)]
Heads = Annotated[int, Field(ge=1, le=256)]
Depth = Annotated[int, Field(ge=0, le=10)]
Side = Annotated[int, BeforeValidator(square), Field(ge=4, le=128)]
Channels = Annotated[int, Field(ge=1, le=128)]
Eps = Annotated[float, Field(gt=0, le=0.1)]
Scale = Annotated[float, Field(gt=0, le=16)]
Kernel = Literal[1, 3, 5, 7]
Activation = Literal["silu", "swish", "mish", "gelu", "relu"]
DownBlock = Literal["DownBlock2D", "CrossAttnDownBlock2D"]
MidBlock = Literal["UNetMidBlock2DCrossAttn", "UNetMidBlock2D"]
UpBlock = Literal["UpBlock2D", "CrossAttnUpBlock2D"]
MAX_TOKENS = 77
"""What CLIP was trained to read; the rest of a longer prompt is cut off."""


class DiTSchema(Schema):
    """A transformer on patches of latents that is told a class (Peebles & Xie, arXiv 2212.09748), with diffusers' defaults."""

    num_attention_heads: Heads = 16
    attention_head_dim: Heads = 72
    in_channels: Channels = 4
    out_channels: Channels | None = None
    num_layers: int = Field(28, ge=1, le=64)
    attention_bias: bool = True
    sample_size: Side = 32
    patch_size: int = Field(2, ge=1, le=16)
    activation_fn: Literal["gelu", "gelu-approximate", "geglu"] = "gelu-approximate"
    num_embeds_ada_norm: int = Field(1000, ge=1, le=9_999)
    upcast_attention: bool = False
    norm_type: Literal["ada_norm_zero"]
    norm_elementwise_affine: bool = False
    norm_eps: Eps = 1e-5

    @model_validator(mode="after")
    def _says_noise(self) -> Self:
        if self.sample_size % self.patch_size:
            raise ValueError(f"patches of {self.patch_size} do not cover a side of {self.sample_size}")
        if self.out_channels not in (None, self.in_channels, 2 * self.in_channels):
            raise ValueError(f"{self.out_channels} channels out of {self.in_channels} are neither noise nor noise and variance")
        return self

    def build(self) -> nn.Module:
        """The network. Raises what diffusers raises when the parts do not fit together."""
        from diffusers.models.transformers.dit_transformer_2d import DiTTransformer2DModel

        return DiTTransformer2DModel(**self.model_dump())

    def place(self, network: nn.Module) -> None:
        """Tells a network of the meta device where its patches lie: that is computed, and kept in no file."""
        from diffusers.models.embeddings import PatchEmbed

        width = self.num_attention_heads * self.attention_head_dim
        places = PatchEmbed(self.sample_size, self.sample_size, self.patch_size, 1, width).pos_embed
        network.get_submodule("pos_embed").register_buffer("pos_embed", places, persistent=False)


class LabelsSchema(Schema):
    """Names of classes by their numbers, in `model_index.json`."""

    id2label: Annotated[dict[Annotated[int, Field(ge=0, le=9_998)], Annotated[str, Field(max_length=1000)]], Field(max_length=9_999)] = (
        Field(default_factory=dict)
    )


class TextUNetSchema(Schema):
    """The U-Net that reads words by cross-attention (Rombach et al., arXiv 2112.10752), with diffusers' defaults.

    What would need to be told more than the time and the words (a size, a guidance, a hint) must be absent.
    """

    sample_size: Side
    in_channels: Channels = 4
    out_channels: Channels = 4
    center_input_sample: bool = False
    flip_sin_to_cos: bool = True
    freq_shift: int = Field(0, ge=0, le=1)
    down_block_types: tuple[DownBlock, ...] = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
    mid_block_type: MidBlock | None = "UNetMidBlock2DCrossAttn"
    up_block_types: tuple[UpBlock, ...] = ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")
    only_cross_attention: bool | tuple[bool, ...] = False
    block_out_channels: tuple[Width, ...] = Field((320, 640, 1280, 1280), min_length=1, max_length=8)
    layers_per_block: Depth | tuple[Depth, ...] = 2
    downsample_padding: int = Field(1, ge=0, le=1)
    mid_block_scale_factor: Scale = 1.0
    act_fn: Activation = "silu"
    norm_num_groups: Width | None = 32
    norm_eps: Eps = 1e-5
    cross_attention_dim: Width = 1280
    transformer_layers_per_block: Depth | tuple[Depth, ...] = 1
    attention_head_dim: Heads | tuple[Heads, ...] = 8
    dual_cross_attention: Literal[False] = False
    use_linear_projection: bool = False
    upcast_attention: bool | None = False
    resnet_time_scale_shift: Literal["default", "scale_shift"] = "default"
    resnet_skip_time_act: bool = False
    resnet_out_scale_factor: Scale = 1.0
    time_embedding_type: Literal["positional"] = "positional"
    time_embedding_dim: Annotated[int | None, Field(ge=1, le=16384)] = None
    time_embedding_act_fn: Activation | None = None
    timestep_post_act: Activation | None = None
    conv_in_kernel: Kernel = 3
    conv_out_kernel: Kernel = 3
    attention_type: Literal["default"] = "default"
    mid_block_only_cross_attention: bool | None = None
    cross_attention_norm: Literal["layer_norm"] | None = None
    num_attention_heads: None = None
    encoder_hid_dim: None = None
    encoder_hid_dim_type: None = None
    class_embed_type: None = None
    num_class_embeds: None = None
    addition_embed_type: None = None
    time_cond_proj_dim: None = None

    @model_validator(mode="after")
    def _says_as_much_as_it_is_shown(self) -> Self:
        if self.in_channels != self.out_channels:
            raise ValueError(f"it is shown {self.in_channels} channels and says {self.out_channels}: it completes or enlarges pictures")
        return self

    def build(self) -> nn.Module:
        """The network. Raises what diffusers raises when the parts do not fit together."""
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        return UNet2DConditionModel(**self.model_dump())


class TextSchema(Schema):
    """CLIP's text transformer (Radford et al., arXiv 2103.00020), with transformers' defaults."""

    vocab_size: int = Field(49408, ge=3, le=262_144)
    hidden_size: int = Field(512, ge=4, le=4096)
    intermediate_size: int = Field(2048, ge=4, le=16384)
    num_hidden_layers: int = Field(12, ge=1, le=64)
    num_attention_heads: Heads = 8
    max_position_embeddings: int = Field(77, ge=3, le=1024)
    hidden_act: Literal["quick_gelu", "gelu"] = "quick_gelu"
    layer_norm_eps: Eps = 1e-5

    @model_validator(mode="after")
    def _has_whole_heads(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size = {self.hidden_size} is no multiple of num_attention_heads = {self.num_attention_heads}")
        return self

    def build(self) -> nn.Module:
        """The network. Raises what transformers raises when the parts do not fit together."""
        from transformers.models.clip.configuration_clip import CLIPTextConfig
        from transformers.models.clip.modeling_clip import CLIPTextModel

        ends: dict[str, Any] = {
            "bos_token_id": 0,
            "pad_token_id": 1,
            "eos_token_id": 2,
        }  # of no account: the vector of a whole sentence is not read
        return CLIPTextModel(CLIPTextConfig(**self.model_dump(), **ends))


def _content(value: Any) -> Any:
    """A special token is its text, or an object that holds it."""
    return value.get("content") if isinstance(value, dict) else value


Token = Annotated[str, BeforeValidator(_content), Field(min_length=1, max_length=64)]


class TokenizerSchema(Schema):
    """What `tokenizer_config.json` and `special_tokens_map.json` may say, with transformers' defaults."""

    bos_token: Token = "<|startoftext|>"
    eos_token: Token = "<|endoftext|>"
    unk_token: Token = "<|endoftext|>"
    pad_token: Token = "<|endoftext|>"
    model_max_length: float = Field(MAX_TOKENS, ge=3)
    """Some say 10^30 and mean that it was never set."""
