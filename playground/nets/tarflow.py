"""TarFlow in small: a normalizing flow of causal transformers over patches, whose order is turned round from block to block.

Source: Zhai et al., Normalizing Flows are Capable Generative Models, arXiv 2412.06329. Different from there: the picture is
rolled by half a patch in every other block, so that pixels of one patch become neighbours that see each other; the noise that
denoising takes out is added after the logit, so that pictures stay within black and white; one network knows both noises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from playground.nets import token_by_token
from playground.nets.couplings import INPUT_BOUND, Logit, Passed, bounded, log_normal


@dataclass(frozen=True)
class TarFlowConfig:
    """The shape of a `TarFlow`; what `config.json` holds."""

    image_size: int = 28
    channels: int = 1
    patch: int = 2
    width: int = 64
    heads: int = 2
    flows: int = 6
    """Autoregressive flows, by turns from the top left and from the bottom right."""
    layers: int = 1
    """Transformer layers in each of them."""
    alpha: float = 0.002
    """How far from 0 and 1 the logit keeps; a grey level is 0.004 wide."""
    noise: float = 0.2
    """Standard deviation, after the logit, of the noise that denoising takes out."""


PLACE_PACE = 10.0
"""What belongs to a place whatever the picture (a border is black) is learnt this much faster than the rest."""


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """softmax(q·kᵀ/√d)·v for shapes (B, heads, T, d), plainly: on a CPU its gradient is 3 times as fast as the fused one's."""
    scores = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
    if causal:
        scores = scores + torch.full(scores.shape[2:], -1e4, dtype=scores.dtype, device=scores.device).triu(1)
    return scores.softmax(dim=3, dtype=scores.dtype) @ v


class Layer(nn.Module):
    """Causal attention and a dense layer, each added to what was there. Shape (B, T, width)."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_dense = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for last in (self.join, self.narrow):
            nn.init.zeros_(last.bias)
            with torch.no_grad():
                last.weight.mul_((2 * depth) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self._heads(x)
        x = x + self._joined(attention(q, k, v, causal=True))
        return x + self._dense(x)

    def step(self, x: Tensor, seen: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The same for one more token (B, 1, width), given keys and values of those before it; and with its own added."""
        q, k, v = self._heads(x)
        if seen is not None:
            k, v = torch.cat([seen[0], k], dim=2), torch.cat([seen[1], v], dim=2)
        x = x + self._joined(attention(q, k, v, causal=False))
        return x + self._dense(x), (k, v)

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.qkv(self.before_attention(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return parts[0], parts[1], parts[2]

    def _joined(self, attended: Tensor) -> Tensor:
        return self.join(attended.transpose(1, 2).flatten(2))

    def _dense(self, x: Tensor) -> Tensor:
        return self.narrow(F.gelu(self.widen(self.before_dense(x))))


class AutoregressiveFlow(nn.Module):
    """z_i = (x_i - shift_i) · exp(log_scale_i), where both are told by the tokens before i. Shapes (B, T, D)."""

    def __init__(self, c: TarFlowConfig, tokens: int, dim: int) -> None:
        super().__init__()
        self.enter = nn.Linear(dim, c.width)
        self.start = nn.Parameter(0.02 * torch.randn(1, 1, c.width))
        self.position = nn.Parameter(0.02 * torch.randn(1, tokens, c.width))
        self.noisy = nn.Parameter(torch.zeros(1, 1, c.width))
        self.layers = nn.ModuleList(Layer(c.width, c.heads, c.layers) for _ in range(c.layers))
        self.norm, self.leave = nn.LayerNorm(c.width), nn.Linear(c.width, 2 * dim)
        self.place = nn.Parameter(torch.zeros(1, tokens, 2 * dim))
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, noisy: Tensor) -> tuple[Tensor, Tensor]:
        """The image of `x` and its log-determinant (B,); `noisy` (B,) is 1 where noise was added, else 0."""
        h = torch.cat([self.start.expand(len(x), -1, -1), self._entered(x[:, :-1])], dim=1)
        h = h + self.position + noisy[:, None, None] * self.noisy
        for layer in self.layers:
            h = layer(h)
        log_scale, shift = self._affine(h, self.place)
        return (x - shift) * torch.exp(log_scale), log_scale.sum(dim=(1, 2))

    def inverse(self, z: Tensor, noisy: Tensor) -> Tensor:
        """Token after token; each layer keeps the keys and values of the tokens it has seen."""
        if not torch.is_grad_enabled():
            return token_by_token.inverse(self, z, noisy, PLACE_PACE)
        return self.inverse_with_slope(z, noisy)

    def inverse_with_slope(self, z: Tensor, noisy: Tensor) -> Tensor:
        """The same in operations that can be differentiated, which takes three times as long."""
        cache: list[tuple[Tensor, Tensor] | None] = [None] * len(self.layers)
        h, tokens = self.start.expand(len(z), -1, -1), []
        for index in range(z.shape[1]):
            h = h + self.position[:, index : index + 1] + noisy[:, None, None] * self.noisy
            for number, layer in enumerate(self.layers):
                assert isinstance(layer, Layer)
                h, cache[number] = layer.step(h, cache[number])
            log_scale, shift = self._affine(h, self.place[:, index : index + 1])
            tokens.append(z[:, index : index + 1] * torch.exp(-log_scale) + shift)
            h = self._entered(tokens[-1])
        return torch.cat(tokens, dim=1)

    def inverse_without_cache(self, z: Tensor, noisy: Tensor) -> Tensor:
        """The same from scratch for every token: slower by their number, and simple enough to check the other by."""
        x = torch.zeros_like(z)
        for index in range(z.shape[1]):
            moved = self(x, noisy)[0]
            unit = self(x + F.one_hot(torch.tensor(index), z.shape[1]).to(z)[None, :, None], noisy)[0]
            x[:, index] = (z[:, index] - moved[:, index]) / (unit[:, index] - moved[:, index])
        return x

    def _entered(self, x: Tensor) -> Tensor:
        return self.enter(x.clamp(-INPUT_BOUND, INPUT_BOUND))

    def _affine(self, h: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(h.device.type, enabled=False):
            raw, shift = (self.leave(self.norm(h.to(place.dtype))) + PLACE_PACE * place).chunk(2, dim=2)
        return bounded(raw), shift


class TarFlow(nn.Module):
    """Pictures (B, C, S, S) in [0, 1] to latents (B, C·S·S) and back."""

    def __init__(self, config: TarFlowConfig) -> None:
        super().__init__()
        self.config = config
        self.num_tokens, dim = (config.image_size // config.patch) ** 2, config.channels * config.patch**2
        self.logit = Logit(config.alpha)
        self.flows = nn.ModuleList(AutoregressiveFlow(config, self.num_tokens, dim) for _ in range(config.flows))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, D) of continuous pictures in [0, 1], and the log-determinant (B,)."""
        y, log_det = self.logit(x)
        z, more = self.latent(y, y.new_zeros(len(y)))
        return z, log_det + more

    def inverse(self, z: Tensor) -> Tensor:
        """Pictures of latents (B, D); in [0, 1] up to the rounding of a float."""
        *_, y = self.states(z, z.new_zeros(len(z)))
        return self.logit.inverse(y)

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density in nats of continuous pictures `x` (B, C, H, W) in [0, 1], (B,)."""
        z, log_det = self(x)
        return log_normal(z) + log_det

    def walk(self, x: Tensor) -> Iterator[Passed]:
        """`forward` step by step; what is there after each is laid out as a picture (B, C, H, W)."""
        y, log_det = self.logit(x)
        yield Passed("logit", y, log_det)
        for index, flow in enumerate(self.flows):
            tokens, log_det = flow(self._tokens(y, index), y.new_zeros(len(y)))
            y = self._untokens(tokens, index)
            yield Passed("reads ↖" if index % 2 else "reads ↘", y, log_det)

    def walk_back(self, z: Tensor) -> Iterator[Tensor]:
        """`inverse` step by step: what was there after each step of `walk`, from the last to the first, the logit."""
        c = self.config
        yield z.view(-1, c.channels, c.image_size, c.image_size)
        yield from self.states(z, z.new_zeros(len(z)))

    # -- after the logit --------------------------------------------------------------------------------------------

    def latent(self, y: Tensor, noisy: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, D) of `y`, pictures after the logit, and the log-determinant (B,); `noisy` (B,) is 1 or 0."""
        total = y.new_zeros(len(y))
        for index, flow in enumerate(self.flows):
            tokens, log_det = flow(self._tokens(y, index), noisy)
            y, total = self._untokens(tokens, index), total + log_det
        return y.flatten(1), total

    def states(self, z: Tensor, noisy: Tensor, run: Callable[..., Any] | None = None) -> Iterator[Tensor]:
        """From latents (B, D) back to pictures before the sigmoid, flow after flow; the last one is the answer.

        `run(function, *rows)` runs each flow where it is given.
        """
        c = self.config
        y = z.view(-1, c.channels, c.image_size, c.image_size)
        for index in reversed(range(len(self.flows))):
            flow = self.flows[index]
            assert isinstance(flow, AutoregressiveFlow)
            tokens = self._tokens(y, index)
            y = self._untokens(run(flow.inverse, tokens, noisy) if run else flow.inverse(tokens, noisy), index)
            yield y

    def denoised(self, y: Tensor) -> Tensor:
        """The picture to expect under the noise in `y`, by Tweedie's formula: y + σ²·∇ log p(y) (equation 8 of the paper)."""
        with torch.inference_mode(False), torch.enable_grad():
            y = y.clone().requires_grad_()
            z, log_det = self.latent(y, y.new_ones(len(y)))
            (score,) = torch.autograd.grad((log_normal(z) + log_det).sum(), y)
            return (y + self.config.noise**2 * score).detach()

    def _tokens(self, y: Tensor, index: int) -> Tensor:
        """Patches (B, T, D) of the picture as this flow rolls it, back to front in every other flow."""
        patch = self.config.patch
        y = y.roll((-self._rolled(index),) * 2, (2, 3))
        tokens = F.pixel_unshuffle(y, patch).flatten(2).transpose(1, 2)
        return tokens.flip(1) if index % 2 else tokens

    def _untokens(self, tokens: Tensor, index: int) -> Tensor:
        patch, side = self.config.patch, self.config.image_size // self.config.patch
        tokens = tokens.flip(1) if index % 2 else tokens
        y = F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (side, side)), patch)
        return y.roll((self._rolled(index),) * 2, (2, 3))

    def _rolled(self, index: int) -> int:
        """By how many pixels: half a patch in every other flow, and one more after each pair, so that each place has both orders."""
        patch = self.config.patch
        return (index * (patch // 2) + index // 2) % patch
