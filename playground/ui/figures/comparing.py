"""The plots under the panes of a comparison, each drawn from the finished board."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from playground.compare import Answer, Board, Pane
from playground.families.base import Look
from playground.knobs import KnobSpec
from playground.ui.figures.base import GREY, dressed, small

SYMBOLS = {"◆": "diamond", "◉": "circle", "▲": "triangle-up", "⇄": "bowtie", "✦": "star-diamond"}
"""Glyphs as markers: a glyph in text would lose its colour, because the page gives all text of a plot its own."""
DASHES = ("solid", "dash", "dashdot", "longdash", "longdashdot", "dot")
KINDS = {"exact": ("exact", ""), "bound": ("a bound", "/"), "score": ("a score", ".")}
"""In words, and as a pattern of bars."""
ONE_LINE = 42
"""Letters above a bar for which a phone has room."""
MOST_DB = 60.0
"""Rounding to 256 grey levels alone leaves 59 dB: beyond, more dB show no more."""


@dataclass(frozen=True)
class Series:
    """A pane as it is drawn: under a name, and in a look, that no other pane of the board has."""

    answer: Answer
    name: str
    colour: str
    symbol: str
    dash: str

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the question tells of the pane."""
        return self.answer.facts

    @property
    def sheet_facts(self) -> Mapping[str, Any]:
        """What the pane's first result tells."""
        return self.answer.made[0].sheet.facts

    @property
    def label(self) -> str:
        """The name after the family's glyph."""
        return f"{self.answer.pane.family.look.glyph} <b>{self.name}</b>"


def symbol_of(look: Look) -> str:
    """The marker that stands for a family's glyph; a square for a glyph that has none."""
    return SYMBOLS.get(look.glyph, "square")


def names_of(board: Board) -> list[str]:
    """A short name for each pane, no two alike: a card without its data set, and the knobs that tell it from its like."""
    cards = [answer.pane.card for answer in board.answers]
    short = {card: card.rsplit("-", 2)[0] for card in cards}
    shared = Counter(short.values())
    bases = [short[card] if shared[short[card]] == 1 else card for card in cards]
    names = [" · ".join([base, *_differing(board, answer)]) for base, answer in zip(bases, board.answers, strict=True)]
    return [f"{name} (pane {place})" if names.count(name) > 1 else name for place, name in enumerate(names, start=1)]


def _differing(board: Board, answer: Answer) -> list[str]:
    """Knobs that matter to the question, with their values, in which panes of one card differ; the first two."""
    like, own = [_asked(other) for other in board.answers if other.pane.card == answer.pane.card], _asked(answer)
    specs = board.comparison.question.pane_knobs(answer.pane.family)
    differ = [spec for spec in specs if any(other[spec.name] != own[spec.name] for other in like)]
    return [f"{spec.label.lower()} {own[spec.name]}" for spec in differ[:2]]


def _asked(answer: Answer) -> Mapping[str, Any]:
    """The knobs that pictures were made with: a question may have set some of a pane's."""
    return (answer.made[0].request if answer.made else answer.pane).params.to_plain()


def _spec(pane: Pane, knob: str) -> KnobSpec:
    return next(spec for spec in pane.family.Params.specs() if spec.name == knob)


def drawn(board: Board, has: Callable[[Series], Any]) -> list[Series]:
    """The panes that came out whole and have what is to be drawn, in their order."""
    made: list[Series] = []
    seen: Counter[str] = Counter()
    for answer, name in zip(board.answers, names_of(board), strict=True):
        look, before = answer.pane.family.look, seen[answer.pane.family.family]
        seen[answer.pane.family.family] += 1
        symbol = symbol_of(look) + ("-open" if before % 2 else "")
        series = Series(answer, html.escape(name), look.colour, symbol, DASHES[before % len(DASHES)])
        if answer.made and not answer.errors and has(series):
            made.append(series)
    return made


def with_legend(plot: go.Figure, height: int, entries: int) -> go.Figure:
    """Dressed, with room above for a legend that on a phone has a line for each entry."""
    return dressed(plot, height + 19 * entries).update_layout(legend_tracegroupgap=0)


# -- lines ----------------------------------------------------------------------------------------------------------------


def gesture_figure(board: Board) -> go.Figure | None:
    """How far each step goes in the classifier's features, along the way from A to B; a dotted line is a pane's mean step."""
    series = drawn(board, lambda each: each.facts.get("steps"))
    if not series:
        return None
    plot = go.Figure()
    for each in series:
        steps, group = each.facts["steps"], each.name
        mean = sum(steps) / len(steps)
        plot.add_scatter(
            x=[100 * (index + 0.5) / len(steps) for index in range(len(steps))], y=steps, mode="lines+markers", legendgroup=group,
            name=f"{each.name}: {each.facts['detour']:.1f}× the straight way",
            line={"color": each.colour, "width": 2, "dash": each.dash}, marker={"symbol": each.symbol, "size": 9},
            customdata=[f"step {index} of {len(steps)}" for index in range(1, len(steps) + 1)],
            hovertemplate=f"<b>{each.name}</b><br>%{{customdata}}<br>distance %{{y:.2f}}, mean {mean:.2f}<extra></extra>",
        )  # fmt: skip
        plot.add_scatter(
            x=[0, 100], y=[mean, mean], mode="lines", legendgroup=group, showlegend=False, hoverinfo="skip", opacity=0.8,
            line={"color": each.colour, "width": 1, "dash": "dot"},
        )  # fmt: skip
    plot.update_xaxes(title_text="% of the way from A to B" + small("dotted: a pane's mean, where even steps would lie"), range=[0, 100])
    plot.update_yaxes(title_text="feature distance of a step", rangemode="tozero")
    return with_legend(plot, 290, len(series))


def dial_figure(board: Board) -> go.Figure | None:
    """Precision against recall at the measured stops of each pane's knob; a large marker is where the dial stands."""
    series = drawn(board, lambda each: each.facts.get("stops"))
    if not series:
        return None
    plot = go.Figure()
    for trace in (*map(_dial_line, series), *map(_dial_now, series)):
        if trace is not None:
            plot.add_trace(trace)
    plot.update_xaxes(
        title_text="recall → more of the variety" + small("measured with all other knobs as the card has them"), tickformat=".0%"
    )
    plot.update_yaxes(title_text="precision → more faithful", tickformat=".0%")
    return with_legend(plot, 350, len(series))


def _dial_line(each: Series) -> go.Scatter:
    """The stops, in the order of the knob's values."""
    stops, knob = each.facts["stops"], _spec(each.answer.pane, each.facts["knob"]).label
    rows = sorted(zip(stops["value"], stops["recall"], stops["precision"], stops["n"], strict=True))
    return go.Scatter(
        x=[row[1] for row in rows], y=[row[2] for row in rows], mode="lines+markers", legendgroup=each.name,
        name=f"{each.name}: {knob.lower()} {each.facts['now']:g}",
        line={"color": each.colour, "width": 2, "dash": each.dash}, marker={"symbol": each.symbol, "size": 7},
        customdata=[[f"{knob} {value:g}", f"{n:,}"] for value, _, _, n in rows],
        hovertemplate=f"<b>{each.name}</b><br>%{{customdata[0]}}<br>recall %{{x:.1%}}, precision %{{y:.1%}}"
        "<br>%{customdata[1]} pictures<extra></extra>",
    )  # fmt: skip


def _dial_now(each: Series) -> go.Scatter | None:
    """Between the nearest stops, in proportion; nothing beyond them, where nobody measured."""
    stops, now, knob = each.facts["stops"], each.facts["now"], _spec(each.answer.pane, each.facts["knob"]).label
    if not min(stops["value"]) <= now <= max(stops["value"]):
        return None
    order = np.argsort(stops["value"])
    values, recall, precision = (np.asarray(stops[name])[order] for name in ("value", "recall", "precision"))
    told = "measured" if now in stops["value"] else "between stops"
    return go.Scatter(
        x=[float(np.interp(now, values, recall))], y=[float(np.interp(now, values, precision))], mode="markers", legendgroup=each.name,
        showlegend=False, marker={"symbol": each.symbol, "size": 18, "color": each.colour, "line": {"width": 2, "color": GREY}},
        hovertemplate=f"<b>{each.name} now</b><br>{knob} {now:g}, {told}<br>recall %{{x:.1%}}, precision %{{y:.1%}}"
        f"<br>{min(stops['n']):,} pictures<extra></extra>",
    )  # fmt: skip


# -- bars -----------------------------------------------------------------------------------------------------------------


def score_figure(board: Board) -> go.Figure | None:
    """Which share of test pictures each pane finds less likely than this one, the highest first, with what it said."""
    series = drawn(board, lambda each: each.sheet_facts.get("rank"))
    if not series:
        return None
    found = [{name: values[0] for name, values in each.sheet_facts.items()} for each in series]
    rows = sorted(zip(series, found, strict=True), key=lambda row: -row[1]["rank"])
    words = [f"{facts['words']}, {KINDS[facts['kinds']][0]}" for _, facts in rows]
    hover = [
        f"<b>{each.name}</b><br>{told}<br>above {facts['rank']:.0f} % of {facts['ranked']:,} test pictures"
        for (each, facts), told in zip(rows, words, strict=True)
    ]
    series, ranks = [each for each, _ in rows], [facts["rank"] for _, facts in rows]
    plot = _bars(series, ranks, words, hover, [KINDS[facts["kinds"]][1] for _, facts in rows])
    for row, rank in enumerate(ranks):
        _tell(plot, row, f"{rank:.0f} %", at=1)
    plot.update_xaxes(title_text="ranks above … % of test pictures", range=[0, 100], tickvals=[0, 25, 50, 75, 100])
    return plot


def trip_figure(board: Board) -> go.Figure | None:
    """PSNR of each pane's reconstruction, in the order of the panes, with SSIM and the time."""
    series = drawn(board, lambda each: "psnr_db" in each.sheet_facts)
    if not series:
        return None
    values = [each.sheet_facts["psnr_db"] for each in series]
    words = [f"{each.sheet_facts['psnr_db']:.1f} dB, SSIM {each.sheet_facts['ssim']:.3f}, {duration(each.answer.ms)}" for each in series]
    hover = [f"<b>{each.name}</b><br>PSNR {told} a picture" for each, told in zip(series, words, strict=True)]
    plot, beyond = _bars(series, values, words, hover), max(values) > MOST_DB
    cut = small(f"cut at {MOST_DB:.0f} dB: rounding to 256 grey levels leaves 59") if beyond else ""
    plot.update_xaxes(title_text=f"PSNR in dB: longer is closer{cut}", range=[0, MOST_DB if beyond else 1.08 * max(values)])
    return plot.update_layout(margin_b=60) if beyond else plot


def duration(ms: float) -> str:
    """In two or three digits, with the unit."""
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"


def _bars(
    series: Sequence[Series], values: Sequence[float], words: Sequence[str], hover: Sequence[str], patterns: Sequence[str] = ()
) -> go.Figure:
    """A bar for each pane, from the top; name and words stand above it, where a phone has room for them."""
    plot, told = go.Figure(), [f"{each.label}: {html.escape(word)}" for each, word in zip(series, words, strict=True)]
    long = any(len(each.name) + len(word) > ONE_LINE for each, word in zip(series, words, strict=True))
    for row, (each, value, told_of) in enumerate(zip(series, values, hover, strict=True)):
        plot.add_bar(
            x=[value], y=[row], orientation="h", width=0.36, name=each.name, hovertemplate=f"{told_of}<extra></extra>",
            marker={"color": each.colour, "line": {"width": 0}, "pattern": {"shape": patterns[row] if patterns else "", "size": 6}},
        )  # fmt: skip
        _tell(plot, row, told[row].replace(": ", "<br>", 1) if long else told[row], at=0)
    plot.update_yaxes(visible=False, range=[len(series) - 0.7, -0.8])
    plot = dressed(plot, 60 + (64 if long else 48) * len(series))
    return plot.update_layout(showlegend=False, barmode="overlay", margin={"l": 12, "r": 20, "t": 4})


def _tell(plot: go.Figure, row: int, words: str, at: Literal[0, 1]) -> None:
    """Words above the bar of a row, at the left or the right end of the plot."""
    anchor = ("left", "right")[at]
    plot.add_annotation(
        x=at, y=row - 0.2, xref="paper", xanchor=anchor, yanchor="bottom", align=anchor, text=words, showarrow=False, borderpad=0
    )


BOARD_FIGURES: dict[str, Callable[[Board], go.Figure | None]] = {
    "gesture": gesture_figure,
    "dial": dial_figure,
    "score": score_figure,
    "trip": trip_figure,
}
"""The plot of each question that has one, drawn of a finished board; None when no pane has anything to draw."""
