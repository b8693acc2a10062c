"""A picture of the data's way through a model: boxes, bars and real pictures, drawn as SVG from a few lines of words.

`nodes` have an `id`, a `kind`, a place `at` (column, row) and another for narrow pages, `words` below or inside, and a `note`. Pictures
name the recipe they show: `latent` the thing itself, `decoded` what the model makes of it. `edges` join two nodes by an arrow.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar
from urllib.parse import quote

import numpy as np

from playground.images import encode

SIDE = 56
"""Pixels of a picture: 28, doubled."""
SIZES = {
    "picture": (SIDE, SIDE),
    "noisy": (SIDE, SIDE),
    "noise": (SIDE, SIDE),
    "bars": (48, 48),
    "bell": (72, 48),
    "box": (80, 40),
    "narrowing": (76, 56),
    "widening": (76, 56),
    "dots": (32, 16),
    "text": (0, 20),
}
LINE, LETTER = 16, 6.5
GAP = 6


@dataclass(frozen=True)
class Grid:
    """The size of a cell, and which of a node's two places counts."""

    width: int
    height: int
    name: str

    WIDE: ClassVar[Grid]
    NARROW: ClassVar[Grid]

    def place(self, node: Mapping[str, Any]) -> tuple[float, float]:
        """Column and row; on a narrow page the other way round unless the node says otherwise."""
        column, row = node["at"]
        if self is Grid.NARROW:
            column, row = node.get("narrow", (row, column))
        return self.width * (column + 0.5), self.height * row + SIDE / 2 + 8


Grid.WIDE = Grid(116, 112, "wide")
Grid.NARROW = Grid(110, 108, "narrow")


@dataclass(frozen=True)
class Box:
    """A node on the sheet: its middle, and how far it reaches; `words` below, half as wide as that, count as part of it downwards."""

    x: float
    y: float
    half: float
    above: float
    below: float
    words: float

    def towards(self, other: Box) -> tuple[float, float]:
        """Where a line to the middle of another box leaves this one, a gap away."""
        dx, dy = other.x - self.x, other.y - self.y
        down = self.below if dy > 0 else self.above
        side = max(self.half, self.words) if dy > 0 else self.half
        share = min((side + GAP) / abs(dx) if dx else 9e9, (down + GAP) / abs(dy) if dy else 9e9, 0.5)
        return self.x + share * dx, self.y + share * dy


def way_svg(way: Mapping[str, Any], *, family: str, card: str) -> str:
    """The way twice, for wide pages and for narrow ones; the style sheet shows the one that fits."""
    return f'<div class="lp-way">{"".join(_svg(way, grid, family, card) for grid in (Grid.WIDE, Grid.NARROW))}</div>'


def _svg(way: Mapping[str, Any], grid: Grid, family: str, card: str) -> str:
    boxes = {node["id"]: _box(node, *grid.place(node)) for node in way["nodes"]}
    width = max(box.x for box in boxes.values()) + grid.width / 2
    height = max(box.y + box.below for box in boxes.values()) + 8
    mark = f"{family}-{grid.name}"
    lines = "".join(_edge(edge, boxes[edge["ends"][0]], boxes[edge["ends"][1]], mark) for edge in way["edges"])
    nodes = "".join(_node(node, boxes[node["id"]], card) for node in way["nodes"])
    arrow = (
        f'<defs><marker id="{mark}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse">'
        '<path d="M0 0 8 4 0 8z" fill="currentColor"/></marker></defs>'
    )
    size = f'viewBox="0 0 {width:g} {height:g}" style="max-width:{width:g}px"'
    return f'<svg class="lp-{grid.name}" role="img" aria-label="{escape(way["words"])}" {size}>{arrow}{lines}{nodes}</svg>'


def _box(node: Mapping[str, Any], x: float, y: float) -> Box:
    width, height = SIZES[node["kind"]]
    captions = [node.get("note", ""), "" if node["kind"] in ("box", "narrowing", "widening") else node.get("words", "")]
    lines = len([caption for caption in captions if caption])
    return Box(x, y, width / 2, height / 2, height / 2 + LINE * lines, LETTER / 2 * max(map(len, captions)))


def _edge(edge: Mapping[str, Any], start: Box, end: Box, mark: str) -> str:
    (x1, y1), (x2, y2) = start.towards(end), end.towards(start)
    dashes = ' stroke-dasharray="4 4"' if edge.get("dashed") else ""
    if not edge.get("both"):
        return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" class="lp-edge"{dashes} marker-end="url(#{mark})"/>'
    across = (0, 5) if abs(x2 - x1) > abs(y2 - y1) else (5, 0)
    there = f"M{x1 - across[0]:.1f} {y1 - across[1]:.1f}L{x2 - across[0]:.1f} {y2 - across[1]:.1f}"
    back = f"M{x2 + across[0]:.1f} {y2 + across[1]:.1f}L{x1 + across[0]:.1f} {y1 + across[1]:.1f}"
    return "".join(f'<path d="{line}" class="lp-edge" marker-end="url(#{mark})"/>' for line in (there, back))


def _node(node: Mapping[str, Any], box: Box, card: str) -> str:
    kind, words, note = node["kind"], node.get("words", ""), node.get("note", "")
    inside = kind in ("box", "narrowing", "widening")
    below = box.y + SIZES[kind][1] / 2 + 13
    if kind == "text":
        below = box.y
    title = f'<text x="{box.x:g}" y="{box.y + 4 if inside else below:g}">{_lowered(words)}</text>' if words else ""
    below += 0 if inside or not words else LINE
    small = f'<text x="{box.x:g}" y="{below:g}" class="lp-note">{escape(note)}</text>' if note else ""
    return _shape(node, box, card) + title + small


def _lowered(words: str) -> str:
    """An index at the end, x_t, as a small letter below the line."""
    name, _, index = words.partition("_")
    return escape(name) + (f'<tspan dy="3" font-size="10">{escape(index)}</tspan>' if index else "")


def _shape(node: Mapping[str, Any], box: Box, card: str) -> str:
    kind, x, y = node["kind"], box.x, box.y
    left, top = x - SIZES[kind][0] / 2, y - SIZES[kind][1] / 2
    if kind in ("picture", "noisy"):
        return _image(left, top, address(node, card)) + (_noise(left, top, node["noise"]) if kind == "noisy" else "")
    if kind == "noise":
        return _noise(left, top, 1.0)
    if kind == "bars":
        heights = (18, 40, 10, 30, 22)
        bars = "".join(f'<rect x="{left + 10 * i:g}" y="{top + 48 - h:g}" width="7" height="{h}"/>' for i, h in enumerate(heights))
        return f'<g class="lp-bars">{bars}</g>'
    if kind == "bell":
        curve = f"M{left} {top + 46}c22 0 20-42 36-42s14 42 36 42z"
        return f'<path class="lp-net" d="{curve}"/>'
    if kind == "dots":
        return "".join(f'<circle cx="{x + 10 * i:g}" cy="{y:g}" r="2.5" fill="currentColor"/>' for i in (-1, 0, 1))
    if kind == "text":
        return ""
    return _network(kind, left, top)


def _network(kind: str, left: float, top: float) -> str:
    width, height = SIZES[kind]
    slope = {"box": 0, "narrowing": 10, "widening": -10}[kind]
    near, far = max(0, -slope), max(0, slope)
    corners = ((0, near), (width, far), (width, height - far), (0, height - near))
    points = " ".join(f"{left + dx:g},{top + dy:g}" for dx, dy in corners)
    return f'<polygon class="lp-net" points="{points}"/>'


def address(node: Mapping[str, Any], card: str) -> str:
    """Where the page has that picture, relative to it."""
    if "decoded" in node:
        return f"playground/picture.png?scale=2&card={quote(card)}&task=decode&latent={quote(node['decoded'])}"
    return f"playground/source.png?card={quote(card)}&latent={quote(node['latent'])}"


def _image(left: float, top: float, source: str) -> str:
    """An <img>, because only that waits until it is seen."""
    image = f'<img src="{escape(source)}" width="{SIDE}" height="{SIDE}" loading="lazy" alt="">'
    return f'<foreignObject x="{left:g}" y="{top:g}" width="{SIDE}" height="{SIDE}">{image}</foreignObject>'


def _noise(left: float, top: float, opacity: float) -> str:
    where = f'x="{left:g}" y="{top:g}" width="{SIDE}" height="{SIDE}" opacity="{opacity:g}"'
    return f'<image href="{_GRAIN}" {where} style="image-rendering:pixelated"/>'


def _grain() -> str:
    """Gaussian noise of 28×28 grey levels, always the same, as a data URL."""
    draw = random.Random(0)
    levels = [min(255, max(0, round(127.5 + 60 * draw.gauss(0, 1)))) for _ in range(28 * 28)]
    png = encode(np.array(levels, np.uint8).reshape(28, 28, 1))
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


_GRAIN = _grain()
