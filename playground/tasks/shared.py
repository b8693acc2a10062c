"""What several tasks do: the long work over many pictures in parts, draws from a posterior, and a card at the prior N(0, I)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from playground.families import find_family
from playground.families.capabilities import HasPosterior
from playground.latent import Noise
from playground.tasks.base import Bench

PART = 128
"""Pictures of a long work that are done between two previews."""


def in_parts(bench: Bench, key: str, count: int, make: Callable[[int, int], Tensor]) -> Iterator[tuple[Tensor, float]]:
    """`make(start, stop)` of 0..count, (N, *), part after new part: what is there so far, and the share done; all of it at the end.

    Each part is remembered under `key`, so that a second request goes on where the first one is.
    """
    parts: list[Tensor] = []
    for start in range(0, count, PART):
        stop = min(start + PART, count)
        name = f"{key}/{start}"
        new = name not in bench.memory
        parts.append(bench.remembered(name, lambda start=start, stop=stop: make(start, stop)))  # type: ignore[misc]
        if new or stop == count:
            yield torch.cat(parts), stop / count


def posterior_draws(bench: Bench, x: Tensor, seeds: Sequence[int]) -> Tensor:
    """μ + σ·ε of one picture (1, C, H, W), with ε of each seed, (len(seeds), *latent.shape). Kingma & Welling, arXiv 1312.6114, 2.4."""
    mu, log_var = bench.able(HasPosterior).posterior(x)
    eps = Noise(seeds).normal(mu.shape[1:], "posterior").to(mu.device)
    return (mu + torch.exp(0.5 * log_var) * eps).view(-1, *bench.model.latent.shape)


def at_standard_prior(bench: Bench, card: str) -> AbstractContextManager[Bench]:
    """A sibling card at work, this one too, whose `seed:N` is a draw from N(0, I); its other knobs are the request's where it has them."""
    known = find_family(bench.siblings()[card].family).Params.model_fields
    wanted = {**bench.params.to_plain(), "prior": "standard", "temperature": 1.0}
    return bench.other(card, **{name: value for name, value in wanted.items() if name in known})
