"""Publishing as a whole: the command in a process of its own, what the manifest is told, and the same pixels drawn from the Hub."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from playground import Engine, Request, Settings
from playground.__main__ import main
from playground.cards import read_cards, write_source
from playground.errors import BadWeights, UnknownCard
from playground.families import FAMILIES
from playground.settings import PROJECT
from tests.hub_server import HubServer


def test_the_command_shows_no_token(remote: HubServer, tmp_path: Path) -> None:
    """With the client as talkative as it can be."""
    card, token = "gan-fashion-28", "hf_ThisIsNobodysBusiness"
    remote.add_token(token, "ann")
    remote.inject(path="/commit/", method="POST", status=503)
    told = {"HF_ENDPOINT": remote.url, "HF_TOKEN": token, "HF_HOME": str(tmp_path), "HF_DEBUG": "1", "HF_HUB_VERBOSITY": "debug"}
    command = [sys.executable, "-m", "playground", "publish", card, "--namespace", "ann"]
    done = subprocess.run(command, env={**os.environ, **told}, capture_output=True, text=True, cwd=PROJECT, check=False)
    assert done.returncode == 0 and done.stdout == f"{card} is at {remote.url}/ann/{card}\n", done.stderr
    assert token not in done.stdout + done.stderr and "/commit/main" in done.stderr
    assert {request.token for request in remote.requests if "/commit/" in request.path} == {f"Bearer {token}"}


@pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")  # the client's own way to upload large files
def test_what_was_published_draws_the_same(remote: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All bundled cards go to the Hub; a page that has nothing but the manifest then draws the same pixels."""
    full, bare = tmp_path / "full", tmp_path / "bare"
    remote.add_token("hf_ann", "ann", orgs=["acme"])
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    shutil.copytree(PROJECT / "weights", full)
    monkeypatch.setenv("PLAYGROUND_WEIGHTS_DIR", str(full))
    assert main(["publish", "--all", "--namespace", "acme", "--record"]) == 0
    bare.mkdir()
    shutil.copy(full / "models.toml", bare)
    remote.requests.clear()
    here = Engine(Settings(hub="off", device="cpu"))
    there = Engine(Settings(hub="listed", device="cpu", weights_dir=bare))
    ours = [card for card in here.cards.values() if (full / card.id).is_dir()]
    assert all((there.cards[card.id].repo, card.repo) == (f"acme/{card.id}", None) for card in ours)
    for card in (card for card in ours if card.family in FAMILIES):
        few = {"num_inference_steps": 2} if "num_inference_steps" in FAMILIES[card.family].Params.model_fields else {}
        drawn = [engine.run(Request.build(card.id, "sample", cards=engine.cards, num_samples=1, seed=7, **few)) for engine in (here, there)]
        assert drawn[0].pictures.shape == (1, 28, 28, 1)
        np.testing.assert_array_equal(drawn[0].pictures, drawn[1].pictures)
        assert drawn[0].weights_sha256 == drawn[1].weights_sha256
    np.testing.assert_array_equal(here.shelf("fashion-28").pictures, there.shelf("fashion-28").pictures)
    assert {request.method for request in remote.requests} <= {"GET", "HEAD"}


def test_a_source_is_written_in_the_place_of_the_old_one(tmp_path: Path) -> None:
    entry = '[vae-b-4] \nfamily = "vae"\nrepo = "acme/old"\ntitle = "B"\nrevision="{0}"\nfiles = {{ "a.json" = "sha256:{1}" }}\n'
    old = entry.replace("] ", "]").format("0" * 40, "ab" * 32)
    manifest = tmp_path / "models.toml"
    manifest.write_text(f"# Top.\n{old}\n# Next.\n{old.replace('vae-b', 'vae-c')}")
    others = read_cards(manifest)["vae-c-4"]
    write_source(manifest, "vae-b-4", "acme/new", "1" * 40)
    cards = read_cards(manifest)
    assert (cards["vae-b-4"].repo, cards["vae-b-4"].revision) == ("acme/new", "1" * 40)
    assert cards["vae-b-4"].files == {"a.json": "ab" * 32} and cards["vae-c-4"] == others
    assert "# Top.\n" in manifest.read_text() and "\n\n# Next.\n[vae-c-4]" in manifest.read_text()


@pytest.mark.parametrize(("repo", "revision"), [("acme", "1" * 40), ("acme/a", "main"), ('a/b"\nx = "', "1" * 40)])
def test_a_source_that_is_none_is_not_written(tmp_path: Path, repo: str, revision: str) -> None:
    manifest = tmp_path / "models.toml"
    manifest.write_text(before := '[vae-b-4]\nfamily = "vae"\ntitle = "B"\n')
    with pytest.raises(BadWeights, match="is no commit of a repo"):
        write_source(manifest, "vae-b-4", repo, revision)
    with pytest.raises(UnknownCard, match=r"has no entry \[vae-absent-4\]"):
        write_source(manifest, "vae-absent-4", "acme/a", "1" * 40)
    assert manifest.read_text() == before
