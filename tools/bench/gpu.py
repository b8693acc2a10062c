"""What a graphics card makes of it: `python -m tools.bench.gpu`. Without CUDA it says so and measures nothing.

Pictures a second of every family, with one and with many at a time; the share of the card's own rate of matrix products that the
networks reach; and diffusers' pipelines on the same weights, as they come and in the same number format.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from playground.device import device_words, pick_device, pick_dtype
from playground.engine import Engine
from playground.families.base import Model, alone
from playground.graphs import CudaRecorder
from playground.latent import Noise
from playground.passes import Passes
from playground.recordings import Recordings
from playground.settings import Settings
from tools.bench.row import HEAD, Row, short

NO_CUDA = "There is no CUDA device here, so nothing was measured: run `make bench-gpu` where there is one."
CARDS = ("ae", "vae", "gan", "realnvp", "glow", "tarflow", "ddpm", "rectified")
COUNTS = (1, 64)
SIDE = 8192
STEPS = 20
SECONDS = 1.0


def rows() -> Iterator[Row]:
    """All figures; none without CUDA."""
    if torch.cuda.is_available():
        yield from measured(pick_device("cuda"))


def measured(device: torch.device) -> Iterator[Row]:
    """All figures of a device."""
    engine = Engine(Settings(hub="off", device=device.type, max_work=100_000))
    rates = {}
    for name, dtype, tf32 in (("bf16", torch.bfloat16, False), ("TF32", torch.float32, True)):
        rates[name] = matrix_rate(device, dtype, tf32)
        yield Row(f"Matrix product, {name}", rates[name] / 1e12, "TFLOP/s")
    for card in CARDS:
        yield from family_rows(engine.model(f"{card}-fashion-28"), card, rates)
    yield from diffusers_rows(engine)


def seconds_of(work: Callable[[], Any], device: torch.device, least: float = SECONDS) -> float:
    """The mean time of a run, after three that warm up, everything launched being waited for."""
    for _ in range(3):
        work()
    _wait(device)
    began, times = time.perf_counter(), 0
    while times < 3 or time.perf_counter() - began < least:
        work()
        times += 1
        _wait(device)
    return (time.perf_counter() - began) / times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(device: torch.device, dtype: torch.dtype, tf32: bool, side: int = SIDE) -> float:
    """FLOP/s of a product of square matrices."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    try:
        return 2 * side**3 / seconds_of(lambda: a @ b, device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def decoded(model: Model, noise: Noise, **knobs: Any) -> torch.Tensor:
    """New pictures, from their seeds on."""
    params = model.Params().but(**knobs)
    with torch.inference_mode():
        *_, last = model.decode(model.draw(params, noise), params, noise)
        return last.x


def family_rows(model: Model, name: str, rates: dict[str, float], counts: tuple[int, ...] = COUNTS) -> Iterator[Row]:
    """Pictures a second with graphs and without, and the share of the device's rate in the number format of the network."""
    format_name = "bf16" if model.dtype == torch.bfloat16 else "TF32"
    for count in counts:
        noise = Noise(range(count))
        model.together = alone
        with FlopCounterMode(display=False) as counter:
            decoded(model, noise)
        eager = seconds_of(lambda noise=noise: decoded(model, noise), model.device)
        model.together = Passes(execute=Recordings([CudaRecorder()]).run).run
        taken = seconds_of(lambda noise=noise: decoded(model, noise), model.device)
        model.together = alone
        yield Row(f"{name}, {count} at a time", count / taken, "pictures/s", f"without graphs ({short(count / eager)} /s)", eager / taken)
        share = counter.get_total_flops() / taken / rates[format_name]
        yield Row(f"{name}, {count} at a time: of the rate of {format_name}", 100 * share, "%", "matrix product", share)


def diffusers_rows(engine: Engine, counts: tuple[int, ...] = COUNTS, steps: int = STEPS, widths: tuple[int, ...] = ()) -> Iterator[Row]:
    """DDIM on our U-Net, and on one of the shape of google/ddpm-cifar10-32 (or of other `widths`)."""
    from diffusers import DDIMPipeline
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    from tools.bench._peer_parts import pipeline_of, write_ddpm

    words: dict[str, Any] = {"num_train_timesteps": 1000, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    ours = engine.model("ddpm-fashion-28")
    scheduler = DDIMScheduler(trained_betas=ours.path.betas().tolist(), **words)  # type: ignore[attr-defined]
    yield from _against(ours, "our U-Net", lambda: pipeline_of(engine, "ddpm-fashion-28", scheduler), counts, steps, {"label": "none"})
    with tempfile.TemporaryDirectory() as folder:
        write_ddpm(Path(folder), widths or (128, 256, 256, 256))
        theirs = engine.model(engine.adopt(folder).id)
        yield from _against(theirs, "the shape of ddpm-cifar10-32", lambda: DDIMPipeline.from_pretrained(folder), counts, steps, {})


def _against(
    model: Model, words: str, pipeline_of: Callable[[], Any], counts: tuple[int, ...], steps: int, knobs: dict[str, Any]
) -> Iterator[Row]:
    model.together = Passes(execute=Recordings([CudaRecorder()]).run).run
    for dtype in dict.fromkeys((torch.float32, pick_dtype(model.device))):
        pipeline = pipeline_of().to(model.device, dtype)
        pipeline.set_progress_bar_config(disable=True)
        for count in counts:
            noise = Noise(range(count))
            taken = seconds_of(
                lambda noise=noise: decoded(model, noise, scheduler="ddim", num_inference_steps=steps, **knobs), model.device
            )
            asked = partial(pipeline, count, num_inference_steps=steps, output_type="np")
            other = seconds_of(asked, model.device)
            against = f"diffusers, eager, {str(dtype).removeprefix('torch.')} ({short(count / other)} /s); ratio: ours / theirs"
            yield Row(f"DDIM, {steps} steps, {words}, {count} at a time", count / taken, "pictures/s", against, other / taken, "ratio ≥ 2")
    model.together = alone


def main() -> None:
    """Prints the table, or that there is no CUDA."""
    if not torch.cuda.is_available():
        print(NO_CUDA)
        return
    print(f"{time.strftime('%Y-%m-%d')}, {device_words(pick_device('cuda'))}, torch {torch.__version__}\n\n{HEAD}", flush=True)
    for row in rows():
        print(row.markdown(), flush=True)


if __name__ == "__main__":
    main()
