"""The shelf of test pictures: what is saved is what is loaded, and a damaged folder says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from playground.errors import BadLatent, BadWeights
from playground.shelf import Shelf


def noise_shelf(count: int, channels: int = 1, classes: int = 3) -> Shelf:
    rng = np.random.default_rng(count)
    names = ("one", "two", "three", "four")[:classes]
    return Shelf(rng.integers(0, 256, (count, 8, 8, channels), dtype=np.uint8), np.arange(count) % classes, names)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    noise_shelf(60).save(tmp_path, source="made up", license="mit")
    return tmp_path


@pytest.mark.parametrize("count", [1, 49, 50, 51, 130])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_saved_is_loaded(tmp_path: Path, count: int, channels: int):
    shelf = noise_shelf(count, channels)
    shelf.save(tmp_path / "new" / "folder")
    loaded = Shelf.load(tmp_path / "new" / "folder")
    assert np.array_equal(loaded.pictures, shelf.pictures)
    assert np.array_equal(loaded.labels, shelf.labels)
    assert loaded.classes == shelf.classes


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_saved_small_is_loaded_nearly_the_same(tmp_path: Path, channels: int):
    even = np.linspace(0, 255, 60, dtype=np.uint8)[:, None, None, None]
    shelf = Shelf(np.broadcast_to(even, (60, 32, 32, channels)).copy(), np.zeros(60, dtype=np.int64), ("one",))
    shelf.save(tmp_path)
    shelf.save(tmp_path, quality=85)
    assert {path.name for path in tmp_path.iterdir()} == {"pictures.webp", "pictures.json"}
    loaded = Shelf.load(tmp_path)
    assert loaded.pictures.shape == shelf.pictures.shape
    assert 0 < np.abs(loaded.pictures.astype(int) - shelf.pictures).max() < 40


def test_source_and_licence_stand_beside_the_labels(folder: Path):
    words = json.loads((folder / "pictures.json").read_text())
    assert words["source"] == "made up"
    assert words["license"] == "mit"
    assert words["size"] == 8


def test_a_picture_is_found_by_its_number(folder: Path):
    shelf = Shelf.load(folder)
    for index in (0, 7, 49, 50, 59):
        assert np.array_equal(shelf.picture(index), noise_shelf(60).pictures[index])


@pytest.mark.parametrize("index", [-1, 60, 10**9])
def test_a_picture_beyond_the_shelf_is_refused(index: int):
    with pytest.raises(BadLatent, match=rf"^There is no test picture {index}\. They run from 0 to 59\.$"):
        noise_shelf(60).picture(index)


def test_the_gallery_has_a_column_for_each_class():
    shelf = noise_shelf(40, classes=4)
    rng = np.random.default_rng(1)
    mixed = Shelf(shelf.pictures, rng.permutation(shelf.labels), shelf.classes)
    gallery = mixed.gallery(rows=5)
    assert len(gallery) == 20
    assert [int(mixed.labels[index]) for index in gallery] == [0, 1, 2, 3] * 5
    for column in range(4):
        of_class = gallery[column::4]
        assert of_class == np.flatnonzero(mixed.labels == column)[:5].tolist()


def test_the_gallery_of_a_small_shelf_has_what_there_is():
    assert noise_shelf(4).gallery(rows=3) == [0, 1, 2, 3]


def test_the_tiny_shelf_is_the_same_each_time():
    first, second = Shelf.tiny(), Shelf.tiny()
    assert first.pictures.shape == (20, 28, 28, 1)
    assert np.array_equal(first.pictures, second.pictures)
    assert first.pictures.std() > 20
    assert set(first.labels.tolist()) == {0, 1, 2}


# -- damage -------------------------------------------------------------------------------------------------------------


def assert_refused(folder: Path) -> str:
    with pytest.raises(BadWeights) as caught:
        Shelf.load(folder)
    assert str(caught.value).startswith(f"The pictures in {folder} cannot be used: ")
    assert caught.value.remedy == "Restore the folder: git checkout -- weights."
    return str(caught.value)


@pytest.mark.parametrize("name", ["pictures.png", "pictures.json"])
def test_a_missing_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    assert name in assert_refused(folder)


@pytest.mark.parametrize("name", ["pictures.png", "pictures.json"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.95])
def test_a_file_that_is_cut_off_is_refused(folder: Path, name: str, share: float):
    file = folder / name
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    assert_refused(folder)


def test_damage_inside_the_sheet_is_refused(folder: Path):
    file = folder / "pictures.png"
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    file.write_bytes(whole)
    assert_refused(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": list(range(200))},  # more than the sheet holds
        {"labels": ["shoe"]},
        {"labels": [10**30]},
        {"labels": None},
        {"size": 0},
        {"size": "big"},
        {"size": None},
        {"mode": "blue"},
        {"mode": 3},
        {"classes": None},
    ],
)
def test_words_that_do_not_fit_are_refused(folder: Path, change: dict[str, Any]):
    file = folder / "pictures.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert_refused(folder)


@pytest.mark.parametrize("name", ["labels", "size", "classes"])
def test_a_missing_word_is_named(folder: Path, name: str):
    file = folder / "pictures.json"
    words = json.loads(file.read_text())
    del words[name]
    file.write_text(json.dumps(words))
    assert name in assert_refused(folder)


def test_a_list_instead_of_words_is_refused(folder: Path):
    (folder / "pictures.json").write_text("[1, 2, 3]")
    assert_refused(folder)
