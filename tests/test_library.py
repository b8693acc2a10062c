"""Any model of the Hub: looked at, recognised, fetched, pinned, run, forgotten; and everything that is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from playground import Comparison, Engine, Request, Settings
from playground.cards import MAX_ADDED, Card, Catalogue, bundled_cards
from playground.errors import BadRequest, BadWeights, FetchStopped, HubUnreachable, NotCapable, UnknownCard
from playground.hub import Lock, parse_name
from playground.library import Library
from playground.settings import PROJECT
from tests.hub_server import FOREVER, HubServer

REPO = "acme/my-vae"
SOURCE = PROJECT / "weights" / "vae-beta-4-fashion-28"
"""The smallest bundled card."""


def contents(folder: Path = SOURCE, **changed: bytes) -> dict[str, bytes]:
    """The files of a repo that holds a card of ours, some of them changed."""
    return {path.name: path.read_bytes() for path in folder.iterdir()} | {name.replace("__", "."): data for name, data in changed.items()}


def config(**changed: object) -> bytes:
    return json.dumps(json.loads((SOURCE / "config.json").read_text()) | changed).encode()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A weights folder whose lock file nobody else sees."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "models.toml").write_text((PROJECT / "weights" / "models.toml").read_text())
    for name in ("pictures-fashion-28", "classifier-fashion-28", "vae-beta-4-fashion-28"):
        (folder / name).symlink_to(PROJECT / "weights" / name)
    return folder


def engine_of(weights: Path, **settings: object) -> Engine:
    return Engine(Settings(weights_dir=weights, device="cpu", hub_timeout=2, hub_retries=1, **settings))  # type: ignore[arg-type]


def refusal(engine: Engine, text: str) -> str:
    with pytest.raises(BadWeights) as caught:
        Library(engine).look(text)
    return str(caught.value)


# -- from a name to pictures ----------------------------------------------------------------------------------------------


def test_a_repo_is_looked_at_fetched_pinned_and_run(remote: HubServer, weights: Path) -> None:
    commit = remote.add_repo(REPO, contents())
    engine = engine_of(weights)
    finding = Library(engine).look(REPO)
    assert finding.card.family == "vae" and finding.card.id == f"{REPO}@{commit}" and finding.card.dataset == "fashion-28"
    assert 1.8e6 < finding.missing <= finding.bytes < 2.2e6  # its configuration came with the look
    steps = [*Library(engine).adopt(finding)]
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    card = steps[-1].card
    assert card is not None and card.id == finding.card.id

    pictures = engine.run(Request.build(card.id, "sample", cards=engine.cards, num_samples=2, seed=7)).pictures
    bundled = engine.run(Request.build("vae-beta-4-fashion-28", "sample", num_samples=2, seed=7)).pictures
    np.testing.assert_array_equal(pictures, bundled)
    (pin,) = Lock(weights / "hub-lock.json").pins()
    assert (pin.repo, pin.asked, pin.commit) == (REPO, "main", commit) and all(len(digest) == 64 for digest in pin.files.values())


def test_a_pinned_model_is_found_again_without_asking_anybody(remote: HubServer, weights: Path) -> None:
    commit = remote.add_repo(REPO, contents())
    first = engine_of(weights).adopt(REPO)
    remote.requests.clear()
    again = engine_of(weights)
    request = Request.from_query(f"card={REPO}@{commit}&task=sample&num_samples=1", cards=again.cards)
    assert again.run(request).weights_sha256 == first.weights_sha256
    assert remote.requests == []


def test_a_branch_that_moved_is_said_and_not_followed(remote: HubServer, weights: Path) -> None:
    old = remote.add_repo(REPO, contents())
    engine = engine_of(weights)
    engine.adopt(REPO)
    new = remote.add_repo(REPO, contents(README__md=b"---\nlicense: mit\n---\nNewer.\n"))
    finding = Library(engine).look(REPO)
    assert finding.card.revision == old and finding.missing == 0
    assert f"main has moved on to {new[:12]}" in finding.note and f"{REPO}@{new}" in finding.note
    taken = engine.adopt(f"{REPO}@{new}")
    assert taken.revision == new and taken.license == "mit"
    assert {pin.commit for pin in Lock(weights / "hub-lock.json").pins()} == {old, new}


def test_a_dead_hub_is_no_matter_once_a_model_is_here(remote: HubServer, weights: Path) -> None:
    remote.add_repo(REPO, contents())
    engine_of(weights).adopt(REPO)
    remote.inject(status=503, times=FOREVER)
    engine = engine_of(weights)
    finding = Library(engine).look(REPO)
    assert finding.missing == 0 and "did not answer" in finding.note
    assert engine.run(Request.build(engine.adopt(REPO).id, "sample", cards=engine.cards, num_samples=1)).pictures.shape == (1, 28, 28, 1)
    with pytest.raises(HubUnreachable, match="503 for acme/other"):
        Library(engine).look("acme/other")


def test_a_listed_model_has_the_words_of_the_list(remote: HubServer, weights: Path) -> None:
    remote.add_repo("google/ddpm-cifar10-32", contents(PROJECT / "weights" / "rectified-fashion-28"))
    listed = bundled_cards()["ddpm-cifar10-32"]
    engine = engine_of(weights, hub="listed")
    card = engine.adopt("ddpm-cifar10-32")
    assert (card.title, card.about, card.repo) == (listed.title, listed.about, "google/ddpm-cifar10-32")
    assert card.id not in list(engine.cards or {})


@pytest.mark.parametrize("text", ["acme/my-vae@v1", "https://hub.example/acme/my-vae/tree/v1"])
def test_a_revision_is_taken_at_its_word(remote: HubServer, weights: Path, text: str) -> None:
    commit = remote.add_repo(REPO, contents())
    remote.add_tag(REPO, "v1", commit)
    remote.add_repo(REPO, contents(README__md=b"Newer."))
    assert engine_of(weights).adopt(text).revision == commit


def test_a_repo_of_other_pictures_is_not_measured_by_ours(remote: HubServer, weights: Path) -> None:
    remote.add_repo(REPO, contents(config__json=config(classes=["cat", "dog"])))
    engine = engine_of(weights)
    card = engine.adopt(REPO)
    assert card.dataset == "" and set(engine.siblings(card.id)) == {card.id}
    assert engine.shelf_of(card.id).classes[0] == "T-shirt"
    with pytest.raises(NotCapable, match="was not trained on the pictures"):
        engine.classifier_of(card.id)


# -- folders --------------------------------------------------------------------------------------------------------------


def test_a_folder_is_a_card(weights: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(SOURCE, tmp_path / "my checkpoint")
    engine = engine_of(weights, hub="off")
    card = engine.adopt(str(folder))
    assert card.id.startswith("./my-checkpoint@") and str(tmp_path) not in card.id + card.title
    before = engine.run(Request.build(card.id, "sample", cards=engine.cards, num_samples=1)).pictures
    assert before.shape == (1, 28, 28, 1)
    engine.unload(card.id)
    (folder / "config.json").write_bytes(config(width=12))
    with pytest.raises(BadWeights, match=r"has changed since it was added\. Add the folder again"):
        engine.model(card.id)


def test_a_folder_that_is_none(weights: Path, tmp_path: Path) -> None:
    engine = engine_of(weights)
    assert "There is no folder" in refusal(engine, str(tmp_path / "nothing"))
    assert "is no model that this page knows. What fits:" in refusal(engine, str(tmp_path))


# -- what is not let in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "text", "words"),
    [
        ({"hub": "off"}, REPO, "Fetching from the Hub is switched off here."),
        ({"hub": "listed"}, REPO, "acme/my-vae is not on this page's list."),
        ({"visitors": "strangers"}, "/etc", "Folders of this machine are not open to visitors."),
        ({"max_fetch_mb": 1}, REPO, "more than the 1 that this page fetches"),
        ({}, "", "No model was named."),
        ({}, "acme", "'acme' is no repo of the Hub."),
        ({}, "acme/no--good", "is no repo of the Hub"),
        ({}, "acme/nothing", "There is no acme/nothing on the Hub, or it is private."),
        ({}, f"{REPO}@v9", "acme/my-vae has no commit v9."),
    ],
)
def test_what_may_not_come_in(remote: HubServer, weights: Path, settings: Mapping[str, object], text: str, words: str) -> None:
    remote.add_repo(REPO, contents())
    assert words in refusal(engine_of(weights, **settings), text)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (contents(config__json=config(width=10**6)), "asks for width = 1000000. No network here has more than 8192."),
        (contents(config__json=config(width=[8] * 99)), "asks for 99 width"),
        (contents(config__json=config(family="oracle")), "is of the family 'oracle'. This page knows: ae, vae, gan, flow, diffusion."),
        (contents(config__json=config(image_size="<b>")), "asks for image_size = '<b>': Input should be a valid integer"),
        (contents(config__json=b"{"), "config.json of acme/my-vae is not JSON"),
        (contents(config__json=b"[]"), "holds no configuration"),
        (contents(config__json=b'{"family": "vae", "x": "' + b" " * 2**20 + b'"}'), "A configuration has at most 1,048,576."),
        ({"config.json": config(), "model.bin": b"pickle"}, "model.bin, a pickle, which can run code. Only safetensors are loaded."),
        ({"config.json": config()}, "acme/my-vae has no model.safetensors."),
        ({"README.md": b"Nothing."}, "is no model that this page knows. What fits: a card that this page's own train"),
    ],
)
def test_a_repo_that_does_not_fit_says_what_would(remote: HubServer, weights: Path, files: dict[str, bytes], words: str) -> None:
    remote.add_repo(REPO, files)
    assert words in refusal(engine_of(weights), REPO)


def test_weights_of_another_shape_are_not_half_loaded(remote: HubServer, weights: Path) -> None:
    remote.add_repo(REPO, contents(config__json=config(width=40)))
    engine = engine_of(weights)
    card = engine.adopt(REPO)
    with pytest.raises(BadWeights, match="cannot be used"):
        engine.model(card.id)
    assert engine.num_loaded() == 0


def test_a_token_is_never_in_a_sentence(remote: HubServer, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    remote.add_repo(REPO, contents(), private=True, readers=["ann"])
    assert "hf_" not in refusal(engine_of(weights), REPO)
    remote.add_token("hf_secretsecret", "ann")
    assert engine_of(weights).adopt(REPO).family == "vae"


def test_a_disk_too_small_is_said_before_anything_is_fetched(remote: HubServer, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.add_repo(REPO, contents())
    engine = engine_of(weights)
    finding = Library(engine).look(REPO)
    remote.requests.clear()
    monkeypatch.setattr("playground.hub.free_bytes", lambda: 1_000_000)
    with pytest.raises(BadWeights, match=r"needs 2 MB, and 1 MB are free on the disk\. Forget a model"):
        [*Library(engine).adopt(finding)]
    assert remote.requests == []


# -- stopping and forgetting ----------------------------------------------------------------------------------------------


def test_a_download_stops_when_it_is_closed_and_can_be_taken_up(remote: HubServer, weights: Path) -> None:
    remote.add_repo(REPO, contents())
    engine = engine_of(weights)
    finding = Library(engine).look(REPO)
    remote.inject(path="model.safetensors", method="GET", rate=2e6, times=1)
    adopting = Library(engine).adopt(finding)
    assert next(step for step in adopting if step.done > 200_000).card is None
    adopting.close()  # type: ignore[attr-defined]
    assert Lock(weights / "hub-lock.json").pins() == []
    with pytest.raises(UnknownCard, match=r"is not here\. Fetch it on the tab Models"):
        Request.build(finding.card.id, "sample", cards=engine.cards)
    assert engine.adopt(REPO).id == finding.card.id


def test_a_watch_stops_a_download_at_its_next_piece(remote: HubServer, weights: Path) -> None:
    from playground import hub

    remote.add_repo(REPO, contents())
    listing = hub.look(REPO, None, 2)
    watch = hub.Watch()
    watch.stopped.set()
    with pytest.raises(FetchStopped):
        hub.fetch(listing.wanted(["model.safetensors"]), watch=watch)
    assert listing.missing_bytes(["model.safetensors"]) == listing.sizes["model.safetensors"]


def test_what_was_fetched_can_be_forgotten(remote: HubServer, weights: Path) -> None:
    remote.add_repo(REPO, contents())
    engine = engine_of(weights)
    card = engine.adopt(REPO)
    engine.model(card.id)
    library = Library(engine)
    assert library.forget(card.id) > 1_500_000
    assert not engine.is_loaded(card.id) and library.look(REPO).missing > 1_500_000
    with pytest.raises(BadRequest, match="was not fetched from the Hub"):
        library.forget(card.id)
    with pytest.raises(BadRequest, match="was not fetched from the Hub"):
        library.forget("vae-beta-4-fashion-28")


def test_a_model_at_work_is_not_unloaded(weights: Path) -> None:
    engine = engine_of(weights)
    stream = engine.stream(Request.build("vae-beta-4-fashion-28", "sample", num_samples=40))
    next(stream)
    with pytest.raises(BadRequest, match="is at work"):
        engine.unload("vae-beta-4-fashion-28")
    stream.close()
    engine.unload("vae-beta-4-fashion-28")
    assert engine.num_loaded() == 0


# -- who sees what --------------------------------------------------------------------------------------------------------


def test_an_added_card_is_found_by_its_id_and_listed_to_nobody() -> None:
    cards = Catalogue(bundled_cards())
    listed = [*cards]
    for number in range(MAX_ADDED + 1):
        cards.add(Card(f"acme/{number}@{'0' * 40}", "vae", "Added", {}))
    assert [*cards] == listed and len(cards) == len(listed)
    assert f"acme/{MAX_ADDED}@{'0' * 40}" in cards
    assert f"acme/0@{'0' * 40}" not in cards  # there are bounds
    with pytest.raises(KeyError):
        cards["acme/none@0"]


def test_a_pin_of_a_repo_that_is_no_longer_allowed_is_not_found(remote: HubServer, weights: Path) -> None:
    remote.add_repo(REPO, contents())
    card = engine_of(weights).adopt(REPO)
    for policy in ("off", "listed"):
        assert card.id not in (engine_of(weights, hub=policy).cards or {})


def test_a_damaged_lock_file_is_named(remote: HubServer, weights: Path) -> None:
    remote.add_repo(REPO, contents())
    (weights / "hub-lock.json").write_text("{")
    assert "hub-lock.json cannot be read" in refusal(engine_of(weights), REPO)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("a/b", ("a/b", None)),
        (" a/b@main ", ("a/b", "main")),
        ("a/b@refs/pr/1", ("a/b", "refs/pr/1")),
        ("https://hub.example/a/b.c/", ("a/b.c", None)),
    ],
)
def test_names_of_repos(text: str, parsed: tuple[str, str | None]) -> None:
    assert parse_name(text) == parsed


def test_python_of_an_added_model_brings_it_in(remote: HubServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = remote.add_repo(REPO, contents())
    engine = engine_of(weights)
    card = engine.adopt(REPO)
    request = Request.build(card.id, "sample", cards=engine.cards, num_samples=1)
    comparison = Comparison.build("seed", [card.id, "vae-beta-4-fashion-28"], cards=engine.cards, num_samples=1)
    monkeypatch.setenv("PLAYGROUND_WEIGHTS_DIR", str(weights))
    monkeypatch.chdir(tmp_path)
    for code in (request.to_python(), comparison.to_python()):
        assert f"engine.adopt('{REPO}@{commit}')" in code
        made: dict[str, Any] = {}
        exec(code, made)
    np.testing.assert_array_equal(made["board"].answers[0].pictures(), engine.run(request).pictures)


def test_the_command_line_fetches_and_samples(
    remote: HubServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from playground.__main__ import main

    commit = remote.add_repo(REPO, contents())
    monkeypatch.setenv("PLAYGROUND_WEIGHTS_DIR", str(weights))
    assert main(["fetch", REPO]) == 0
    title, card_id = capsys.readouterr().out.splitlines()
    assert title.startswith("my-vae · VAE, 28×28: ") and card_id == f"{REPO}@{commit}"
    remote.requests.clear()
    assert main(["sample", card_id, "--num-samples", "2", "--out", str(tmp_path / "out")]) == 0
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [f"acme-my-vae-{commit}-seed{seed:010d}.png" for seed in (0, 1)]
    assert remote.requests == []
    assert main(["fetch", "acme/nothing"]) == 2
    assert "There is no acme/nothing on the Hub" in capsys.readouterr().err


def test_figures_of_somebody_are_taken_for_what_they_are(remote: HubServer, weights: Path) -> None:
    told = {
        "recall": {"value": 0.5, "n": 10},
        "coverage": {"value": "high", "n": 1},
        "precision": 7,
        "density": {"value": float("nan"), "n": 1},
    }
    remote.add_repo(REPO, contents(metrics__json=json.dumps(told).encode()))
    remote.add_repo("acme/broken", contents(metrics__json=b"{"))
    engine = engine_of(weights)
    assert engine.measured(engine.adopt(REPO).id) == {"recall": {"value": 0.5, "n": 10}}
    assert engine.measured(engine.adopt("acme/broken").id) == {}
