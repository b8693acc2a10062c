"""A request: which card, how pictures are sampled, what is asked. A button, a link, a PNG's text, an API call and a line of
Python are all this one thing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from playground.cards import Card, bundled_cards, find_card
from playground.errors import BadKnob, BadLink, unknown
from playground.families import find_family
from playground.knobs import Knobs
from playground.tasks import Task, find_task

MAX_LINK, MAX_FIELDS = 30_000, 200


@dataclass(frozen=True)
class Request:
    """`card` by id, `params` of its family, and the `task`. Plain data: never a tensor or a model."""

    card: str
    params: Knobs
    task: Task

    @classmethod
    def build(cls, card: str, task: str, /, *, cards: Mapping[str, Card] | None = None, **knobs: Any) -> Request:
        """A request from names and knobs; knobs left out are at the card's default, then the family's and the task's.

        Raises `UnknownCard`, `BadRequest`, `BadKnob` or `NotCapable` with a sentence for what does not fit.
        """
        entry = find_card(cards if cards is not None else bundled_cards(), card)
        family, question = find_family(entry.family), find_task(task)
        question.check(family)
        of_family = {spec.name for spec in family.Params.specs()}
        of_task = {spec.name for spec in question.specs()}
        for name in knobs:
            if name not in of_family | of_task:
                raise BadKnob(*unknown("knob", name, sorted(of_task | of_family)))
        params = {**entry.defaults, **{name: value for name, value in knobs.items() if name in of_family}}
        asked = {name: value for name, value in knobs.items() if name in of_task}
        return cls(card, family.Params.parse(params), question.parse(asked))

    @classmethod
    def from_query(cls, text: str, *, cards: Mapping[str, Card] | None = None) -> Request:
        """Reads a link or its query string. Raises what `build` raises, and `BadLink` for what is no link at all."""
        values = read_query(text)
        missing = [name for name in ("card", "task") if not isinstance(values.get(name), str)]
        if missing:
            raise BadLink(f"That link names no {' and no '.join(missing)}.", "Copy the whole link, from the question mark on.")
        return cls.build(values.pop("card"), values.pop("task"), cards=cards, **values)

    def to_query(self) -> str:
        """The query string that restores exactly this request: every knob, those at their default too."""
        pairs: list[tuple[str, str]] = [("card", self.card), ("task", self.task.name)]
        for name, value in {**self.task.to_plain(), **self.params.to_plain()}.items():
            pairs += [(name, str(item)) for item in (value if isinstance(value, list) else [value])]
        return urlencode(pairs)

    def to_python(self) -> str:
        """Lines that make the same pixels with the installed package."""
        knobs = {**self.task.to_plain(), **self.params.to_plain()}
        lines = [f"    {name}={value!r}," for name, value in knobs.items()]
        adopted = adopting([self.card])
        return "\n".join(
            [
                "from playground import Engine, Request",
                "",
                *adopted,
                "request = Request.build(",
                f"    {self.card!r}, {self.task.name!r},",
                *lines,
                *(["    cards=engine.cards,"] if adopted else []),
                ")",
                f"result = {'engine' if adopted else 'Engine()'}.run(request)",
                'result.save("picture.png")',
            ]
        )


def adopting(cards: Iterable[str]) -> list[str]:
    """Lines of Python that bring in those of some cards that are not the page's own; none where all are."""
    added = [card for card in dict.fromkeys(cards) if "/" in card]
    lines = [f"engine.adopt({_source(card)!r})" for card in added]
    return ["engine = Engine()", *lines] if added else []


def _source(card: str) -> str:
    return f"path/of/{card[2:].partition('@')[0]}" if card.startswith("./") else card


def read_query(text: str, several: Collection[str] = ()) -> dict[str, Any]:
    """Names and values of a link; those of one name become a list where the knob takes several, or the name is among `several`.

    Raises `BadLink` when it is too long or names too many values.
    """
    if len(text) > MAX_LINK:
        raise BadLink(f"That link has {len(text):,} characters.", f"Links of this page have at most {MAX_LINK:,}.")
    query = text.rpartition("?")[2].partition("#")[0]
    values: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise BadLink(f"That link names more than {MAX_FIELDS} values.", "Copy a link of this page.") from error
    for name, value in pairs:
        if name in TEXTS or name in several:
            values.setdefault(name, []).append(value)
        elif not name.startswith("__"):  # those are the page's own: __theme, __sign
            values[name] = value
    return values


def _texts() -> frozenset[str]:
    from playground.families import FAMILIES
    from playground.tasks import TASKS

    knobs: list[type[Knobs]] = [*TASKS.values(), *(family.Params for family in FAMILIES.values())]
    return frozenset(spec.name for knob in knobs for spec in knob.specs() if spec.kind == "texts")


TEXTS = _texts()
"""Names of knobs that hold several texts."""
