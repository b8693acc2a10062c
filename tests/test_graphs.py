"""CUDA graphs without CUDA: a recorder that, like a graph, knows nothing but the tensors that it was recorded with."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from playground.families import FAMILIES
from playground.families.base import Model
from playground.graphs import CudaRecorder
from playground.latent import Noise
from playground.passes import Passes
from playground.recordings import Recordings


class Tape(CudaRecorder):
    """Records on the CPU: a replay computes on the recorded tensors and writes into the recorded answer."""

    def __init__(self, refuses: bool = False) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.replays, self.refuses = 0, refuses

    def suits(self, device: torch.device) -> bool:
        return True

    def capture(self, function: Any, rows: Sequence[Tensor]) -> tuple[Callable[[], None], Any]:
        self.sizes.append(len(rows[0]))
        if self.refuses:
            raise RuntimeError("operation not permitted when stream is capturing")
        answer = function(*rows)
        kernels = getattr(function, "__func__", None) or type(function).__call__
        weights = dict(vars(getattr(function, "__self__", function)))  # a graph keeps no object alive, only where its numbers lie

        def replay() -> None:
            self.replays += 1
            made = kernels(_Ghost(weights), *rows)
            for old, new in zip(*((each,) if isinstance(each, Tensor) else each for each in (answer, made)), strict=True):
                if old is not None:
                    old.copy_(new)

        del function
        return replay, answer


class _Ghost:
    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


class Net:
    """A function of rows, and how often Python ran it."""

    def __init__(self, factor: float = 2.0) -> None:
        self.factor, self.calls = factor, [0]

    def twice(self, x: Tensor, y: Tensor) -> Tensor:
        self.calls[0] += 1
        return self.factor * x + y

    def both(self, x: Tensor) -> tuple[Tensor, None]:
        return self.factor * x, None


def rows(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, generator=generator), torch.randn(count, 3, generator=generator)


@pytest.fixture
def tape() -> Tape:
    return Tape()


def test_the_second_pass_of_a_kind_is_recorded_and_later_ones_are_replayed(tape: Tape):
    graphs, net = Recordings([tape]), Net()
    answers = []
    for seed in range(5):
        x, y = rows(4, seed)
        answers.append((graphs.run(net.twice, (x, y)), 2 * x + y))
    for answer, expected in answers:  # looked at afterwards: no replay wrote over an earlier answer
        assert torch.equal(answer, expected)
    assert tape.sizes == [4] and tape.replays == 4


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_rows_are_filled_up_to_a_power_of_two(tape: Tape, count: int):
    graphs, net = Recordings([tape]), Net()
    for seed in range(4):
        x, y = rows(count, seed)
        assert torch.equal(graphs.run(net.twice, (x, y)), 2 * x + y)
    assert tape.sizes == [1 << (count - 1).bit_length()]


def test_one_recording_serves_all_counts_up_to_its_size(tape: Tape):
    graphs, net = Recordings([tape]), Net()
    for count in (8, 7, 6, 5, 8):
        x, y = rows(count, count)
        assert torch.equal(graphs.run(net.twice, (x, y)), 2 * x + y)
    assert tape.sizes == [8]


def test_answers_of_several_parts_come_back_as_they_are(tape: Tape):
    graphs, net = Recordings([tape]), Net()
    for seed in range(3):
        x, _ = rows(3, seed)
        first, second = graphs.run(net.both, (x,))
        assert torch.equal(first, 2 * x) and second is None


def test_what_cannot_be_recorded_runs_as_it_is_and_is_not_tried_again():
    tape = Tape(refuses=True)
    graphs, net = Recordings([tape]), Net()
    for count in (4, 4, 4, 8, 8, 8):
        x, y = rows(count, count)
        assert torch.equal(graphs.run(net.twice, (x, y)), 2 * x + y)
    assert tape.sizes == [4] and len(graphs) == 0


def test_an_error_of_the_function_itself_is_told(tape: Tape):
    def broken(x: Tensor) -> Tensor:
        raise ValueError("its own")

    graphs = Recordings([tape])
    for _ in range(3):
        with pytest.raises(ValueError, match="its own"):
            graphs.run(broken, (torch.zeros(2, 1),))


def test_the_least_recently_used_recording_goes(tape: Tape):
    graphs, nets = Recordings([tape], most=2), [Net(1.0), Net(2.0), Net(3.0)]
    x, y = rows(2, 0)
    for net in (nets[0], nets[0], nets[1], nets[1], nets[0], nets[2], nets[2]):
        graphs.run(net.twice, (x, y))
    assert len(graphs) == 2 and tape.sizes == [2, 2, 2]
    graphs.run(nets[0].twice, (x, y))
    assert len(tape.sizes) == 3  # it was used later than the second, which is gone
    graphs.run(nets[1].twice, (x, y))
    assert len(tape.sizes) == 4


def test_a_recording_keeps_no_model_alive_and_goes_with_it(tape: Tape):
    graphs, net = Recordings([tape]), Net()
    for _ in range(3):
        graphs.run(net.twice, rows(2, 0))
    assert len(graphs) == 1
    del net
    gc.collect()
    assert len(graphs) == 0
    assert not graphs._owners and not graphs._runs


def test_two_objects_of_a_kind_are_two(tape: Tape):
    graphs, one, other = Recordings([tape]), Net(1.0), Net(5.0)
    x, y = rows(2, 0)
    for _ in range(3):
        assert torch.equal(graphs.run(one.twice, (x, y)), x + y)
        assert torch.equal(graphs.run(other.twice, (x, y)), 5 * x + y)


def test_nothing_is_recorded_where_there_is_no_cuda_or_none_are_wanted(tape: Tape):
    net, (x, y) = Net(), rows(2, 0)
    for graphs in (Recordings([CudaRecorder()]), Recordings([tape], most=0)):
        for _ in range(3):
            assert torch.equal(graphs.run(net.twice, (x, y)), 2 * x + y)
    assert net.calls == [6] and not tape.sizes
    assert CudaRecorder().suits(torch.device("cuda")) and not CudaRecorder().suits(torch.device("cpu"))


class Again(CudaRecorder):
    """Records by calling the function again: what every function of rows must survive, whatever it is made of."""

    def suits(self, device: torch.device) -> bool:
        return True

    def capture(self, function: Any, rows: Sequence[Tensor]) -> tuple[Callable[[], None], Any]:
        answer = function(*rows)

        def replay() -> None:
            for old, new in zip(*((each,) if isinstance(each, Tensor) else each for each in (answer, function(*rows))), strict=True):
                if old is not None:
                    old.copy_(new)

        return replay, answer


@pytest.mark.parametrize("family", FAMILIES.values())
def test_every_family_makes_the_same_pictures_by_recordings(family: type[Model]):
    model, noise = family.tiny(), Noise([5, 6, 7])
    params = model.Params()
    with torch.inference_mode():
        *_, plain = model.decode(model.draw(params, noise), params, noise)
        graphs = Recordings([Again()])
        model.together = Passes(execute=graphs.run).run
        for _ in range(3):
            *_, recorded = model.decode(model.draw(params, noise), params, noise)
            torch.testing.assert_close(recorded.x, plain.x, atol=1e-5, rtol=0)
    assert len(graphs) > 0


def test_a_network_itself_can_be_recorded():
    graphs, net = Recordings([Again()]), nn.Linear(3, 2)
    with torch.inference_mode():
        for seed in range(3):
            x, _ = rows(3, seed)
            torch.testing.assert_close(graphs.run(net, (x,)), net(x))
    assert len(graphs) == 1
