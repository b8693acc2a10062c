"""What formats do alike with a network of somebody else's: sketch it, count it, give it its weights, or say why it cannot be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from playground.errors import BadWeights

MAX_PARAMETERS = 2_000_000_000
STEM = "diffusion_pytorch_model"
REFUSED = "Such a model is not built here."
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""What the parts of an attention layer were called before diffusers 0.15, and are called now."""


@contextmanager
def fitting(where: str) -> Iterator[None]:
    """Whatever a network's own code finds wrong with a configuration that is within bounds becomes one `BadWeights`."""
    try:
        yield
    except (ValueError, TypeError, RuntimeError, AssertionError, IndexError, ArithmeticError, AttributeError) as error:
        raise BadWeights(f"{where} describes a network whose parts do not fit ({str(error)[:200]}).", REFUSED) from error


def count_of(network: nn.Module, where: str) -> int:
    """How many numbers it holds. Raises `BadWeights` when they are too many."""
    count = sum(parameter.numel() for parameter in network.parameters())
    if count > MAX_PARAMETERS:
        raise BadWeights(f"{where} asks for {count:,} parameters.", f"At most {MAX_PARAMETERS:,} are loaded here.")
    return count


def modern_name(name: str) -> str:
    """The name of a weight today: old attention layers said `query`, `key`, `value` and `proj_attn`."""
    return re.sub(r"\b(query|key|value|proj_attn)(?=\.(?:weight|bias)$)", lambda match: OLD_ATTENTION[match[1]], name)


def load_weights(network: nn.Module, path: Path, device: torch.device, dtype: torch.dtype, rename: Callable[[str], str] = str) -> None:
    """Gives a network of the meta device its weights, ready to run.

    Raises `BadWeights` when the file is damaged, lacks a weight, holds one too many, or one of another shape.
    """
    remedy = "Fetch it again, or ask its owner to mend it."
    try:
        state = {rename(name): value for name, value in load_file(path, device=str(device)).items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise BadWeights(f"{path.name} is damaged ({error}).", remedy) from error
    wanted = network.state_dict()
    for words, names in (("lacks", wanted.keys() - state.keys()), ("holds more than the network has:", state.keys() - wanted.keys())):
        if names:
            raise BadWeights(f"{path.name} {words} {min(names)}{f' and {len(names) - 1} others' if len(names) > 1 else ''}.", remedy)
    for name, value in state.items():
        if value.shape != wanted[name].shape:
            raise BadWeights(f"{name} in {path.name} has the shape {tuple(value.shape)}, not {tuple(wanted[name].shape)}.", remedy)
    network.load_state_dict({name: v.to(dtype) if v.is_floating_point() else v for name, v in state.items()}, assign=True)
    if left := [name for name, tensor in (*network.named_parameters(), *network.named_buffers()) if tensor.is_meta]:
        raise BadWeights(f"{path.name} does not fill {left[0]}.", remedy)
    network.eval().requires_grad_(False)
