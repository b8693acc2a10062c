"""The Hub's client in processes of its own: two that want one file, one that is killed, and what it reads from the environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from playground import hub
from playground.errors import BadWeights, HubUnreachable
from tests.hub_server import FOREVER, NEVER, HubServer, point_client_at

REPO, NAME = "acme/large", "model.safetensors"
DATA = bytes(range(256)) * 12_000  # 3 MB
FETCH = f"""
import sys
from playground import hub
from playground.errors import BadWeights, HubUnreachable
listing = hub.look({REPO!r}, None, 10)
print(hub.fetch(listing.wanted([{NAME!r}])) / {NAME!r})
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def start(remote: HubServer, home: Path, code: str = FETCH, **variables: str) -> subprocess.Popen[str]:
    """A process whose client reads the environment anew."""
    environment = {**os.environ, "HF_ENDPOINT": remote.url, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1", **variables}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it printed, and what it complained of."""
    out, complaint = process.communicate(timeout=120)
    return out.strip(), complaint


def partial(home: Path) -> list[Path]:
    return [*home.rglob("*.incomplete")]


def test_two_processes_that_want_one_file_fetch_it_once(remote: HubServer, home: Path) -> None:
    remote.add_repo(REPO, {NAME: DATA})
    remote.inject(path=NAME, method="GET", rate=3e6, times=FOREVER)
    outs = [ended(process) for process in [start(remote, home) for _ in range(2)]]
    assert outs[0] == outs[1] and Path(outs[0][0]).read_bytes() == DATA
    assert sum(request.method == "GET" and request.path.endswith(NAME) for request in remote.requests) == 1
    assert partial(home) == []


def test_a_process_killed_in_the_middle_leaves_nothing_that_is_taken_for_whole(remote: HubServer, home: Path) -> None:
    remote.add_repo(REPO, {NAME: DATA})
    remote.inject(path=NAME, method="GET", rate=1e6, times=1)
    process = start(remote, home)
    for _ in range(1200):
        if any(path.stat().st_size for path in partial(home)):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    ended(process)
    assert partial(home) and not [*home.rglob(NAME)]
    out, _ = ended(start(remote, home))
    assert Path(out).read_bytes() == DATA


def test_offline_mode_and_another_hub_are_read_from_the_environment(remote: HubServer, home: Path) -> None:
    remote.add_repo(REPO, {NAME: DATA})
    out, _ = ended(start(remote, home))
    assert Path(out).is_relative_to(home)  # HF_ENDPOINT and HF_HOME
    remote.requests.clear()
    _, complaint = ended(start(remote, home, HF_HUB_OFFLINE="1"))
    assert "acme/large is not in the cache, and HF_HUB_OFFLINE is set" in complaint
    assert remote.requests == []


def test_a_slow_link_is_waited_for_as_long_as_something_comes(remote: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    remote.add_repo(REPO, {NAME: DATA})
    remote.inject(path=NAME, method="GET", rate=2e6)
    watch = hub.Watch(len(DATA))
    folder = hub.fetch(hub.look(REPO, None, 10).wanted([NAME]), watch=watch)
    assert (folder / NAME).read_bytes() == DATA and watch.done == len(DATA)


def test_a_hub_that_asks_to_slow_down_is_asked_again(remote: HubServer) -> None:
    remote.add_repo(REPO, {NAME: DATA})
    remote.inject(path=NAME, status=429, times=2)
    assert (hub.fetch(hub.look(REPO, None, 10).wanted([NAME])) / NAME).read_bytes() == DATA


def test_a_cache_of_an_older_commit_is_no_matter(remote: HubServer) -> None:
    first = remote.add_repo(REPO, {NAME: DATA})
    old = hub.fetch(hub.look(REPO, None, 10).wanted([NAME]))
    remote.add_repo(REPO, {NAME: DATA[::-1]})
    new = hub.fetch(hub.look(REPO, None, 10).wanted([NAME]))
    assert (new / NAME).read_bytes() == DATA[::-1] and (old / NAME).read_bytes() == DATA
    assert hub.forget(REPO, first) == len(DATA)
    assert (new / NAME).read_bytes() == DATA[::-1] and not old.exists()


def test_a_file_whose_git_hash_is_wrong_is_refused(remote: HubServer) -> None:
    remote.add_repo(REPO, {"config.json": b'{"size": 4}\n'})
    remote.inject(path="config.json", method="GET", corrupt=True, times=FOREVER)
    with pytest.raises(BadWeights, match=r"config\.json of acme/large arrived damaged: its git hash begins"):
        hub.fetch(hub.look(REPO, None, 10).wanted(["config.json"]), retries=1)


def test_a_hub_silent_about_a_repo_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with HubServer() as silent:
        point_client_at(silent.url, monkeypatch)
        silent.inject(delay=NEVER, times=FOREVER)
        with pytest.raises(HubUnreachable, match="did not answer"):
            hub.look(REPO, None, 0.05)
        assert len(silent.requests) <= 2
