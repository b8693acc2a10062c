"""The recipe of `nets.glow`; its loss is that of every flow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from playground.nets.glow import Glow, GlowConfig
from playground.training.recipes.flow import FlowRecipe


@dataclass(frozen=True)
class GlowRecipe(FlowRecipe):
    """`glow-fashion-28`."""

    card: ClassVar[str] = "glow-fashion-28"
    share: ClassVar[float] = 1.5
    architecture: ClassVar[str] = "glow"
    batch_size: int = 32
    config: GlowConfig = field(default_factory=GlowConfig)

    def network(self) -> Glow:
        return Glow(self.config)
