"""The recipe of `nets.realnvp`; its loss is that of every flow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from playground.nets.realnvp import RealNVP, RealNVPConfig
from playground.training.recipes.flow import FlowRecipe


@dataclass(frozen=True)
class RealNVPRecipe(FlowRecipe):
    """`realnvp-fashion-28`."""

    card: ClassVar[str] = "realnvp-fashion-28"
    architecture: ClassVar[str] = "realnvp"
    config: RealNVPConfig = field(default_factory=RealNVPConfig)

    def network(self) -> RealNVP:
        return RealNVP(self.config)
