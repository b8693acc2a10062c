"""A result as one line of JSON and back, with nothing lost: what a remote engine sends to the page."""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from playground import errors
from playground.cards import Card, find_card
from playground.errors import BadAnswer, PlaygroundError
from playground.families import find_family
from playground.images import Pictures
from playground.request import Request
from playground.result import Guest, Result, Timing
from playground.tasks import Sheet

QUICK = 1
"""How hard zlib tries: more takes longer than it saves on a fast line."""


def to_line(result: Result) -> bytes:
    """One line, with its end."""
    sheet = {field.name: getattr(result.sheet, field.name) for field in dataclasses.fields(Sheet) if field.name != "pictures"}
    return _line(
        {
            "request": result.request.to_query(),
            "pictures": _packed(result.pictures),
            "sheet": {**sheet, "facts": dict(result.sheet.facts)},
            "weights_sha256": result.weights_sha256,
            "device": result.device,
            "timing": dataclasses.asdict(result.timing),
            "guests": {card: {"params": guest.params.to_plain(), "sha256": guest.weights_sha256} for card, guest in result.guests.items()},
        }
    )


def error_line(error: PlaygroundError) -> bytes:
    """A person's mistake, or the sentence of anything else, as one line."""
    return _line({"error": type(error).__name__, "what": error.what, "remedy": error.remedy})


def waiting_line(position: int, seconds: float) -> bytes:
    """How the line stands at the other end."""
    return _line({"waiting": [position, seconds]})


def from_line(line: bytes | str, cards: Mapping[str, Card]) -> Result | None:
    """The result; None for a line that only says that the other end is alive.

    Raises the `PlaygroundError` that the line is, or `BadAnswer` when it is neither.
    """
    if not line.strip():
        return None
    try:
        said = json.loads(line)
        if "waiting" in said:
            return None
        if "error" not in said:
            return _result(said, cards)
        kind, words = getattr(errors, str(said["error"]), PlaygroundError), (str(said["what"]), str(said["remedy"]))
    except PlaygroundError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, zlib.error) as error:
        raise BadAnswer(f"The engine's answer cannot be read ({type(error).__name__}).", "Use the same version here and there.") from error
    raise (kind if isinstance(kind, type) and issubclass(kind, PlaygroundError) else PlaygroundError)(*words)


def _result(said: Mapping[str, Any], cards: Mapping[str, Card]) -> Result:
    sheet: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in said["sheet"].items()}
    return Result(
        Request.from_query(said["request"], cards=cards),
        Sheet(_unpacked(said["pictures"]), **sheet),
        str(said["weights_sha256"]),
        str(said["device"]),
        Timing(**said["timing"]),
        {card: _guest(card, guest, cards) for card, guest in said["guests"].items()},
    )


def _guest(card: str, said: Mapping[str, Any], cards: Mapping[str, Card]) -> Guest:
    return Guest(find_family(find_card(cards, card).family).Params.parse(said["params"]), str(said["sha256"]))


def _packed(pictures: Pictures) -> dict[str, Any]:
    body = zlib.compress(np.ascontiguousarray(pictures).tobytes(), QUICK)
    return {"shape": pictures.shape, "zlib": base64.b64encode(body).decode()}


def _unpacked(said: Mapping[str, Any]) -> Pictures:
    shape = tuple(int(size) for size in said["shape"])
    body = zlib.decompressobj().decompress(base64.b64decode(said["zlib"]), int(np.prod(shape)))
    return np.frombuffer(body, np.uint8).reshape(shape).copy()


def _line(words: Mapping[str, Any]) -> bytes:
    return json.dumps(words, separators=(",", ":")).encode() + b"\n"
