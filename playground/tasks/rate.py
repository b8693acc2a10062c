"""Rate: what β trades. The same picture and the same draws by cards that differ in the price of a nat of the code."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.families.capabilities import Encodes, HasEvidence, HasPosterior
from playground.images import Pictures, from_uint8, to_uint8
from playground.knobs import Knob, Seed
from playground.latent import Latent, Noise
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.shared import at_standard_prior, in_parts

NUM_MEASURED = 256
"""Test pictures that rate and distortion are measured on where `evaluate` has not been."""


@dataclasses.dataclass(frozen=True)
class Trade:
    """One card: its β, the bytes of its weights, and the mean rate and distortion in nats over `n` test pictures."""

    card: str
    beta: float
    num_bytes: int
    rate: float
    distortion: float
    n: int


@register
class Rate(Task):
    """Reconstruction and draws from N(0, I) of each card, by rising β, with the rate and the distortion that it reaches."""

    name: ClassVar[str] = "rate"
    title: ClassVar[str] = "Rate"
    says: ClassVar[str] = (
        "β is what a nat of the code costs in training. Where codes are dear they say less: pictures come back worse (distortion), but "
        "codes lie closer to N(0, I) (rate), so that draws from it fall among them."
    )
    needs: ClassVar[tuple[type, ...]] = (Encodes, HasPosterior, HasEvidence)
    stages = ("decode",)
    common: ClassVar[bool] = False
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")
    num_samples: int = Knob(5, label="Draws", help="Draws from N(0, I) of each card.", ge=1, le=10, step=1)
    seed: int = Seed("Which draws are made; all cards start from the same numbers.")

    def run(self, bench: Bench) -> Iterator[Sheet]:
        x = bench.picture(self.picture)
        cards = [*bench.able_siblings(HasEvidence)]
        made, trades = dict[str, Pictures](), dict[str, Trade]()
        evaluated = all({"rate_nats", "distortion_nats"} <= bench.measured(card).keys() for card in cards)
        for card in cards:
            with at_standard_prior(bench, card) as other:
                made[card] = self._pictures(other, x)
                for trade in self._trades(other, evaluated):
                    trades[card] = trade
                    if len(trades) < len(cards):
                        yield self._sheet([*trades.values()], made, len(trades) / len(cards), {}, "Rates are being measured…")
        order = sorted(trades.values(), key=lambda trade: (trade.beta, trade.num_bytes))
        facts = {name: [getattr(trade, name) for trade in order] for name in ("beta", "num_bytes", "rate", "distortion", "n")}
        yield self._sheet(order, made, 1.0, facts, _says(order))

    def _pictures(self, other: Bench, x: Tensor) -> Pictures:
        """The picture, its reconstruction, and draws from N(0, I), by one card."""
        seeds = [*range(self.seed, self.seed + self.num_samples)]
        code = other.able(Encodes).encode(x, other.params)
        z = torch.cat([code, other.model.draw(other.params, Noise(seeds))])
        return np.concatenate([to_uint8(x), to_uint8(other.decode_all(z, [0, *seeds]))])

    def _trades(self, other: Bench, evaluated: bool) -> Iterator[Trade]:
        """The card's place on the curve: from its metrics where all cards have them, else measured on the first test pictures."""
        model, known = other.able(HasEvidence), other.measured()
        about = (other.card, model.beta, other.model.bytes())
        if evaluated:
            yield Trade(*about, known["rate_nats"]["value"], known["distortion_nats"]["value"], known["rate_nats"]["n"])
            return

        def measure(start: int, stop: int) -> Tensor:
            x = from_uint8(other.shelf.pictures[start:stop]).to(other.model.device)
            return torch.stack(model.evidence(x, Noise(range(start, stop))), dim=1).double().cpu()

        for parts, _ in in_parts(other, "rate/evidence", min(NUM_MEASURED, len(other.shelf.pictures)), measure):
            distortion, rate = parts.mean(dim=0).tolist()
            yield Trade(*about, rate, distortion, len(parts))

    def _sheet(self, order: list[Trade], made: dict[str, Pictures], share: float, facts: dict[str, Any], says: str) -> Sheet:
        across, seeds = self.num_samples + 2, range(self.seed, self.seed + self.num_samples)
        cells = ("reconstruction", *(f"draw {index + 1}" for index in range(self.num_samples)))
        usual = alike(order)[0].num_bytes
        labels, latents = list[str](), list[str]()
        for trade in order:
            size = "" if trade.num_bytes == usual else f", {'larger' if trade.num_bytes > usual else 'smaller'}"
            labels.append(f"β = {trade.beta:g}{size} · rate {trade.rate:.1f}, distortion {trade.distortion:,.0f} nats")
            labels += [f"β = {trade.beta:g}{size} · {cell}" for cell in cells]
            latents += ["", str(self.picture), *(f"seed:{seed}" for seed in seeds)]
        return Sheet(
            np.concatenate([made[trade.card] for trade in order]),
            across,
            tuple(labels),
            tuple(latents),
            (0, 0, *seeds) * len(order),
            facts,
            progress=share,
            cards=tuple(trade.card for trade in order for _ in range(across)),
            says=says,
            named=True,
            group=len(order),
        )


def alike(order: list[Trade]) -> list[Trade]:
    """Those of one network, so that they differ in β alone: the largest group with the same bytes."""
    (size, _), *_ = collections.Counter(trade.num_bytes for trade in order).most_common()
    return [trade for trade in order if trade.num_bytes == size]


def _says(order: list[Trade]) -> str:
    first, *_, last = [*alike(order), *alike(order)[-1:]]
    where = f"Measured on {first.n:,} test pictures."
    if first == last:
        return f"β = {first.beta:g}: the code takes {first.rate:.1f} nats, and the pixels {first.distortion:,.0f} once it is known. {where}"
    return (
        f"From β = {first.beta:g} to {last.beta:g} the code shrinks from {first.rate:.0f} to {last.rate:.0f} nats, and the pixels need "
        f"{last.distortion - first.distortion:+,.0f} nats: what the code no longer says is lost in the picture. {where}"
    )
