"""Links that make the browser fetch at once what opening the page takes: Gradio's scripts and styles, and the first picture.

Without them it learns of each only from the one before, a round trip at a time. Which files there are was told by Chromium
(`make hints`), and a test opens the page and compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import gradio

from playground.ui.views import STATIC

FILES = STATIC / "hints.txt"
_FRONT_END = Path(gradio.__file__).parent / "templates/frontend/assets"


@cache
def files() -> tuple[str, ...]:
    """Names of the scripts and styles of Gradio's front end. Another version has others, which the browser then finds by itself."""
    return tuple(name for name in FILES.read_text().split() if (_FRONT_END / name).is_file())


def links(config: Mapping[str, Any]) -> str:
    """What stands in the head of the page's document, by its configuration of Gradio's.

    Where a link says what it opens with, nothing is known here of its pictures and styles, and a browser complains about what it
    fetched for nothing: then there are only scripts.
    """
    theme = f'<link rel="preload" as="style" href="theme.css?v={escape(config.get("theme_hash", ""))}">'
    scripts = [f'<link rel="modulepreload" href="./assets/{name}">' for name in files() if name.endswith(".js")]
    if (opening := _opening(config)) is None:
        return "".join([theme, *scripts])
    styles = [f'<link rel="preload" as="style" crossorigin href="./assets/{name}">' for name in files() if name.endswith(".css")]
    picture = f'<link rel="preload" as="fetch" crossorigin href="playground/live?{escape(opening)}">'
    return "".join([theme, picture, *scripts, *styles])


def _opening(config: Mapping[str, Any]) -> str | None:
    """The query string of the pictures that the document's own panel begins with."""
    ours = (part.get("props", {}).get("props", {}) for part in config.get("components", ()))
    return next((props["opening"] for props in ours if props.get("opening")), None)
