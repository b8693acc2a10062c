"""One figure of the benchmark, and the table that they make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

HEAD = "| Figure | value | target | compared with | ratio |\n|---|---|---|---|---|"


@dataclass(frozen=True)
class Row:
    """One figure beside something measured in the same run: `ratio` is the figure divided by that, None where nothing compares."""

    name: str
    value: float
    unit: str
    against: str = "–"
    ratio: float | None = None
    target: str = ""
    """What it is meant to be, in words: `≤ 30`."""

    def markdown(self) -> str:
        """Its line of the table."""
        ratio = "–" if self.ratio is None else f"{self.ratio:.2f}"
        return f"| {self.name} | {short(self.value)} {self.unit} | {self.target} | {self.against} | {ratio} |"


def compared(name: str, value: float, unit: str, against: str, reference: float, target: str = "") -> Row:
    """A figure with its ratio to a reference of the same unit."""
    return Row(name, value, unit, f"{against} ({short(reference)} {unit})", value / reference if reference else None, target)


def short(value: float) -> str:
    """Three figures that matter, and no more of large numbers than is whole."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: Iterable[Row]) -> str:
    """All rows in Markdown."""
    return "\n".join([HEAD, *(row.markdown() for row in rows)])
