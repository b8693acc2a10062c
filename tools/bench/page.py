"""The page in Chromium: from a finger to pixels, a first visit, scrubbing, previews, Stop, each beside something of the same run.

Input to pixels is from the `input` event (or the pointer's move on the map) to the frame after the canvas was drawn. Frames a second
are those drawn while events come at 60 a second. Latent Playground and an empty page of the same kind are asked alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from playwright.sync_api import Page

from playground.engine import Engine
from playground.request import Request
from playground.settings import Settings
from playground.ui import panels
from tools.bench._browsing import MEASURE, SCRUB, browser, empty_page, opened, slow_line
from tools.bench.row import Row, compared
from tools.bench.timing import by_turns

CARD, MANY_STEPS = "vae-fashion-28", "ddpm-fashion-28"
EVENTS = 80
LINE_MS = 60
VISITS = 3
STEPS = 20
DRAGS: tuple[tuple[str, str, dict[str, Any], str, int], ...] = (
    ("1 picture", "sample", {"num_samples": 1}, "temperature", 30),
    ("a sheet of 16", "sample", {"num_samples": 16}, "temperature", 60),
    ("a sheet of 64", "sample", {"num_samples": 64}, "temperature", 60),
    ("a strip of 15", "traverse", {}, "span", 60),
    ("the map", "map", {}, "x", 40),
)


def rows() -> Iterator[Row]:
    """A first visit and a second, drags, scrubbing, and a run of twenty steps."""
    engine = Engine(Settings(hub="off", port=0, max_work=1000, live_per_second=1000))
    with opened(engine) as url, browser() as chromium:
        yield from visits(chromium, url)
        with empty_page() as empty:
            yield from drags(chromium, engine, url, empty)
        yield scrubbing(chromium, url)
        yield from many_steps(chromium, engine, url)


# -- opening -----------------------------------------------------------------------------------------------------------


def visits(chromium: Any, url: str) -> Iterator[Row]:
    """Seconds until the first picture is there, and kilobytes sent: with an empty cache, and again with a full one; and over a line."""
    with empty_page() as empty:
        (ours, again), (base, base_again) = _visited(chromium, [url, empty])
        yield compared("First visit: until a picture is there", ours[0], "s", "an empty page", base[0], "≤ 3")
        yield compared("Second visit", again[0], "s", "an empty page", base_again[0], "≤ 1")
        yield compared("First visit: sent", ours[1], "kB", "an empty page, compressed as ours", base[1], "≤ 500")
        yield compared("Second visit: sent", again[1], "kB", "an empty page", base_again[1])
        with slow_line(url, LINE_MS) as far, slow_line(empty, LINE_MS) as far_empty:
            (ours, again), (base, base_again) = _visited(chromium, [far, far_empty])
        yield compared(f"First visit, {LINE_MS} ms of round trip", ours[0], "s", "an empty page", base[0])
        yield compared(f"Second visit, {LINE_MS} ms of round trip", again[0], "s", "an empty page", base_again[0])


def _visited(chromium: Any, addresses: Sequence[str]) -> list[tuple[list[float], list[float]]]:
    """Of each address the medians of what `visit` says, the first time and the second, by turns."""
    found: list[tuple[list[tuple[float, float]], list[tuple[float, float]]]] = [([], []) for _ in addresses]
    for _ in range(VISITS):
        for address, (cold, warm) in zip(addresses, found, strict=True):
            with chromium.new_context(viewport={"width": 1440, "height": 900}) as context:
                cold.append(visit(context, address))
                warm.append(visit(context, address))
    return [(_medians(cold), _medians(warm)) for cold, warm in found]


def _medians(rows: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.median(each) for each in zip(*rows, strict=True)]


def visit(context: Any, url: str) -> tuple[float, float]:
    """Seconds until a panel shows a picture, and kB sent till then."""
    page, sizes = context.new_page(), [0.0]
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    network.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    since = time.perf_counter()
    page.goto(url)
    page.wait_for_function("Object.values(window.playground?.panels || {}).some((panel) => panel.bitmap)", polling="raf")
    taken = time.perf_counter() - since
    page.close()
    return taken, sum(sizes) / 1000


# -- dragging ----------------------------------------------------------------------------------------------------------


def drags(chromium: Any, engine: Engine, url: str, empty: str) -> Iterator[Row]:
    """Input to pixels for one event at a time, and frames a second, over loopback and over a line with a round trip."""
    constant = chromium.new_page(viewport={"width": 1440, "height": 900})
    constant.goto(empty)
    constant.wait_for_function("window.playground?.panels['empty']?.bitmap")
    for words, task, knobs, knob, target in DRAGS:
        request = Request.build(CARD, task, **knobs)
        bare = by_turns(lambda asked=request: engine.run(asked))[0]
        with at(chromium, f"{url}?{request.to_query()}", f"vae-{task}") as page:
            mine: list[float] = []
            base: list[float] = []
            for _ in range(2):  # by turns
                mine += page.evaluate(MEASURE, [f"vae-{task}", knob, EVENTS // 2, None])
                base += constant.evaluate(MEASURE, ["empty", "knob", EVENTS // 2, None])
            rate = page.evaluate(MEASURE, [f"vae-{task}", knob, 2 * EVENTS, 1000 / 60])[0]
        base_ms = statistics.median(base)
        yield compared(f"Drag, {words}: median", statistics.median(mine), "ms", "a constant picture", base_ms, f"≤ {target}")
        yield compared(f"Drag, {words}: 95 % under", statistics.quantiles(mine, n=20)[-1], "ms", "the engine alone", bare, "≤ 60")
        yield Row(f"Drag, {words}: frames", rate, "a second", target="≥ 40")
    constant.close()
    request = Request.build(CARD, "sample", num_samples=1)
    with slow_line(url, LINE_MS) as far, at(chromium, f"{far}?{request.to_query()}", "vae-sample") as page:
        times = page.evaluate(MEASURE, ["vae-sample", "temperature", EVENTS // 4, None])
        rate, lost = page.evaluate(MEASURE, ["vae-sample", "temperature", 2 * EVENTS, 1000 / 60])
        yield Row(f"Drag, 1 picture, {LINE_MS} ms of round trip: median", statistics.median(times), "ms")
        yield Row(f"Drag, 1 picture, {LINE_MS} ms of round trip: frames", rate, "a second", target="≥ 40")
        yield Row("Last value lost", lost, "times", target="0")


@contextmanager
def at(chromium: Any, url: str, panel: str) -> Iterator[Page]:
    """A tab whose panel has settled."""
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    page.goto(url)
    page.wait_for_function(f"window.playground?.panels['{panel}']?.kept?.about.progress === 1")
    page.wait_for_timeout(1000)
    yield page
    page.close()


def scrubbing(chromium: Any, url: str) -> Row:
    """Requests while a strip is scrubbed from end to end."""
    with at(chromium, f"{url}?{Request.build(CARD, 'traverse').to_query()}", "vae-traverse") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        ms = page.evaluate(SCRUB, "vae-traverse")
        return Row(f"Scrubbing ({ms:.1f} ms a frame): requests", len(asked), "", target="0")


# -- many steps --------------------------------------------------------------------------------------------------------


def many_steps(chromium: Any, engine: Engine, url: str) -> Iterator[Row]:
    """Sixteen pictures in twenty steps: the first preview, the whole run, what its previews take of it, and Stop."""
    request = Request.build(MANY_STEPS, "sample", num_samples=16, num_inference_steps=STEPS)
    bare = by_turns(lambda: engine.run(request))[0]
    with at(chromium, f"{url}?{request.to_query()}", "diffusion-sample") as page:
        firsts, wholes, blind, stops = [], [], [], []
        for _ in range(5):  # by turns
            first, whole = page.evaluate(RUN, "diffusion-sample")
            firsts.append(first)
            wholes.append(whole)
            with mock.patch.object(panels, "PREVIEWS_PER_SECOND", 1e-3):  # the first and the last
                blind.append(page.evaluate(RUN, "diffusion-sample")[1])
        for _ in range(5):
            stops.append(stopped(page, engine))
    bare_again = by_turns(lambda: engine.run(request))[0]
    base = (bare + bare_again) / 2
    yield compared(f"16 pictures, {STEPS} steps: first preview", statistics.median(firsts), "ms", "one step", base / STEPS, "≤ 300")
    whole_ms = statistics.median(wholes)
    yield compared(f"16 pictures, {STEPS} steps: all of it, seen", whole_ms, "ms", "the engine alone", base)
    yield Row("Previews, a step", (whole_ms - statistics.median(blind)) / STEPS, "ms", target="≤ 10")
    yield compared("Stop, until nothing runs", statistics.median(stops), "ms", "one step", base / STEPS, "≤ a step and 100 ms")


RUN = """async (panel) => { // from the click to the first changed pixels, and to the kept answer
  const shown = window.playground.panels[panel], show = shown.show.bind(shown);
  let first = null, since = performance.now(), drawn = () => {};
  shown.show = (bitmap, about) => { show(bitmap, about); drawn(about); };
  const whole = new Promise((done) => { drawn = (about) => requestAnimationFrame(() => {
    first ??= performance.now() - since;
    if (about.progress >= 1) done(performance.now() - since);
  }); });
  document.querySelector(`#${panel}-random`).click();
  const taken = await whole;
  shown.show = show;
  await new Promise((done) => setTimeout(done, 600));
  return [first, taken];
}"""


def stopped(page: Page, engine: Engine) -> float:
    """Milliseconds from the click on Stop in the middle of a run until the engine has nothing in use."""
    page.click("#diffusion-sample-random")
    page.wait_for_function(
        "window.playground.panels['diffusion-sample'].about.progress < 0.9 && !window.playground.panels['diffusion-sample'].dirty"
    )
    page.evaluate("document.querySelector('#diffusion-sample-stop').click()")
    since = time.perf_counter()
    while engine.in_use() and time.perf_counter() - since < 30:
        time.sleep(0.001)
    taken = 1000 * (time.perf_counter() - since)
    page.wait_for_timeout(600)
    return taken
