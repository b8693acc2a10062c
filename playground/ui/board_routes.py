"""What of a comparison is fetched as a file: its zip, its sheet, and its rows as one animation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from playground.compare import Board, Comparison
from playground.compare.parcel import contact_sheet, parcel
from playground.engine import Engine
from playground.errors import BadKnob, BadRequest, unknown
from playground.images import Pictures, animate, to_pil

ANIMATIONS = {"webp": "image/webp", "mp4": "video/mp4"}
GAP = 1


def board_routes(engine: Engine) -> dict[str, Callable[[HTTPRequest], Response]]:
    """By name below `/playground/`; each runs the comparison that its query is, and answers with a file."""

    def board(http: HTTPRequest) -> Board:
        query = "&".join(part for part in http.url.query.split("&") if not part.startswith("format="))
        return Comparison.from_query(query, cards=engine.cards).run(engine)

    def packed(http: HTTPRequest) -> Response:
        return Response(parcel(board(http)), media_type="application/zip")

    def sheet(http: HTTPRequest) -> Response:
        return Response(contact_sheet(board(http)), media_type="image/png")

    def animation(http: HTTPRequest) -> Response:
        name = http.query_params.get("format", "webp")
        if name not in ANIMATIONS:
            raise BadKnob(*unknown("animation format", name, ANIMATIONS))
        made = board(http)
        return Response(animate(aligned(made), name.upper(), text=made.comparison.to_query()), media_type=ANIMATIONS[name])

    return {"compare.zip": packed, "compare.png": sheet, "compare-animation": animation}


def aligned(board: Board) -> Pictures:
    """Frame i of every pane side by side, as large as the largest: (N, H, W, C). Raises `BadRequest` when no pane has pictures."""
    panes = [answer.pictures() for answer in board.answers if answer.made]
    if not panes:
        raise BadRequest("No pane of this comparison has pictures.", "Choose other models.")
    side = max(pictures.shape[1] for pictures in panes)
    rows = [np.stack([_sized(picture, side) for picture in pictures[: min(len(each) for each in panes)]]) for pictures in panes]
    gap = np.zeros((len(rows[0]), side, GAP, 3), np.uint8)
    return np.concatenate([part for row in rows for part in (row, gap)][:-1], axis=2)


def _sized(picture: Pictures, side: int) -> Pictures:
    image = to_pil(picture).convert("RGB")
    return np.asarray(image.resize((side, side), Image.Resampling.NEAREST))
