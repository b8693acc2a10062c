"""`make bench`: how fast the page answers a finger, and the engine a request. Prints a table; timings are of this machine, now.

Input to pixels: from the `input` event on a slider (or a pointer move on the map) to the frame after the canvas was drawn, in
Chromium, over loopback, one event at a time. Frames while dragging: events at 60 a second, drawn frames counted.
"""

from __future__ import annotations

import datetime
import platform
import shutil
import statistics
import time
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from playground.device import device_words
from playground.engine import Engine
from playground.request import Request
from playground.settings import Settings
from playground.ui import build, launch

CARD = "vae-fashion-28"
EVENTS = 60
SLIDERS = {
    "Sample, 16 pictures": ("sample", {"num_samples": 16}, "temperature"),
    "Sample, 1 picture": ("sample", {"num_samples": 1}, "temperature"),
    "Sample, 64 pictures": ("sample", {"num_samples": 64}, "temperature"),
    "Traverse, 15 frames": ("traverse", {}, "span"),
    "Reconstruct, 5 draws": ("reconstruct", {}, "num_samples"),
    "Map": ("map", {}, "x"),
}
ENGINE: dict[str, dict[str, Any]] = {
    "sample": {"num_samples": 16},
    "traverse": {},
    "interpolate": {"ends": ["seed:1", "seed:2", "seed:3", "seed:4"]},
    "reconstruct": {},
    "inside": {},
    "map": {},
}

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
  }
  shown.show = show;
  return times;
}"""


def main() -> None:
    """Runs both halves and prints them."""
    engine = Engine(Settings(hub="off", port=0))
    print(f"{datetime.date.today()}, {device_words(engine.device)}, Python {platform.python_version()}\n")
    print("| Engine, one request | median ms |\n|---|---|")
    for task, knobs in ENGINE.items():
        print(f"| {task} | {engine_ms(engine, task, knobs):.1f} |")
    page = build(engine)
    _, url, _ = launch(page, engine, prevent_thread_lock=True, quiet=True)
    print("\n| Input to pixels, in Chromium | median ms | 90 % under | frames/s while dragging |\n|---|---|---|---|")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for words, (task, knobs, knob) in SLIDERS.items():
            times, rate = slider_ms(browser, url, task, knobs, knob)
            high = statistics.quantiles(times, n=10)[-1]
            print(f"| {words} | {statistics.median(times):.0f} | {high:.0f} | {rate:.0f} |")
        browser.close()
    page.close(verbose=False)


def engine_ms(engine: Engine, task: str, knobs: dict[str, Any]) -> float:
    """Median milliseconds of a request on the loaded model."""
    request, times = Request.build(CARD, task, **knobs), []
    engine.run(request)
    for _ in range(20):
        started = time.perf_counter()
        engine.run(request)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def slider_ms(browser: Browser, url: str, task: str, knobs: dict[str, Any], knob: str) -> tuple[list[float], float]:
    """Milliseconds of each event, and frames a second while events come at 60 a second."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(f"{url}?{Request.build(CARD, task, **knobs).to_query()}")
    panel = f"vae-{task}"
    page.wait_for_function(f"window.playground?.panels['{panel}']?.kept")
    page.wait_for_timeout(1000)
    times = page.evaluate(MEASURE, [panel, knob, EVENTS, None])
    (rate,) = page.evaluate(MEASURE, [panel, knob, 2 * EVENTS, 1000 / 60])
    page.close()
    return times, rate


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    main()
