"""Sheets: any knob by any knob, for every pane. Each cell is a request of its own, so its label cannot be another's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from playground.compare.base import Cell, Grid, Pane, Question, dialled, register
from playground.errors import BadKnob, PlaygroundError
from playground.knobs import Knob, Seed
from playground.request import Request
from playground.tasks import Task
from playground.tasks.sample import Sample

SEED, DIAL = "seed", "dial"
"""Axes beside the knobs of a family: the noise, and how diverse in percent, turned by each family's own knob."""
MAX_VALUES = 8


@dataclass(frozen=True)
class Axis:
    """A knob by name (`seed`, or one of a family's; "" for none) and its values as they were written."""

    knob: str
    values: tuple[str, ...]

    @classmethod
    def read(cls, knob: str, text: str) -> Axis:
        """Values are divided by commas. Raises `BadKnob` when there are none or too many."""
        values = tuple(value.strip() for value in text.split(",") if value.strip())
        if not knob:
            return cls("", ("",))
        if not 1 <= len(values) <= MAX_VALUES:
            raise BadKnob(f"An axis of a sheet cannot have {len(values)} values.", f"Write 1 to {MAX_VALUES}, with commas between.")
        return cls(knob, values)

    def title(self, pane: Pane) -> str:
        """The knob's label in a pane's family."""
        if self.knob == DIAL:
            return "Diversity %"
        return next((spec.label for spec in pane.family.Params.specs() if spec.name == self.knob), self.knob.capitalize())


@register
class AxesSheet(Question):
    """A table for each pane: columns and rows are values of two knobs, of the model or the seed."""

    name: ClassVar[str] = "sheet"
    title: ClassVar[str] = "Sheet"
    says: ClassVar[str] = "Any knob by any knob for every model, each cell from the same noise unless the seed is an axis."
    task: ClassVar[type[Task]] = Sample
    x: str = Knob(DIAL, label="Columns", help="Which knob changes from column to column.", widget="axis", max_length=40)
    x_values: str = Knob("0, 33, 67, 100", label="Values of the columns", help="Divided by commas, up to eight.", max_length=200)
    y: str = Knob(SEED, label="Rows", help="Which knob changes from row to row.", widget="axis", max_length=40)
    y_values: str = Knob("0, 1, 2, 3", label="Values of the rows", help="Divided by commas, up to eight.", max_length=200)
    seed: int = Seed("Which noise all cells are made of, unless it is an axis.")

    def grid(self, pane: Pane) -> Grid:
        try:
            x, y = Axis.read(self.x, self.x_values), Axis.read(self.y, self.y_values)
            if x.knob == y.knob:
                raise BadKnob("Columns and rows of a sheet cannot be the same knob.", "Choose another for one of them.")
        except BadKnob as error:
            return Grid((error,))
        cells = tuple(self._cell(pane, {x.knob: column, y.knob: row}) for row in y.values for column in x.values)
        legend = " · ".join(f"{arrow} {axis.title(pane)}" for arrow, axis in (("→", x), ("↓", y)) if axis.knob)
        return Grid(cells, len(x.values), x.values if x.knob else (), y.values if y.knob else (), legend)

    def _cell(self, pane: Pane, turned: dict[str, str]) -> Cell:
        known = {spec.name for spec in pane.family.Params.specs()}
        try:
            for knob in turned.keys() - known - {SEED, DIAL, ""}:
                raise BadKnob(f"{pane.family.title} has no knob called {knob!r}.", f"It has: {', '.join(sorted(known))}.")
            task = Sample.parse({"num_samples": 1, "seed": turned.get(SEED, self.seed)})
            params: dict[str, str | float] = {knob: value for knob, value in turned.items() if knob in known}
            if DIAL in turned:
                params |= dialled(pane, turned[DIAL])
            return Request(pane.card, pane.params.but(**params), task)
        except PlaygroundError as error:
            return error
