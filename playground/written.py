"""What was measured of a card, read from the files beside its weights. They may be somebody else's."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_WRITTEN = 2**20
"""Bytes of the largest file of figures that is read."""


def read_written(file: Path) -> Mapping[str, Any]:
    """What a file of figures holds; empty where there is none, it is too large, or it is no JSON object."""
    if not file.exists() or file.stat().st_size > MAX_WRITTEN:
        return {}
    try:
        written = json.loads(file.read_text())
    except ValueError:
        return {}
    return written if isinstance(written, dict) else {}


def is_figure(figure: Any) -> bool:
    """Whether its `value` and `n` are finite numbers."""
    numbers = [figure.get("value"), figure.get("n")] if isinstance(figure, dict) else [None]
    return all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers)
