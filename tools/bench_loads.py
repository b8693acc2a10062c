"""`make bench-loads`: how long a model takes to load and how much memory at the most, here and by others' loaders, on the same files.

The files are those of google/ddpm-cifar10-32 in shape and configuration, with random weights. Each way runs in a process of its own,
which has imported everything before the clock starts; memory is what the process holds beyond that, without the file's own mapping.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPEATS = 5
UNET = {
    "act_fn": "silu",
    "attention_head_dim": None,
    "block_out_channels": [128, 256, 256, 256],
    "center_input_sample": False,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 32,
    "time_embedding_type": "positional",
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}


def write_repo(folder: Path) -> None:
    """The files, as diffusers writes them, and beside them what the Hub's mixin wants."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    unet = UNet2DModel(**{name: tuple(value) if isinstance(value, list) else value for name, value in UNET.items()})
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(folder)
    mixin = folder / "mixin"
    mixin.mkdir()
    (mixin / "config.json").write_text(json.dumps({"config": UNET}))
    os.link(folder / "unet" / "diffusion_pytorch_model.safetensors", mixin / "model.safetensors")


def ours(folder: Path) -> Callable[[], Any]:
    from playground import Engine, Settings

    engine = Engine(Settings(device="cpu", hub="off"))
    card = engine.adopt(str(folder))
    engine.unload(card.id)
    return lambda: engine.model(card.id)


def by_diffusers(folder: Path) -> Callable[[], Any]:
    from diffusers import DDPMPipeline

    return lambda: DDPMPipeline.from_pretrained(folder)


def by_mixin(folder: Path) -> Callable[[], Any]:
    from diffusers import UNet2DModel
    from huggingface_hub import PyTorchModelHubMixin
    from torch import nn

    class Mixed(nn.Module, PyTorchModelHubMixin):  # type: ignore[misc]
        def __init__(self, config: dict[str, Any]) -> None:
            super().__init__()
            for name, child in UNet2DModel(**config).named_children():
                self.add_module(name, child)

    return lambda: Mixed.from_pretrained(folder / "mixin")


WAYS = {"ours": ours, "diffusers from_pretrained": by_diffusers, "PyTorchModelHubMixin": by_mixin}


def measured(way: str, folder: Path) -> dict[str, float]:
    """Seconds and MiB of a first load, and of a second one of the same model in the same process."""
    load, kept = WAYS[way](folder), []
    found = {}
    for name in ("cold", "warm"):
        before, watch = _anonymous(), _Peak()
        with watch:
            start = time.perf_counter()
            kept.append(load())
            found[f"{name}_seconds"] = time.perf_counter() - start
        found[f"{name}_peak_mib"] = (watch.peak - before) / 1024
        found[f"{name}_kept_mib"] = (_anonymous() - before) / 1024
    return found


def _anonymous() -> int:
    """KiB of this process's memory that is no file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise OSError("/proc/self/status has no RssAnon")


class _Peak:
    """The most that was held in between, looked at every millisecond."""

    def __enter__(self) -> None:
        self.peak, self._done = _anonymous(), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.peak = max(self.peak, _anonymous())

    def _look(self) -> None:
        while not self._done.wait(0.001):
            self.peak = max(self.peak, _anonymous())


def main() -> None:
    """Prints one row for each way: medians of a few processes."""
    if len(sys.argv) == 3:
        print(json.dumps(measured(sys.argv[1], Path(sys.argv[2]))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_repo(folder)
        size = (folder / "mixin" / "model.safetensors").stat().st_size / 2**20
        print(f"{size:.0f} MiB of weights; medians of {REPEATS} processes each\n")
        print("| Loaded by | first: s | peak MiB | kept MiB | second: s | peak MiB | kept MiB |\n|---|---|---|---|---|---|---|")
        for way in WAYS:
            runs = [json.loads(_child(way, folder)) for _ in range(REPEATS)]
            middle = {key: sorted(run[key] for run in runs)[REPEATS // 2] for key in runs[0]}
            cells = [
                f"{middle[f'{turn}_{key}']:.{3 if key == 'seconds' else 0}f}"
                for turn in ("cold", "warm")
                for key in ("seconds", "peak_mib", "kept_mib")
            ]
            print(f"| {way} | {' | '.join(cells)} |")


def _child(way: str, folder: Path) -> str:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run([sys.executable, __file__, way, str(folder)], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


if __name__ == "__main__":
    main()
