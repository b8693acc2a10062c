"""Runs a comparison: pane after pane, those that answer at once first, and panes of one card together, so that none is loaded twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from playground.compare.base import Grid, Pane
from playground.engine import Engine, why
from playground.errors import NotCapable, PlaygroundError
from playground.images import Pictures, encode, sheet
from playground.request import Request
from playground.result import Result
from playground.tasks import Sheet

if TYPE_CHECKING:
    from playground.compare.comparison import Comparison


@dataclass(frozen=True)
class Answer:
    """What there is of one pane: for each cell its result, or the sentence that says why there is none, or neither yet."""

    pane: Pane
    grid: Grid
    results: tuple[Result | None, ...]
    errors: Mapping[int, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the question tells of the pane once all its cells are made."""
    tells: str = ""
    """The answer in a few words."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """What the model that ran says of itself: `latent` (its shape), `passes` (see `Model.passes`; those of each cell's own knobs, without
    repeats, rising), `bytes` in memory."""

    @classmethod
    def empty(cls, pane: Pane, grid: Grid) -> Answer:
        """Nothing is made yet; cells that cannot be asked are told at once."""
        errors = {index: str(cell) for index, cell in enumerate(grid.cells) if isinstance(cell, PlaygroundError)}
        return cls(pane, grid, (None,) * len(grid.cells), errors)

    @property
    def made(self) -> list[Result]:
        """The results that there are, previews too, in the order of the cells."""
        return [result for result in self.results if result is not None]

    @property
    def is_whole(self) -> bool:
        """Whether the one cell's sheet is the pane's."""
        return len(self.grid.cells) == 1 and not self.grid.heads and not self.grid.sides

    @property
    def progress(self) -> float:
        """The share of the cells that are settled, 0 to 1."""
        shares = [result.sheet.progress if result else float(index in self.errors) for index, result in enumerate(self.results)]
        return sum(shares) / len(shares)

    @property
    def ms(self) -> float:
        """Milliseconds that all of the pane took so far in this run."""
        return sum(result.timing.run_ms for result in self.made)

    @property
    def ms_per_picture(self) -> float | None:
        """Milliseconds that a picture took in this run; None when there is none."""
        pictures = sum(len(result.pictures) for result in self.made)
        return self.ms / pictures if pictures else None

    @property
    def weights_sha256(self) -> str:
        """The hash of the weights that ran, as the results report it; "" when none ran."""
        return next((result.weights_sha256 for result in self.made), "")

    def sheet(self) -> Sheet | None:
        """All of the pane as one sheet: the only result's own, or a table of the cells' first pictures; None when nothing is made."""
        if not self.made:
            return None
        if self.is_whole:
            return self.made[0].sheet
        first = self.made[0].pictures[0]
        pictures = [np.zeros_like(first) if result is None else result.pictures[0] for result in self.results]
        labels = tuple(self.label(index) for index in range(len(self.results)))
        grid = self.grid
        return Sheet(np.stack(pictures), grid.columns, labels, heads=grid.heads, sides=grid.sides, progress=self.progress)

    def label(self, index: int) -> str:
        """What a cell is, by its column and row, and what went wrong with it."""
        grid = self.grid
        names = [names[place] for names, place in ((grid.heads, index % grid.columns), (grid.sides, index // grid.columns)) if names]
        return ", ".join(names) + (f": {self.errors[index]}" if index in self.errors else "")

    def requests(self) -> list[Request | None]:
        """For each picture of the sheet the request that makes it alone; None where there is none."""
        if not self.is_whole:
            return [result.request if result else None for result in self.results]
        return [result.cell(index) for result in self.made for index in range(len(result.pictures))]

    def cell_png(self, index: int) -> bytes | None:
        """Picture `index` of the sheet as a PNG file, with its recipe and the hash of its weights inside; None where it is not made."""
        if self.is_whole:
            return self.made[0].cell_png(index)
        result = self.results[index]
        return None if result is None else result.png()

    def png(self, text: Mapping[str, str] | None = None) -> bytes:
        """The pane as a PNG file: with its own recipe inside when it is one result's, else with that `text`."""
        if self.is_whole:
            return self.made[0].png()
        made = self.sheet()
        assert made is not None
        return encode(sheet(made.pictures, made.columns), text=dict(text or {}))

    def pictures(self) -> Pictures:
        """All pictures of the sheet, (N, H, W, C) uint8; none when nothing is made."""
        made = self.sheet()
        return np.zeros((0, 1, 1, 1), np.uint8) if made is None else made.pictures

    def with_result(self, index: int, result: Result) -> Answer:
        """The same with cell `index` filled."""
        return replace(self, results=(*self.results[:index], result, *self.results[index + 1 :]))

    def with_error(self, index: int, words: str) -> Answer:
        """The same with a cell that failed; a preview that it left is taken away."""
        return replace(self, results=(*self.results[:index], None, *self.results[index + 1 :]), errors={**self.errors, index: words})


@dataclass(frozen=True)
class Board:
    """A comparison and what there is of its panes, in their order."""

    comparison: Comparison
    answers: tuple[Answer, ...]
    says: str = ""
    is_whole: bool = False
    """Whether nothing more will come."""

    @property
    def progress(self) -> float:
        """0 to 1, all panes alike; 1 only when it is whole."""
        share = sum(answer.progress for answer in self.answers) / len(self.answers)
        return 1.0 if self.is_whole else min(share, 0.99)

    def save(self, path: str | Path) -> None:
        """Writes everything into one zip: see `parcel.contents`."""
        from playground.compare.parcel import parcel

        Path(path).write_bytes(parcel(self))


def run(engine: Engine, comparison: Comparison, visitor: str = "") -> Iterator[Board]:
    """The board whenever something is new on it."""
    question, panes = comparison.question, comparison.panes
    answers = [Answer.empty(pane, question.grid(pane)) for pane in panes]
    yield Board(comparison, tuple(answers))
    for place in order(engine, panes):
        for answer in fill(engine, answers[place], visitor):
            answers[place] = answer
            yield Board(comparison, tuple(answers))
        if answers[place].made:  # the model is still there
            answers[place] = finished(engine, comparison, answers[place])
            yield Board(comparison, tuple(answers))
    latents = [answer.model.get("latent") for answer in answers]
    yield Board(comparison, tuple(answers), question.says_of(latents), is_whole=True)


def order(engine: Engine, panes: Sequence[Pane]) -> list[int]:
    """Which pane comes when: cards whose pictures take less time first, as far as that was measured; panes of one card in a row."""
    first = {card: place for place, card in reversed([*enumerate(pane.card for pane in panes)])}
    return sorted(range(len(panes)), key=lambda place: (_cost(engine, panes[place]), first[panes[place].card]))


def _cost(engine: Engine, pane: Pane) -> float:
    try:
        measured = engine.measured(pane.card)
    except PlaygroundError:
        return 0.0  # its cells will say so
    return float(measured["ms_per_picture"]["value"]) if "ms_per_picture" in measured else 0.0 if pane.family.live else 1000.0


def fill(engine: Engine, answer: Answer, visitor: str = "") -> Iterator[Answer]:
    """Makes the cells of one pane in turn; one that fails says why, and the rest go on."""
    for index, cell in enumerate(answer.grid.cells):
        if isinstance(cell, PlaygroundError):
            continue
        try:
            with closing(engine.stream(cell, visitor)) as stream:
                for result in stream:
                    answer = answer.with_result(index, result)
                    yield answer
        except Exception as error:
            answer = answer.with_error(index, why(error))
            yield answer


def finished(engine: Engine, comparison: Comparison, answer: Answer) -> Answer:
    """The same with what the question and the model tell of it."""
    model, pane = engine.model(answer.pane.card), answer.pane
    passes = sorted({comparison.question.passes(model, result.request.params) for result in answer.made})
    about = {"latent": list(model.latent.shape), "passes": passes, "bytes": model.bytes()}
    if answer.errors:
        return replace(answer, model=about)
    try:
        facts = comparison.question.facts(engine, pane, answer.made)
    except NotCapable as error:  # its pictures are there to be looked at, but cannot be measured
        tells = error.what if engine.is_ours(pane.card) else "it knows other pictures, so it is not measured"
        return replace(answer, tells=tells, model=about)
    return replace(answer, facts=facts, tells=comparison.question.tells(facts, answer.made), model=about)
