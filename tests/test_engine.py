"""The engine: what stays loaded, what goes, and what it says when something is missing."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from playground.cards import Card, bundled_cards
from playground.engine import Engine, _Seat, why
from playground.errors import BadKnob, BadWeights, NotCapable, UnknownCard
from playground.families import FAMILIES
from playground.families.base import Step
from playground.families.vae import VAE
from playground.knobs import Knobs
from playground.latent import Noise
from playground.request import Request
from playground.settings import PROJECT, Settings
from playground.tasks import TASKS
from tests.tiny import TinyEngine

MIB = 2**20
VAE_CARD = "vae-fashion-28"


class Heavy(VAE):
    """A tiny VAE that says it weighs ten MiB, in as many steps as there are pictures."""

    size = 10 * MIB

    def bytes(self) -> int:
        return self.size


class HeavyEngine(TinyEngine):
    """Cards a, b, c … of ten MiB each; `loads` counts how often each was loaded."""

    def __init__(self, memory_mb: int) -> None:
        super().__init__(memory_mb=memory_mb, batch_size=1)
        self.cards = {f"card-{name}": Card(f"card-{name}", "vae", name, {"model.safetensors": "0" * 64}) for name in "abcd"}
        self.loads: list[str] = []

    def _load(self, card: Card) -> _Seat:
        self.loads.append(card.id[-1])
        return _Seat(Heavy.tiny(), "0" * 64)

    def ask(self, name: str) -> Request:
        return Request.build(f"card-{name}", "sample", cards=self.cards, num_samples=3)


def test_a_model_is_loaded_once_and_when_first_asked_for() -> None:
    engine = HeavyEngine(100)
    assert engine.num_loaded() == 0
    for _ in range(3):
        engine.run(engine.ask("a"))
    assert engine.loads == ["a"] and engine.num_loaded() == 1


def test_the_least_recently_used_goes_first() -> None:
    engine = HeavyEngine(25)
    for name in "abac":
        engine.run(engine.ask(name))
    assert engine.resident_bytes() == 20 * MIB
    engine.run(engine.ask("a"))
    assert engine.loads == ["a", "b", "c"]
    engine.run(engine.ask("b"))
    assert engine.loads == ["a", "b", "c", "b"]


def test_a_running_model_is_never_let_go() -> None:
    engine = HeavyEngine(16)
    stream = engine.stream(engine.ask("a"))
    next(stream)
    for name in "bcd":
        engine.run(engine.ask(name))
    assert engine.in_use() == 1
    *_, last = stream
    assert last.sheet.progress == 1 and engine.in_use() == 0
    engine.run(engine.ask("a"))
    assert engine.loads.count("a") == 1 or engine.resident_bytes() <= 16 * MIB
    assert engine.resident_bytes() <= 16 * MIB


def test_one_model_larger_than_the_budget_still_runs() -> None:
    engine = HeavyEngine(16)
    Heavy.size, before = 64 * MIB, Heavy.size
    try:
        assert engine.run(engine.ask("a")).sheet.progress == 1
    finally:
        Heavy.size = before


def test_many_threads_load_once_and_get_their_own_answers() -> None:
    engine = HeavyEngine(100)
    gate = threading.Barrier(8)

    def ask(seed: int) -> np.ndarray:
        gate.wait()
        return engine.run(Request.build("card-a", "sample", cards=engine.cards, num_samples=1, seed=seed)).pictures

    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(ask, range(8)))
    assert engine.loads == ["a"] and engine.in_use() == 0
    for seed, made in enumerate(pictures):
        lone = engine.run(Request.build("card-a", "sample", cards=engine.cards, num_samples=1, seed=seed)).pictures
        assert np.array_equal(made, lone)


def test_a_failing_load_leaves_nothing_behind() -> None:
    engine = HeavyEngine(100)
    engine._load = lambda card: (_ for _ in ()).throw(BadWeights("It is broken.", "Mend it."))  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(BadWeights):
            engine.run(engine.ask("a"))
    assert engine.num_loaded() == 0 and engine.in_use() == 0


def test_a_failing_step_frees_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = HeavyEngine(100)

    def broken(self: VAE, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Heavy, "decode", broken)
    with pytest.raises(RuntimeError):
        engine.run(engine.ask("a"))
    assert engine.in_use() == 0


def test_no_gradients_are_kept() -> None:
    engine = TinyEngine()
    for parameter in engine.model("vae-tiny-28").network.parameters():  # type: ignore[attr-defined]
        assert parameter.grad is None
    engine.run(Request.build("vae-tiny-28", "sample", cards=engine.cards))
    assert not torch.is_inference_mode_enabled()


def test_times_are_taken() -> None:
    engine = HeavyEngine(100)
    timing = engine.run(engine.ask("a")).timing
    assert timing.load_ms >= 0 and timing.run_ms > 0


def test_unknown_device_and_card_say_so() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(BadKnob, match="cuda"):
            Engine(Settings(device="cuda"))
    engine = TinyEngine()
    with pytest.raises(UnknownCard, match=r"no-such.*vae-tiny-28"):
        engine.model("no-such")


def test_a_family_without_the_capability_says_so_in_words() -> None:
    with pytest.raises(NotCapable, match="cannot say how sure it is of a latent"):
        TASKS["inside"].check(FAMILIES["ae"])


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A copy of the bundled weights to damage."""
    shutil.copytree(PROJECT / "weights", tmp_path / "weights")
    bundled_cards.cache_clear()
    return tmp_path / "weights"


def test_a_flipped_byte_is_named(weights: Path) -> None:
    file = weights / VAE_CARD / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    engine = Engine(Settings(weights_dir=weights, hub="off"))
    with pytest.raises(BadWeights, match=r"model\.safetensors is damaged.*Restore it"):
        engine.run(Request.build(VAE_CARD, "sample", cards=engine.cards))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "codes.safetensors"])
def test_a_missing_file_is_named(weights: Path, name: str) -> None:
    (weights / VAE_CARD / name).unlink()
    engine = Engine(Settings(weights_dir=weights, hub="off"))
    with pytest.raises(BadWeights, match=name):
        engine.run(Request.build(VAE_CARD, "sample", cards=engine.cards))


def test_a_missing_folder_leaves_an_engine_that_says_why(tmp_path: Path) -> None:
    engine = Engine(Settings(weights_dir=tmp_path / "nowhere"))
    assert not engine.cards and "cannot be read" in str(engine.problem)


def test_unforeseen_errors_show_no_traceback() -> None:
    assert "Traceback" not in why(RuntimeError("secret")) and "secret" not in why(RuntimeError("secret"))
