"""From a card's folder to a network: the words of `config.json` say which, `model.safetensors` holds its weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from playground.errors import BadWeights
from playground.nets.classifier import Classifier, ClassifierConfig

RESTORE = "Restore the card's folder (git checkout -- weights) or train it again."
"""What to do about weights that do not load."""

_BYTES: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
_N = TypeVar("_N", bound=nn.Module)
_C = TypeVar("_C")


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Whatever is missing, damaged or of another shape in there becomes one `BadWeights`."""
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise BadWeights(f"The weights in {folder} cannot be used: {error}.", RESTORE) from error


def load_network(
    folder: Path, build: Callable[[Mapping[str, Any]], _N], device: torch.device, dtype: torch.dtype
) -> tuple[_N, Mapping[str, Any]]:
    """The network that `build` makes of `config.json`, with its weights, ready to run; and those words.

    It is built on the meta device, so the weights are in memory once; buffers that are not saved must be made elsewhere.
    Raises `BadWeights`.
    """
    with reading(folder), torch.inference_mode(False):  # weights may be differentiated later, whoever has them loaded
        words = json.loads((folder / "config.json").read_text())
        with torch.device("meta"):
            network = build(words)
        state = load_file(folder / "model.safetensors", device=str(device))
        network.load_state_dict({name: _cast(value, dtype) for name, value in state.items()}, assign=True)
    return network.eval().requires_grad_(False), words


def config_of(config: Callable[..., _C], words: Mapping[str, Any]) -> _C:
    """The part of `config.json` that a configuration's fields name."""
    known = {field.name for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    return config(**{key: value for key, value in words.items() if key in known})


def load_classifier(folder: Path) -> Classifier:
    """A data set's classifier, float32 on the CPU. Raises `BadWeights`."""
    return load_network(folder, lambda words: Classifier(config_of(ClassifierConfig, words)), torch.device("cpu"), torch.float32)[0]


def pass_work(network: nn.Module, side: int) -> int:
    """Parameters times pixels of a square of `side`: about in proportion to what a pass of a convolutional network takes."""
    return sum(parameter.numel() for parameter in network.parameters()) * side**2


def weight_bytes(network: nn.Module) -> int:
    """Memory that a network's weights take. Added up once: it is asked after every request, and walking through a network takes long."""
    if network not in _BYTES:
        _BYTES[network] = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    return _BYTES[network]


def _cast(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return value.to(dtype) if value.is_floating_point() else value
