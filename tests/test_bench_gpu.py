"""The benchmark of a graphics card, on the CPU: what it does is the same, only its figures mean nothing there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from playground.families.base import alone
from playground.families.flow import NormalizingFlow
from playground.families.vae import VAE
from tools.bench import gpu
from tools.bench.timing import by_turns


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "seconds_of", lambda work, device, least=0.0: work() is None or 0.5)


def test_without_cuda_it_says_so_and_measures_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main()
    assert capsys.readouterr().out.strip() == gpu.NO_CUDA
    assert [*gpu.rows()] == []


@pytest.mark.parametrize("family", [VAE, NormalizingFlow])
def test_a_family_is_measured_and_left_as_it_was(family: Any):
    model = family.tiny()
    rows = [*gpu.family_rows(model, "tiny", {"TF32": 1e9, "bf16": 1e9}, counts=(1, 3))]
    assert [row.value for row in rows[::2]] == [2, 6]  # pictures in half a second
    assert rows[3].value == pytest.approx(3 * rows[1].value) and rows[1].value > 0  # three pictures are three times the work
    assert model.together is alone


def test_diffusers_is_measured_on_the_same_weights(tmp_path: Path):
    from playground.engine import Engine
    from playground.settings import Settings

    engine = Engine(Settings(hub="off", device="cpu"))
    rows = [*gpu.diffusers_rows(engine, counts=(1,), steps=1, widths=(32, 32, 32, 32))]
    assert [row.ratio for row in rows] == [1, 1]
    assert "our U-Net" in rows[0].name and "ddpm-cifar10-32" in rows[1].name


def test_ways_are_measured_by_turns():
    order: list[str] = []
    times = by_turns(lambda: order.append("a"), lambda: order.append("b"), seconds=0)
    assert len(times) == 2 and min(times) >= 0
    assert order[:6] == ["a", "b", "b", "a", "a", "b"] and order.count("a") == order.count("b") >= 6
