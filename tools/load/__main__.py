"""`python -m tools.load`: 1, 10, 50 and 200 visitors; `--soak`: 5,000 requests of all kinds. Tables in Markdown, of this machine, now."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import io
import statistics

import numpy as np
from PIL import Image

from playground.device import device_words, pick_device
from tools.load.served import Served, page
from tools.load.soak import soak
from tools.load.visitors import Seen, alone, crowd

HEAD = (
    "| Visitors | seconds, to the last answer | frames/s | frame ms: median | 95 % | kept/s | kept ms: median | 95 % "
    "| diffusion ms: median | told to come back | errors | requests a pass | MiB |\n|" + "---|" * 13
)


def main() -> None:
    """Opens a page of its own and measures it."""
    parser = argparse.ArgumentParser(prog="tools.load")
    parser.add_argument("--visitors", type=int, nargs="+", default=[1, 10, 50, 200])
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each number of visitors begins something new")
    parser.add_argument("--soak", type=int, nargs="?", const=5000, help="so many requests instead")
    options = parser.parse_args()
    print(f"{datetime.date.today()}, {device_words(pick_device('auto'))}, page and visitors on the same machine\n", flush=True)
    few = {"sessions": 50} if options.soak else {}  # so that it is soon seen whether more than these stays
    with page(**few) as served:
        if options.soak:
            for line in soak(served, options.soak):
                print(line, flush=True)
            return
        print(HEAD, flush=True)
        for count in options.visitors:
            _measure(served, str(count), count, options.seconds)
        _measure(served, "10, one of them greedy", 10, options.seconds, greedy=True)


def _measure(served: Served, name: str, count: int, seconds: float, greedy: bool = False) -> None:
    before = {each: served.figure(f"playground_pass_requests_{each}") for each in ("sum", "count")}
    memory = served.memory_mib
    seen = asyncio.run(crowd(served.url, count, seconds, greedy))
    passes = {each: served.figure(f"playground_pass_requests_{each}") - before[each] for each in before}
    print(_row(name, seen, passes["sum"] / max(1.0, passes["count"]), memory, served.memory_mib), flush=True)
    for error in sorted(set(seen.errors))[:5]:
        print(f"    {seen.errors.count(error)} × {error}", flush=True)
    apart = asyncio.run(alone(served.url, dict(list(seen.pictures.items())[:50]), _apart))
    print(
        f"    {len(apart)} frames against the same alone: {sum(not each for each in apart)} equal, the others apart by up to {max(apart):g}"
    )


def _row(name: str, seen: Seen, shared: float, before: float, after: float) -> str:
    frames, kept = _times(seen.frames), _times(seen.kept)
    drawn = f"{statistics.median(seen.drawn):.0f}" if seen.drawn else "–"
    rates = [len(times) / seen.seconds for times in (seen.frames, seen.kept)]
    return (
        f"| {name} | {seen.seconds:.0f} | {rates[0]:.0f} | {frames} | {rates[1]:.1f} | {kept} | {drawn} | {seen.busy} "
        f"| {len(seen.errors)} | {shared:.2f} | {before:.0f} → {after:.0f} |"
    )


def _times(times: list[float]) -> str:
    if len(times) < 2:
        return "– | –"
    return f"{statistics.median(times):.0f} | {statistics.quantiles(times, n=20)[-1]:.0f}"


def _apart(one: bytes, other: bytes) -> float:
    """The largest difference of two pictures, in grey levels."""
    a, b = (np.asarray(Image.open(io.BytesIO(body))).astype(int) for body in (one, other))
    return float(np.abs(a - b).max())


if __name__ == "__main__":
    main()
