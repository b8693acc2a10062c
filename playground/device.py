"""Where tensors live: which device, which precision, and its name in words."""

from __future__ import annotations

import functools
import os
import platform

import torch

from playground.errors import BadKnob


def pick_device(name: str) -> torch.device:
    """`auto` prefers CUDA, then MPS, then the CPU. Raises `BadKnob` when a named device is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(name, False):
        raise BadKnob(f"There is no {name!r} device here.", "Use auto or cpu.")
    return torch.device(name)


def pick_dtype(device: torch.device) -> torch.dtype:
    """float32 on the CPU; bfloat16 on CUDA where the card has it, else float16."""
    if device.type == "cpu":
        return torch.float32
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float16


def has_bf16(device: torch.device) -> bool:
    """Whether a device works in bfloat16 itself; a CPU that does not takes several times as long as in float32."""
    return device.type != "cpu" or any(there for name, there in torch.cpu.get_capabilities().items() if "bf16" in name)


@functools.cache
def device_words(device: torch.device) -> str:
    """The device as a person would name it: `2 CPU cores (x86_64)`, `NVIDIA H100`, `mps`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{os.cpu_count()} CPU cores ({platform.machine()})" if device.type == "cpu" else device.type
