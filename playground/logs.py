"""What a running page writes down: one line an event on stderr, as words or as JSON.

A line says what happened to a request, never whose it was or what it asked for: no address, no session, no recipe, no prompt and no file
name is ever handed to this module, and an error's sentence, which may quote what somebody typed, is left out for its type.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import Any, TextIO

EVENTS = ("start", "ready", "stopping", "stop", "request")
"""All that is ever told."""
MAX_FRAMES = 12
"""Lines of code that are named of an unforeseen error, from the innermost outwards."""


@dataclass
class Log:
    """Writes events to a stream in one of three ways: `off`, `text`, `json`. Safe to use from many threads."""

    kind: str = "off"
    stream: TextIO | None = None
    """Where to; None is stderr at the time."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def tell(self, event: str, **facts: Any) -> None:
        """Writes one event with its facts: short words and numbers. A reader that went away stops nobody."""
        if self.kind == "off":
            return
        entry = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "event": event, **facts}
        line = json.dumps(entry) if self.kind == "json" else " ".join(f"{name}={_words(value)}" for name, value in entry.items())
        with self._lock:
            try:
                print(line, file=self.stream or sys.stderr, flush=True)
            except (OSError, ValueError):  # a closed pipe, a closed stream
                self.kind = "off"


def what_failed(error: BaseException) -> dict[str, Any]:
    """The type of an unforeseen error and where in the code it arose: files, lines and functions, without the values in them."""
    frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
    return {"error": type(error).__name__, "traceback": [f"{_tail(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]}


def _tail(filename: str) -> str:
    """The last two parts of a path: which module it is, and not where it was installed."""
    return "/".join(filename.replace("\\", "/").split("/")[-2:])


def _words(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (dict, list)) or " " in str(value) else str(value)
