"""Weights from the Hub: the real client against a Hub on this machine that can be told to misbehave."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from playground import hub
from playground.cards import Card, file_sha256
from playground.errors import BadWeights, HubUnreachable, PlaygroundError
from playground.hub import download
from tests.hub_server import FOREVER, NEVER, HubServer, point_client_at

REPO = "acme/tiny"
FILES = {"config.json": b'{"size": 4}\n', "model.safetensors": bytes(range(256)) * 40}
ONE = {"model.safetensors": FILES["model.safetensors"]}
"""A card of one file, where a test counts requests."""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder of bundled weights with nothing in it."""
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def make_card(folder: Path, files: dict[str, bytes], revision: str | None, repo: str | None = REPO) -> Card:
    """A card of files with these contents."""
    sources = write(folder / "sources", files)
    return Card("vae-tiny-4", "vae", "Tiny", {name: file_sha256(sources / name) for name in files}, repo, revision)


def publish(remote: HubServer, folder: Path, files: dict[str, bytes] = FILES) -> Card:
    """A card whose files are on the Hub."""
    return make_card(folder, files, remote.add_repo(REPO, files))


def refusal(card: Card, weights: Path, kind: type[PlaygroundError] = BadWeights, **options: float) -> str:
    """The sentence with which a card is refused."""
    with pytest.raises(kind) as caught:
        hub.resolve(card, weights_dir=weights, **options)
    assert type(caught.value) is kind
    return str(caught.value)


def cached_files() -> list[str]:
    """Names of all files and links in the Hub's cache, locks and tags aside."""
    cache = Path(constants.HF_HUB_CACHE) / f"models--{REPO.replace('/', '--')}"
    return sorted(path.name for path in cache.rglob("*") if path.is_symlink() or path.is_file())


def asked(remote: HubServer, method: str) -> int:
    """How many requests of a method the Hub got."""
    return sum(request.method == method for request in remote.requests)


# -- where files come from ----------------------------------------------------------------------------------------------


def test_bundled_files_come_first(remote: HubServer, weights: Path, tmp_path: Path) -> None:
    card = publish(remote, tmp_path)
    write(weights / card.id, FILES)
    assert hub.resolve(card, weights_dir=weights) == weights / card.id
    assert remote.requests == []


def test_what_is_not_bundled_comes_from_the_hub(remote: HubServer, weights: Path, tmp_path: Path) -> None:
    card = publish(remote, tmp_path)
    folder = hub.resolve(card, weights_dir=weights)
    assert {name: (folder / name).read_bytes() for name in card.files} == FILES
    assert list(weights.iterdir()) == []


def test_a_half_bundled_card_comes_whole_from_the_hub(remote: HubServer, weights: Path, tmp_path: Path) -> None:
    card = publish(remote, tmp_path)
    write(weights / card.id, {"config.json": FILES["config.json"]})
    folder = hub.resolve(card, weights_dir=weights)
    assert {name: (folder / name).read_bytes() for name in card.files} == FILES


def test_the_pinned_commit_is_fetched_not_the_newest(remote: HubServer, weights: Path, tmp_path: Path) -> None:
    card = publish(remote, tmp_path)
    remote.add_repo(REPO, dict.fromkeys(FILES, b"newer"))
    folder = hub.resolve(card, weights_dir=weights)
    assert folder.name == card.revision
    assert {name: (folder / name).read_bytes() for name in card.files} == FILES


def test_a_warm_cache_asks_nobody(remote: HubServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The client asks for more than files when telemetry is on; a warm cache must not lead to that either.
    card = publish(remote, tmp_path)
    first = hub.resolve(card, weights_dir=weights)
    remote.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(tmp_path / "harnesses.json"))
    monkeypatch.setattr("huggingface_hub.utils._detect_agent._registry", None)
    assert hub.resolve(card, weights_dir=weights) == first
    assert remote.requests == []


def test_a_warm_cache_needs_no_hub(remote: HubServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = publish(remote, tmp_path)
    first = hub.resolve(card, weights_dir=weights)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.resolve(card, weights_dir=weights) == first


def test_a_card_of_no_repo_is_not_looked_for(remote: HubServer, weights: Path, tmp_path: Path) -> None:
    sentence = refusal(make_card(tmp_path, FILES, None, repo=None), weights)
    assert "config.json is missing, and it is not on the Hub" in sentence
    assert "git checkout -- weights" in sentence
    assert remote.requests == []


def test_the_hub_can_be_switched_off(remote: HubServer, weights: Path, tmp_path: Path) -> None:
    sentence = refusal(publish(remote, tmp_path), weights, allow_hub=False)
    assert "config.json is missing, and fetching from the Hub is switched off" in sentence
    assert remote.requests == []


# -- damage -------------------------------------------------------------------------------------------------------------


def test_a_flipped_byte_in_a_bundled_file_is_told(remote: HubServer, weights: Path, tmp_path: Path) -> None:
    card = publish(remote, tmp_path)
    model = write(weights / card.id, FILES) / "model.safetensors"
    assert hub.resolve(card, weights_dir=weights) == weights / card.id
    data = bytearray(FILES["model.safetensors"])
    data[100] ^= 1
    model.write_bytes(data)
    sentence = refusal(card, weights)
    assert f"{model} is damaged" in sentence
    assert f"git checkout -- weights/{card.id}" in sentence
    assert remote.requests == []


def test_a_byte_flipped_on_the_way_is_fetched_again(remote: HubServer, weights: Path, tmp_path: Path) -> None:
    card = publish(remote, tmp_path, ONE)
    remote.inject(method="GET", corrupt=True)
    folder = hub.resolve(card, weights_dir=weights)
    assert (folder / "model.safetensors").read_bytes() == ONE["model.safetensors"]
    assert asked(remote, "GET") == 2


def test_a_file_that_stays_damaged_is_refused_and_not_kept(remote: HubServer, weights: Path, tmp_path: Path) -> None:
    card = publish(remote, tmp_path, ONE)
    remote.inject(method="GET", corrupt=True, times=FOREVER)
    sentence = refusal(card, weights, retries=2)
    assert f"model.safetensors of {REPO} arrived damaged" in sentence
    assert card.files["model.safetensors"][:12] in sentence
    assert asked(remote, "GET") == 3
    assert cached_files() == []


def test_a_damaged_file_in_the_cache_is_replaced(remote: HubServer, weights: Path, tmp_path: Path) -> None:
    card = publish(remote, tmp_path, ONE)
    model = hub.resolve(card, weights_dir=weights) / "model.safetensors"
    model.write_bytes(b"disk trouble")
    assert hub.resolve(card, weights_dir=weights) == model.parent
    assert model.read_bytes() == ONE["model.safetensors"]


# -- what passes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_busy_hub_is_asked_again(remote: HubServer, weights: Path, tmp_path: Path, method: str, status: int) -> None:
    card = publish(remote, tmp_path, ONE)
    remote.inject(method=method, status=status, times=2)
    folder = hub.resolve(card, weights_dir=weights)
    assert (folder / "model.safetensors").read_bytes() == ONE["model.safetensors"]


def test_a_hub_that_stays_busy_is_given_up(remote: HubServer, weights: Path, tmp_path: Path) -> None:
    card = publish(remote, tmp_path, ONE)
    remote.inject(status=503, times=FOREVER)
    sentence = refusal(card, weights, HubUnreachable, retries=2)
    assert sentence == f"The Hub answered 503 for model.safetensors of {REPO}. Try again in a minute."
    assert len(remote.requests) == 3


@pytest.mark.parametrize("fault", ["truncate", "shorten"])
def test_a_transfer_that_broke_off_is_taken_up_again(remote: HubServer, weights: Path, tmp_path: Path, fault: str) -> None:
    card = publish(remote, tmp_path, ONE)
    remote.inject(method="GET", times=2, **{fault: 1000})
    folder = hub.resolve(card, weights_dir=weights)
    assert (folder / "model.safetensors").read_bytes() == ONE["model.safetensors"]
    assert asked(remote, "GET") == 3


@pytest.mark.parametrize("fault", ["truncate", "shorten"])
def test_a_transfer_that_always_breaks_off_is_given_up(remote: HubServer, weights: Path, tmp_path: Path, fault: str) -> None:
    card = publish(remote, tmp_path, ONE)
    remote.inject(method="GET", times=FOREVER, **{fault: 1000})
    assert "check the connection" in refusal(card, weights, HubUnreachable, retries=1).lower()
    assert cached_files() == []


def test_a_dead_hub_is_named(remote: HubServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = publish(remote, tmp_path, ONE)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # taken, so that nobody else gets it, and not listening
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        point_client_at(url, monkeypatch)
        sentence = refusal(card, weights, HubUnreachable)
    assert f"The Hub at {url} did not answer, and {card.id} is not in the cache." in sentence
    assert "HF_ENDPOINT" in sentence


@pytest.fixture
def silent(remote: HubServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub of its own, as it may see a request after the client gave up, which must not count in another test."""
    with HubServer() as running:
        point_client_at(running.url, monkeypatch)
        yield running


def test_a_silent_hub_is_waited_for_only_as_long_as_asked(silent: HubServer, weights: Path, tmp_path: Path) -> None:
    card = publish(silent, tmp_path, ONE)
    silent.inject(delay=NEVER, times=FOREVER)
    sentence = refusal(card, weights, HubUnreachable, timeout=0.05, retries=1)
    assert f"The Hub at {silent.url} did not answer" in sentence
    # Left to itself, the client would ask seven times, waiting a minute each.
    assert len(silent.requests) <= 2


def test_a_hub_that_falls_silent_is_given_up(silent: HubServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = publish(silent, tmp_path, ONE)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.05)
    silent.inject(method="GET", delay=NEVER, times=FOREVER)
    sentence = refusal(card, weights, HubUnreachable, timeout=60, retries=0)
    assert f"The Hub at {silent.url} did not answer" in sentence


def test_offline_mode_is_named(remote: HubServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = publish(remote, tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    sentence = refusal(card, weights, HubUnreachable)
    assert sentence == f"{card.id} is not in the cache, and HF_HUB_OFFLINE is set. Unset it once to fetch the weights."
    assert remote.requests == []


# -- what does not pass -------------------------------------------------------------------------------------------------


def test_a_repo_that_is_not_there(remote: HubServer, weights: Path, tmp_path: Path) -> None:
    sentence = refusal(make_card(tmp_path, FILES, "a" * 40), weights)
    assert sentence == f"There is no {REPO} on the Hub, or it is private. Check the card's repo, or set HF_TOKEN."
    assert len(remote.requests) == 1  # asking again would not help


def test_a_commit_that_is_not_there(remote: HubServer, weights: Path, tmp_path: Path) -> None:
    remote.add_repo(REPO, FILES)
    sentence = refusal(make_card(tmp_path, FILES, "a" * 40), weights)
    assert sentence == f"{REPO} has no commit {'a' * 40}. Check the card's revision."
    assert len(remote.requests) == 1


def test_a_file_that_is_not_there(remote: HubServer, weights: Path, tmp_path: Path) -> None:
    revision = remote.add_repo(REPO, ONE)
    sentence = refusal(make_card(tmp_path, FILES, revision), weights)
    assert sentence == f"{REPO} has no file config.json at {revision[:12]}. Check the card's files."
    assert len(remote.requests) == 1


def test_a_gated_repo(remote: HubServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = make_card(tmp_path, FILES, remote.add_repo(REPO, FILES, gated=True, readers=["ann"]))
    assert refusal(card, weights) == (
        f"{REPO} asks for consent before its files can be fetched. Give it on the repo's page, then set HF_TOKEN."
    )
    remote.add_token("hf_ben", "ben")
    monkeypatch.setenv("HF_TOKEN", "hf_ben")
    assert "asks for consent" in refusal(card, weights)
    remote.add_token("hf_ann", "ann")
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    assert (hub.resolve(card, weights_dir=weights) / "config.json").read_bytes() == FILES["config.json"]


def test_a_private_repo(remote: HubServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = make_card(tmp_path, FILES, remote.add_repo(REPO, FILES, private=True, readers=["ann"]))
    assert "or it is private. Check the card's repo, or set HF_TOKEN." in refusal(card, weights)
    remote.add_token("hf_ann", "ann")
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    assert (hub.resolve(card, weights_dir=weights) / "config.json").read_bytes() == FILES["config.json"]


def test_a_wrong_token(remote: HubServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = publish(remote, tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    sentence = refusal(card, weights)
    assert "status 401" in sentence
    assert "Check HF_TOKEN" in sentence


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "The disk is full"), (errno.EACCES, "Check HF_HOME and its permissions")],
)
def test_a_cache_that_cannot_be_written(
    remote: HubServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def fail(*args: object, **options: object) -> str:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    assert words in refusal(publish(remote, tmp_path), weights)


# -- leftovers ----------------------------------------------------------------------------------------------------------


def test_old_partial_files_are_swept_and_new_ones_kept(remote: HubServer, weights: Path, tmp_path: Path) -> None:
    card = publish(remote, tmp_path, ONE)
    blobs = Path(constants.HF_HUB_CACHE) / "models--acme--tiny" / "blobs"
    write(blobs, {"old.1234.incomplete": b"half", "new.5678.incomplete": b"half"})
    long_ago = time.time() - 2 * download.STALE_SECONDS
    os.utime(blobs / "old.1234.incomplete", (long_ago, long_ago))
    hub.resolve(card, weights_dir=weights)
    assert [path.name for path in blobs.glob("*.incomplete")] == ["new.5678.incomplete"]
