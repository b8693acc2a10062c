"""What the page's benchmark drives: the page, an empty page of the same kind, a slow line, and Chromium."""

from __future__ import annotations

import asyncio
import io
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from playground.engine import Engine

MEASURE = """async ([panel, knob, events, pause]) => {
  const shown = window.playground.panels[panel], slider = document.querySelector(`#${panel}-${knob} input[type=range]`);
  const low = +slider.min, high = +slider.max, step = +slider.step || 0.01;
  const show = shown.show.bind(shown); let drawn = () => {}, frames = 0;
  shown.show = (...all) => { show(...all); frames++; drawn(); };
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  const values = Math.round((high - low) / step) + 1;
  const move = (index) => { // every event a new value
    const value = low + (index % values) * step;
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(slider, value);
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const times = [];
  if (pause === null) {
    for (let index = 0; index < events; index++) {
      const since = performance.now();
      const done = Promise.race([new Promise((resolve) => { drawn = () => resolve(true); }), sleep(2000).then(() => false)]);
      move(index);
      if (await done) { await new Promise(requestAnimationFrame); times.push(performance.now() - since); }
      await sleep(40);
    }
  } else {
    frames = 0;
    const since = performance.now();
    for (let index = 0; index < events; index++) { move(index); await sleep(pause); }
    times.push(frames / (performance.now() - since) * 1000);
    for (let waited = 0; waited < 100 && (shown.inFlight || shown.want); waited++) await sleep(20);
    times.push(shown.shown === shown.sequence ? 0 : 1); // was the last one asked for shown, and nothing left to ask?
  }
  shown.show = show;
  return times;
}"""
"""Events on a slider: one at a time, milliseconds each; or one every `pause` ms: frames a second, last values lost."""

SCRUB = """async (panel) => { // milliseconds that a frame takes to be drawn
  const shown = window.playground.panels[panel], scrub = shown.scrub, since = performance.now();
  for (let frame = 0; frame <= +scrub.max; frame++) { scrub.value = frame; scrub.dispatchEvent(new Event("input", { bubbles: true })); }
  const taken = (performance.now() - since) / (+scrub.max + 1);
  await new Promise((done) => setTimeout(done, 500));
  return taken;
}"""

_EMPTY = """
const canvas = element.querySelector("canvas"), panel = { bitmap: null, inFlight: 0, want: null, shown: 0, sequence: 0 };
panel.show = (bitmap) => { panel.bitmap = bitmap; canvas.getContext("2d").drawImage(bitmap, 0, 0, 280, 280); };
panel.push = async () => {
  const order = ++panel.sequence, answer = await fetch(`empty/live?${order}`);
  const bitmap = await createImageBitmap(await answer.blob());
  if (order > panel.shown) { panel.shown = order; panel.show(bitmap); }
};
window.playground = { panels: { empty: panel } };
panel.push();
"""


@contextmanager
def opened(engine: Engine) -> Iterator[str]:
    """The address of the whole page, served in threads of this process."""
    from playground.ui import build, launch

    page = build(engine)
    _, url, _ = launch(page, engine, prevent_thread_lock=True, quiet=True)
    yield str(url)
    page.close(verbose=False)


@contextmanager
def empty_page() -> Iterator[str]:
    """A page of one slider and one canvas, whose answer is a picture made beforehand: what Gradio, HTTP and the browser cost alone."""
    import gradio as gr

    from playground.ui.compression import Compressed

    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)).save(file, "PNG")

    async def live(http: Request) -> Response:
        return Response(file.getvalue(), media_type="image/png")

    with gr.Blocks(analytics_enabled=False) as page:
        gr.HTML("", html_template="<canvas width='280' height='280'></canvas>", js_on_load=_EMPTY)
        slider = gr.Slider(0, 2, 1, step=0.01, elem_id="empty-knob")
        slider.change(None, slider, None, js="() => window.playground.panels.empty.push()")
    kwargs = {"routes": [Route("/empty/live", live)], "middleware": [Middleware(Compressed)]}
    _, url, _ = page.launch(
        server_name="127.0.0.1", app_kwargs=kwargs, prevent_thread_lock=True, quiet=True, ssr_mode=False, run_history=False
    )
    yield str(url)
    page.close(verbose=False)


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def slow_line(url: str, round_trip_ms: float) -> Iterator[str]:
    """The same page through a proxy on loopback that holds every byte back for half a round trip, each way, without limiting the rate."""
    target, opened_at, done = urlsplit(url), Future[int](), asyncio.Event()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(target.hostname, target.port)
        half = round_trip_ms / 2000
        with suppress(asyncio.CancelledError):  # the benchmark is over
            await asyncio.gather(_late(reader, back, half), _late(there, writer, half), return_exceptions=True)

    async def serve() -> None:
        server = await asyncio.start_server(carry, "127.0.0.1", 0)
        loops.append(asyncio.get_running_loop())
        opened_at.set_result(server.sockets[0].getsockname()[1])
        await done.wait()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)  # at its end what is still under way is cancelled
    thread.start()
    yield f"http://127.0.0.1:{opened_at.result()}/"
    loops[0].call_soon_threadsafe(done.set)
    thread.join(5)


async def _late(source: asyncio.StreamReader, sink: asyncio.StreamWriter, seconds: float) -> None:
    """Hands on what comes, in order, each piece `seconds` after it came."""
    loop, waiting = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

    async def deliver() -> None:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                sink.close()
                return
            sink.write(data)
            await sink.drain()

    delivering = asyncio.create_task(deliver())
    while data := await source.read(65536):
        waiting.put_nowait((loop.time() + seconds, data))
    waiting.put_nowait((loop.time() + seconds, b""))
    await delivering
