"""Latent Playground: five families of generative models behind one interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playground.compare import Comparison as Comparison
    from playground.engine import Engine as Engine
    from playground.request import Request as Request
    from playground.result import Result as Result
    from playground.settings import Settings as Settings

__version__ = "0.1.0"
__all__ = ["Comparison", "Engine", "Request", "Result", "Settings", "__version__"]

_HOMES = {
    "Comparison": "playground.compare",
    "Engine": "playground.engine",
    "Result": "playground.engine",
    "Request": "playground.request",
    "Settings": "playground.settings",
}


def __getattr__(name: str) -> Any:
    """Loads the public names when they are first used, so that `python -m playground --help` needs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'playground' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
