"""Strengths side by side: parallel coordinates of measured figures, best at one end of every axis."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from playground.cards import Card
from playground.engine import Engine
from playground.families import FAMILIES
from playground.ui.figures.base import GREY, dressed, small
from playground.ui.figures.comparing import DASHES, MOST_DB, symbol_of
from playground.ui.figures.measured import measured_cards, name_of, nothing_measured

ONE_TWO_FIVE = tuple(digit * 10.0**power for power in range(-4, 6) for digit in (1, 2, 5))
GAPS = "a gap: not measured"
TENTHS = tuple(index / 10 for index in range(11))


def _log(value: float) -> float:
    return math.log10(max(value, 1e-6))


@dataclass(frozen=True)
class Strength:
    """A measured figure as an axis."""

    title: str
    unit: str
    figure: str
    place: Callable[[float], float]
    """Rises as the figure gets better."""
    ticks: tuple[float, ...]
    read: Callable[[float], float] = float
    """From what is stored to what is told."""

    def value(self, found: Mapping[str, Any]) -> float | None:
        """What was measured of a card; None when it was not."""
        return self.read(found[self.figure]["value"]) if self.figure in found else None


STRENGTHS = (
    Strength("Fidelity", "precision", "precision", float, TENTHS),
    Strength("Variety", "recall", "recall", float, TENTHS),
    Strength("Coverage", "share", "coverage", float, TENTHS),
    Strength("Closeness", "Fréchet distance", "classifier_fd", lambda value: -_log(value), ONE_TWO_FIVE),
    Strength("Sharpness", "1 is as real", "sharpness_ratio", lambda value: -abs(_log(value)), (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)),
    Strength("Round trip", "PSNR in dB", "reconstruction_psnr_db", lambda value: min(value, MOST_DB), (0, 10, 20, 30, 40, 50, MOST_DB)),
    Strength("Speed", "pictures/s", "ms_per_picture", _log, ONE_TWO_FIVE, lambda ms: 1000 / ms),
    Strength("Size", "MB", "bytes", lambda value: -_log(value), ONE_TWO_FIVE, lambda size: size / 1e6),
)


@dataclass(frozen=True)
class Scale:
    """A strength between two ticks that enclose all that was measured."""

    strength: Strength
    worst: float
    best: float

    @classmethod
    def around(cls, strength: Strength, values: Sequence[float]) -> Scale:
        """Between the nearest ticks; all of them where nothing was measured."""
        place, ticks = strength.place, sorted(strength.ticks, key=strength.place)
        low = max((index for index, tick in enumerate(ticks[:-1]) if values and place(tick) <= min(map(place, values))), default=0)
        high = min(
            (index for index, tick in enumerate(ticks) if values and index > low and place(tick) >= max(map(place, values))),
            default=len(ticks) - 1,
        )
        return cls(strength, ticks[low], ticks[high])

    def share(self, value: float) -> float:
        """0 at the worse end, 1 at the better."""
        place = self.strength.place
        return (place(value) - place(self.worst)) / (place(self.best) - place(self.worst))

    def marks(self, values: Sequence[float]) -> dict[float, str]:
        """Words at both ends, and at the tick between that is farthest from all `values`: share to words."""
        inner = [tick for tick in self.strength.ticks if 0.2 < self.share(tick) < 0.8]
        free = sorted(inner, key=lambda tick: -min((abs(self.share(tick) - self.share(value)) for value in values), default=0))[:1]
        return {self.share(tick): f"{tick:,g}" + ("+" if tick == MOST_DB else "") for tick in (self.worst, *free, self.best)}


def strengths_figure(engine: Engine, narrow: bool = False) -> go.Figure:
    """One line a card through all that was measured of it: best is up on every axis, and a missing figure is a gap.

    The first card of each family is shown, the others wait in the legend. `narrow`, for phones, lies on its side: best is right.
    """
    cards = measured_cards(engine)
    if not cards:
        return nothing_measured()
    told = [[strength.value(found) for _, found in cards] for strength in STRENGTHS]
    scales = [Scale.around(strength, [value for value in row if value is not None]) for strength, row in zip(STRENGTHS, told, strict=True)]
    plot, before = go.Figure(), Counter[str]()
    first = [place for place, (card, _) in enumerate(cards) if card.family not in {other.family for other, _ in cards[:place]}]
    for row, scale in enumerate(scales):
        shown = [value for place in first if (value := told[row][place]) is not None]
        _axis(plot, row, scale.marks(shown), narrow)
    for (card, _), values in zip(cards, zip(*told, strict=True), strict=True):
        plot.add_trace(_line(card, values, scales, before[card.family], narrow))
        before[card.family] += 1
    return _on_its_side(plot, len(cards)) if narrow else _upright(plot)


def _line(card: Card, values: Sequence[float | None], scales: Sequence[Scale], before: int, narrow: bool) -> go.Scatter:
    """A card; of one family later ones are dashed and hollow in turn, and wait in the legend."""
    shares = [None if value is None else scale.share(value) for value, scale in zip(values, scales, strict=True)]
    rows, look, name = list(range(len(scales))), FAMILIES[card.family].look, name_of(card)
    told = [
        "" if value is None else f"{scale.strength.title}: {number(value)} ({scale.strength.unit})"
        for value, scale in zip(values, scales, strict=True)
    ]
    return go.Scatter(
        x=shares if narrow else rows, y=rows if narrow else shares, mode="lines+markers", name=name, connectgaps=False,
        visible="legendonly" if before else True, line={"color": look.colour, "width": 2, "dash": DASHES[before % len(DASHES)]},
        marker={"symbol": symbol_of(look) + ("-open" if before % 2 else ""), "size": 10}, cliponaxis=False, customdata=told,
        hovertemplate=f"<b>{name}</b><br>%{{customdata}}<extra></extra>",
    )  # fmt: skip


def number(value: float) -> str:
    """In three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _axis(plot: go.Figure, row: int, marks: Mapping[float, str], narrow: bool) -> None:
    """The line of an axis, with words at its ticks."""
    ends = {"x0": 0, "x1": 1, "y0": row, "y1": row} if narrow else {"x0": row, "x1": row, "y0": 0, "y1": 1}
    plot.add_shape(type="line", line={"color": GREY, "width": 1}, layer="below", **ends)
    for share, words in marks.items():
        if narrow:
            shift = {"x": share, "y": row, "xanchor": "center", "yanchor": "top", "yshift": -4}
        elif 0 < share < 1:
            shift = {"x": row, "y": share, "xanchor": "left", "xshift": 8}
            plot.add_shape(type="line", x0=row, x1=row + 0.04, y0=share, y1=share, line={"color": GREY, "width": 1}, layer="below")
        else:
            shift = {"x": row, "y": share, "yanchor": "bottom" if share else "top", "yshift": 5 if share else -5}
        plot.add_annotation(text=words, showarrow=False, font={"size": 11}, borderpad=0, **shift)


def _upright(plot: go.Figure) -> go.Figure:
    titles = [f"<b>{strength.title}</b><br>{strength.unit}" for strength in STRENGTHS]
    plot = dressed(plot, 460)
    plot.update_xaxes(tickvals=list(range(len(titles))), ticktext=titles, range=[-0.45, len(titles) - 0.55], showgrid=False, zeroline=False)
    plot.update_yaxes(title_text="stronger →", range=[-0.1, 1.12], showgrid=False, zeroline=False, showticklabels=False)
    return plot.update_layout(margin={"l": 28, "b": 64}, xaxis_title={"text": GAPS, "font": {"size": 11}})


def _on_its_side(plot: go.Figure, entries: int) -> go.Figure:
    titles = [f"<b>{strength.title}</b><br>{strength.unit}" for strength in STRENGTHS]
    plot = dressed(plot, 90 + 46 * len(STRENGTHS) + 10 * entries)
    plot.update_xaxes(title_text=f"stronger →{small(GAPS)}", range=[-0.08, 1.07], showgrid=False, zeroline=False, showticklabels=False)
    plot.update_yaxes(tickvals=list(range(len(titles))), ticktext=titles, range=[len(titles) - 0.4, -0.5], showgrid=False, zeroline=False)
    return plot.update_layout(margin={"l": 104, "r": 12, "b": 48}, yaxis_tickfont_size=11, legend_x=-0.4)
