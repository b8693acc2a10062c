"""Many at once on one engine: everybody gets the pixels of being alone, and nothing is left behind."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from playground.errors import PlaygroundError
from playground.families import FAMILIES
from playground.request import Request
from tests.tiny import TinyEngine

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("sample", {"num_samples": 16}),
    ("sample", {"num_samples": 3}),
    ("traverse", {"start": "seed:4"}),
    ("interpolate", {"ends": ["seed:1", "seed:2"]}),
    ("decode", {"latent": "0.5*seed:1 + 0.5*seed:2"}),
]
DIFFUSION = [{"scheduler": "ddpm"}, {"scheduler": "heun", "guidance_scale": 2.5}, {"scheduler": "unipc", "label": "1"}, {"eta": 1.0}]


def mixed(engine: TinyEngine, count: int) -> list[Request]:
    """Requests of all families with many seeds and knobs."""
    found = []
    for number in range(count):
        family = [*FAMILIES][number % len(FAMILIES)]
        task, knobs = KINDS[(number // len(FAMILIES)) % len(KINDS)]
        more: dict[str, Any] = {"seed": number} if task == "sample" else {}
        more |= {"num_inference_steps": 3, **DIFFUSION[number % len(DIFFUSION)]} if family == "diffusion" else {}
        found.append(Request.build(f"{family}-tiny-28", task, cards=engine.cards, **knobs, **more))
    return found


def test_everybody_gets_the_pixels_of_being_alone() -> None:
    engine = TinyEngine()
    requests = mixed(engine, 60)
    alone = [engine.run(request).pictures for request in requests]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda pair: engine.run(pair[1], f"visitor {pair[0] % 7}").pictures, enumerate(requests)))
    for request, one, other in zip(requests, alone, together, strict=True):
        assert np.array_equal(one, other), request
    assert engine.in_use() == 0 and not engine.passes._known and not engine.passes._waiting


def held() -> tuple[int, int, int]:
    """Tensors, threads and open files of this process."""
    gc.collect()
    tensors = sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())
    return tensors, threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


def test_hundreds_of_requests_leave_nothing_behind() -> None:
    """Finished ones, refused ones, and streams that were broken off."""
    engine = TinyEngine(max_work=1)

    def ask(number: int) -> None:
        request = requests[number % len(requests)]
        if number % 7 == 3:
            with closing(engine.stream(request)) as stream:
                next(stream)
        elif number % 7 == 5:
            with suppress(PlaygroundError):
                engine.run(Request.build("diffusion-tiny-28", "sample", cards=engine.cards, num_samples=64, num_inference_steps=100))
        else:
            engine.run(request)

    requests = mixed(engine, 25)
    for number in range(60):
        ask(number)
    before = held()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(300)))
    after = held()
    assert after[0] <= before[0] + 20 and after[1] <= before[1] and after[2] <= before[2] + 2
    assert engine.in_use() == 0 and not engine.passes._known and not engine.passes._finish
