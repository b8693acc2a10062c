"""Mode collapse: GANs that were trained by different rules, on the same seeds, and how much of the data each of them makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.cards import Card
from playground.families import find_family
from playground.families.base import Model
from playground.families.capabilities import HasCritic
from playground.images import Pictures, from_uint8, to_uint8
from playground.knobs import MAX_SEED, Knob, Knobs, Seed
from playground.latent import Noise, seed_recipe
from playground.nets.classifier import Classifier
from playground.tasks.base import Bench, Sheet, Task, able, register

COUNTED = 256
"""Pictures of each card, seeds 0, 1, …, that are sorted into classes."""
SLOPED = 64
"""Real pictures at which the critic's slope is measured."""
RULES = {
    "1912.04958": "the critic pays for being steep at real pictures (R1)",
    "1802.05957": "each layer of the critic is divided by its largest singular value",
    "1704.00028": "scores are a price that may rise by one per unit of distance (gradient penalty)",
    "1701.00160": "R1 too, but one move of the critic to 25 of the generator",
}
"""What keeps the critic in check, by the paper that a card names."""


@register
class Collapse(Task):
    """Every card with a critic draws the same seeds. 256 pictures of each are sorted by the classifier and compared pairwise.

    The variety is the mean distance between two pictures in the classifier's features, as a share of that between two real ones. Sources:
    Goodfellow, arXiv 1701.00160, section 5.1.1; effective number of classes: the exponential of the entropy (Hill 1973).
    """

    name: ClassVar[str] = "collapse"
    title: ClassVar[str] = "Mode collapse"
    measures: ClassVar[bool] = True
    says: ClassVar[str] = (
        "The same seeds given to GANs that differ in what keeps their critic in check. A collapsed one makes few kinds of picture, "
        "however the seed falls."
    )
    needs: ClassVar[tuple[type, ...]] = (HasCritic,)
    common: ClassVar[bool] = False
    num_samples: int = Knob(8, label="Pictures", help="How many are shown of each model.", ge=2, le=16, step=1)
    seed: int = Seed("Which are shown; every model gets the same seeds. What is counted are always seeds 0 to 255.")

    @classmethod
    def live(cls, model: Model, params: Knobs) -> bool:
        return False  # hundreds of pictures of each card

    def run(self, bench: Bench) -> Iterator[Sheet]:
        cards = {name: card for name, card in bench.siblings().items() if able(find_family(card.family), HasCritic)}
        seeds = [(self.seed + index) % (MAX_SEED + 1) for index in range(self.num_samples)]
        side, channels = bench.model.image_size, bench.model.channels
        pictures = np.zeros((len(cards), len(seeds), side, side, channels), np.uint8)
        rows: list[dict[str, Any]] = []
        for index, (name, card) in enumerate(cards.items()):
            with bench.other(name, **shared_knobs(bench, card)) as guest:
                pictures[index] = to_uint8(guest.decode_all(guest.model.draw(guest.params, Noise(seeds)), seeds))
                yield Sheet(
                    pictures.reshape(-1, side, side, channels),
                    len(seeds),
                    progress=(index + 0.5) / (len(cards) + 1),
                    group=max(2, len(cards)),
                )
                rows.append(_measured(guest))
            yield Sheet(
                pictures.reshape(-1, side, side, channels), len(seeds), progress=(index + 1) / (len(cards) + 1), group=max(2, len(cards))
            )
        yield self._sheet(bench, cards, seeds, pictures, rows)

    def _sheet(
        self, bench: Bench, cards: Mapping[str, Card], seeds: Sequence[int], pictures: Pictures, rows: list[dict[str, Any]]
    ) -> Sheet:
        titles = [card.short_title for card in cards.values()]
        labels = []
        for title, card, row in zip(titles, cards.values(), rows, strict=True):
            labels += [described(card, row, bench.measured(card.id)), *(f"{title}, seed {seed}" for seed in seeds[1:])]
        names = [*bench.shelf.classes]
        real = np.bincount(bench.shelf.labels, minlength=len(names)) / len(bench.shelf.labels)
        facts = {
            "names": titles,
            "classes": names,
            "share": [row["share"] for row in rows],
            "real_share": [round(float(part), 4) for part in real],
            **{key: [round(row[key], 4) for row in rows] for key in ("kinds", "variety", "slope")},
        }
        return Sheet(
            pictures.reshape(-1, *pictures.shape[2:]),
            len(seeds),
            tuple(labels),
            tuple(seed_recipe(seed) for _ in cards for seed in seeds),
            tuple(seed for _ in cards for seed in seeds),
            facts,
            cards=tuple(name for name in cards for _ in seeds),
            says=told(titles, rows, names),
            named=True,
            group=max(2, len(cards)),
        )


def shared_knobs(bench: Bench, card: Card) -> dict[str, Any]:
    """The request's own knobs, where the other card has them: all draw alike."""
    known = find_family(card.family).Params.model_fields
    return {name: value for name, value in bench.params.to_plain().items() if name in known}


def _measured(guest: Bench) -> dict[str, Any]:
    """What is counted on one card with its knobs; remembered, because it is the same for every seed shown."""
    return guest.remembered(f"collapse/{guest.params.model_dump_json()}", lambda: _count(guest))


def _count(guest: Bench) -> dict[str, Any]:
    seeds, classifier = [*range(COUNTED)], guest.classifier
    x = from_uint8(to_uint8(guest.decode_all(guest.model.draw(guest.params, Noise(seeds)), seeds)))
    features = classifier.features(x)
    labels = classifier.head(features).argmax(dim=1)
    real = from_uint8(guest.shelf.pictures[:COUNTED])
    counts = labels.bincount(minlength=len(guest.shelf.classes)).double()
    return {
        "share": [round(part, 4) for part in (counts / counts.sum()).tolist()],
        "kinds": effective(counts),
        "variety": (torch.pdist(features).mean() / _variety(guest, classifier, real)).item(),
        "slope": guest.able(HasCritic).slope(real[:SLOPED]).mean().item(),
    }


def _variety(guest: Bench, classifier: Classifier, real: Tensor) -> Tensor:
    return guest.remembered("collapse-real", lambda: torch.pdist(classifier.features(real)).mean())


def effective(counts: Tensor) -> float:
    """The effective number of kinds, e^H of the shares: as many equally frequent ones would be as uneven."""
    shares = counts.double() / counts.sum()
    return float(torch.special.entr(shares).sum().exp())


def described(card: Card, row: Mapping[str, Any], measured: Mapping[str, Any]) -> str:
    """Two lines: the rule by which a card was trained, and what was counted here and, on 10,000 pictures, by its evaluation."""
    rule = next((rule for paper, rule in RULES.items() if paper in card.paper), "")
    wanted = (("classifier_fd", "FD {:.1f}"), ("recall", "recall {:.2f}"), ("coverage", "coverage {:.2f}"))
    found = [words.format(measured[name]["value"]) for name, words in wanted if name in measured] or ["not yet evaluated"]
    counted = f"{row['kinds']:.1f} classes, variety {100 * row['variety']:.0f} %"
    return f"{card.short_title}{': ' if rule else ''}{rule}\n{counted}, {', '.join(found)}, critic's slope {row['slope']:.2g}"


def told(titles: Sequence[str], rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> str:
    """Who makes most and least, and what was counted."""
    order = sorted(range(len(rows)), key=lambda index: rows[index]["variety"])
    least, most = order[0], order[-1]
    of = f"{rows[most]['kinds']:.1f} of {len(classes)} classes and {100 * rows[most]['variety']:.0f} % of the variety of real pictures"
    words = f"{titles[most]}: {of}."
    if least != most:
        rarest = min(range(len(classes)), key=lambda kind: rows[least]["share"][kind])
        few = f"{rows[least]['kinds']:.1f} classes and {100 * rows[least]['variety']:.0f} %"
        words += f" {titles[least]}: {few}; {100 * rows[least]['share'][rarest]:.1f} % of its pictures are {classes[rarest]}."
    return f"{words} Counted on {COUNTED} pictures each; unevenly made classes count for less."
