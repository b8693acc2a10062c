"""Plots that are looked at rather than dragged, and numbers in words. Importing this package registers the plot of every task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from playground.ui.figures import codes as codes
from playground.ui.figures import diffusion as diffusion
from playground.ui.figures import everywhere as everywhere
from playground.ui.figures import flows as flows
from playground.ui.figures import gan as gan
from playground.ui.figures import inside as inside
from playground.ui.figures import posterior as posterior
from playground.ui.figures.base import FIGURES, Draw

__all__ = ["FIGURES", "Draw", "facts_words"]


def facts_words(facts: Mapping[str, Any]) -> list[str]:
    """The few numbers of a sheet that stand in its caption, with their units."""
    words = []
    if "psnr_db" in facts:
        words += [f"PSNR {facts['psnr_db']:.1f} dB", f"SSIM {facts['ssim']:.3f}"]
    if "elbo_bits_per_dim" in facts:
        bits = 1 / (facts["dims"] * math.log(2))
        parts = {"reconstruction": facts["reconstruction_nats"], "KL": facts["rate_nats"]}
        words += [f"{name} {nats:.0f} nats = {nats * bits:.2f} bits/dim" for name, nats in parts.items()]
        words.append(f"together {facts['elbo_bits_per_dim']:.2f} bits/dim")
        words.append(f"{facts['dead_dimensions']} of {len(facts['mu'])} dimensions dead")
    return words
