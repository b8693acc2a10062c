"""A GAN that is left to collapse, kept as a lesson: nothing calms its critic, and nothing notices when pictures are alike.

The phenomenon: Goodfellow, arXiv 1701.00160, section 5.1.1; Metz et al., arXiv 1611.02163.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from playground.nets.stylegan import GANConfig
from playground.training.recipes.gan import GANRecipe


@dataclass(frozen=True)
class CollapsedRecipe(GANRecipe):
    """`gan-collapsed-fashion-28`: no R1, no comparison within the batch, momentum, and a learning rate too high for the balance."""

    card: ClassVar[str] = "gan-collapsed-fashion-28"
    share: ClassVar[float] = 0.2
    config: GANConfig = field(default_factory=lambda: GANConfig(group=0, attention=False))
    gamma: float = 0.0
    betas: tuple[float, float] = (0.5, 0.9)
    learning_rate: float = 4e-3
