"""The blind quiz: four pictures by one maker, which is a family of models or the data itself. Who made them?

A seed decides a round alone, so that a question and its answer need nothing between them but that number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from playground.cards import Card
from playground.engine import Engine
from playground.errors import BadKnob, BadRequest, PlaygroundError
from playground.families import FAMILIES
from playground.images import Pictures
from playground.knobs import MAX_SEED
from playground.request import Request

NUM_PICTURES, COLUMNS = 4, 2
DATA = "data"
"""The name of the choice that is no family."""


@dataclass(frozen=True)
class Tell:
    """What gives a maker away: `words`, and a sentence with measured figures in braces, by their names in `metrics.json`."""

    words: str
    figures: str = ""

    def of(self, measured: Mapping[str, Any]) -> str:
        """The words, then the figures of a card; a sentence that lacks one of its figures is left out."""
        found = {name: figure["value"] for name, figure in measured.items() if math.isfinite(figure["value"])}
        try:
            return f"{self.words} {self.figures.format_map(found)}".strip()
        except KeyError:
            return self.words


_EDGES = "Its edges have {sharpness_ratio:.2f} times the energy of real ones."
_DISTANCE = "Its Fréchet distance to real pictures is {classifier_fd:.2f}; real ones among themselves have {classifier_fd_floor:.2f}."
TELLS = {
    DATA: Tell("Prints, logos, seams and uneven folds, each unlike the next; now and then a garment runs into the edge."),
    "ae": Tell("All is averaged: surfaces smooth as fog, and now and then a ghostly blend of two garments that fits neither.", _EDGES),
    "vae": Tell("Soft edges and no fine texture: whole, plain garments on a clean background, prints and seams blurred away.", _EDGES),
    "gan": Tell("Sharp, with texture all over; look for a smudge, a stain, or one side that does not match the other.", _EDGES),
    "flow": Tell(
        "Outlines are ragged and broken, surfaces streak or dissolve into speckle, and some shapes are no garment at all.", _DISTANCE
    ),
    "diffusion": Tell(
        "Close to real, and sharp; look for an extra strap, a merged sleeve, or a faint haze where the background should be black.",
        _DISTANCE,
    ),
}


@dataclass(frozen=True)
class Choice:
    """One possible answer: its name (a family's, or `data`), and how the page shows it."""

    name: str
    title: str
    glyph: str
    colour: str


REAL = Choice(DATA, "Real pictures", "■", "#8c8c94")


@dataclass(frozen=True)
class Truth:
    """Who made the pictures: the choice by name, the card and the request that made them (None for the data), and what tells."""

    maker: str
    tell: str
    card: str | None = None
    request: Request | None = None


@dataclass(frozen=True)
class Round:
    """Four pictures (4, H, W, C) uint8 by one maker, all that it may have been, and the truth."""

    seed: int
    choices: tuple[Choice, ...]
    pictures: Pictures
    truth: Truth

    @classmethod
    def of(cls, engine: Engine, seed: int) -> Round:
        """The round of a seed, 0..2³¹-1: always the same while the cards are.

        Raises `BadKnob` for another seed, `BadRequest` or `BadWeights` when there is no model or no picture to ask about.
        """
        if not 0 <= seed <= MAX_SEED:
            raise BadKnob(f"There is no round {seed}.", f"Give a whole number from 0 to {MAX_SEED}.")
        cards = _best(engine)
        rng = np.random.default_rng(seed)
        maker = (DATA, *cards)[rng.integers(len(cards) + 1)]
        pictures, truth = _real(engine, rng) if maker == DATA else _sampled(engine, cards[maker], rng)
        return cls(seed, choices(engine), pictures, truth)

    def is_right(self, guess: str) -> bool:
        """Whether the guess, a choice by name, is right. Raises `BadRequest` for what is no choice."""
        names = [choice.name for choice in self.choices]
        if guess not in names:
            raise BadRequest(f"{guess[:40]!r} is no answer to this.", f"Choose one of: {', '.join(names)}.")
        return guess == self.truth.maker

    def title(self) -> str:
        """What the page calls the maker."""
        return next(choice.title for choice in self.choices if choice.name == self.truth.maker)


def choices(engine: Engine) -> tuple[Choice, ...]:
    """All that a round may be: the data, then each family that has a card. Raises `BadWeights` or `BadRequest` when none has."""
    looks = ((name, FAMILIES[name]) for name in _of_families(engine))
    return (REAL, *(Choice(name, family.title, family.look.glyph, family.look.colour) for name, family in looks))


def _of_families(engine: Engine) -> dict[str, list[Card]]:
    """The cards with weights that each family has on the data set of the first such card, in the order of the families."""
    first = next((card.id for card in (engine.cards or {}).values() if card.family in FAMILIES and card.files), None)
    if first is None:
        raise engine.problem or BadRequest("There is no model here to guess at.", "Train one: python -m playground train.")
    cards = engine.siblings(first).values()
    by_family = {name: [card for card in cards if card.family == name] for name in FAMILIES}
    return {name: of_family for name, of_family in by_family.items() if of_family}


def _best(engine: Engine) -> dict[str, Card]:
    """Of each family the card whose pictures were measured to lie nearest to real ones: a bad one would give itself away."""
    return {name: min(cards, key=lambda card: _distance(engine, card)) for name, cards in _of_families(engine).items()}


def _distance(engine: Engine, card: Card) -> float:
    try:
        found = engine.measured(card.id).get("classifier_fd", {}).get("value", math.inf)
    except PlaygroundError:  # its folder cannot be had: any other is better
        return math.inf
    return found if math.isfinite(found) else math.inf


def _real(engine: Engine, rng: np.random.Generator) -> tuple[Pictures, Truth]:
    card = next(iter(_of_families(engine).values()))[0]
    shelf = engine.shelf_of(card.id)
    drawn = rng.choice(len(shelf.pictures), NUM_PICTURES, replace=False)
    return shelf.pictures[drawn], Truth(DATA, TELLS[DATA].of({}))


def _sampled(engine: Engine, card: Card, rng: np.random.Generator) -> tuple[Pictures, Truth]:
    seed = int(rng.integers(MAX_SEED + 1))
    request = Request.build(card.id, "sample", cards=engine.cards, num_samples=NUM_PICTURES, seed=seed)
    tell = TELLS.get(card.family, Tell(FAMILIES[card.family].limits)).of(engine.measured(card.id))
    return engine.run(request).pictures, Truth(card.family, tell, card.id, request)
