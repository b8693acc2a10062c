"""Posterior: one picture's cloud of codes, the clouds of all pictures together, and the prior they should fill."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.families.capabilities import Encodes, HasPosterior
from playground.images import from_uint8, to_uint8
from playground.knobs import Knob, Seed
from playground.latent import Latent, Noise
from playground.nets.likelihood import kl_to_standard_normal
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.shared import at_standard_prior, in_parts, posterior_draws

KINDS = ("this picture, its reconstruction, draws from its posterior", "draws from the aggregate posterior", "draws from the prior N(0, I)")
TURN = torch.linspace(0, 2 * math.pi, 65, dtype=torch.float64)


@register
class Aggregate(Task):
    """Draws from this picture's posterior, from the posterior of any test picture (the aggregate posterior), and from the prior."""

    name: ClassVar[str] = "aggregate"
    title: ClassVar[str] = "Posterior"
    measures: ClassVar[bool] = True
    says: ClassVar[str] = (
        "Every picture has its own small cloud of codes, its posterior. All clouds together, the aggregate posterior, ought to fill the "
        "prior N(0, I): where they do not, a draw from the prior is no picture's code."
    )
    needs: ClassVar[tuple[type, ...]] = (Encodes, HasPosterior)
    stages = ("decode",)
    view = "plot"
    common: ClassVar[bool] = False
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")
    num_samples: int = Knob(5, label="Draws", help="Draws from this picture's posterior; two more of the others.", ge=1, le=14, step=1)
    seed: int = Seed("Which draws are made; the same seed gives the same draws.")

    def run(self, bench: Bench) -> Iterator[Sheet]:
        x = bench.picture(self.picture)
        known, total = torch.empty(0), len(bench.shelf.pictures)
        for known, share in in_parts(bench, "aggregate/posteriors", total, lambda start, stop: _posteriors(bench, start, stop)):
            if len(known) < total:
                yield self._sheet(bench, x, known, {}, share, "The test pictures are being encoded…")
        facts = self._facts(bench, x, known)
        yield self._sheet(bench, x, known, facts, 1.0, _says(facts))

    def _sheet(self, bench: Bench, x: Tensor, known: Tensor, facts: dict[str, Any], share: float, says: str) -> Sheet:
        across = self.num_samples + 2
        seeds = [*range(self.seed, self.seed + across)]
        codes = [bench.able(Encodes).encode(x, bench.params), posterior_draws(bench, x, seeds[:-2]), self._anybody(bench, known, seeds)]
        ours = bench.decode_all(torch.cat(codes), [0, *seeds[:-2], *seeds])
        with at_standard_prior(bench, bench.card) as plain:
            theirs = plain.decode_all(plain.model.draw(plain.params, Noise(seeds)), seeds)
        labels = [kind if index == 0 else f"{kind} · {index + 1}" for kind in KINDS for index in range(across)]
        latents = ("", str(self.picture), *[""] * (2 * across - 2), *(f"seed:{seed}" for seed in seeds))
        return Sheet(
            np.concatenate([to_uint8(x), to_uint8(ours), to_uint8(theirs)]),
            across,
            tuple(labels),
            latents,
            (0, 0, *seeds[:-2], *seeds, *seeds),
            facts,
            progress=share,
            cards=("",) * (2 * across) + (bench.card,) * across,
            says=says,
            named=True,
            group=3,
        )

    def _anybody(self, bench: Bench, known: Tensor, seeds: Sequence[int]) -> Tensor:
        """Draws from the posterior of a test picture that is drawn, too, (B, *latent.shape)."""
        noise, count = Noise(seeds), len(bench.shelf.pictures)
        which = (noise.uniform((1,), "who")[:, 0] * count).long().clamp(max=len(known) - 1)
        mu, sigma = known[which].unbind(dim=1)
        return (
            (mu + sigma * noise.normal(mu.shape[1:], "posterior").to(mu)).float().view(-1, *bench.model.latent.shape).to(bench.model.device)
        )

    def _facts(self, bench: Bench, x: Tensor, known: Tensor) -> dict[str, Any]:
        mu, sigma = known.unbind(dim=1)
        axes = torch.cat([bench.direction("pc", index).flatten(1) for index in ("1", "2")]).double().cpu()
        axes = axes / axes.norm(dim=1, keepdim=True)
        eps = bench.remembered("aggregate/eps", lambda: Noise(range(len(mu))).normal(mu.shape[1:], "posterior").double())
        points = (mu + sigma * eps) @ axes.T
        own_mu, own_sigma = (values[0].double().cpu() for values in _spread(bench, x))
        centre = axes @ own_mu
        ellipse = centre[:, None] + _root(axes @ torch.diag(own_sigma.square()) @ axes.T) @ torch.stack([TURN.cos(), TURN.sin()])
        return {
            "points": points.T.tolist(),
            "centre": centre.tolist(),
            "ellipse": ellipse.tolist(),
            "own_kl": kl_to_standard_normal(own_mu, 2 * own_sigma.log()).sum().item(),
            "mean_kl": kl_to_standard_normal(mu, 2 * sigma.log()).sum(dim=1).mean().item(),
            "aggregate_kl": aggregate_kl(mu, sigma),
        }


def _spread(bench: Bench, x: Tensor) -> tuple[Tensor, Tensor]:
    """μ and σ of pictures (B, C, H, W), each (B, D)."""
    mu, log_var = bench.able(HasPosterior).posterior(x)
    return mu, torch.exp(0.5 * log_var)


def _posteriors(bench: Bench, start: int, stop: int) -> Tensor:
    """μ and σ of test pictures, float64 (stop - start, 2, D) on the CPU."""
    return torch.stack(_spread(bench, from_uint8(bench.shelf.pictures[start:stop])), dim=1).double().cpu()


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a covariance (2, 2)."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T


def aggregate_kl(mu: Tensor, sigma: Tensor) -> float:
    """KL in nats from N(0, I) of the Gaussian with the mean and covariance of the mixture of N(mu_i, sigma_i²), `mu` and `sigma` (N, D).

    No distribution of that mean and covariance is nearer, so it is a lower bound of the mixture's own. What the mean KL of the parts has
    beyond the mixture's is what codes tell of pictures: Hoffman & Johnson 2016, ELBO surgery.
    """
    mean = mu.mean(dim=0)
    covariance = (mu - mean).T @ (mu - mean) / len(mu) + torch.diag(sigma.square().mean(dim=0))
    return 0.5 * (covariance.trace() + mean.square().sum() - len(mean) - torch.logdet(covariance)).item()


def _says(facts: dict[str, Any]) -> str:
    return (
        f"This picture's posterior is {facts['own_kl']:.1f} nats from the prior, the average test picture's {facts['mean_kl']:.1f}. All "
        f"together, taken as one Gaussian, are {facts['aggregate_kl']:.1f} nats from it. Gaps between the clouds do not show in that last "
        "figure: compare the two lower rows."
    )
