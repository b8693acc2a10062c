"""Names beside the points of a plot, each on a side where it lies on nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""
SIDES = {
    "middle right": (1, 0), "top center": (0, -1), "bottom center": (0, 1), "middle left": (-1, 0),
    "top right": (1, -1), "bottom right": (1, 1), "top left": (-1, -1), "bottom left": (-1, 1),
}  # fmt: skip
"""Where plotly may put a text: across and down from its point."""
MARK, LETTER, LINE, FONT_SIZE = 7.0, 6.2, 14.0, 11
"""In pixels: half a marker; and of text of that size, the width of a letter and the height of a line."""


@dataclass(frozen=True)
class Label:
    """Words for a point at (x, y) pixels from the top left corner, and the sides that it may stand on, the best first."""

    words: str
    x: float
    y: float
    sides: tuple[str, ...] = tuple(SIDES)
    must: bool = False
    """Whether it stands even where there is no room, on its first side."""

    @property
    def mark(self) -> Box:
        """The point itself."""
        return (self.x - MARK, self.y - MARK, self.x + MARK, self.y + MARK)

    def box(self, side: str) -> Box:
        """Of the words at that side."""
        across, down = SIDES[side]
        width = LETTER * len(self.words)
        left = self.x + (MARK if across > 0 else -MARK - width if across < 0 else -width / 2)
        top = self.y + (MARK if down > 0 else -MARK - LINE if down < 0 else -LINE / 2)
        return (left, top, left + width, top + LINE)


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes have an area in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def along(corners: Sequence[tuple[float, float]]) -> Iterator[Box]:
    """Small boxes that cover the line through those points."""
    for (x0, y0), (x1, y1) in pairwise(corners):
        count = max(1, round(math.hypot(x1 - x0, y1 - y0) / 4))
        for index in range(count + 1):
            x, y = x0 + (x1 - x0) * index / count, y0 + (y1 - y0) * index / count
            yield (x - 1, y - 1, x + 1, y + 1)


def place(labels: Sequence[Label], taken: Sequence[Box], width: float, height: float, faint: Sequence[Box] = ()) -> list[str]:
    """The side of each label, "" where it has no room. Earlier ones choose first.

    No name lies on a mark, on `taken` or off the plot, and one on what is `faint` only where it has no other room.
    """
    full = [*taken, *(label.mark for label in labels)]
    sides = []
    for label in labels:
        fitting = (side for avoided in ([*full, *faint], full) for side in label.sides if _fits(label.box(side), avoided, width, height))
        side = next(fitting, label.sides[0] if label.must else "")
        if side:
            full.append(label.box(side))
        sides.append(side)
    return sides


def _fits(box: Box, full: Sequence[Box], width: float, height: float) -> bool:
    inside = box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height
    return inside and not any(overlap(box, other) for other in full)
