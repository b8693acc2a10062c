"""`python -m playground sample`: files with recipes, or one array; mistakes end in a sentence and status 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from playground.__main__ import main
from playground.engine import Engine
from playground.images import png_text
from playground.request import Request
from playground.result import TEXT_KEY
from playground.settings import Settings

CARD = "vae-fashion-28"


def test_pngs_bring_themselves_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sample", CARD, "--num-samples", "3", "--seed", "20", "--temperature", "0.8", "--out", str(tmp_path)]
    assert main(arguments) == 0
    files = [Path(line) for line in capsys.readouterr().out.split()]
    assert len(files) == 3 and all(file.is_file() for file in files)
    engine = Engine(Settings(hub="off", device="cpu"))
    for file in files:
        request = Request.from_query(png_text(file.read_bytes())[TEXT_KEY])
        with Image.open(file) as image:
            difference = np.asarray(image, dtype=int) - engine.run(request).pictures[0, ..., 0]
        assert np.abs(difference).max() <= 1  # alone and in a batch, sums are taken in another order


def test_an_array_of_more_than_one_request(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "pictures.npz"
    assert main(["sample", CARD, "--num-samples=70", "--seed=5", "--out", str(out)]) == 0
    images = np.load(out)["images"]
    assert images.shape == (70, 28, 28, 1) and images.dtype == np.uint8
    lone = Engine(Settings(hub="off", device="cpu")).run(Request.build(CARD, "sample", num_samples=1, seed=74)).pictures[0]
    assert np.abs(images[69].astype(int) - lone).max() <= 1


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--temperature", "7"], "from 0 to 2"),
        (["--wobble", "1"], "no knob called 'wobble'"),
        (["--num-samples", "0"], "--num-samples cannot be '0'"),
        (["--num-samples", "many"], "whole number from 1 to 1000000"),
        (["--num-samples", "9" * 5000], "whole number"),
        (["--out", "/dev/null/pictures"], "/dev/null/pictures cannot be written (Not a directory)"),
        (["--out", "/dev/null/pictures.npz"], "pictures.npz cannot be written"),
        (["--seed", "-3"], "--seed cannot be"),
        (["--temperature"], "not an option with a value"),
        (["stray"], "not an option with a value"),
    ],
)
def test_mistakes_end_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], words: str) -> None:
    assert main(["sample", CARD, "--out", str(tmp_path), *extra]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and "Traceback" not in error


def test_an_unknown_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "gone-card-1", "--out", str(tmp_path)]) == 2
    assert "There is no card called 'gone-card-1'" in capsys.readouterr().err


def test_a_missing_weights_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYGROUND_WEIGHTS_DIR", str(tmp_path / "nowhere"))
    assert main(["sample", CARD, "--out", str(tmp_path)]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_bad_setting(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYGROUND_PORT", "a lot")
    assert main(["serve"]) == 2
    assert "PLAYGROUND_PORT='a lot'" in capsys.readouterr().err
