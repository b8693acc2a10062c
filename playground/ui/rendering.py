"""Parts of the page that are built when they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import gradio as gr
from gradio.context import get_blocks_context

_Build = TypeVar("_Build", bound=Callable[..., None])


def built_when(triggers: Sequence[Any], inputs: Any) -> Callable[[_Build], _Build]:
    """`gr.render` whose place is not told to the browser as an output.

    For each output that an event ever had, Gradio's front end keeps how that event stands, and copies the output with all that is inside
    whenever any event of the page moves on. With a family's tab among them that was thousands of values for every preview.
    """

    def bind(build: _Build) -> _Build:
        gr.render(inputs=inputs, triggers=triggers, show_progress="hidden")(build)
        blocks = get_blocks_context()
        assert blocks is not None
        event = next(reversed(blocks.fns.values()))
        told = event.get_config
        event.get_config = lambda: {**told(), "outputs": []}  # type: ignore[method-assign]
        return build

    return bind
