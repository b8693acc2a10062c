"""The engine as replicas on a cluster of two nodes, for real: the same pixels, replicas that die, and a page that outlives the cluster."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest

from playground.engine import Engine
from playground.errors import EngineLost
from playground.remote import RemoteEngine
from playground.request import Request
from playground.result import Result
from playground.settings import PROJECT, Settings
from tests.conftest import opened

pytest.importorskip("ray", reason="needs requirements-serve.txt: make test-all")
pytestmark = pytest.mark.slow

LONG = {"num_samples": 16, "num_inference_steps": 100}


@dataclass
class Replicas:
    """The running cluster."""

    process: subprocess.Popen[str]
    url: str

    def kill_replicas(self) -> str:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def die(self) -> None:
        """All of it at once, as when a machine loses power."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        subprocess.run([sys.executable, "-m", "ray.scripts.scripts", "stop", "--force"], capture_output=True, check=False)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Replicas]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.cluster_process", str(port)]
    process = subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    cluster = Replicas(process, f"http://127.0.0.1:{port}")
    assert process.stdout
    assert "ready" in next((line for line in process.stdout if "ready" in line), ""), "the cluster did not start"
    yield cluster
    cluster.die()


@pytest.fixture
def far(cluster: Replicas) -> RemoteEngine:
    return RemoteEngine(Settings(hub="off", engine=cluster.url))


def ask(card: str = "ddpm-fashion-28", **knobs: Any) -> Request:
    return Request.build(card, "sample", **knobs)


def in_time(engine: Engine, request: Request) -> Result:
    """The answer, once there is somebody again to give it."""
    for _ in range(60):
        try:
            return engine.run(request)
        except EngineLost:
            time.sleep(1)
    raise AssertionError("it did not come back")


@pytest.mark.parametrize("card", ["vae-fashion-28", "gan-fashion-28", "glow-fashion-28", "ddpm-fashion-28"])
def test_the_same_pixels(far: RemoteEngine, card: str) -> None:
    request = ask(card, num_samples=16, seed=5)
    assert np.array_equal(far.run(request).pictures, Engine(Settings(hub="off", device="cpu")).run(request).pictures)


def test_replicas_that_die_in_the_midst_are_said_and_replaced(cluster: Replicas, far: RemoteEngine) -> None:
    stream = far.stream(ask(**LONG))
    next(stream)
    assert "killed" in cluster.kill_replicas()
    with pytest.raises(EngineLost, match="in the midst"):
        for _ in stream:
            pass
    assert in_time(far, ask(num_samples=1, num_inference_steps=2)).sheet.progress == 1


def test_the_page_outlives_its_cluster(cluster: Replicas) -> None:
    """Last, because nothing of the cluster is left afterwards."""
    with opened(Settings(hub="off", device="cpu", port=0, engine=cluster.url)) as site:
        live = f"{site.url}playground/live?card=vae-fashion-28&task=sample&num_samples=4"
        assert httpx.get(live, timeout=120).headers["content-type"].startswith("image/")
        cluster.die()
        lost = httpx.get(live, timeout=120)
        assert lost.status_code == 400 and "does not answer" in lost.text
        assert httpx.get(f"{site.url}playground/health").status_code == 200
        assert httpx.get(site.url).status_code == 200
