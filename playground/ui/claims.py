"""What a family's tab claims, and the measured figures that back or contradict it.

The words are in `introductions/<family>.toml`; every number in them is read from a card's `metrics.json` or `sweeps.json` when the
page is built, so no number is written down twice. A claim's words stay true whatever is measured: the verdict follows the figures.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import Any, Literal

import tomli

from playground.engine import Engine
from playground.errors import PlaygroundError

FOLDER = Path(__file__).parent / "introductions"
_FIGURE = re.compile(r"(?P<metric>\w+)(?: at (?P<knob>\w+)=(?P<value>[\w.+-]+))? of (?P<card>[\w.-]+)")
Verdict = Literal["seen", "in part", "unseen", "unmeasured", "source"]
VERDICTS: dict[Verdict, str] = {
    "seen": "✓ seen here",
    "in part": "◐ seen here in part",
    "unseen": "✗ not seen here",
    "unmeasured": "? not measured here",
    "source": "¶ from the literature",
}
UNITS = {
    "reconstruction_psnr_db": "dB",
    "ms_per_picture": "ms",
    "gflop_per_picture": "GFLOP",
    "distortion_nats": "nats",
    "rate_nats": "nats",
    "precision": "%",
    "recall": "%",
    "coverage": "%",
    "smallest_class_share": "%",
}
"""What stands behind a number; bits/dim behind all that end in bits_per_dim."""
Look = Callable[["Figure"], "Found | None"]


@dataclass(frozen=True)
class Figure:
    """Which number: a `metric` of a card, at its defaults or at another value of one knob. Written `metric [at knob=value] of card`."""

    metric: str
    card: str
    knob: str = ""
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> Figure:
        """Raises `ValueError` for what is not written so."""
        found = _FIGURE.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} is not written 'metric of card'")
        return cls(found["metric"], found["card"], found["knob"] or "", found["value"] or "")


@dataclass(frozen=True)
class Found:
    """A measured number, exactly as the file has it, and how it was measured."""

    value: float
    n: int
    command: str


@dataclass(frozen=True)
class Claim:
    """`claim` is what the field says; `figures` the evidence, with numbers in braces; `holds` the comparisons that decide whether it
    is seen in these very models: `figure < figure`, or `figure > 1`; `source` where it is said."""

    claim: str
    figures: str = ""
    holds: tuple[str, ...] = ()
    source: str = ""

    def named(self) -> list[Figure]:
        """Every figure that its words or its comparisons name."""
        written = re.findall(r"{([^}]*)}", self.figures)
        compared = [side for rule in self.holds for side in re.split("[<>]", rule) if " of " in side]
        return [Figure.parse(text) for text in (*written, *compared)]

    def verdict(self, look: Look) -> Verdict:
        """What the figures say of it."""
        if not self.holds:
            return "source"
        answers = [_compare(rule, look) for rule in self.holds]
        if None in answers:
            return "unmeasured"
        return "seen" if all(answers) else "in part" if any(answers) else "unseen"

    def html(self, look: Look) -> str:
        """A list item: the claim, the verdict, the figures, the source."""
        verdict = self.verdict(look)
        figures = _filled(self.figures, look)
        source = f' <a href="{escape(self.source)}" rel="noreferrer" target="_blank">{_named(self.source)}</a>' if self.source else ""
        kind = verdict.replace(" ", "-")
        words = f'<strong>{escape(self.claim)}</strong> <span class="lp-verdict lp-{kind}">{VERDICTS[verdict]}</span>'
        return f"<li>{words}<br>{figures}{source}</li>"


@dataclass(frozen=True)
class Words:
    """What a tab says first: the idea in four sentences, and what the family is good and bad at; `way` is drawn by `diagrams`."""

    idea: tuple[str, ...]
    good: tuple[Claim, ...] = ()
    bad: tuple[Claim, ...] = ()
    way: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, family: str) -> Words | None:
        """From `introductions/<family>.toml`; None when nobody has written one."""
        file = FOLDER / f"{family}.toml"
        if not file.exists():
            return None
        text = tomli.loads(file.read_text(encoding="utf-8"))
        good, bad = ([Claim(**{**each, "holds": tuple(each.get("holds", ()))}) for each in text[side]] for side in ("good", "bad"))
        return cls(tuple(text["idea"]), tuple(good), tuple(bad), text["way"])

    def html(self, look: Look) -> str:
        """Both lists, side by side where there is room."""
        sides = {"Good at": self.good, "Bad at": self.bad}
        lists = (
            f'<section><h2>{title}</h2><ul class="lp-claims">{"".join(claim.html(look) for claim in claims)}</ul></section>'
            for title, claims in sides.items()
        )
        return f'<div class="lp-sides">{"".join(lists)}</div>'


def looking(engine: Engine) -> Look:
    """Finds figures in what `evaluate` wrote beside the weights, each file read once; None for what is not there."""
    read: dict[tuple[str, bool], Mapping[str, Any]] = {}

    def written(card: str, sweep: bool) -> Mapping[str, Any]:
        if (card, sweep) not in read:
            known = card in (engine.cards or {}) and bool((engine.cards or {})[card].files)
            try:
                read[card, sweep] = (engine.swept(card) if sweep else engine.measured(card)) if known else {}
            except PlaygroundError:
                read[card, sweep] = {}
        return read[card, sweep]

    def look(figure: Figure) -> Found | None:
        if figure.knob:
            rows: Sequence[Mapping[str, Any]] = written(figure.card, True).get(figure.knob, ())
            row = next((row for row in rows if _same(row["value"], figure.value)), {})
            return Found(row[figure.metric], row["n"], row["command"]) if figure.metric in row else None
        found = written(figure.card, False).get(figure.metric)
        return Found(found["value"], found["n"], found["command"]) if found else None

    return look


def number(metric: str, value: float) -> str:
    """A measured value with its unit: every digit that the file has, and none more."""
    exact = Decimal(str(value))
    unit = "bits/dim" if metric.endswith("bits_per_dim") else UNITS.get(metric, "")
    if unit == "%":
        exact = 100 * exact
    if exact and abs(exact) < Decimal("0.001"):
        power = exact.adjusted()
        raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        digits = f"{exact.scaleb(-power).normalize():f} × 10{raised}"
    else:
        digits = f"{exact:,f}"
        digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return f"{digits}\u00a0{unit}".rstrip("\u00a0")


def _compare(rule: str, look: Look) -> bool | None:
    left, sign, right = re.split("([<>])", rule)
    sides = [_side(left, look), _side(right, look)]
    if sides[0] is None or sides[1] is None:
        return None
    return sides[0] < sides[1] if sign == "<" else sides[0] > sides[1]


def _side(text: str, look: Look) -> float | None:
    if " of " not in text:
        return float(text)
    found = _finite(look(Figure.parse(text)))
    return None if found is None else found.value


def _finite(found: Found | None) -> Found | None:
    """A measurement that came to nothing is none."""
    return found if found is not None and math.isfinite(found.value) else None


def _filled(words: str, look: Look) -> str:
    """The evidence with its numbers; a sentence with a hole in it would say nothing, so one that is missing takes all away."""
    figures = {text: Figure.parse(text) for text in re.findall(r"{([^}]*)}", words)}
    found = {text: _finite(look(figure)) for text, figure in figures.items()}
    if missing := [escape(text) for text, number in found.items() if number is None]:
        return f'<span title="Missing: {", ".join(missing)}">Not measured yet.</span>'
    filled = escape(words, quote=False)
    for text, number in found.items():
        assert number is not None
        filled = filled.replace(f"{{{text}}}", _shown(figures[text], number))
    return filled


def _shown(figure: Figure, found: Found) -> str:
    where = f"{figure.metric} of {figure.card}" + (f" at {figure.knob} = {figure.value}" if figure.knob else "")
    how = f"{where}, n = {found.n:,}: {found.command}"
    return f'<data class="lp-number" value="{found.value}" title="{escape(how)}">{number(figure.metric, found.value)}</data>'


def _same(measured: object, asked: str) -> bool:
    return float(asked) == measured if isinstance(measured, (int, float)) and not isinstance(measured, bool) else str(measured) == asked


def _named(source: str) -> str:
    return f"arXiv {source.rpartition('/')[2]}" if "arxiv.org" in source else escape(source)
