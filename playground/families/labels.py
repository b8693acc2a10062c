"""From the words of a `ClassLabel` knob to the labels that a class-conditional network takes."""

from __future__ import annotations

import torch
from torch import Tensor

from playground.errors import BadKnob
from playground.latent import Noise


def labels_of(choice: str, noise: Noise, num_classes: int) -> Tensor:
    """Labels (B,) int64: drawn by each picture's seed for `any`, `num_classes` for `none`, else the class of that number.

    Where there are no classes, `any` is none too. Raises `BadKnob` for a number beyond the last class.
    """
    if choice == "any" and num_classes:
        return (noise.uniform((1,), "class").squeeze(1) * num_classes).long().clamp(max=num_classes - 1)
    if choice in ("any", "none"):
        return torch.full((len(noise),), num_classes)
    if not num_classes:
        raise BadKnob("This model knows no classes.", "Set the class to any.")
    if int(choice) >= num_classes:
        raise BadKnob(f"There is no class {choice} here.", f"Give a number from 0 to {num_classes - 1}, or any, or none.")
    return torch.full((len(noise),), int(choice))
