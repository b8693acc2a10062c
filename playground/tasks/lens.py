"""Likelihood: the same picture before every model that can judge it, each judgement ranked among test pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from playground.families.base import Model
from playground.families.capabilities import Encodes
from playground.families.judging import RANKED, Judge, judge_of, seen
from playground.images import Pictures, to_uint8
from playground.knobs import Knob, Knobs
from playground.latent import Latent, Noise
from playground.tasks.base import Bench, Sheet, Task, register

FACTS = ("names", "families", "kinds", "words", "value", "low", "middle", "high", "rank", "ranked")
"""A list each, in the order of the cards; `low`, `middle` and `high` are 5, 50 and 95 % of the test pictures."""


@register
class Lens(Task):
    """One picture, judged by every card of the data set that can: likelihoods, bounds, and what at best is a score.

    Flows say log P exactly, VAEs and diffusion models a lower bound of it; an autoencoder has only its error of reconstruction, a GAN
    only its critic. Numbers of different kinds cannot be compared; ranks among the same test pictures can.
    """

    name: ClassVar[str] = "lens"
    title: ClassVar[str] = "Likelihood"
    measures: ClassVar[bool] = True
    says: ClassVar[str] = (
        "How likely does each model find this picture? Bits/dim are exact for flows and a bound for VAEs and diffusion. An autoencoder's "
        "error and a GAN's critic are scores, not likelihoods. Each is ranked among test pictures."
    )
    stages = ()
    view = "plot"
    common: ClassVar[bool] = False
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")
    judges: Literal["all", "own"] = Knob(
        "all", label="Judges", help="Who is asked.", choices={"all": "every model", "own": "only this one"}
    )

    @classmethod
    def live(cls, model: Model, params: Knobs) -> bool:
        return False  # many models are asked

    def run(self, bench: Bench) -> Iterator[Sheet]:
        x = bench.picture(self.picture)
        board = _Board(self.picture, to_uint8(x))
        cards = [bench.card, *(card for card in bench.siblings() if card != bench.card and self.judges == "all")]
        for index, card in enumerate(cards):
            with bench.other(card) as other:
                judge = judge_of(other.model, other.params)
                if judge is None:
                    continue
                for share in ranking(other, judge):
                    yield board.sheet((index + 0.98 * share) / len(cards))
                board.add(other, judge, x.to(other.model.device))
            yield board.sheet((index + 0.99) / len(cards), board.facts)
        yield board.sheet(1.0, board.facts)


def ranking(bench: Bench, judge: Judge) -> Iterator[float]:
    """Judges the first test pictures, part by part; the share done. What was judged is remembered, also when stopped on the way.

    Nothing is left to do where it was written beside the weights.
    """
    parts, pictures = _parts(bench), bench.shelf.pictures[: judge.ranked]
    if not parts and len(known := bench.judged()) == len(pictures):
        parts[0] = known
        return
    size = bench.batch_size if judge.ranked == RANKED else max(1, bench.batch_size // 4)
    for start in range(sum(map(len, parts.values())), len(pictures), size):
        parts[start] = judge.of(pictures[start : start + size], start, bench.model.device)
        yield min(1.0, (start + size) / len(pictures))


def ranked(bench: Bench) -> NDArray[np.float64]:
    """What `ranking` has found, (N,): picture i with the noise of seed i."""
    parts = _parts(bench)
    return np.concatenate([parts[start] for start in sorted(parts)])


def _parts(bench: Bench) -> dict[int, NDArray[np.float64]]:
    return bench.remembered("lens", dict)


class _Board:
    """What has been found so far: pictures for the sheet, and the numbers of each card for the plot."""

    def __init__(self, picture: Latent, given: Pictures) -> None:
        self.picture = picture
        self.pictures, self.labels, self.latents, self.cards = [given], ["the picture"], [""], [""]
        self.facts: dict[str, list[Any]] = {name: [] for name in FACTS}

    def add(self, bench: Bench, judge: Judge, x: Tensor) -> None:
        """Judges the picture `x` (1, C, H, W), and shows what the model sees of it where that takes one step."""
        value, others = judge.judge(x, Noise([0])).double().item(), ranked(bench)
        name = bench.card.removesuffix(f"-{bench.siblings()[bench.card].dataset}")
        low, middle, high = np.quantile(others, (0.05, 0.5, 0.95)).tolist()
        rank = judge.rank(value, others)
        found = (name, bench.model.family, judge.kind, judge.words(value), value, low, middle, high, rank, len(others))
        for key, fact in zip(self.facts, found, strict=True):
            self.facts[key].append(fact)
        if isinstance(bench.model, Encodes) and bench.model.live:
            self.pictures.append(to_uint8(seen(bench.model, x, bench.params)))
            self.labels.append(f"{name}\n{judge.words(value)}")
            self.latents.append(str(self.picture) if self.picture.is_picture else "")  # any other recipe means another point to each model
            self.cards.append(bench.card)

    def sheet(self, progress: float, facts: Mapping[str, list[Any]] | None = None) -> Sheet:
        """What there is so far; a plot is drawn anew only when there are `facts` for it."""
        count = len(self.pictures)
        told_of = {key: list(values) for key, values in (facts or {}).items()}
        return Sheet(
            np.concatenate(self.pictures), math.ceil(count / math.ceil(count / 8)), tuple(self.labels), tuple(self.latents), (0,) * count,
            told_of, progress, tuple(self.cards), says=told(told_of) if progress == 1 else "", named=True,
        )  # fmt: skip


def told(facts: Mapping[str, list[Any]]) -> str:
    """Who ranks the picture highest among test pictures, and who lowest."""
    if not facts["names"]:
        return "It has nothing to say of a picture."
    order = sorted(range(len(facts["names"])), key=lambda index: -facts["rank"][index])
    first, last = (f"{facts['names'][index]} ({facts['words'][index]})" for index in (order[0], order[-1]))
    above, below = (f"above {facts['rank'][index]:.0f} % of {facts['ranked'][index]} test pictures" for index in (order[0], order[-1]))
    return f"{first} ranks it highest, {above}; {last} ranks it lowest, {below}."
