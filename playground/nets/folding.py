"""What final weights are needed for is worked out once: scales are multiplied in, matrices inverted, maps merged."""

from __future__ import annotations

import abc

import torch
from torch import nn


class Foldable(abc.ABC):
    """A module that runs faster once its weights are final. It computes the same, up to the rounding of a float."""

    @abc.abstractmethod
    def fold(self) -> None:
        """Prepares for weights that stay as and where they are. Twice is as good as once."""


@torch.inference_mode(False)
@torch.no_grad()
def fold(network: nn.Module) -> None:
    """Folds all parts of a network. Call it last: weights that change or move afterwards are not noticed."""
    for part in network.modules():
        if isinstance(part, Foldable):
            part.fold()
