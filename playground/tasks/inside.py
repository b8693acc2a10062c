"""Inside: what the encoder says of one picture, number by number, and what its doubt does to the picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.families.capabilities import Encodes, HasEvidence, HasPosterior
from playground.images import to_uint8
from playground.knobs import Knob, Seed
from playground.latent import Latent, Noise
from playground.nets.likelihood import kl_to_standard_normal
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.marks import coloured, heat
from playground.tasks.shared import posterior_draws

DEAD_NATS = 0.01
"""A dimension is dead when the training pictures move it by less than this, on average."""
EVIDENCE_DRAWS = 16
FULL_HEAT = 64
"""Grey levels of standard deviation that are drawn as white."""


@register
class Inside(Task):
    """μ, σ and KL of every latent dimension, how the evidence bound splits, and draws μ + σ·ε with μ and σ fixed."""

    name: ClassVar[str] = "inside"
    title: ClassVar[str] = "Inside"
    says: ClassVar[str] = (
        "Which latent numbers carry this picture, how sure the encoder is of each, and what each costs. "
        "In the draws μ and σ stay; only ε is new."
    )
    needs: ClassVar[tuple[type, ...]] = (Encodes, HasPosterior, HasEvidence)
    stages = ("decode",)
    view = "plot"
    common: ClassVar[bool] = False
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")

    num_samples: int = Knob(5, label="Redrawn", help="How many draws μ + σ·ε are shown.", ge=0, le=EVIDENCE_DRAWS, step=1)
    seed: int = Seed("Which ε are drawn; the same seed gives the same draws.")

    def run(self, bench: Bench) -> Iterator[Sheet]:
        x = bench.picture(self.picture)
        back = bench.decode_all(bench.able(Encodes).encode(x, bench.params), [0])
        z = posterior_draws(bench, x, range(self.seed, self.seed + EVIDENCE_DRAWS))
        drawn = bench.decode_all(z, [0] * EVIDENCE_DRAWS)  # pixels, where they are drawn, are drawn alike: only ε differs
        spread = 127.5 * drawn.std(dim=0, correction=0, keepdim=True).square().mean(dim=1).sqrt()
        facts = {**self._facts(bench, x), "spread_levels": spread.square().mean().sqrt().item(), "error_levels": _rms_levels(x, back)}
        shown = torch.cat([x, back]), heat(spread / FULL_HEAT), drawn[: self.num_samples]
        pictures = np.concatenate([coloured(to_uint8(shown[0])), shown[1], coloured(to_uint8(shown[2]))])
        labels = ("what the model saw", "comes back", "what ε moves", *(f"draw {index + 1}" for index in range(self.num_samples)))
        latents = (str(self.picture), str(self.picture), *[""] * (len(labels) - 2))
        yield Sheet(pictures, 4, labels, latents, (0,) * len(labels), facts, says=_says(facts), named=True)

    def _facts(self, bench: Bench, x: Tensor) -> dict[str, Any]:
        """What the encoder says of a picture (1, C, H, W), and the parts of its evidence bound, averaged over draws."""
        model = bench.able(HasEvidence)
        mu, log_var = model.posterior(x)
        distortion, rate = model.evidence(x.expand(EVIDENCE_DRAWS, -1, -1, -1), Noise(range(EVIDENCE_DRAWS)))
        average = model.average_kl()
        nats, dims = distortion.mean().item(), x[0].numel()
        return {
            "mu": _plain(mu[0]),
            "sigma": _plain(torch.exp(0.5 * log_var[0])),
            "kl_nats": _plain(kl_to_standard_normal(mu, log_var)[0]),
            "average_kl_nats": _plain(average),
            "dead_dimensions": int((average < DEAD_NATS).sum()),
            "reconstruction_nats": nats,
            "rate_nats": rate[0].item(),
            "elbo_bits_per_dim": (nats + rate[0].item()) / (dims * math.log(2)),
            "dims": dims,
        }


def _says(facts: Mapping[str, Any]) -> str:
    return (
        f"{EVIDENCE_DRAWS} draws with μ and σ fixed: ε moves a pixel by {facts['spread_levels']:.1f} of 255 grey levels (standard "
        f"deviation), while the reconstruction is {facts['error_levels']:.1f} off (root mean square). The code costs "
        f"{facts['rate_nats']:.0f} nats."
    )


def _rms_levels(x: Tensor, y: Tensor) -> float:
    return (127.5 * (x - y)).square().mean().sqrt().item()


def _plain(values: Tensor) -> list[float]:
    return [round(float(value), 5) for value in values]
