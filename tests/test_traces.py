"""Passes traced on the CPU: the same bit for bit, made aside, and never where they would say something else."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from playground.engine import Engine
from playground.families import FAMILIES
from playground.families.base import Model
from playground.latent import Noise
from playground.passes import Passes
from playground.recordings import Recordings
from playground.request import Request
from playground.settings import Settings
from playground.traces import MOST_OPERATIONS, RUNS, SHORT, Tracer


class Patient(Tracer):
    """Thinks every pass short, for machines that are busy."""

    def is_worth_it(self, runs: int, seconds: float) -> bool:
        return super().is_worth_it(runs, 0.0)


class Net(nn.Module):
    """A few layers, and how often Python led through them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 2)).requires_grad_(False)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.layers(x)  # type: ignore[no-any-return]

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layers(x), x.sum(dim=1)

    def with_its_mean(self, x: Tensor) -> Tensor:
        """Reads a number on the way: a trace takes it for a constant."""
        return x * float(x.mean())

    def at_length(self, x: Tensor) -> Tensor:
        for _ in range(MOST_OPERATIONS + 1):
            x = x + 1
        return x

    def told_nothing(self, x: Tensor) -> tuple[Tensor, None]:
        return self.layers(x), None


def ran(recordings: Recordings, function: Any, count: int, times: int = RUNS + 3) -> None:
    """Runs it on new rows each time and compares; the recording is ready after the first run that is worth it."""
    with torch.inference_mode():
        for seed in range(times):
            x = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
            said, expected = recordings.run(function, (x,)), function(x)
            for one, other in zip(*((each,) if isinstance(each, Tensor) else each for each in (said, expected)), strict=True):
                assert one is other is None or torch.equal(one, other)
            recordings.settle()


def test_a_pass_that_comes_again_is_traced_and_then_python_has_nothing_to_do() -> None:
    recordings, net = Recordings([Patient()]), Net()
    ran(recordings, net, 4)
    assert len(recordings) == 1
    before = net.calls
    with torch.inference_mode():
        recordings.run(net, (torch.zeros(4, 3),))
    assert net.calls == before


def test_each_number_of_rows_has_its_own_trace_and_answers_of_parts_will_do() -> None:
    recordings, net = Recordings([Patient()]), Net()
    for count in (1, 2, 16):
        ran(recordings, net.parts, count)
    assert len(recordings) == 3


@pytest.mark.parametrize("function", ["with_its_mean", "told_nothing", "at_length"])
def test_what_a_trace_would_say_otherwise_or_at_length_runs_as_it_is_and_is_not_tried_again(function: str) -> None:
    recordings, net = Recordings([Patient()]), Net()
    for count in (4, 5):
        ran(recordings, getattr(net, function), count)
    assert len(recordings) == 0 and len(recordings._refused) == 1


def test_passes_go_on_while_one_is_traced() -> None:
    begun, may_end = threading.Event(), threading.Event()

    class Slow(Patient):
        def record(self, function: Any, rows: Any) -> Any:
            begun.set()
            assert may_end.wait(30)
            return super().record(function, rows)

    recordings, net, x = Recordings([Slow()]), Net(), torch.ones(1, 3)
    with torch.inference_mode():
        for _ in range(RUNS + 1):
            recordings.run(net, (x,))
        assert begun.wait(30)
        assert torch.equal(recordings.run(net, (x,)), net(x)) and len(recordings) == 0
        may_end.set()
        recordings.settle()
        assert torch.equal(recordings.run(net, (x,)), net(x)) and len(recordings) == 1


def test_a_trace_keeps_no_model_alive_and_goes_with_it() -> None:
    recordings, net, numbers = Recordings([Patient()]), Net(), np.ones((8, 3), np.float32)
    net.layers[0].weight = nn.Parameter(torch.from_numpy(numbers), requires_grad=False)
    ran(recordings, net, 2)
    assert len(recordings) == 1
    gone, its_weights = weakref.ref(net), weakref.ref(numbers)
    del net, numbers
    gc.collect()
    assert gone() is None and len(recordings) == 0 and its_weights() is None


def test_only_short_passes_on_the_cpu_that_come_again_are_worth_it() -> None:
    tracer = Tracer()
    assert tracer.suits(torch.device("cpu")) and not tracer.suits(torch.device("cuda"))
    assert tracer.is_worth_it(RUNS, SHORT / 2)
    assert not tracer.is_worth_it(RUNS, SHORT) and not tracer.is_worth_it(RUNS - 1, SHORT / 2)


@pytest.mark.parametrize("family", FAMILIES.values())
def test_every_family_is_traced_and_makes_the_same_pictures(family: type[Model]) -> None:
    model, recordings = family.tiny(), Recordings([Patient()])
    params = model.Params()
    for count in (1, 3):
        noise = Noise(range(count))
        with torch.inference_mode():
            model.together = lambda function, *rows: function(*rows)
            *_, plain = model.decode(model.draw(params, noise), params, noise)
            model.together = Passes(execute=recordings.run).run
            for _ in range(RUNS + 3):
                *_, traced = model.decode(model.draw(params, noise), params, noise)
                recordings.settle()
                assert torch.equal(traced.x, plain.x)
    assert len(recordings) >= 2 or not recordings._runs


def test_an_engine_draws_the_same_with_traces_and_without() -> None:
    with_them, without = (Engine(Settings(hub="off", recordings=most)) for most in (32, 0))
    with_them.recordings.recorders = (Patient(),)
    for card in ("vae-fashion-28", "gan-fashion-28", "glow-fashion-28"):
        request = Request.build(card, "sample", num_samples=2, seed=5)
        for _ in range(RUNS + 2):
            made = with_them.run(request)
            with_them.recordings.settle()
        assert (made.pictures == without.run(request).pictures).all()
    assert len(with_them.recordings) >= 3 and len(without.recordings) == 0


@pytest.mark.parametrize(
    ("card", "knob", "values"), [("ae-fashion-28", "code_size", (32, 8)), ("ddpm-fashion-28", "label", ("7", "2", "none"))]
)
def test_a_trace_takes_no_knob_for_a_constant(card: str, knob: str, values: tuple[Any, ...]) -> None:
    with_them, without = (Engine(Settings(hub="off", recordings=most)) for most in (32, 0))
    with_them.recordings.recorders = (Patient(),)
    more: dict[str, Any] = {"num_inference_steps": RUNS + 2} if card.startswith("ddpm") else {}
    for value in values:
        request = Request.build(card, "sample", num_samples=1, **more, **{knob: value})
        for _ in range(RUNS + 2):
            made = with_them.run(request)
            with_them.recordings.settle()
        assert (made.pictures == without.run(request).pictures).all()
    assert len(with_them.recordings) >= 1
