"""A mask: a region of a picture as a text that fits in a link. `left`, `box:4,4,12,12`, or painted: `bits:…`."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from torch import Tensor

from playground.errors import BadPicture

HALVES = ("none", "left", "right", "top", "bottom", "middle", "all")
MAX_TEXT = 4000
_BOX = re.compile(r"box:(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})")
_REMEDY = "Write left, right, top, bottom or middle, box:x,y,width,height, or paint one."


@dataclass(frozen=True)
class Mask:
    """Which pixels are meant. `box:x,y,width,height` counts pixels from the top left; `bits:` holds one bit a pixel, row by row."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Mask:
        """Reads a mask. Raises `BadPicture`."""
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise BadPicture("That is no mask.", _REMEDY)
        mask = cls(text.strip())
        if mask.text not in HALVES and _BOX.fullmatch(mask.text) is None and mask._bits() is None:
            raise BadPicture(f"{text[:40]!r} is no mask.", _REMEDY)
        return mask

    @classmethod
    def of(cls, pixels: Tensor) -> Mask:
        """The mask of booleans (S, S)."""
        packed = np.packbits(pixels.cpu().numpy().astype(bool).reshape(-1)).tobytes()
        return cls("bits:" + base64.urlsafe_b64encode(packed).decode().rstrip("="))

    def pixels(self, size: int) -> Tensor:
        """Booleans (size, size). Raises `BadPicture` when it was painted at another size."""
        mask = torch.zeros(size, size, dtype=torch.bool)
        half, quarter = size // 2, size // 4
        if (bits := self._bits()) is not None:
            flat = np.unpackbits(np.frombuffer(bits, np.uint8))
            if not size * size <= len(flat) < size * size + 8:
                raise BadPicture(f"That mask was not painted on {size}×{size} pixels.", "Paint it again on this picture.")
            return torch.from_numpy(flat[: size * size].astype(bool).reshape(size, size))
        if (box := _BOX.fullmatch(self.text)) is not None:
            x, y, width, height = (int(number) for number in box.groups())
            mask[y : y + height, x : x + width] = True
            return mask
        rows, columns = {
            "none": (slice(0), slice(0)),
            "left": (slice(None), slice(half)),
            "right": (slice(None), slice(half, None)),
            "top": (slice(half), slice(None)),
            "bottom": (slice(half, None), slice(None)),
            "middle": (slice(quarter, size - quarter), slice(quarter, size - quarter)),
            "all": (slice(None), slice(None)),
        }[self.text]
        mask[rows, columns] = True
        return mask

    def _bits(self) -> bytes | None:
        if not self.text.startswith("bits:"):
            return None
        body = self.text[5:]
        try:
            return base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True) or None
        except (binascii.Error, ValueError):
            return None

    def __str__(self) -> str:
        return self.text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _validate_mask, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )


def _validate_mask(value: object) -> Mask:
    if isinstance(value, Mask):
        return value
    try:
        return Mask.parse(value)  # type: ignore[arg-type]
    except BadPicture as error:
        raise ValueError(str(error)) from error
