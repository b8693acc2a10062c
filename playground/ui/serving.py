"""Opening the page, and closing it in order: what runs is finished, what is new gets a sentence, and the process ends with status 0."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from playground.engine import Engine
from playground.metrics import warm_up
from playground.remote import engine_of
from playground.settings import Settings, on_zero_gpu
from playground.ui.bodies import Bodies
from playground.ui.compression import Compressed
from playground.ui.doors import Doors, Doorway
from playground.ui.routes import Routes
from playground.ui.signing import Gate, matches
from playground.ui.stale import Stale
from playground.ui.theme import theme
from playground.ui.views import css, head
from playground.zero import ZeroEngine


def launch(page: gr.Blocks, engine: Engine, doors: Doors | None = None, **options: Any) -> Any:
    """Starts the page with all that it needs: routes, scripts, style, limits, and a sign-in where the settings name somebody.

    The page must have been given `stale.add_left`.
    """
    doors, accounts = doors or Doors(engine), engine.settings.accounts
    gate = [Middleware(Gate, accounts=accounts)] if accounts else []
    return page.launch(
        server_name=engine.settings.host or None,  # None: 127.0.0.1, on a Space what the Space says
        server_port=engine.settings.port or None,
        theme=theme(),
        css=css(),
        head=head(),
        app_kwargs={
            "routes": [*Routes(engine).all(), *doors.routes()],
            "middleware": [
                *gate,
                Middleware(Bodies, max_bytes=engine.settings.max_upload_mb * 2**20),
                Middleware(Doorway, doors=doors),
                Middleware(Stale, page=page),
                Middleware(Compressed, is_public=not accounts),
            ],
        },
        auth=(lambda name, password: matches(accounts, name, password)) if accounts else None,
        auth_message="This page is for those who were given a name and a password." if accounts else None,
        footer_links=["api"],
        run_history=False,
        ssr_mode=False,
        show_error=True,
        state_session_capacity=engine.settings.sessions,
        max_file_size=f"{engine.settings.max_upload_mb}mb",
        **options,
    )


def serve(settings: Settings) -> None:
    """Opens the page and stays until SIGTERM or Ctrl-C, then ends the process in order; a second signal ends it at once."""
    import torch

    from playground.ui import build

    torch.set_num_threads(settings.threads)
    engine = _engine(settings)
    doors = Doors(engine)
    _on_signals(doors)  # before anybody can be told that the page is ready
    page = build(engine)
    launch(page, engine, doors, prevent_thread_lock=True)
    engine.log.tell("start", device=engine.device.type)
    threading.Thread(target=_warm_up, args=(doors,), daemon=True).start()
    while not doors.stopping.wait(1.0):  # with a limit, so that signals are seen on every system
        pass
    _close(page, doors)


def _warm_up(doors: Doors) -> None:
    """Gets ready whatever the first visitors would wait for."""
    doors.warm()
    warm_up()
    # Modules, page and first model are there to stay: looking for garbage among them would, now and then, keep everybody waiting.
    gc.collect()
    gc.freeze()


def _engine(settings: Settings) -> Engine:
    """What the settings ask for; on a ZeroGPU Space one that borrows its GPU."""
    if not on_zero_gpu():
        return engine_of(settings)
    import spaces

    return ZeroEngine(settings, spaces.GPU)


def _on_signals(doors: Doors) -> None:
    def ask(number: int, frame: object) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        doors.stopping.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, ask)


def _close(page: gr.Blocks, doors: Doors) -> None:
    """Lets what was begun finish, closes the rest, and ends the process."""
    log = doors.engine.log
    log.tell("stopping", running=doors.engine.in_use(), waiting=doors.engine.line.waiting())
    finished = doors.settle(doors.engine.settings.stop_seconds)
    if not finished and page.server is not None:
        page.server.force_exit = True  # no waiting for answers that did not come in time
    page.close(verbose=False)
    log.tell("stop", finished=finished)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # not sys.exit: a thread in the midst of a forward pass may neither hold up the end nor crash it
