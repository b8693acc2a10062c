"""The bundled test pictures of a data set, which every card of it shares."""

from __future__ import annotations

from pathlib import Path

from playground.shelf import Shelf
from playground.training.data import FASHION_CLASSES, Split

BUNDLED = 2000


def write_shelf(test: Split, folder: Path) -> None:
    """Writes the first 2,000 test pictures, so that `test:N` is picture N of the data set's own test split."""
    pictures = test.pictures[:BUNDLED].permute(0, 2, 3, 1).cpu().numpy()
    shelf = Shelf(pictures, test.labels[:BUNDLED].cpu().numpy(), FASHION_CLASSES)
    shelf.save(
        folder,
        source="The first 2,000 test pictures of Fashion-MNIST; Xiao, Rasul & Vollgraf, arXiv 1708.07747",
        license="mit",
    )
