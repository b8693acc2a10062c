"""Cards from the Hub at work: alone, and in a comparison with others."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from playground import Comparison, Engine, Request, Settings
from playground.cards import Card, bundled_cards, file_sha256
from playground.settings import PROJECT
from tests.hub_server import HubServer


def test_the_engine_draws_the_same_from_the_hub(remote: HubServer, tmp_path: Path) -> None:
    card_id = "vae-fashion-28"
    here, empty = tmp_path / "here", tmp_path / "empty"
    shutil.copytree(PROJECT / "weights" / card_id, here / card_id)
    shutil.copytree(PROJECT / "weights", empty, ignore=shutil.ignore_patterns(card_id))
    paths = sorted((here / card_id).iterdir())
    hashes = {path.name: file_sha256(path) for path in paths}
    revision = remote.add_repo("acme/vae", {path.name: path.read_bytes() for path in paths})

    pictures = []
    for switch, folder in (("off", here), ("any", empty)):
        cards = {card_id: Card(card_id, "vae", "VAE", hashes, "acme/vae", revision, dataset="fashion-28")}
        engine = Engine(Settings(hub=switch, weights_dir=folder, device="cpu"), cards)
        pictures.append(engine.run(Request.build(card_id, "sample", cards=engine.cards, num_samples=2)).pictures)
    assert pictures[0].shape == (2, 28, 28, 1)
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert sum(request.method == "GET" for request in remote.requests) == len(paths)


def test_a_comparison_takes_cards_from_anywhere(remote: HubServer, tmp_path: Path) -> None:
    """One bundled, one from the Hub, one whose repo is gone: it says so in its pane, and the others go on."""
    shutil.copytree(PROJECT / "weights", tmp_path / "weights", ignore=shutil.ignore_patterns("gan-fashion-28"))
    bundled = bundled_cards()
    paths = {name: PROJECT / "weights" / "gan-fashion-28" / name for name in bundled["gan-fashion-28"].files}
    revision = remote.add_repo("acme/gan", {name: path.read_bytes() for name, path in paths.items()})
    hashes = {name: file_sha256(path) for name, path in paths.items()}
    cards = {
        "vae-fashion-28": bundled["vae-fashion-28"],
        "gan-there-28": Card("gan-there-28", "gan", "GAN from the Hub", hashes, "acme/gan", revision, dataset="fashion-28"),
        "gan-gone-28": Card("gan-gone-28", "gan", "GAN that is gone", hashes, "acme/gone", revision, dataset="fashion-28"),
    }
    engine = Engine(Settings(hub="any", weights_dir=tmp_path / "weights", device="cpu"), cards)
    board = Comparison.build("seed", ["gan-gone-28", "gan-there-28", "vae-fashion-28"], cards=cards, num_samples=2).run(engine)
    gone, there, here = board.answers
    assert "acme/gone" in gone.errors[0] and not gone.made
    alone = Engine(Settings(hub="off", device="cpu")).run(Request.build("gan-fashion-28", "sample", num_samples=2))
    np.testing.assert_array_equal(there.pictures(), alone.pictures)
    assert len(here.pictures()) == 2 and board.progress == 1
