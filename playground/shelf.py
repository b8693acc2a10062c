"""The shelf: a few thousand real pictures that every card of a data set shares, to reconstruct, walk between, map, and compare."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from playground.errors import BadLatent, BadWeights
from playground.images import Pictures, sheet, to_pil

COLUMNS = 50
EXACT, SMALL = "pictures.png", "pictures.webp"
"""The sheet, with each grey level as it was, or in half of the bytes."""


@dataclass(frozen=True)
class Shelf:
    """Pictures (N, H, W, C) uint8 of one split, their classes (N,), and the names of the classes."""

    pictures: Pictures
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    @classmethod
    def load(cls, folder: Path) -> Shelf:
        """Reads the sheet (50 pictures a row) and `pictures.json`. Raises `BadWeights` when they do not fit."""
        try:
            words = json.loads((folder / "pictures.json").read_text())
            labels = np.array(words["labels"], dtype=np.int64)
            with Image.open(folder / (SMALL if (folder / SMALL).is_file() else EXACT)) as image:
                array = np.asarray(image.convert(words.get("mode", image.mode)), dtype=np.uint8)
            pictures = _cut(array.reshape(*array.shape[:2], -1), len(labels), int(words["size"]))
            classes = tuple(words["classes"])
        except (OSError, ValueError, KeyError, TypeError, SyntaxError, ArithmeticError) as error:  # Pillow's SyntaxError: a damaged chunk
            remedy = "Restore the folder: git checkout -- weights."
            raise BadWeights(f"The pictures in {folder} cannot be used: {error}.", remedy) from error
        return cls(pictures, labels, classes)

    def save(self, folder: Path, *, quality: int | None = None, **words: str) -> None:
        """Writes what `load` reads; `words` (source, licence) go beside the labels. With a `quality` (0 to 100), levels are near."""
        folder.mkdir(parents=True, exist_ok=True)
        image = to_pil(sheet(self.pictures, COLUMNS))
        for name in (EXACT, SMALL):
            (folder / name).unlink(missing_ok=True)
        if quality is None:
            image.save(folder / EXACT)
        else:
            image.save(folder / SMALL, quality=quality, method=6)  # comes back as RGB, hence the mode below
        about = {"size": self.pictures.shape[1], "mode": image.mode, "classes": self.classes, **words, "labels": self.labels.tolist()}
        (folder / "pictures.json").write_text(json.dumps(about) + "\n")

    @classmethod
    def tiny(cls, size: int = 28, count: int = 20) -> Shelf:
        """Random blobs of three classes, for tests and for a page without weights."""
        rng = np.random.default_rng(0)
        across, down = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size))
        centres, widths = rng.uniform(-0.4, 0.4, (count, 2)), rng.uniform(0.1, 0.4, count)
        square = (across[None] - centres[:, :1, None]) ** 2 + (down[None] - centres[:, 1:, None]) ** 2
        blobs = 255 * np.exp(-square / widths[:, None, None])
        return cls(blobs.astype(np.uint8)[..., None], np.arange(count) % 3, ("one", "two", "three"))

    def picture(self, index: int) -> Pictures:
        """The picture `test:index`, (H, W, C). Raises `BadLatent` beyond the shelf."""
        if not 0 <= index < len(self.pictures):
            raise BadLatent(f"There is no test picture {index}.", f"They run from 0 to {len(self.pictures) - 1}.")
        return self.pictures[index]

    def gallery(self, rows: int = 4) -> list[int]:
        """Indices of the first `rows` pictures of each class, row by row: a column a class."""
        of_class = [np.flatnonzero(self.labels == label) for label in range(len(self.classes))]
        return [int(indices[row]) for row in range(rows) for indices in of_class if row < len(indices)]


def _cut(array: Pictures, count: int, size: int) -> Pictures:
    rows, columns = array.shape[0] // size, array.shape[1] // size
    if rows * columns < count:
        raise ValueError(f"the sheet holds {rows * columns} pictures, not {count}")
    grid = array[: rows * size, : columns * size].reshape(rows, size, columns, size, array.shape[2])
    return np.ascontiguousarray(grid.swapaxes(1, 2).reshape(rows * columns, size, size, -1)[:count])
