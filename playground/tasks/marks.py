"""What is drawn on pictures: grey ones in colour, heat for how much, and a frame around what stands out."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from playground.images import Pictures

FRAME = (230, 159, 0)
"""Okabe–Ito orange."""
_HEAT = np.array([[0, 0, 0], [213, 94, 0], [240, 228, 66], [255, 255, 255]], dtype=float)


def coloured(pictures: Pictures) -> Pictures:
    """The same pictures with three channels, (B, H, W, 3)."""
    return pictures if pictures.shape[-1] == 3 else pictures.repeat(3, axis=-1)


def heat(strength: Tensor) -> Pictures:
    """`strength` (B, H, W) from 0 to 1 as colours from black over vermilion and yellow to white, (B, H, W, 3)."""
    place = strength.detach().float().cpu().clamp(0, 1).numpy() * (len(_HEAT) - 1)
    channels = [np.interp(place, np.arange(len(_HEAT)), _HEAT[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def framed(pictures: Pictures) -> Pictures:
    """The same pictures (B, H, W, 3) with an orange frame, one pixel wide."""
    marked = pictures.copy()
    for edge in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
        marked[edge] = FRAME
    return marked
