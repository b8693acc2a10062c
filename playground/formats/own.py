"""Our own format: `config.json` says the family and the shape, `model.safetensors` holds the weights, more may lie beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from playground.errors import BadWeights
from playground.families import FAMILIES, Model, find_family
from playground.formats.base import Files, Format, Found, Schema, only, register

MAX_NUMBER = 8192
MAX_PARTS = 32
BESIDE = ("codes.safetensors", "landmarks.safetensors", "README.md", "metrics.json", "sweeps.json")


class Shape(Schema):
    """What all of our configurations say of their pictures."""

    image_size: int = Field(28, ge=8, le=1024)
    channels: int = Field(1, ge=1, le=3)
    classes: tuple[Annotated[str, Field(max_length=60)], ...] = Field((), max_length=1000)


@register
class Own(Format):
    """A card of this page."""

    name: ClassVar[str] = "playground"
    says: ClassVar[str] = "a card that this page's own train and publish commands made (config.json with its family, model.safetensors)"

    def recognise(self, files: Files) -> Found | None:
        if "config.json" not in files or not isinstance(family := files.words("config.json").get("family"), str):
            return None
        words = files.words("config.json")
        if family not in FAMILIES:
            raise BadWeights(f"{files.where} is of the family {family[:40]!r}.", f"This page knows: {', '.join(FAMILIES)}.")
        where = f"config.json of {files.where}"
        bounded(words, where)
        shape = Shape.read(words, where)
        needed = only(("config.json", files.weights("model")), files, *BESIDE)
        title = f"{FAMILIES[family].title}, {shape.image_size}×{shape.image_size}"
        return Found(self.name, family, title, needed, parameters=files.sizes[needed[1]] // 2, classes=shape.classes)

    def open(self, folder: Path, family: str, device: torch.device, dtype: torch.dtype) -> Model:
        return find_family(family).load(folder, device, dtype)


def bounded(words: Mapping[str, Any], where: str) -> None:
    """Raises `BadWeights` for a configuration that asks for more of anything than any network here has."""
    for name, value in words.items():
        if name in ("training", "classes"):
            continue  # words about it; nothing is built of them
        parts = value if isinstance(value, list) else [value]
        if len(parts) > MAX_PARTS:
            raise BadWeights(f"{where} asks for {len(parts)} {name}.", f"At most {MAX_PARTS} are built.")
        for part in parts:
            if isinstance(part, (int, float)) and not abs(part) <= MAX_NUMBER:
                raise BadWeights(f"{where} asks for {name} = {part}.", f"No network here has more than {MAX_NUMBER}.")
