"""The bundled pictures of a data set, which every card of it shares: test pictures to look at, training pictures to be found in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playground.shelf import Shelf
from playground.training.data import FASHION_CLASSES, Split

_README = """---
license: mit
pretty_name: {title}
tags:
  - fashion-mnist
---

# {title}

{words}

Source and licence: Fashion-MNIST, MIT, Xiao, Rasul and Vollgraf 2017 (arXiv 1708.07747).
"""


@dataclass(frozen=True)
class Bundle:
    """The first `count` pictures of a split, in a folder of their own, with the `words` of its README."""

    split: Literal["train", "test"]
    count: int
    words: str
    quality: int | None = None
    """Of the WebP that holds them, 0 to 100; without one they are kept exactly, as PNG."""

    @property
    def kind(self) -> str:
        """The split in a word that stands before `pictures`."""
        return "training" if self.split == "train" else "test"

    def write(self, split: Split, folder: Path) -> None:
        """Writes the folder from the whole split."""
        pictures = split.pictures[: self.count].permute(0, 2, 3, 1).cpu().numpy()
        shelf = Shelf(pictures, split.labels[: self.count].cpu().numpy(), FASHION_CLASSES)
        of = f"{self.count:,} {self.kind} pictures of Fashion-MNIST"
        shelf.save(folder, quality=self.quality, source=f"The first {of}; Xiao, Rasul & Vollgraf, arXiv 1708.07747", license="mit")
        (folder / "README.md").write_text(_README.format(title=of, words=self.words))


BUNDLES = {
    "pictures-fashion-28": Bundle(
        "test",
        2_000,
        """\
The first 2,000 pictures of the test split, in order, so that `test:N` is picture N of the data set itself. `pictures.png` holds them
on one sheet, 50 a row, 28×28 each; `pictures.json` their classes and the classes' names. The page offers them for reconstruction,
as ends of a walk, and on the map.""",
    ),
    "training-fashion-28": Bundle(
        "train",
        10_000,
        """\
The first 10,000 of the 60,000 pictures of the training split, in order. `pictures.webp` holds them on one sheet, 50 a row, 28×28 each;
`pictures.json` their classes and the classes' names. The page looks among them for the nearest neighbours of generated pictures, to
see whether any was copied. What lies in the other 50,000 is not found there. To look, and to find a copy, a grey level need not be
exact: WebP at quality 85 takes half of the bytes and moves it by 2.3 of 255 (root mean square).

Made by `python -m playground train training-fashion-28`, which reads the data set and trains nothing.""",
        quality=85,
    ),
}
"""By the id of the card. Their manifest entries are of the family `pictures`."""
