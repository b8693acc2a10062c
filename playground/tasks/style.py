"""Style mix: some layers of a network read one latent, the others another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from playground.families.capabilities import HasLayers
from playground.images import Pictures, from_uint8
from playground.knobs import MAX_SEED, Knob
from playground.latent import Latent, Span, Term
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.layers import FromLayer, ToLayer, span_of, span_words


@register
class Style(Task):
    """A table: in each cell the chosen layers read the latent of its column, all others that of its row.

    Source: Karras, Laine & Aila, arXiv 1812.04948, section 3.1. Noise inputs, where there are any, are the row's.
    """

    name: ClassVar[str] = "style"
    title: ClassVar[str] = "Style mix"
    says: ClassVar[str] = (
        "Each picture is its row's, but the chosen layers read the latent of its column. Coarse layers decide what it is, fine ones how "
        "it is finished. None of the models here practised on mixtures, so unlike pairs tear."
    )
    needs: ClassVar[tuple[type, ...]] = (HasLayers,)
    common: ClassVar[bool] = False
    seed: int = Knob(
        25,
        label="Seed of the rows",
        help="The first row, A; the rows below take the seeds after it.",
        ge=0,
        le=MAX_SEED,
        step=1,
        widget="seed",
    )
    other_seed: int = Knob(
        100,
        label="Seed of the columns",
        help="The first column, B; the others take the seeds after it.",
        ge=0,
        le=MAX_SEED,
        step=1,
        widget="seed",
    )
    from_layer: int = FromLayer(3, "The first layer that reads the column's latent: 0 is the coarsest.")
    to_layer: int = ToLayer("The last layer that reads the column's latent: 5 paints the pixels.")
    num_rows: int = Knob(4, label="Rows", help="How many latents are given another style.", ge=1, le=6, step=1)
    num_columns: int = Knob(5, label="Columns", help="How many latents lend theirs.", ge=1, le=6, step=1)

    def run(self, bench: Bench) -> Iterator[Sheet]:
        span = span_of(bench.model, self.from_layer, self.to_layer) or (0, len(bench.able(HasLayers).layer_sides()) - 1)
        rows = [(self.seed + index) % (MAX_SEED + 1) for index in range(self.num_rows)]
        columns = [(self.other_seed + index) % (MAX_SEED + 1) for index in range(self.num_columns)]
        recipes = [Latent.seed(seed) for seed in columns]
        labels, seeds = ["", *(f"B: seed {seed}" for seed in columns)], [*columns]
        for row in rows:
            recipes += [Latent.seed(row), *(mixed(row, column, span) for column in columns)]
            labels += [f"A: seed {row}", *(f"A {row}, with B {column} in layers {span[0]}–{span[1]}" for column in columns)]
            seeds += [row] * (1 + len(columns))
        for pictures, share in bench.decode(bench.latents(recipes), seeds):
            yield Sheet(
                np.concatenate([np.zeros_like(pictures[:1]), pictures]),
                1 + len(columns),
                tuple(labels),
                ("", *map(str, recipes)),
                (0, *seeds),
                progress=share,
                says=self._told(bench, pictures, span) if share >= 1 else "",
                heads=("", *(f"B {seed}" for seed in columns)),
                sides=("", *(f"A {seed}" for seed in rows)),
            )

    def _told(self, bench: Bench, pictures: Pictures, span: Span) -> str:
        """How far the mixtures are from their row and from their column, and whose class they have."""
        count = self.num_columns
        of_column, table = pictures[:count], pictures[count:].reshape(self.num_rows, count + 1, *pictures.shape[1:])
        mixtures = table[:, 1:].astype(float)
        far = [np.abs(mixtures - other.astype(float)).mean() for other in (table[:, :1], of_column[None])]
        words = span_words(bench.able(HasLayers), span)
        told = (
            f"Columns give {words}. The mixtures differ from their row by {far[0]:.0f} grey levels a pixel, from their column by "
            f"{far[1]:.0f}."
        )
        if not bench.is_ours:
            return told
        seen = bench.classifier(from_uint8(pictures)).argmax(dim=1).numpy()
        kinds = seen[count:].reshape(self.num_rows, count + 1)
        split = kinds[:, :1] != seen[None, :count]
        if not split.any():
            return told
        as_row, as_column = (int((split & (kinds[:, 1:] == other)).sum()) for other in (kinds[:, :1], seen[None, :count]))
        neither = int(split.sum()) - as_row - as_column
        return (
            f"{told} Of {split.sum()} whose row and column are of two classes, the classifier sees the row's in {as_row}, the column's in "
            f"{as_column}, another in {neither}."
        )


def mixed(row: int, column: int, span: Span) -> Latent:
    """`seed:row + seed:column@layers`."""
    return Latent((Term(1.0, "seed", str(row)), Term(1.0, "seed", str(column), span)))
