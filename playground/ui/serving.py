"""Opening the page, and closing it in order: what runs is finished, what is new gets a sentence, and the process ends with status 0."""

from __future__ import annotations

import threading
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from playground.engine import Engine
from playground.metrics import warm_up
from playground.settings import Settings
from playground.ui.compression import Compressed
from playground.ui.routes import Routes
from playground.ui.theme import theme
from playground.ui.views import css, head


def launch(page: gr.Blocks, engine: Engine, **options: Any) -> Any:
    """Starts the page with all that it needs: routes, scripts, style, limits."""
    return page.launch(
        server_name=engine.settings.host or None,  # None: 127.0.0.1, on a Space what the Space says
        server_port=engine.settings.port or None,
        theme=theme(),
        css=css(),
        head=head(),
        app_kwargs={"routes": Routes(engine).all(), "middleware": [Middleware(Compressed)]},
        footer_links=["api"],
        run_history=False,
        ssr_mode=False,
        show_error=True,
        max_file_size=f"{engine.settings.max_upload_mb}mb",
        **options,
    )


def serve(settings: Settings) -> None:
    """Opens the page and stays until it is stopped."""
    import torch

    from playground.ui import build

    torch.set_num_threads(settings.threads)
    engine = Engine(settings)
    page = build(engine)
    threading.Thread(target=warm_up, daemon=True).start()
    launch(page, engine)
