"""A comparison to take away: one zip with the sheet, every pane and cell, a table, the requests, and the Python that makes it again."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from playground.compare.running import Answer, Board
from playground.images import encode, sheet, to_pil
from playground.result import TEXT_KEY

PANE_SIDE, TITLE, GAP, ACROSS = 320, 24, 12, 3
PAPER, INK, STAGE = (250, 250, 250), (24, 24, 27), (16, 17, 20)
DATE = (1980, 1, 1, 0, 0, 0)
"""Of all files: the same comparison gives the same bytes."""


def parcel(board: Board) -> bytes:
    """The zip file's bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, body in contents(board):
            file.writestr(zipfile.ZipInfo(name, DATE), body, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def contents(board: Board) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file in the zip."""
    comparison = board.comparison
    yield "comparison.py", (comparison.to_python() + "\n").encode()
    yield "link.txt", f"?{comparison.to_query()}\n".encode()
    yield "sheet.png", contact_sheet(board)
    requests: dict[str, list[str | None]] = {}
    for place, answer in enumerate(board.answers, start=1):
        name = f"{place}-{answer.pane.card}"
        requests[name] = [request.to_query() if request else None for request in answer.requests()]
        if not answer.made:
            continue
        yield f"panes/{name}.png", answer.png({TEXT_KEY: comparison.to_query()})
        for index in range(len(answer.pictures())):
            if (png := answer.cell_png(index)) is not None:
                yield f"cells/{name}/{index + 1:03d}.png", png
    yield "requests.json", json.dumps(requests, indent=1).encode()
    yield "cells.csv", _table(board).encode()


def contact_sheet(board: Board) -> bytes:
    """All panes on one picture under their cards' names, enlarged by whole factors; the PNG's text restores the comparison."""
    across = min(ACROSS, len(board.answers))
    down = -(-len(board.answers) // across)
    width, height = across * (PANE_SIDE + GAP) + GAP, down * (PANE_SIDE + TITLE + GAP) + GAP
    paper = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(paper), ImageFont.load_default(14)
    for place, answer in enumerate(board.answers):
        left = GAP + place % across * (PANE_SIDE + GAP)
        top = GAP + place // across * (PANE_SIDE + TITLE + GAP)
        draw.text((left, top), answer.pane.card, INK, font)
        draw.rectangle((left, top + TITLE, left + PANE_SIDE - 1, top + TITLE + PANE_SIDE - 1), STAGE)
        picture = _pane_picture(answer)
        if picture is not None:
            paper.paste(picture, (left + (PANE_SIDE - picture.width) // 2, top + TITLE + (PANE_SIDE - picture.height) // 2))
    return encode(np.asarray(paper), text={TEXT_KEY: board.comparison.to_query()})


def _pane_picture(answer: Answer) -> Image.Image | None:
    made = answer.sheet()
    if made is None:
        return None
    image = to_pil(sheet(made.pictures, made.columns)).convert("RGB")
    factor = PANE_SIDE / max(image.size)
    if factor >= 1:
        return image.resize((image.width * int(factor), image.height * int(factor)), Image.Resampling.NEAREST)
    return image.resize((max(1, int(image.width * factor)), max(1, int(image.height * factor))), Image.Resampling.BOX)


def _table(board: Board) -> str:
    """A line for each cell: where it is, what was asked, which weights ran, how long it took, what went wrong."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["pane", "card", "cell", "label", "request", "weights_sha256", "ms", "error"])
    for place, answer in enumerate(board.answers, start=1):
        for index, result in enumerate(answer.results):
            made = [result.request.to_query(), result.weights_sha256, f"{result.timing.run_ms:.1f}"] if result else ["", "", ""]
            label = answer.label(index) if index not in answer.errors else ""
            lines.writerow([place, answer.pane.card, index + 1, label, *made, answer.errors.get(index, "")])
    return text.getvalue()
