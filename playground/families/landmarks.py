"""Where things lie in a latent space: its middle, its widest directions, and where each class is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from typing_extensions import Self

from playground.families.base import Model

OFFERED = 10
"""How many principal directions the page offers."""


@dataclasses.dataclass
class Landmarks:
    """`mean` (D,); `principal` (K, D), unit rows by falling variance, `principal_std` (K,); `class_mean` (C, D)."""

    mean: Tensor
    principal: Tensor
    principal_std: Tensor
    class_mean: Tensor

    @classmethod
    def load(cls, file: Path, device: torch.device) -> Self:
        """As float32. Raises `OSError`, `TypeError` or `SafetensorError` when the file does not fit."""
        return cls(**{name: value.float() for name, value in load_file(file, device=str(device)).items()})

    @classmethod
    def tiny(cls, dim: int = 4, **more: Tensor) -> Self:
        """Random ones of `dim` dimensions and three classes."""
        rank = min(dim, 4)
        return cls(
            mean=0.1 * torch.randn(dim),
            principal=torch.linalg.qr(torch.randn(dim, rank)).Q.T.contiguous(),
            principal_std=torch.tensor([1.2, 0.9, 0.6, 0.1])[:rank],
            class_mean=torch.randn(3, dim),
            **more,
        )

    def bytes(self) -> int:
        """Memory that they take."""
        return sum(tensor.numel() * tensor.element_size() for tensor in vars(self).values())

    def direction(self, kind: str, value: str) -> Tensor | None:
        """The offset (D,) of one unit: `pc:N` a standard deviation, `class:N` the way from the middle to the class."""
        index = int(value)
        if kind == "pc" and 1 <= index <= len(self.principal):
            return self.principal[index - 1] * self.principal_std[index - 1]
        if kind == "class" and 0 <= index < len(self.class_mean):
            return self.class_mean[index] - self.mean
        return None


class LandmarkedModel(Model):
    """A model that knows its way about: `landmarks` answer for the middle and for directions."""

    landmarks: Landmarks

    def origin(self) -> Tensor:
        return self.landmarks.mean.view(1, *self.latent.shape)

    def direction(self, kind: str, value: str) -> Tensor | None:
        found = self.landmarks.direction(kind, value)
        return super().direction(kind, value) if found is None else found.view(1, *self.latent.shape)

    def directions(self) -> Mapping[str, str]:
        count = min(OFFERED, len(self.landmarks.principal))
        principal = {f"pc:{index + 1}": self.principal_words(index) for index in range(count)}
        known = range(min(len(self.classes), len(self.landmarks.class_mean)))
        classes = {f"class:{index}": f"Towards {self.classes[index]}" for index in known}
        return {**principal, **classes, **self.axes()}

    def principal_words(self, index: int) -> str:
        """What the page calls a principal direction."""
        return f"Principal direction {index + 1}"

    def axes(self) -> Mapping[str, str]:
        """The single dimensions among the directions."""
        return super().directions()
