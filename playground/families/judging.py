"""How likely a model finds a picture: the best that each can say, and what it says of the first test pictures.

What a card says of those is written beside its weights (`judged.json`), because many take seconds to say it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from playground.families.base import Model
from playground.families.capabilities import Encodes, HasCritic, HasEvidence, HasLikelihood, HasVariationalBound
from playground.images import Pictures, from_uint8
from playground.knobs import Knobs
from playground.latent import Noise
from playground.metrics import psnr_db
from playground.nets.likelihood import bits_per_dim

BOUND_DRAWS = 16
"""Draws of the latent for a VAE's importance-weighted bound (Burda, Grosse & Salakhutdinov, arXiv 1509.00519)."""
RANKED = 200
RANKED_SLOWLY = 24
"""Test pictures that a judgement is ranked among; fewer where one takes many passes of the network."""
Kind = Literal["exact", "bound", "score"]


@dataclass(frozen=True)
class Judge:
    """How a model judges pictures: `judge(x, noise)` gives a number of that `unit` for each, (B,).

    It is found likelier with fewer bits/dim, and better with a higher score. A score is no likelihood: nobody made it add up to one.
    """

    kind: Kind
    unit: str
    judge: Callable[[Tensor, Noise], Tensor]
    passes: int
    """How often the network runs in a row to judge a picture."""
    ranked: int = RANKED

    def rank(self, value: float, others: NDArray[np.float64]) -> float:
        """The share of `others` that are found less likely than `value`, in percent."""
        worse = others < value if self.kind == "score" else others > value
        return 100 * float(worse.mean())

    def of(self, pictures: Pictures, first: int, device: torch.device) -> NDArray[np.float64]:
        """Of the test pictures with the numbers `first`, `first` + 1, …, each with the noise of its number as seed, (N,)."""
        noise = Noise(range(first, first + len(pictures)))
        return self.judge(from_uint8(pictures).to(device), noise).double().cpu().numpy()

    def words(self, value: float) -> str:
        """The number with its unit."""
        return {"dB": f"{value:.1f} dB", "critic": f"critic {value:+.3g}".replace("-", "−")}.get(self.unit, f"{value:.2f} {self.unit}")


def judge_of(model: Model, params: Knobs) -> Judge | None:
    """The best that a model can say of how likely a picture is; None when it can say nothing at once."""
    if isinstance(model, HasLikelihood):
        return Judge("exact", "bits/dim", lambda x, noise: _bits(model.log_prob(x, noise), x), passes=1)
    if isinstance(model, HasEvidence):
        return Judge("bound", "bits/dim", lambda x, noise: _bits(weighted_bound(model, x, noise), x), passes=2)
    if isinstance(model, HasVariationalBound):
        return Judge("bound", "bits/dim", lambda x, noise: _bits(model.variational_bound(x, noise), x), model.bound_passes, RANKED_SLOWLY)
    if isinstance(model, HasCritic):
        return Judge("score", "critic", lambda x, noise: model.score(x).float(), passes=1)
    if isinstance(model, Encodes) and model.live:
        return Judge("score", "dB", lambda x, noise: psnr_db(x, seen(model, x, params)), passes=2)
    return None


def weighted_bound(model: HasEvidence, x: Tensor, noise: Noise) -> Tensor:
    """The importance-weighted lower bound on log P of pictures (B, C, H, W) in [-1, 1], in nats, (B,)."""
    return torch.logsumexp(model.log_weights(x, noise, BOUND_DRAWS).double(), dim=0) - math.log(BOUND_DRAWS)


def seen(model: Model, x: Tensor, params: Knobs) -> Tensor:
    """What a model that encodes and decodes in one step makes of pictures (B, C, H, W)."""
    assert isinstance(model, Encodes)
    *_, last = model.decode(model.encode(x, params), params, Noise([0] * len(x)))
    return last.x.to(x.device)


def _bits(log_prob: Tensor, x: Tensor) -> Tensor:
    return bits_per_dim(-log_prob.double(), x[0].numel())
