"""Map: the codes of test pictures as a landscape to walk in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from playground.families.capabilities import HasMap
from playground.knobs import Knob
from playground.latent import Latent
from playground.tasks.base import Bench, Sheet, Task, register


@register
class Map(Task):
    """The picture decoded at one place of the map."""

    name: ClassVar[str] = "map"
    title: ClassVar[str] = "Map"
    says: ClassVar[str] = "Every dot is a test picture, placed by its code and coloured by class. Walk anywhere; the place is decoded."
    needs: ClassVar[tuple[type, ...]] = (HasMap,)
    stages = ("decode",)
    view = "map"
    projection: Literal["neighbours", "principal"] = Knob(
        "neighbours",
        label="Map",
        help="Neighbours: t-SNE keeps similar codes together, a place is the mean of the codes around it. "
        "Plane: a flat cut through the latent space along its two widest directions.",
        choices={"neighbours": "neighbours (t-SNE)", "principal": "plane (PCA)"},
    )
    x: float = Knob(0.0, label="Across", help="Place from left to right.", ge=-1.2, le=1.2, step=0.01)
    y: float = Knob(0.0, label="Up", help="Place from bottom to top.", ge=-1.2, le=1.2, step=0.01)

    def run(self, bench: Bench) -> Iterator[Sheet]:
        recipe = Latent.parse(bench.able(HasMap).map_latent(self.projection, self.x, self.y))
        for pictures, share in bench.decode(bench.latent(recipe), [0]):
            yield Sheet(pictures, 1, (f"{self.x:+.2f}, {self.y:+.2f}",), (str(recipe),), (0,), progress=share)
