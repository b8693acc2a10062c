"""Fashion-MNIST as its authors publish it, and what is said when it is missing or damaged."""

from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from playground.errors import TrainingError
from playground.training.data import DEFAULT_FOLDER, FASHION_CLASSES, Split, load_fashion_mnist

PICTURES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


def idx(array: np.ndarray) -> bytes:
    """An array in the data set's own format, compressed."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), compresslevel=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test split of 10,000 made-up pictures."""
    folder = tmp_path_factory.mktemp("whole")
    rows = np.arange(10_000)
    (folder / PICTURES).write_bytes(idx(np.broadcast_to((rows % 256)[:, None, None], (10_000, 28, 28))))
    (folder / LABELS).write_bytes(idx(rows % 10))
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    return shutil.copytree(whole, tmp_path / "data")


def assert_refused(folder: Path, words: str) -> None:
    with pytest.raises(TrainingError, match=words) as caught:
        load_fashion_mnist("test", folder)
    assert "apt-get install dataset-fashion-mnist" in caught.value.remedy
    assert caught.value.what.endswith(".")


def test_the_format_is_read(whole: Path):
    split = load_fashion_mnist("test", whole)
    assert len(split) == 10_000
    assert split.pictures.shape == (10_000, 1, 28, 28)
    assert split.pictures.dtype == torch.uint8
    assert split.labels.dtype == torch.int64
    assert split.pictures[300].unique().tolist() == [300 % 256]
    assert split.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_a_missing_folder_says_how_to_get_the_data(tmp_path: Path):
    assert_refused(tmp_path / "nowhere", r"^The data set is not here: .*t10k-images-idx3-ubyte\.gz does not exist\.")


@pytest.mark.parametrize("name", [PICTURES, LABELS])
def test_a_missing_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    assert_refused(folder, name)


@pytest.mark.parametrize("name", [PICTURES, LABELS])
@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_file_that_is_cut_off_is_refused(folder: Path, name: str, kept: float):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(kept * len(data))])
    assert_refused(folder, f"{name} cannot be read")


@pytest.mark.parametrize("name", [PICTURES, LABELS])
@pytest.mark.parametrize("raw", [b"", b"\0\0\x08", b"\0\0\x08\x03\0\0", b"\0\0\x08\x03\0\0\x27\x10"])
def test_a_file_with_hardly_a_header_is_refused(folder: Path, name: str, raw: bytes):
    (folder / name).write_bytes(gzip.compress(raw))
    assert_refused(folder, name)


def test_a_file_that_is_not_compressed_is_refused(folder: Path):
    (folder / LABELS).write_bytes(b"labels of nothing")
    assert_refused(folder, f"{LABELS} cannot be read")


def test_a_flipped_byte_is_noticed(folder: Path):
    data = bytearray((folder / LABELS).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (folder / LABELS).write_bytes(data)
    assert_refused(folder, f"{LABELS} cannot be read")


@pytest.mark.parametrize("shape", [(10_000, 28, 27), (10_000, 784, 1), (9999, 28, 28), (10_001, 28, 28)])
def test_pictures_of_another_shape_or_count_are_refused(folder: Path, shape: tuple[int, ...]):
    (folder / PICTURES).write_bytes(idx(np.zeros(shape, np.uint8)))
    assert_refused(folder, rf"of shape \({', '.join(map(str, shape))}\), not \(10000, 28, 28\)")


def test_labels_of_another_count_are_refused(folder: Path):
    (folder / LABELS).write_bytes(idx(np.zeros(9_998)))
    assert_refused(folder, r"of shape \(9998,\), not \(10000,\)")


def test_fewer_bytes_than_the_header_promises_are_refused(folder: Path):
    raw = gzip.decompress((folder / PICTURES).read_bytes())
    (folder / PICTURES).write_bytes(gzip.compress(raw[:-1], compresslevel=1))
    assert_refused(folder, PICTURES)


def test_a_class_beyond_nine_is_refused(folder: Path):
    labels = np.arange(10_000) % 10
    labels[4321] = 10
    (folder / LABELS).write_bytes(idx(labels))
    assert_refused(folder, "holds a class beyond 9")


def test_a_fingerprint_tells_data_sets_apart():
    pictures, labels = torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.arange(3)
    split = Split(pictures, labels)
    other_pictures, other_labels = pictures.clone(), labels.clone()
    other_pictures[2, 0, 3, 3] = 1
    other_labels[0] = 9
    assert split.fingerprint() == Split(pictures.clone(), labels.clone()).fingerprint()
    assert len({split.fingerprint(), Split(other_pictures, labels).fingerprint(), Split(pictures, other_labels).fingerprint()}) == 3
    assert split.to(torch.device("cpu")).fingerprint() == split.fingerprint()


@pytest.mark.parametrize(("name", "count"), [("train", 60_000), ("test", 10_000)])
def test_the_real_data_set_is_whole(name: str, count: int):
    split = load_fashion_mnist(name, DEFAULT_FOLDER)
    assert split.pictures.shape == (count, 1, 28, 28)
    assert split.labels.bincount().tolist() == [count // 10] * len(FASHION_CLASSES)
    assert (split.pictures.min().item(), split.pictures.max().item()) == (0, 255)
    black = (split.pictures[:1000] == 0).float().mean().item()
    assert 0.4 < black < 0.6  # half of all pixels, which the likelihood's spike is made for
