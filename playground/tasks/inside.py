"""Inside: what the encoder says of one picture, number by number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch

from playground.families.base import Encodes, HasPosterior
from playground.images import to_uint8
from playground.knobs import Knob
from playground.latent import Latent, Noise
from playground.nets.likelihood import kl_to_standard_normal
from playground.tasks.base import Bench, Sheet, Task, register

DEAD_NATS = 0.01
"""A dimension is dead when the training pictures move it by less than this, on average."""
EVIDENCE_DRAWS = 16


@register
class Inside(Task):
    """μ, σ and KL of every latent dimension, and how the evidence bound splits into reconstruction and KL."""

    name: ClassVar[str] = "inside"
    title: ClassVar[str] = "Inside"
    says: ClassVar[str] = "Which latent numbers carry this picture, how sure the encoder is of each, and what each costs."
    needs: ClassVar[tuple[type, ...]] = (Encodes, HasPosterior)
    stages: ClassVar = ("decode",)
    view: ClassVar = "plot"
    common: ClassVar[bool] = False
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")

    def run(self, bench: Bench) -> Iterator[Sheet]:
        x = bench.picture(self.picture)
        model = bench.able(HasPosterior)
        mu, log_var = model.posterior(x)
        distortion, rate = model.evidence(x.expand(EVIDENCE_DRAWS, -1, -1, -1), Noise(range(EVIDENCE_DRAWS)))
        back = bench.decode_all(bench.able(Encodes).encode(x, bench.params), [0])
        average = model.average_kl()
        nats, dims = distortion.mean().item(), x[0].numel()
        facts = {
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
        pictures = np.concatenate([to_uint8(x), to_uint8(back)])
        yield Sheet(pictures, 2, ("what the model saw", "reconstruction"), (str(self.picture),) * 2, (0, 0), facts)


def _plain(values: torch.Tensor) -> list[float]:
    return [round(float(value), 5) for value in values]
