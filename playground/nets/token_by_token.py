"""The inverse of an autoregressive flow, token after token, as fast as small operations allow.

A picture of TarFlow takes over a thousand tokens, each a dozen products of a vector and a small matrix: what costs time is the number
of operations, not their size. So whatever does not depend on the token is worked out first: gains and biases of the norms go into the
layers that follow them, places and the word for noise into one bias a token; and keys and values are written into room made once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from typing_extensions import Self

from playground.nets.couplings import INPUT_BOUND, LOG_SCALE_BOUND

if TYPE_CHECKING:
    from playground.nets.tarflow import AutoregressiveFlow, Layer


def inverse(flow: AutoregressiveFlow, z: Tensor, noisy: Tensor, place_pace: float) -> Tensor:
    """The tokens (B, T, D) that `flow` maps to `z` where `noisy` (B,) says what was added. Not differentiable."""
    entries, enter = _entries(flow, noisy)
    places, leave = _exits(flow, place_pace)
    layers = [_Prepared.of(cast("Layer", layer), len(z), z.shape[1]) for layer in flow.layers]
    h, least, width = entries[0], z.new_full((), -LOG_SCALE_BOUND), entries[0].shape[1:]
    tokens = []
    for index, (target, place) in enumerate(zip(z.unbind(dim=1), places, strict=True)):
        for layer in layers:
            h = layer.step(h, index)
        raw, shift = torch.addmm(place, torch.layer_norm(h, width), leave).chunk(2, dim=1)
        tokens.append(torch.addcmul(shift, target, raw.tanh_().mul_(least).exp_()))
        if index + 1 < len(places):
            h = torch.addmm(entries[index + 1], tokens[-1].clamp(-INPUT_BOUND, INPUT_BOUND), enter)
    return torch.stack(tokens, dim=1)


def _entries(flow: AutoregressiveFlow, noisy: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """What is added for each token, T tensors (B, width), the first of them the start itself; and the matrix (D, width)."""
    base = flow.position + noisy[:, None, None] * flow.noisy
    return (flow.start[:, 0] + base[:, 0], *(base + flow.enter.bias).unbind(dim=1)[1:]), flow.enter.weight.T


def _exits(flow: AutoregressiveFlow, place_pace: float) -> tuple[tuple[Tensor, ...], Tensor]:
    """The bias (2D,) of each token and the matrix (width, 2D) to the scale, still to be bounded, and the shift."""
    weight, bias = _folded(flow.norm, flow.leave)
    share = torch.ones_like(bias)
    share[: len(share) // 2] /= LOG_SCALE_BOUND
    return ((bias + place_pace * flow.place[0]) * share).unbind(), _columns(weight * share[:, None])


def _folded(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight and bias of one layer that does what the norm's gain and bias and then the linear layer do."""
    return linear.weight * norm.weight, linear.bias + linear.weight @ norm.bias


def _columns(weight: Tensor) -> Tensor:
    return weight.T.contiguous()


@dataclass
class _Prepared:
    """A transformer layer made ready for one token after the other, with room for what it has seen.

    Each matrix comes with its bias. GELU(√2·u) = √2/2 · (u + u·erf u), so both roots are part of the matrices around it.
    """

    qkv: tuple[Tensor, Tensor]
    join: tuple[Tensor, Tensor]
    widen: tuple[Tensor, Tensor]
    narrow: tuple[Tensor, Tensor]
    asked: Tensor
    """Room for queries, keys and values of a token, (B, 3·width)."""
    query: Tensor
    fresh: Tensor
    """Views of `asked`: the queries (B·heads, 1, d), keys and values (2, B, heads, d)."""
    keys: Tensor
    values: Tensor
    """Of the tokens so far, (B·heads, T, d)."""
    slots: tuple[Tensor, ...]
    """Views of both by tokens: T times (2, B, heads, d)."""

    @classmethod
    def of(cls, layer: Layer, count: int, tokens: int) -> Self:
        width, heads, root = layer.join.in_features, layer.heads, math.sqrt(0.5)
        (into, add), (wide, more) = _folded(layer.before_attention, layer.qkv), _folded(layer.before_dense, layer.widen)
        scale = torch.ones_like(add)
        scale[:width] *= (width // heads) ** -0.5
        asked = into.new_empty(count, 3 * width)
        seen = into.new_empty(2, count, heads, tokens, width // heads)
        parts, (keys, values) = asked.view(count, 3, heads, -1), seen.flatten(1, 2)
        return cls(
            (add * scale, _columns(into * scale[:, None])),
            (layer.join.bias, _columns(layer.join.weight)),
            (root * more, _columns(root * wide)),
            (layer.narrow.bias, _columns(root * layer.narrow.weight)),
            asked,
            parts[:, 0],
            parts[:, 1:].transpose(0, 1),
            keys,
            values,
            seen.unbind(dim=3),
        )

    def step(self, h: Tensor, index: int) -> Tensor:
        """The token `index` (B, width) after this layer."""
        torch.addmm(self.qkv[0], torch.layer_norm(h, h.shape[1:]), self.qkv[1], out=self.asked)
        self.slots[index].copy_(self.fresh)
        k, v = self.keys[:, : index + 1], self.values[:, : index + 1]
        shares = torch.bmm(self.query.reshape(len(k), 1, -1), k.transpose(1, 2)).softmax(dim=2)
        h = torch.addmm(self.join[0], torch.bmm(shares, v).view(h.shape), self.join[1]).add_(h)
        wide = torch.addmm(self.widen[0], torch.layer_norm(h, h.shape[1:]), self.widen[1])
        return torch.addmm(self.narrow[0], torch.addcmul(wide, wide, wide.erf()), self.narrow[1]).add_(h)
