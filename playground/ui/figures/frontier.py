"""The cost frontier: how good the pictures of every measured card are, against the time that one takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Literal

import plotly.graph_objects as go

from playground.cards import Card
from playground.engine import Engine
from playground.families import FAMILIES
from playground.ui.figures.base import GREY, dressed, small
from playground.ui.figures.comparing import duration, symbol_of
from playground.ui.figures.measured import measured_cards, name_of, nothing_measured, told_of
from playground.ui.figures.placing import FONT_SIZE, LETTER, LINE, SIDES, Label, along, place

FULL = 10_000
"""Pictures that a card is measured on. Fréchet distances from fewer are larger, and cannot be held against these."""
STEPS = "num_inference_steps"
COST, QUALITY, FLOOR = "ms_per_picture", "classifier_fd", "classifier_fd_floor"
FLOOR_SHIFT = 4
"""Pixels between a floor's line and its words."""


@dataclass(frozen=True)
class Point:
    """A card, at its defaults or at a number of steps: milliseconds, Fréchet distance, over how many pictures, and its floor there."""

    name: str
    family: str
    ms: float
    fd: float
    n: int
    floor: float | None
    steps: int | None = None
    leads: bool = False
    """Whether it begins a line of steps, and names it."""

    @property
    def place(self) -> tuple[float, float]:
        """On the axes, which are logarithmic."""
        return math.log10(self.ms), math.log10(self.fd)

    @property
    def symbol(self) -> str:
        """The family's, hollow where the distance comes from another number of pictures."""
        return symbol_of(FAMILIES[self.family].look) + ("" if self.n == FULL else "-open")

    @property
    def words(self) -> str:
        """What stands beside it."""
        return self.name if self.steps is None else f"{self.name}, {self.counted}" if self.leads else str(self.steps)

    @property
    def counted(self) -> str:
        """The number of steps in words."""
        return f"{self.steps} step{'s' if self.steps != 1 else ''}"

    @property
    def told(self) -> str:
        """What stands at the pointer."""
        head = f"<b>{self.name}</b>" + ("" if self.steps is None else f", {self.counted}")
        floor = "" if self.floor is None else f"<br>train against test: {self.floor:.2f}"
        return f"{head}<br>{duration(self.ms)} a picture<br>Fréchet distance {self.fd:.2f}<br>over {self.n:,} pictures{floor}"


def points_of(engine: Engine) -> list[Point]:
    """A point for each card measured, followed by those of its sweep over steps."""
    return [point for card, found in measured_cards(engine) for point in _points(engine, card, found) if min(point.ms, point.fd) > 0]


def _points(engine: Engine, card: Card, found: Mapping[str, Any]) -> Iterator[Point]:
    name = name_of(card)
    if COST in found and QUALITY in found:
        floor = found[FLOOR]["value"] if FLOOR in found else None
        yield Point(name, card.family, found[COST]["value"], found[QUALITY]["value"], found[QUALITY]["n"], floor)
    rows = [row for row in told_of(engine.swept, card.id).get(STEPS, []) if COST in row and QUALITY in row]
    for index, row in enumerate(sorted(rows, key=lambda row: row["value"])):
        yield Point(name, card.family, row[COST], row[QUALITY], row["n"], row.get(FLOOR), row["value"], leads=not index)


def frontier(points: Iterable[Point]) -> list[Point]:
    """Those that no other beats in time without being worse in distance (Pareto), by rising time; of equal ones the first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point.ms, point.fd)):
        if not best or point.fd < best[-1].fd:
            best.append(point)
    return best


def frontier_figure(engine: Engine, narrow: bool = False) -> go.Figure:
    """Fréchet distance against milliseconds a picture, both logarithmic: every card, and diffusion at each measured number of steps.

    A faint line joins the best of those measured on `FULL` pictures: fewer make the distance larger. `narrow` is for phones.
    """
    plot, points = go.Figure(), points_of(engine)
    if not points:
        return nothing_measured()
    floors = sorted({(point.n, point.floor) for point in points if point.floor}, reverse=True)
    best = frontier(point for point in points if point.n == FULL)
    paper = Paper.around(points, [floor for _, floor in floors], narrow)
    sides = _sides(points, best, floors, paper)
    for n, floor in floors:
        _add_floor(plot, n, floor, paper)
    plot.add_trace(_best(best))
    for path in paths(points):
        plot.add_trace(_marks(path, sides, size=8, mode="lines+markers+text", name=f"{path[0].name}, steps", showlegend=False))
    for trace in _dots(points, sides):
        plot.add_trace(trace)
    few = " or ".join(f"{n:,}" for n in sorted({point.n for point in points} - {FULL}))
    note = f"hollow: measured on {few} pictures, where{'<br>' if narrow else ' '}distances come out larger than on {FULL:,}"
    plot.update_xaxes(title_text=_time(engine) + (small(note) if few else ""), **paper.axis(0))
    plot.update_yaxes(title_text="Fréchet distance: lower is better", **paper.axis(1))
    plot = dressed(plot, paper.height + 140)
    return plot.update_layout(legend_tracegroupgap=0)


def _time(engine: Engine) -> str:
    """The title of the axis, with the device where there was but one."""
    devices = {str(found[COST].get("device")) for _, found in measured_cards(engine) if COST in found}
    return "ms a picture" + (f", {devices.pop()}" if len(devices) == 1 else "")


@dataclass(frozen=True)
class Paper:
    """The area between the axes: pixels, at the least width that it is meant for, and the powers of ten that it spans."""

    width: int
    height: int
    across: tuple[float, float]
    up: tuple[float, float]

    @classmethod
    def around(cls, points: Sequence[Point], floors: Sequence[float], narrow: bool) -> Paper:
        """With room for names at the edges."""
        x, y = [point.place[0] for point in points], [point.place[1] for point in points] + [math.log10(floor) for floor in floors]
        room = 1.1 if narrow else 0.5
        return cls(290 if narrow else 620, 350, (min(x) - room, max(x) + 0.3), (min(y) - 0.3, max(y) + 0.25))

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """From the top left corner, of a place on the axes."""
        (left, right), (low, high) = self.across, self.up
        return self.width * (x - left) / (right - left), self.height * (high - y) / (high - low)

    def axis(self, which: Literal[0, 1]) -> dict[str, Any]:
        """Range, and a tick for each power of ten."""
        ends = (self.across, self.up)[which]
        powers = [10.0**power for power in range(math.ceil(ends[0]), math.floor(ends[1]) + 1)]
        return {"type": "log", "range": list(ends), "tickvals": powers, "ticktext": [f"{value:,g}" for value in powers]}


def _sides(points: Sequence[Point], best: Sequence[Point], floors: Sequence[tuple[int, float]], paper: Paper) -> dict[Point, str]:
    """Where each name stands, if there is room: numbers of steps, then the best from left to right, whose left is free, then others."""
    order = sorted(points, key=lambda point: (point.steps is None, best.index(point) if point in best else len(best)))
    labels = []
    for point in order:
        first = "middle left" if point in best else "middle right" if point.steps is None or point.leads else "top center"
        labels.append(Label(point.words, *paper.pixel(*point.place), (first, *SIDES), must=point.steps is not None))
    taken = [box for path in paths(points) for box in along([paper.pixel(*point.place) for point in path])]
    faint = [box for corners in _faint(best, floors, paper) for box in along(corners)]
    for n, floor in floors:
        x, y = paper.pixel(paper.across[0], math.log10(floor))
        taken.append((x, y, x + LETTER * len(_floor_words(n, floor)), y + LINE + FLOOR_SHIFT))
    return dict(zip(order, place(labels, taken, paper.width, paper.height, faint), strict=True))


def _faint(best: Sequence[Point], floors: Sequence[tuple[int, float]], paper: Paper) -> Iterator[list[tuple[float, float]]]:
    """The corners of the frontier and of the floors, in pixels."""
    steps = [place for one, other in pairwise(best) for place in (one.place, (other.place[0], one.place[1]), other.place)]
    levels = [[(end, math.log10(floor)) for end in paper.across] for _, floor in floors]
    for corners in (steps, *levels):
        yield [paper.pixel(*corner) for corner in corners]


def paths(points: Sequence[Point]) -> list[list[Point]]:
    """Of each card that was measured at several numbers of steps, its points there."""
    swept = (point for point in points if point.steps is not None)
    return [[*group] for _, group in groupby(swept, lambda point: point.name)]


# -- traces ---------------------------------------------------------------------------------------------------------------


def _floor_words(n: int, floor: float) -> str:
    return f"train against test, {n:,}: {floor:.2f}"


def _add_floor(plot: go.Figure, n: int, floor: float, paper: Paper) -> None:
    """What real pictures get: a dashed line at the distance of `n` training pictures to the test pictures."""
    plot.add_scatter(
        x=[10**end for end in paper.across], y=[floor, floor], mode="lines", name=_floor_words(n, floor), showlegend=False,
        hoverinfo="skip", line={"color": GREY, "width": 1.5 if n == FULL else 1, "dash": "dash"},
    )  # fmt: skip
    plot.add_annotation(
        text=_floor_words(n, floor), x=0, xref="paper", xanchor="left", y=math.log10(floor), yanchor="top", yshift=-FLOOR_SHIFT,
        showarrow=False, borderpad=0, font={"size": FONT_SIZE},
    )  # fmt: skip


def _best(best: Sequence[Point]) -> go.Scatter:
    return go.Scatter(
        x=[point.ms for point in best], y=[point.fd for point in best], mode="lines", name="Pareto frontier", legendrank=2000,
        hoverinfo="skip", line={"color": "rgba(128,133,141,0.6)", "width": 1.5, "shape": "hv"},
    )  # fmt: skip


def _dots(points: Sequence[Point], sides: Mapping[Point, str]) -> Iterator[go.Scatter]:
    """The cards of each family at their defaults."""
    for family, kind in FAMILIES.items():
        if group := [point for point in points if point.family == family and point.steps is None]:
            yield _marks(group, sides, size=12, mode="markers+text", name=kind.title)


def _marks(group: Sequence[Point], sides: Mapping[Point, str], size: int, **options: Any) -> go.Scatter:
    colour = FAMILIES[group[0].family].look.colour
    return go.Scatter(
        x=[point.ms for point in group], y=[point.fd for point in group], legendgroup=group[0].family, cliponaxis=False,
        text=[point.words if sides[point] else "" for point in group], textfont={"size": FONT_SIZE},
        textposition=[sides[point] or "top center" for point in group], line={"color": colour, "width": 1.5},
        marker={"symbol": [point.symbol for point in group], "size": size, "color": colour, "line": {"width": 1.5, "color": colour}},
        customdata=[point.told for point in group], hovertemplate="%{customdata}<extra></extra>", **options,
    )  # fmt: skip
