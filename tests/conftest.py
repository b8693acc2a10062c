"""What all tests share: no network but this machine's, a tiny project folder, and one running page."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")

import ipaddress
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from playground.settings import PROJECT, Settings

torch.set_num_threads(1)
_connect = socket.socket.connect


def _only_loopback(self: socket.socket, address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else ""
    if host and host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise AssertionError(f"A test tried to reach {host}.")
    _connect(self, address)


@pytest.fixture(autouse=True)
def no_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests reach no host but this one."""
    monkeypatch.setattr(socket.socket, "connect", _only_loopback)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The bundled weights, no Hub."""
    return Settings(weights_dir=PROJECT / "weights", hub="off", port=0)
