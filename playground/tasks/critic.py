"""Critic: what the adversary of a generator thinks of its pictures, of real ones, and of what is neither."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.families.base import Model
from playground.families.capabilities import HasCritic
from playground.images import Pictures, from_uint8, to_uint8
from playground.knobs import MAX_SEED, Knob, Knobs, Seed
from playground.latent import Noise, seed_recipe
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.oddities import KINDS, SHOWN, auroc
from playground.tasks.shared import PART, in_parts

MADE = 256
"""Generated pictures whose scores make the histogram."""
BINS = 40
COLUMNS = 5
TAIL = 0.005
"""Share of the scores at each end that is counted into the last bar."""


@register
class Critic(Task):
    """Generated, real and odd pictures in the order of their scores, and histograms of 256 generated and all shelf pictures.

    A score is no probability and has no unit: it only orders pictures, and only for this critic.
    """

    name: ClassVar[str] = "critic"
    title: ClassVar[str] = "Critic"
    measures: ClassVar[bool] = True
    says: ClassVar[str] = (
        "The critic's score under each picture, highest first: the higher, the more real it takes it to be. Lower ψ and see whether "
        "safer pictures convince it."
    )
    needs: ClassVar[tuple[type, ...]] = (HasCritic,)
    view = "plot"
    common: ClassVar[bool] = False
    num_samples: int = Knob(5, label="Generated", help="How many generated pictures are shown, and as many real ones.", ge=1, le=10, step=1)
    seed: int = Seed()

    @classmethod
    def live(cls, model: Model, params: Knobs) -> bool:
        return False  # hundreds of pictures are made and judged

    def run(self, bench: Bench) -> Iterator[Sheet]:
        seeds = [(self.seed + index) % (MAX_SEED + 1) for index in range(MADE)]
        z = bench.model.draw(bench.params, Noise(seeds))
        for pictures, share in bench.decode(z, seeds):
            if share < 1:
                yield Sheet(pictures[: self.num_samples], self.num_samples, progress=0.7 * share, named=True)
        made, real = judged(bench, pictures), torch.empty(0)
        shelf = bench.shelf.pictures
        for part, share in in_parts(bench, "critic-real", len(shelf), lambda start, stop: judged(bench, shelf[start:stop])):
            real = part
            if share < 1:
                yield Sheet(pictures[: self.num_samples], self.num_samples, progress=0.7 + 0.3 * share, named=True)
        yield self._sheet(bench, pictures[: self.num_samples], seeds, made, real)

    def _sheet(self, bench: Bench, pictures: Pictures, seeds: list[int], made: Tensor, real: Tensor) -> Sheet:
        shelf, count = bench.shelf.pictures, min(self.num_samples, len(bench.shelf.pictures))
        odd = strange(shelf)
        of_odd = judged(bench, np.concatenate([*odd.values()]))
        cells = [(f"made {seed}", seed_recipe(seed), seed) for seed in seeds[: len(pictures)]]
        cells += [(f"real {index}", "", 0) for index in range(count)] + [(name, "", 0) for name in odd]
        scores = torch.cat([made[: len(pictures)], real[:count], of_odd])
        order = scores.argsort(descending=True, stable=True).tolist()
        facts = spread(real, made) | {"odd_names": [*odd], "odd_scores": [round(score, 4) for score in of_odd.tolist()]}
        return Sheet(
            np.concatenate([pictures, shelf[:count], *odd.values()])[order],
            COLUMNS,
            tuple(f"{cells[index][0]}\n{signed(scores[index].item())}" for index in order),
            tuple(cells[index][1] for index in order),
            tuple(cells[index][2] for index in order),
            facts,
            says=told(facts, real),
            named=True,
        )


def signed(score: float) -> str:
    """`+0.25`, `−0.25`."""
    return f"{score:+.2f}".replace("-", "−")


def judged(bench: Bench, pictures: Pictures) -> Tensor:
    """The critic's scores of pictures (B, H, W, C), (B,) float32 on the CPU."""
    critic = bench.able(HasCritic)
    parts = [critic.score(from_uint8(pictures[start : start + PART])) for start in range(0, len(pictures), PART)]
    return torch.cat(parts).float().cpu()


def strange(shelf: Pictures) -> dict[str, Pictures]:
    """One picture (1, H, W, C) of each odd kind; altered ones are of the first shelf picture."""
    first = from_uint8(shelf[:1])
    return {name: to_uint8(make(first)[SHOWN.get(name, 0) :][:1]) for name, make in KINDS.items()}


def spread(real: Tensor, made: Tensor) -> dict[str, Any]:
    """Shares of real and of generated scores in common bins, how far they overlap, and how often real scores higher."""
    both = torch.cat([real, made]).double()
    low, high = (torch.quantile(both, share).item() for share in (TAIL, 1 - TAIL))
    edges = torch.linspace(low, max(high, low + 1e-6), BINS + 1, dtype=torch.float64)
    shares = [torch.histogram(scores.double().clamp(edges[0], edges[-1]), edges).hist / len(scores) for scores in (real, made)]
    return {
        "edges": [round(edge, 5) for edge in edges.tolist()],
        "real_share": [round(share, 5) for share in shares[0].tolist()],
        "made_share": [round(share, 5) for share in shares[1].tolist()],
        "real_mean": round(real.mean().item(), 4),
        "made_mean": round(made.mean().item(), 4),
        "auc": round(auroc(made, real), 4),
        "overlap": round(torch.minimum(*shares).sum().item(), 4),
        "num_real": len(real),
        "num_made": len(made),
    }


def told(facts: Mapping[str, Any], real: Tensor) -> str:
    """How well it tells real from generated, and what it makes of odd pictures."""
    above = [name for name, score in zip(facts["odd_names"], facts["odd_scores"], strict=True) if score > real.median()]
    odd = f"It never learned about others: {', '.join(above)} scores above half of the real ones." if above else (
        "All odd pictures score below half of the real ones."
    )  # fmt: skip
    return (
        f"A real picture scores above a generated one {100 * facts['auc']:.0f} times in 100 (50 would be blind); the histograms overlap by "
        f"{100 * facts['overlap']:.0f} %. {odd}"
    )
