"""diffusers' networks with the same weights and less to do: residual blocks in fewer and faster operations where no slope is wanted.

On the CPU torch normalises groups of channels-last maps slowly where a map has few places: there sums are taken by products of
matrices, and gain, bias and what the time tells are one multiplication and addition.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn import functional as F

from playground.nets.conv import silu_

FEW_PLACES = 1024
"""From this many places of a map on, torch has a faster way of its own."""
MANY_ROWS = 16
"""With fewer rows than this, more operations cost more than slow ones."""


def lean(network: nn.Module) -> None:
    """Lets the residual blocks and models of diffusers in a network run as they do here; weights, names and slopes stay."""
    for part in network.modules():
        if type(part) is ResnetBlock2D and _is_known(part):
            part.__class__ = LeanResnet
        elif type(part) is Attention and isinstance(part.processor, AttnProcessor2_0):
            part.__class__ = LeanAttention
        elif isinstance(part, ModelMixin) and not isinstance(part, _KnowsDtype):
            part.__class__ = _with_dtype(type(part))


def _is_known(block: ResnetBlock2D) -> bool:
    plain = block.upsample is None and block.downsample is None
    return plain and isinstance(block.nonlinearity, nn.SiLU) and block.time_embedding_norm in ("default", "scale_shift")


class LeanResnet(ResnetBlock2D):
    """A residual block told the time; `input_tensor` is (B, C, H, W), `temb` (B, *) or None."""

    def forward(self, input_tensor: Tensor, temb: Tensor | None, *args: Any, **kwargs: Any) -> Tensor:
        if torch.is_grad_enabled() or self.training:
            return super().forward(input_tensor, cast("Tensor", temb), *args, **kwargs)
        h = self.conv1(normed(input_tensor, self.norm1))
        scale = shift = None
        if self.time_emb_proj is not None and temb is not None:
            told = self.time_emb_proj(temb if self.skip_time_act else F.silu(temb))[:, :, None, None]
            if self.time_embedding_norm == "default":
                h.add_(told)
            else:
                scale, shift = told.chunk(2, dim=1)
        h = self.conv2(normed(h, self.norm2, scale, shift))
        h.add_(input_tensor if self.conv_shortcut is None else self.conv_shortcut(input_tensor))
        return cast("Tensor", h if self.output_scale_factor == 1 else h.div_(self.output_scale_factor))


class LeanAttention(Attention):
    """Attention that does not ask at every pass which words its processor knows."""

    def forward(
        self, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, attention_mask: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        if kwargs.keys() - {"temb"} or not isinstance(self.processor, AttnProcessor2_0):
            return super().forward(hidden_states, encoder_hidden_states, attention_mask, **kwargs)
        return self.processor(self, hidden_states, encoder_hidden_states, attention_mask, **kwargs)


def normed(x: Tensor, norm: nn.GroupNorm, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    """SiLU of the group norm of `x` (B, C, H, W), where that is told by `scale` and `shift` (B, C, 1, 1): ·(1 + scale) + shift."""
    if x.device.type == "cpu" and len(x) >= MANY_ROWS and x.shape[2] * x.shape[3] < FEW_PLACES and x.dtype == torch.float32:
        gain, bias = _affine(x, norm)
        if scale is not None and shift is not None:
            gain, bias = gain * (1 + scale), torch.addcmul(shift, bias, 1 + scale)
        return silu_(torch.addcmul(bias, x, gain))
    y = torch.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
    return silu_(y if scale is None or shift is None else torch.addcmul(shift, y, 1 + scale))


def _affine(x: Tensor, norm: nn.GroupNorm) -> tuple[Tensor, Tensor]:
    """Gain and bias (B, C, 1, 1) by which the group norm multiplies and shifts each channel of `x`."""
    count, channels = x.shape[:2]
    rows = x.permute(0, 2, 3, 1).reshape(count, -1, channels)
    ones = rows.new_ones(1, 1, rows.shape[1]).expand(count, -1, -1)
    size = rows.shape[1] * channels // norm.num_groups
    mean, square = (torch.bmm(ones, each).view(count, norm.num_groups, -1).sum(dim=2) / size for each in (rows, rows.square()))
    rate = torch.rsqrt((square - mean.square()).clamp(min=0) + norm.eps)
    gain = rate[:, :, None] * norm.weight.view(norm.num_groups, -1)
    bias = torch.addcmul(norm.bias.view(norm.num_groups, -1), mean[:, :, None], gain, value=-1)
    return gain.view(count, channels, 1, 1), bias.view(count, channels, 1, 1)


class _KnowsDtype:
    """A model that knows its number format without walking through all its parts, as diffusers' do at every pass."""

    @property
    def dtype(self) -> torch.dtype:
        """That of the weights."""
        known: torch.dtype = next(cast("nn.Module", self).parameters()).dtype
        return known


_MODELS: dict[str, type[ModelMixin]] = {}


def _with_dtype(model: type[ModelMixin]) -> type[ModelMixin]:
    name = f"{model.__module__}.{model.__qualname__}"
    if name not in _MODELS:
        _MODELS[name] = type(model.__name__, (_KnowsDtype, model), {"__module__": model.__module__, "__doc__": model.__doc__})
    return _MODELS[name]
