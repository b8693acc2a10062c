"""The page in a process of its own, with what can be read of it from outside: memory, open files, threads, its own figures."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from playground.settings import PROJECT

MIB = 2**20
START_SECONDS = 180


@dataclass(frozen=True)
class Served:
    """A running page."""

    url: str
    pid: int

    @property
    def memory_mib(self) -> float:
        """What it holds of the machine's memory (resident), in MiB."""
        return int((self._proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB

    @property
    def files(self) -> int:
        """Open files and connections."""
        return len(list((self._proc / "fd").iterdir()))

    @property
    def threads(self) -> int:
        """Threads that live."""
        return len(list((self._proc / "task").iterdir()))

    def figure(self, name: str) -> float:
        """The sum of a figure of `/metrics` over its labels."""
        text = httpx.get(f"{self.url}metrics").text
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.M))

    @property
    def _proc(self) -> Path:
        return Path(f"/proc/{self.pid}")


@contextmanager
def page(**settings: object) -> Iterator[Served]:
    """`python app.py` on a free port, stopped as a container is. All visitors have one address here, so that has no limit."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    chosen = {"hub": "off", "port": port, "metrics": "on", "live_per_second": 1_000_000, **settings}
    environment = {**os.environ, **{f"PLAYGROUND_{name.upper()}": str(value) for name, value in chosen.items()}}
    process = subprocess.Popen([sys.executable, "app.py"], cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}/"
        _wait(url, process)
        yield Served(url, process.pid)
    finally:
        process.terminate()
        process.wait(60)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(2 * START_SECONDS):
        if process.poll() is not None:
            raise SystemExit("The page did not start.")
        try:
            if httpx.get(f"{url}playground/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise SystemExit(f"The page was not ready within {START_SECONDS} seconds.")
