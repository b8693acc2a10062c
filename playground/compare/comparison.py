"""A comparison as plain data: a question and its panes. A link, a line of Python and what a page shows are all this one thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from playground.cards import Card, bundled_cards, find_card
from playground.compare.base import Pane, Question, find_question
from playground.compare.running import Board, run
from playground.engine import Engine
from playground.errors import BadLink, BadRequest
from playground.families import find_family
from playground.request import adopting, read_query

MAX_PANES = 6
NAME, PANE = "compare", "pane"
"""In a link: which question; and once for each pane, its card and knobs as a link of their own."""

PaneLike = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """One question and one to six panes."""

    question: Question
    panes: tuple[Pane, ...]

    @classmethod
    def build(
        cls, question: str, panes: Sequence[PaneLike | str], /, *, cards: Mapping[str, Card] | None = None, **knobs: Any
    ) -> Comparison:
        """From names and knobs: each pane is a card, or a card with knobs of its family; what is left out is at its default.

        Raises `BadRequest` for another number of panes or an unknown question, `UnknownCard` or `BadKnob`.
        """
        kind = find_question(question)
        if not 1 <= len(panes) <= MAX_PANES:
            raise BadRequest(f"A comparison cannot have {len(panes)} panes.", f"Take 1 to {MAX_PANES}.")
        known = cards if cards is not None else bundled_cards()
        asked = [(pane, {}) if isinstance(pane, str) else pane for pane in panes]
        return cls(kind.parse(knobs), tuple(_pane(find_card(known, card), given) for card, given in asked))

    @classmethod
    def from_query(cls, text: str, *, cards: Mapping[str, Card] | None = None) -> Comparison:
        """Reads a link or its query string. Raises what `build` raises, and `BadLink` for what is no link of a comparison."""
        values = read_query(text, several={PANE})
        name, panes = values.pop(NAME, None), values.pop(PANE, [])
        if name is None:
            raise BadLink("That link names no comparison.", "Copy the whole link, from the question mark on.")
        return cls.build(name, _read(panes), cards=cards, **values)

    def with_panes(self, links: Sequence[str], *, cards: Mapping[str, Card] | None = None) -> Comparison:
        """The same question put to other panes, each a link as `to_query` writes it. Raises what `from_query` raises."""
        return Comparison.build(self.question.name, _read(links), cards=cards, **self.question.to_plain())

    def to_query(self) -> str:
        """The query string that restores exactly this comparison: every knob, those at their default too."""
        pairs = [(NAME, self.question.name)]
        for name, value in self.question.to_plain().items():
            pairs += [(name, str(item)) for item in (value if isinstance(value, list) else [value])]
        pairs += [(PANE, urlencode({"card": pane.card, **pane.params.to_plain()})) for pane in self.panes]
        return urlencode(pairs)

    def to_python(self) -> str:
        """Lines that make the same pixels with the installed package."""
        panes = [f"        ({pane.card!r}, {pane.params.to_plain()!r})," for pane in self.panes]
        knobs = [f"    {name}={value!r}," for name, value in self.question.to_plain().items()]
        adopted = adopting(pane.card for pane in self.panes)
        return "\n".join(
            [
                "from playground import Comparison, Engine",
                "",
                *adopted,
                "comparison = Comparison.build(",
                f"    {self.question.name!r},",
                "    [",
                *panes,
                "    ],",
                *knobs,
                *(["    cards=engine.cards,"] if adopted else []),
                ")",
                f"board = comparison.run({'engine' if adopted else 'Engine()'})",
                'board.save("comparison.zip")',
            ]
        )

    def stream(self, engine: Engine, visitor: str = "") -> Iterator[Board]:
        """The board as its panes fill, those that answer at once first; the last is the whole. Closing it stops the work.

        For `visitor` see `Engine.stream`.
        """
        return run(engine, self, visitor)

    def run(self, engine: Engine) -> Board:
        """The finished board. What cannot be made is told in its pane; nothing is raised."""
        *_, last = self.stream(engine)
        return last


def _read(links: Sequence[str]) -> list[PaneLike]:
    read = [read_query(str(link)) for link in links]
    if any("card" not in pane for pane in read):
        raise BadLink("A pane of that link names no card.", "Copy the whole link, from the question mark on.")
    return [(pane.pop("card"), pane) for pane in read]


def _pane(card: Card, knobs: Mapping[str, Any]) -> Pane:
    family = find_family(card.family)
    return Pane(card.id, family, family.Params.parse({**card.defaults, **knobs}))
