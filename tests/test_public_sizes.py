"""Public models of less than 500 MB at their full size, with random weights: fetched from a Hub, loaded, and drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from playground import Engine, Request, Settings
from playground.library import Library
from playground.settings import PROJECT
from tests.hub_server import HubServer
from tests.public import pixels
from tests.public_codecs import codec

SIX = [128, 128, 256, 256, 512, 512]
DEEP = {
    "block_out_channels": SIX,
    "down_block_types": ["DownBlock2D"] * 4 + ["AttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D"] + ["UpBlock2D"] * 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
}
CIFAR = {
    "block_out_channels": [128, 256, 256, 256],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "sample_size": 32,
}
TINY = {
    "encoder_block_out_channels": [64] * 4,
    "decoder_block_out_channels": [64] * 4,
    "num_encoder_blocks": [1, 3, 3, 3],
    "num_decoder_blocks": [3, 3, 3, 1],
}
KL = {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "norm_num_groups": 32, "sample_size": 256}
VQ = {"block_out_channels": [128, 256, 512], "layers_per_block": 2, "num_vq_embeddings": 8192, "sample_size": 256}
NCSNPP = {
    "block_out_channels": [128, 128, 256, 256, 256, 256, 256],
    "down_block_types": ["SkipDownBlock2D"] * 4 + ["AttnSkipDownBlock2D"] + ["SkipDownBlock2D"] * 2,
    "up_block_types": ["SkipUpBlock2D"] * 2 + ["AttnSkipUpBlock2D"] + ["SkipUpBlock2D"] * 4,
    "layers_per_block": 2,
    "sample_size": 256,
}
FULL: dict[str, tuple[Callable[[], Mapping[str, bytes]], int, int]] = {
    "google/ddpm-cifar10-32": (lambda: pixels("google/ddpm-cifar10-32", CIFAR), 35_746_307, 32),
    "google/ddpm-celebahq-256": (lambda: pixels("google/ddpm-cifar10-32", {**DEEP, "sample_size": 256}), 113_673_219, 256),
    "anton-l/ddpm-butterflies-128": (lambda: pixels("anton-l/ddpm-butterflies-128", {**DEEP, "sample_size": 128}), 113_673_219, 128),
    "madebyollin/taesd": (lambda: codec("madebyollin/taesd", **TINY), 2_445_063, 256),
    "google/ncsnpp-celebahq-256": (lambda: pixels("google/ncsnpp-celebahq-256", NCSNPP), 65_574_549, 256),
    "CompVis/ldm-celebahq-256": (lambda: codec("CompVis/ldm-celebahq-256", **VQ), 55_322_782, 256),
    "stabilityai/sd-vae-ft-mse": (lambda: codec("stabilityai/sd-vae-ft-mse", **KL), 83_653_863, 256),
}
"""The repo, how many numbers it holds, and the side of its pictures."""


@pytest.mark.parametrize("name", FULL)
def test_at_its_full_size(name: str, remote: HubServer, tmp_path: Path) -> None:
    repo, parameters, side = FULL[name]
    for path in (PROJECT / "weights").iterdir():
        (tmp_path / path.name).symlink_to(path)
    remote.add_repo(name, repo())
    engine = Engine(Settings(weights_dir=tmp_path, device="cpu"))
    finding = Library(engine).look(name)
    assert finding.parameters == parameters and finding.bytes == pytest.approx(4 * parameters, rel=0.01)
    card = engine.adopt(name)
    steps = {"num_inference_steps": 1} if card.family == "diffusion" else {}
    result = engine.run(Request.build(card.id, "sample", cards=engine.cards, num_samples=1, **steps))
    assert result.pictures.shape == (1, side, side, 3) and result.sheet.progress == 1
    assert engine.resident_bytes() == pytest.approx(4 * parameters, rel=0.01)
