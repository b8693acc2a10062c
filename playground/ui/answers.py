"""A result as what a browser gets: small JSON for live frames, everything for a kept one."""

from __future__ import annotations

import base64
from typing import Any

from playground.engine import Engine
from playground.images import encode, sheet
from playground.request import Request
from playground.result import Result
from playground.ui.figures import facts_words

JPEG_FROM = 262_144
"""Pixels from which a live frame is a JPEG; smaller ones are as fast, and exact, as PNG."""


def follows(engine: Engine, request: Request) -> bool:
    """Whether it is answered fast enough to follow a finger, so that there are live frames. Raises what `engine.model` does."""
    return engine.live and type(request.task).live(engine.model(request.card), request.params)


def about(result: Result) -> dict[str, Any]:
    """What a canvas must know to draw a sheet and say what it shows."""
    answer = result.sheet
    return {
        "size": answer.pictures.shape[1],
        "count": len(answer.pictures),
        "columns": answer.columns,
        "labels": list(answer.labels),
        "named": answer.named,
        "group": answer.group,
        "heads": list(answer.heads),
        "sides": list(answer.sides),
        "says": answer.says,
        "facts": facts_words(answer.facts),
        "ms": round(result.timing.run_ms, 2),
        "progress": round(answer.progress, 4),
    }


def frame(result: Result) -> tuple[bytes, str]:
    """The whole sheet as an encoded picture and its media type, as fast as can be."""
    picture = sheet(result.pictures, result.sheet.columns)
    if picture.shape[0] * picture.shape[1] >= JPEG_FROM:
        return encode(picture, "JPEG"), "image/jpeg"
    return encode(picture), "image/png"


def kept(result: Result) -> dict[str, Any]:
    """All that a panel keeps: the PNG with its recipe, the link, Python, and a link for each cell."""
    request = result.request
    cells = [result.cell(index) for index in range(len(result.pictures))] if result.sheet.progress >= 1 else []
    return {
        "card": request.card,
        "query": request.to_query(),
        "python": request.to_python(),
        "png": f"data:image/png;base64,{base64.b64encode(result.png()).decode()}",
        "weights_sha256": result.weights_sha256,
        "device": result.device,
        "about": about(result),
        "facts": dict(result.sheet.facts),
        "cells": [cell.to_query() if cell else "" for cell in cells],
        "values": {"card": request.card, **request.task.to_plain(), **request.params.to_plain()},
    }
