"""The engine of a ZeroGPU Space, against a stand-in for `spaces` that forks, pickles and keeps its process as the real one does."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from playground.cards import Card
from playground.engine import _Seat
from playground.errors import TooMuch
from playground.families.base import Step
from playground.families.vae import VAE
from playground.knobs import Knobs
from playground.latent import Noise
from playground.request import Request
from playground.settings import Settings
from playground.zero import LEAST_SECONDS, MOST_SECONDS, ZeroEngine
from tests.test_meters import value
from tests.tiny import TINY_CARDS, TinyEngine

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
FORK = multiprocessing.get_context("fork")
CARD = "vae-tiny-28"


class FakeGPU:
    """`spaces.GPU`: arguments are pickled into a forked process, what it yields is pickled back; `durations` are those asked for."""

    def __init__(self) -> None:
        self.durations: list[int] = []
        self.workers: list[Any] = []

    def __call__(self, *, duration: Callable[..., int]) -> Callable[[Any], Any]:
        def decorate(task: Callable[..., Generator[Any, None, None]]) -> Callable[..., Generator[Any, None, None]]:
            def lent(*args: Any) -> Generator[Any, None, None]:
                self.durations.append(duration(*args))
                worker = self.workers[0] if self.workers and self.workers[0][0].is_alive() else self.start(task)
                _, asked, answers, stop = worker
                asked.put(pickle.dumps(args))
                while True:
                    kind, body = answers.get(timeout=60)
                    if kind == "end":
                        return
                    if kind == "error":
                        raise RuntimeError(body)
                    try:
                        yield pickle.loads(body)
                    except GeneratorExit:
                        stop.set()
                        while answers.get(timeout=60)[0] != "end":
                            pass
                        raise

            return lent

        return decorate

    def start(self, task: Callable[..., Generator[Any, None, None]]) -> Any:
        asked, answers, stop = FORK.SimpleQueue(), FORK.Queue(), FORK.Event()
        process = FORK.Process(target=_serve, args=(task, asked, answers, stop), daemon=True)
        process.start()
        self.workers.insert(0, (process, asked, answers, stop))
        return self.workers[0]


def _serve(task: Callable[..., Generator[Any, None, None]], asked: Any, answers: Any, stop: Any) -> None:
    while True:
        args = pickle.loads(asked.get())
        stop.clear()

        def iterate(args: Any = args) -> None:
            try:
                steps = task(*args)
                for made in steps:
                    if stop.is_set():
                        steps.close()
                        break
                    answers.put(("ok", pickle.dumps(made)))
            except Exception as error:
                answers.put(("error", type(error).__name__))

        thread = threading.Thread(target=iterate)  # the real one runs its work in a thread of the fork
        thread.start()
        thread.join()
        answers.put(("end", None))


class TinyZero(ZeroEngine):
    """On tiny models; `loaded` says in which process each was loaded."""

    def __init__(self, gpu: FakeGPU) -> None:
        super().__init__(Settings(hub="off", device="cpu", batch_size=1), gpu, TINY_CARDS)
        self.loaded: list[int] = []

    def _load(self, card: Card) -> _Seat:
        self.loaded.append(os.getpid())
        return TinyEngine._load(self, card)  # type: ignore[arg-type]


@pytest.fixture
def gpu() -> Iterator[FakeGPU]:
    gpu = FakeGPU()
    yield gpu
    for process, *_ in gpu.workers:
        process.kill()
        process.join()


def ask(count: int = 3, card: str = CARD, **knobs: object) -> Request:
    return Request.build(card, "sample", cards=TINY_CARDS, num_samples=count, **knobs)


def test_pictures_are_those_of_an_engine_of_ones_own(gpu: FakeGPU) -> None:
    engine, alone = TinyZero(gpu), TinyEngine(batch_size=1)
    for request in (ask(), ask(2, "diffusion-tiny-28"), ask(seed=5)):
        results, own = list(engine.stream(request)), alone.run(request)
        assert np.array_equal(results[-1].pictures, own.pictures) and results[-1].sheet.latents == own.sheet.latents
    assert len(results) > 1, "previews come through too"
    assert engine.loaded == [os.getpid()] * 2, "the fork inherits what was loaded"
    assert value(engine.meters, "requests_total", family="vae", task="sample", outcome="done") == 2


def test_a_fork_kept_from_before_loads_what_it_lacks(gpu: FakeGPU) -> None:
    engine = TinyZero(gpu)
    engine.run(ask())
    assert engine.run(ask(1, "gan-tiny-28")).pictures.shape[0] == 1 and len(gpu.workers) == 1


def test_locks_that_are_held_at_the_fork_hold_nobody_up(gpu: FakeGPU) -> None:
    engine = TinyZero(gpu)
    engine.model(CARD)
    lines = engine.stream(ask())
    real, held = gpu.start, threading.Event()

    def start(task: Any) -> Any:
        with engine.passes._changed, engine._lock:  # as if another thread were in the midst of something
            held.set()
            return real(task)

    gpu.start = start  # type: ignore[method-assign]
    *_, last = lines
    assert held.is_set() and last.sheet.progress == 1


def test_a_mistake_comes_back_as_its_sentence(gpu: FakeGPU, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(self: VAE, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        raise TooMuch("That is too much.", "Ask for less.")

    monkeypatch.setattr(VAE, "decode", refusing)
    with pytest.raises(TooMuch, match=r"That is too much\. Ask for less\."):
        TinyZero(gpu).run(ask())


def test_stop_reaches_the_fork_which_goes_on_with_the_next(gpu: FakeGPU) -> None:
    engine = TinyZero(gpu)
    lines = engine.stream(ask(64))
    next(lines)
    lines.close()
    assert engine.in_use() == 0 and engine.run(ask()).sheet.progress == 1 and len(gpu.workers) == 1


def test_seconds_of_a_gpu_follow_what_was_measured_within_bounds(gpu: FakeGPU) -> None:
    engine = TinyZero(gpu)
    engine.run(ask())
    assert gpu.durations == [LEAST_SECONDS]
    engine._learn(ask(1), 1.0)
    few, many, most = (engine.duration(ask(count).to_query(), TINY_CARDS[CARD]) for count in (10, 20, 64))
    assert LEAST_SECONDS < few < many < most == MOST_SECONDS
    assert engine.duration("nonsense", TINY_CARDS[CARD]) == LEAST_SECONDS


def test_live_frames_are_not_asked_of_a_lent_gpu(gpu: FakeGPU) -> None:
    assert TinyEngine.live and not TinyZero(gpu).live
