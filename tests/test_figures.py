"""The figures of bundled cards come out again, on a part of the pictures, within their error."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import torch

from playground.cards import bundled_cards
from playground.families import FAMILIES, Model
from playground.families.capabilities import Encodes, HasEvidence, HasLikelihood, Inverts
from playground.latent import Noise
from playground.metrics import psnr_db
from playground.nets.likelihood import bits_per_dim
from playground.settings import PROJECT
from playground.training.data import load_fashion_mnist
from playground.training.measures import from_levels

FEW = 100
TOLERANCE = 4.5
"""Standard errors of a mean over `FEW` pictures: beyond by chance once in 150,000."""
CARDS = [card.id for card in bundled_cards().values() if card.family in FAMILIES and card.files]


@cache
def loaded(card_id: str) -> Model:
    family = FAMILIES[bundled_cards()[card_id].family]
    return family.load(PROJECT / "weights" / card_id, torch.device("cpu"), torch.float32)


@cache
def pictures() -> torch.Tensor:
    return from_levels(load_fashion_mnist("test").pictures[:FEW])


def figure(card_id: str, name: str) -> Mapping[str, Any]:
    return dict(json.loads((PROJECT / "weights" / card_id / "metrics.json").read_text())[name])


def assert_repeats(card_id: str, name: str, values: torch.Tensor) -> None:
    """`values` (N,) of the first test pictures have the mean that was measured on all."""
    known = figure(card_id, name)
    spread = known["standard_error"] * math.sqrt(known["n"])
    assert abs(values.mean().item() - known["value"]) <= TOLERANCE * spread / math.sqrt(len(values)) + 1e-4, name


@pytest.mark.parametrize("card_id", CARDS)
def test_likelihoods_come_out_again(card_id: str) -> None:
    model, x, noise = loaded(card_id), pictures(), Noise(range(FEW))
    with torch.inference_mode():
        if isinstance(model, HasLikelihood):
            assert_repeats(card_id, "bits_per_dim", bits_per_dim(-model.log_prob(x, noise), x[0].numel()))
        if isinstance(model, HasEvidence):
            distortion, rate = model.evidence(x, noise)
            assert_repeats(card_id, "elbo_bits_per_dim", bits_per_dim(distortion + rate, x[0].numel()))


@pytest.mark.parametrize("card_id", CARDS)
def test_reconstructions_come_out_again(card_id: str) -> None:
    model, x = loaded(card_id), pictures()
    if not isinstance(model, Encodes) or isinstance(model, Inverts):
        return  # no encoder, or a search that takes minutes
    params = model.Params.parse(bundled_cards()[card_id].defaults)
    if not model.live:
        x = x[: FEW // 4]  # a hundred passes of the network for each
    with torch.inference_mode():
        *_, last = model.decode(model.encode(x, params), params, Noise([0] * len(x)))
    assert_repeats(card_id, "reconstruction_psnr_db", psnr_db(x, last.x))
