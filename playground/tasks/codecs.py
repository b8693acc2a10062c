"""Other ways to make a picture small: JPEG and WebP without their headers, and principal components of one byte each."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from playground.images import Pictures, to_pil

_START_OF_SCAN, _RIFF_HEADER = b"\xff\xda", 20


@dataclasses.dataclass(frozen=True)
class Squeezed:
    """A picture (H, W, C) after one quality of a codec, and the bytes of picture data that took."""

    picture: Pictures
    num_bytes: int


@dataclasses.dataclass(frozen=True)
class Codec:
    """A picture file format: its name, its qualities, and how many bytes of a file are picture data."""

    name: str
    qualities: Sequence[int]
    payload: Callable[[bytes], int]

    def squeeze(self, picture: Pictures) -> list[Squeezed]:
        """One picture (H, W, C) uint8 at every quality, from the smallest to the largest."""
        found = []
        for quality in self.qualities:
            buffer = io.BytesIO()
            to_pil(picture).save(buffer, self.name.upper(), quality=quality)
            with Image.open(buffer) as image:
                back = np.array(image.convert("L" if picture.shape[-1] == 1 else "RGB")).reshape(picture.shape)
            found.append(Squeezed(back, self.payload(buffer.getvalue())))
        return sorted(found, key=lambda squeezed: squeezed.num_bytes)


def jpeg_payload(data: bytes) -> int:
    """Bytes of the entropy-coded scan of a baseline JPEG: what follows the header of its one scan, without the end marker."""
    header = data.index(_START_OF_SCAN) + 2
    return len(data) - header - int.from_bytes(data[header : header + 2], "big") - 2


def webp_payload(data: bytes) -> int:
    """Bytes of the picture in a WebP file: all but the two headers of its container."""
    return len(data) - _RIFF_HEADER


JPEG = Codec("JPEG", (*range(1, 31), *range(35, 96, 5)), jpeg_payload)
WEBP = Codec("WebP", (*range(0, 20, 2), *range(20, 101, 5)), webp_payload)


def nearest(squeezed: Sequence[Squeezed], num_bytes: int) -> Squeezed:
    """The one of those whose size is nearest; the larger of two that are as near."""
    return min(squeezed, key=lambda each: (abs(each.num_bytes - num_bytes), -each.num_bytes))


@dataclasses.dataclass(frozen=True)
class Principal:
    """Principal components of pictures: `mean` (D,), `axes` (K, D) unit rows by falling variance, and the range of each score (K,)."""

    mean: Tensor
    axes: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, x: Tensor, count: int) -> Principal:
        """The first `count` components of pictures (N, C, H, W); fewer when there are fewer dimensions. In float64."""
        flat = x.flatten(1).double()
        mean = flat.mean(dim=0)
        _, columns = torch.linalg.eigh((flat - mean).T @ (flat - mean))
        axes = columns.flip(1).T[:count]
        scores = (flat - mean) @ axes.T
        return cls(mean, axes, scores.amin(dim=0), scores.amax(dim=0))

    def through(self, x: Tensor, size: int) -> Tensor:
        """What comes back of pictures (B, C, H, W) from their first `size` scores, each rounded to one of 256 steps over its range."""
        step = (self.high - self.low).clamp(min=1e-9) / 255
        scores = (x.cpu().flatten(1).double() - self.mean) @ self.axes.T
        kept = (self.low + ((scores - self.low) / step).round().clamp(0, 255) * step)[:, :size]
        return (self.mean + kept @ self.axes[:size]).clamp(-1, 1).float().view(x.shape)
