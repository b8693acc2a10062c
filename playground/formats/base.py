"""What a format is: it recognises a repo or folder by its file names and configuration, says what of it is needed, and opens it.

A configuration is data of somebody else's: it is checked by a schema with bounds before anything is built of it.
"""

from __future__ import annotations

import abc
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import Self

from playground.errors import BadWeights, unknown
from playground.families import Model

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy")
"""Endings of files that may hold a pickle, which can run code when it is read."""
MAX_WORDS = 2**20
"""Bytes of the largest configuration that is read."""


@dataclass(frozen=True)
class Files:
    """What lies in a repo at one commit, or in a folder: sizes in bytes by path, and a way to read a small file."""

    where: str
    """What a person calls it: `owner/name`, or the folder's path."""
    sizes: Mapping[str, int]
    fetch: Callable[[str], bytes]

    def __contains__(self, name: str) -> bool:
        return name in self.sizes

    def words(self, name: str) -> Mapping[str, Any]:
        """A configuration file. Raises `BadWeights` when it is missing, too large or no JSON object."""
        if name not in self.sizes:
            raise BadWeights(f"{self.where} has no {name}.", "Every model needs its configuration.")
        if self.sizes[name] > MAX_WORDS:
            raise BadWeights(f"{name} of {self.where} has {self.sizes[name]:,} bytes.", f"A configuration has at most {MAX_WORDS:,}.")
        try:
            words = json.loads(self.fetch(name))
        except (ValueError, RecursionError) as error:
            raise BadWeights(f"{name} of {self.where} is not JSON ({error}).", "Its owner must mend it.") from error
        if not isinstance(words, dict):
            raise BadWeights(f"{name} of {self.where} holds no configuration.", "Its owner must mend it.")
        return words

    def weights(self, stem: str) -> str:
        """The path of the safetensors of that stem (`unet/diffusion_pytorch_model`), full precision before half.

        Raises `BadWeights` when there is only a pickle, or nothing.
        """
        for ending in (".safetensors", ".fp16.safetensors"):
            if stem + ending in self.sizes:
                return stem + ending
        pickle = next((stem + ending for ending in PICKLES if stem + ending in self.sizes), None)
        if pickle is not None:
            raise BadWeights(
                f"{self.where} holds its weights as {pickle}, a pickle, which can run code.",
                "Only safetensors are loaded. A pull request of the repo may hold them: name it as owner/name@refs/pr/1.",
            )
        raise BadWeights(f"{self.where} has no {stem}.safetensors.", "Only whole, unsplit safetensors are loaded.")


@dataclass(frozen=True)
class Found:
    """What a repo or folder was recognised as."""

    format: str
    """The `Format` that opens it."""
    family: str
    title: str
    """What it is in a few words, for a list: `DDPM, 32×32 in colour`."""
    files: tuple[str, ...]
    """The paths that are needed, configuration and weights."""
    parameters: int
    """How many numbers its networks hold, as its configuration says."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Knobs of the family's `Params` that suit it."""
    classes: tuple[str, ...] = ()
    """Names of the classes that it knows, where they tell which of our data sets it was trained on."""


class Format(abc.ABC):
    """A way to keep a model in files. Instances hold nothing."""

    name: ClassVar[str]
    says: ClassVar[str]
    """What fits, in half a sentence: for a person whose repo does not."""

    @abc.abstractmethod
    def recognise(self, files: Files) -> Found | None:
        """None when it is another format's. Raises `BadWeights` with a sentence when it is of this one and cannot be used."""

    @abc.abstractmethod
    def open(self, folder: Path, family: str, device: torch.device, dtype: torch.dtype) -> Model:
        """The model of a folder with `Found.files`. Raises `BadWeights` when they are damaged or of another shape."""


FORMATS: dict[str, Format] = {}
_F = TypeVar("_F", bound=type[Format])


def register(kind: _F) -> _F:
    """Makes a format known by its name; they are asked in the order of registration."""
    FORMATS[kind.name] = kind()
    return kind


def recognise(files: Files) -> Found:
    """What it is. Raises `BadWeights`: what it lacks, or what would fit."""
    for kind in FORMATS.values():
        if (found := kind.recognise(files)) is not None:
            return found
    fitting = "; ".join(kind.says for kind in FORMATS.values())
    raise BadWeights(f"{files.where} is no model that this page knows.", f"What fits: {fitting}.")


def find_format(name: str) -> Format:
    """The format of that name. Raises `BadWeights` naming those it may be meant for, or all."""
    if name not in FORMATS:
        raise BadWeights(*unknown("format", name, FORMATS))
    return FORMATS[name]


class Schema(BaseModel):
    """Base of what a configuration may say: fields with bounds. What else it says is left alone and handed to nobody."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def read(cls, words: Mapping[str, Any], where: str) -> Self:
        """Raises `BadWeights` naming `where`, the field, what it asks for, and its bounds."""
        try:
            return cls.model_validate(dict(words))
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(str(part) for part in first["loc"])
            if first["type"] == "missing":
                raise BadWeights(f"{where} does not say {path}.", "Its owner must mend it.") from error
            asked = f"{first['input']!r}"[:60]
            raise BadWeights(f"{where} asks for {path} = {asked}: {first['msg']}.", "Such a model is not built here.") from error


def only(names: Collection[str], files: Files, *others: str) -> tuple[str, ...]:
    """`names`, and those of `others` that are there: for files that a model can do without."""
    return (*names, *(name for name in others if name in files))
