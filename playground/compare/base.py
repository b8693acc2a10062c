"""What a question is: it makes of each pane the requests that answer it. A pane's pictures can thus always be had alone, too."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from playground.engine import Engine
from playground.errors import BadKnob, BadRequest, NotCapable, PlaygroundError, unknown
from playground.families import Model
from playground.knobs import Knobs, KnobSpec
from playground.request import Request
from playground.result import Result
from playground.tasks import Task

Cell = Request | PlaygroundError
"""What a cell asks, or why it cannot be asked."""


@dataclass(frozen=True)
class Pane:
    """A card at work beside others: the card by id, its family, and how its pictures are sampled."""

    card: str
    family: type[Model]
    params: Knobs


@dataclass(frozen=True)
class Grid:
    """The cells of a pane, in `columns`, with what stands above the columns and beside the rows.

    A single cell without them gives the pane its whole sheet; of several, each gives its first picture.
    """

    cells: tuple[Cell, ...]
    columns: int = 1
    heads: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()
    legend: str = ""
    """What the columns and the rows stand for."""


class Question(Knobs, abc.ABC):
    """Base of all questions; its knobs are those that all panes share."""

    name: ClassVar[str]
    title: ClassVar[str]
    says: ClassVar[str]
    """One sentence on what is put side by side."""
    task: ClassVar[type[Task]]
    """What each pane is asked: its needs, and which knobs of a family matter."""
    rows: ClassVar[bool] = False
    """Whether panes are strips one below the other, with one scrubber for all."""

    per_picture: ClassVar[bool] = True
    """Whether time is told for a picture; else for the whole answer."""

    @abc.abstractmethod
    def grid(self, pane: Pane) -> Grid:
        """The cells of a pane. Raises nothing: a cell that cannot be asked holds the sentence that says why."""

    @classmethod
    def pane_knobs(cls, family: type[Model] | Model) -> tuple[KnobSpec, ...]:
        """The knobs of a family that matter to a pane: a page shows no others."""
        specs = family.knobs() if isinstance(family, Model) else family.Params.specs()
        return tuple(spec for spec in specs if (spec.stage is None or spec.stage in cls.task.stages) and spec.name not in cls.task.without)

    def passes(self, model: Model, params: Knobs) -> int:
        """How often the network runs in a row for an answer; 0 when it is not known."""
        return model.passes(params)

    def facts(self, engine: Engine, pane: Pane, results: Sequence[Result]) -> Mapping[str, Any]:
        """JSON values told of a pane whose cells are all made, beside what its own results tell."""
        return {}

    def tells(self, facts: Mapping[str, Any], results: Sequence[Result]) -> str:
        """The answer of a finished pane in a few words, from what `facts` gave and its results; "" where the pictures say it all."""
        return ""

    def says_of(self, latents: Sequence[Sequence[int] | None]) -> str:
        """What must be known to compare panes whose latents have those shapes (None: nothing was made); "" when nothing."""
        return ""


def dialled(pane: Pane, percent: str) -> dict[str, float]:
    """The family's own knob, turned to that many percent of diversity. Raises `BadKnob` or `NotCapable`."""
    if pane.family.dial is None:
        raise NotCapable(f"{pane.family.title} has no knob between faithful and diverse.", "Choose another model.")
    try:
        share = float(percent) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise BadKnob(f"Diversity cannot be {percent!r}.", "Give a number from 0 to 100.")
    return {pane.family.dial.knob: pane.family.dial.value(share)}


QUESTIONS: dict[str, type[Question]] = {}
_Q = TypeVar("_Q", bound=type[Question])


def register(question: _Q) -> _Q:
    """Makes a question known by its name."""
    QUESTIONS[question.name] = question
    return question


def find_question(name: str) -> type[Question]:
    """The question of that name. Raises `BadRequest` naming those it may be meant for, or all."""
    if name not in QUESTIONS:
        raise BadRequest(*unknown("question", name, QUESTIONS))
    return QUESTIONS[name]
