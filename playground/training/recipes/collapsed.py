"""A GAN out of balance, kept as a lesson: its generator outruns its critic, and nothing notices when pictures are alike.

It goes on from a healthy GAN. A generator that moves often against a critic that stands still goes where that critic is most easily
pleased, from every z the same way: Goodfellow, arXiv 1701.00160, section 5.1.1; Metz et al., arXiv 1611.02163.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

from playground.nets.stylegan import GANConfig
from playground.training.recipes.base import Turn
from playground.training.recipes.gan import GANRecipe


@dataclass(frozen=True)
class CollapsedRecipe(GANRecipe):
    """`gan-collapsed-fashion-28`: no comparison within the batch, and many moves of the generator for one of the critic."""

    card: ClassVar[str] = "gan-collapsed-fashion-28"
    share: ClassVar[float] = 0.3
    begins_with: ClassVar[str] = GANRecipe.card
    log_every: ClassVar[int] = 2
    config: GANConfig = field(default_factory=lambda: GANConfig(noise=True, group=1))
    """A group of one: a picture that is compared with itself alone."""
    warmup_steps: int = 10
    decay_from: float = 0.99
    """Smaller steps would let the critic catch up."""
    ema_decay: float = 0.0
    """An average would mix the modes that the generator leaps between."""
    generator_moves: int = 25

    def turns(self) -> tuple[Turn, ...]:
        critic, generator, encoder = super().turns()
        return critic, dataclasses.replace(generator, times=self.generator_moves), encoder
