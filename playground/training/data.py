"""Fashion-MNIST from the four IDX files that its authors publish.

Source: Xiao, Rasul & Vollgraf, arXiv 1708.07747: 60,000 training and 10,000 test pictures, 28×28, 8-bit grey, 10 classes.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from playground.errors import TrainingError

FASHION_CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

DEFAULT_FOLDER = Path("/usr/share/datasets/fashion-mnist")
REMEDY = (
    "On Debian or Ubuntu run `apt-get install dataset-fashion-mnist`; elsewhere put the four .gz files that the data set's "
    "authors publish into a folder and name it with PLAYGROUND_DATA_DIR or --data."
)
_FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", 60_000),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", 10_000),
}


@dataclass(frozen=True)
class Split:
    """Pictures as uint8 grey levels, (N, 1, 28, 28), and their classes, int64 (N,) in 0..9; or what a recipe `studies` instead."""

    pictures: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.pictures)

    def head(self, count: int) -> Split:
        """The first `count` pictures."""
        return Split(self.pictures[:count], self.labels[:count])

    def to(self, device: torch.device) -> Split:
        """The same split on another device."""
        return Split(self.pictures.to(device), self.labels.to(device))

    def fingerprint(self) -> str:
        """sha256 over pictures and labels; tells two data sets apart."""
        digest = hashlib.sha256(self.pictures.cpu().numpy().tobytes())
        digest.update(self.labels.cpu().numpy().tobytes())
        return digest.hexdigest()


def load_fashion_mnist(split: str, folder: Path = DEFAULT_FOLDER) -> Split:
    """The `train` (60,000) or `test` (10,000) split.

    Raises `TrainingError` when the files are missing or damaged, saying how to get them.
    """
    pictures_file, labels_file, count = _FILES[split]
    pictures = _read_idx(folder / pictures_file, (count, 28, 28))
    labels = _read_idx(folder / labels_file, (count,))
    if int(labels.max()) > 9:
        raise TrainingError(f"{folder / labels_file} holds a class beyond 9.", REMEDY)
    return Split(torch.from_numpy(pictures).unsqueeze(1), torch.from_numpy(labels.astype(np.int64)))


def _read_idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    try:
        raw = gzip.decompress(path.read_bytes())
    except FileNotFoundError as error:
        raise TrainingError(f"The data set is not here: {path} does not exist.", REMEDY) from error
    except (OSError, EOFError, zlib.error) as error:
        raise TrainingError(f"{path} cannot be read ({error}).", REMEDY) from error
    header = 4 + 4 * len(shape)
    if len(raw) < header:
        raise TrainingError(f"{path} is too short to be an IDX file.", REMEDY)
    found = tuple(np.frombuffer(raw[4:header], dtype=">u4").tolist())
    if found != shape or len(raw) != header + int(np.prod(shape)):
        raise TrainingError(f"{path} holds an array of shape {found}, not {shape}.", REMEDY)
    return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(shape).copy()
