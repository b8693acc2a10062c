"""What the tools of diffusion share: x_t as something to look at, a picture mixed with noise, and what pictures are taken for."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from playground.families.capabilities import Diffuses
from playground.images import Pictures, from_uint8, to_uint8
from playground.knobs import MAX_SEED
from playground.tasks.base import Bench

SAW = "what the model saw"
NOISE_REACH = 2.0
"""Standard deviations of noise that lie between black and white."""


def shares(bench: Bench, time: float) -> tuple[float, float]:
    """How much picture and how much noise there is at a time from 0 to 1."""
    signal, sigma = bench.able(Diffuses).schedule(torch.tensor([time]))
    return float(signal), float(sigma)


def noised(bench: Bench, x: Tensor, eps: Tensor, time: float) -> Tensor:
    """x_t of pictures `x` and noise `eps`, both (B, C, H, W), at a time from 0 to 1."""
    signal, sigma = shares(bench, time)
    return signal * x + sigma * eps


def reach(signal: float, sigma: float) -> float:
    """What is shown as white, and its negative as black: as far as a picture and `NOISE_REACH` deviations of its noise go."""
    return signal + NOISE_REACH * sigma


def shown(x_t: Tensor, white: float) -> Pictures:
    """Noisy pictures (B, C, H, W) as grey levels, -white black and white white; what lies beyond is cut off."""
    return to_uint8(x_t / white)


def decibels(signal: float, sigma: float) -> float:
    """Signal to noise in dB, 20·log10(signal / sigma); either counts as at least 0.001."""
    return 20 * math.log10(max(signal, 1e-3) / max(sigma, 1e-3))


def seeds_from(seed: int, count: int) -> list[int]:
    """`count` seeds from `seed` on; after the largest comes 0."""
    return [(seed + index) % (MAX_SEED + 1) for index in range(count)]


def seen_as(bench: Bench, x: Tensor) -> list[tuple[str, float]]:
    """What the classifier takes each picture (B, C, H, W) for, as a page shows it in 256 levels, and how sure it is, 0 to 1.

    Nothing, "" and 0, for a model of other pictures.
    """
    if not bench.is_ours:
        return [("", 0.0)] * len(x)
    shares = bench.classifier(from_uint8(to_uint8(x))).softmax(dim=1)
    sure, best = shares.max(dim=1)
    names = bench.shelf.classes
    return [(names[index], value) for index, value in zip(best.tolist(), sure.tolist(), strict=True)]
