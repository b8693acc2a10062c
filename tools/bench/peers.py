"""Peers on the same weights: diffusers' pipelines, normflows' Glow, zuko's couplings, pythae's VAE. Both sides by turns, on one thread.

Before anything is timed both sides answer the same question, and their answers must agree. `pip install --no-deps -r
requirements-bench.txt` first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from playground.engine import Engine
from playground.images import to_uint8
from playground.latent import Noise
from playground.request import Request
from playground.settings import Settings
from tools.bench.row import Row, short
from tools.bench.timing import by_turns

COUNTS = (1, 16)
STEPS = 20


def rows() -> Iterator[Row]:
    """Ours, and how many times as long the peer takes."""
    engine = Engine(Settings(hub="off", max_work=1000))
    yield from diffusers_on_ours(engine)
    with tempfile.TemporaryDirectory() as folder:
        yield from diffusers_on_theirs(engine, Path(folder))
    yield from normflows_glow(engine)
    yield from zuko_couplings(engine)
    with tempfile.TemporaryDirectory() as folder:
        yield from pythae_vae(engine, Path(folder))


def versus(name: str, peer: str, ours: Callable[[], Any], theirs: Callable[[], Any], seconds: float = 1.0) -> Row:
    """One line: our milliseconds, theirs, and theirs as a multiple of ours."""
    mine, other = by_turns(ours, theirs, seconds=seconds)
    return Row(name, mine, "ms", f"{peer} ({short(other)} ms); ratio: theirs / ours", other / mine, "ratio > 1")


def agreeing(ours: Any, theirs: Any, tolerance: float) -> None:
    """Raises `RuntimeError` unless both answers are the same up to the tolerance."""
    difference = float((torch.as_tensor(ours).double() - torch.as_tensor(theirs).double()).abs().max())
    if not difference <= tolerance:
        raise RuntimeError(f"The peer answers otherwise, by {difference:g}: they are not compared.")


# -- diffusers ------------------------------------------------------------------------------------------------------------


def diffusers_on_ours(engine: Engine) -> Iterator[Row]:
    """Our U-Net in diffusers' pipelines, told no class, against a whole request of the engine."""
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    from tools.bench._peer_parts import pipeline_of

    path = engine.model("ddpm-fashion-28").path  # type: ignore[attr-defined]
    words = {"trained_betas": path.betas().tolist(), "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    for name, scheduler in (("ddim", DDIMScheduler), ("ddpm", DDPMScheduler)):
        pipeline = pipeline_of(engine, "ddpm-fashion-28", scheduler(num_train_timesteps=1000, clip_sample=True, **words))
        knobs = {"scheduler": name, "num_inference_steps": STEPS, "label": "none"}
        yield from _pipelines(engine, "ddpm-fashion-28", pipeline, name, knobs, "our U-Net")


def diffusers_on_theirs(engine: Engine, folder: Path) -> Iterator[Row]:
    """A network of the shape of google/ddpm-cifar10-32, a quarter as wide, written by diffusers and opened by both."""
    from diffusers import DDIMPipeline, DDPMPipeline

    from tools.bench._peer_parts import write_ddpm

    write_ddpm(folder)
    card = engine.adopt(str(folder)).id
    for name, kind in (("ddim", DDIMPipeline), ("ddpm", DDPMPipeline)):
        knobs = {"scheduler": name, "num_inference_steps": STEPS}
        yield from _pipelines(engine, card, kind.from_pretrained(folder), name, knobs, "UNet2DModel 32×32, 32 to 64 channels")


def _pipelines(engine: Engine, card: str, pipeline: Any, name: str, knobs: dict[str, Any], words: str) -> Iterator[Row]:
    pipeline.set_progress_bar_config(disable=True)
    more = {"use_clipped_model_output": True} if name == "ddim" else {}  # as DDPM does it, and as we do
    for count in COUNTS:
        request = Request.build(card, "sample", cards=engine.cards, num_samples=count, **knobs)

        def ours(request: Request = request) -> np.ndarray[Any, Any]:
            return engine.run(request).sheet.pictures

        def theirs(count: int = count) -> np.ndarray[Any, Any]:
            generators = [torch.Generator().manual_seed(seed) for seed in range(count)]
            made = pipeline(count, generator=generators, num_inference_steps=STEPS, output_type="np", **more)
            return np.asarray(made.images)

        if name == "ddim" and words.startswith("our"):
            agreeing(ours() / 255, theirs(), 2 / 255)
        what = f"{name.upper()}, {STEPS} steps, {words}, {count} picture{'s' * (count > 1)}"
        yield versus(what, f"diffusers {type(pipeline).__name__}", ours, theirs)


# -- flows ----------------------------------------------------------------------------------------------------------------


def normflows_glow(engine: Engine) -> Iterator[Row]:
    """Glow with our weights out of normflows' parts; the conditioners are ours on both sides."""
    from tools.bench._peer_parts import normflows_of

    model: Any = engine.model("glow-fashion-28")
    peer = normflows_of("glow-fashion-28", engine)
    for count in COUNTS:
        noise = Noise(range(count))
        z = model.draw(model.Params(), noise)
        with torch.inference_mode():
            agreeing(model.continuous(z), peer.decoded(z), 1e-3)
            x = model.continuous(z)
            agreeing(model.log_density(x) / x[0].numel(), peer.flow.log_prob(x, None) / x[0].numel(), 1e-3)

        def sample(noise: Noise = noise) -> Tensor:
            with torch.inference_mode():
                return [*model.decode(model.draw(model.Params(), noise), model.Params(), noise)][-1].x

        def log_prob(x: Tensor = x) -> Tensor:
            with torch.inference_mode():
                return model.log_density(x)

        yield versus(f"Glow, sampling, {count}", "normflows", sample, lambda count=count: peer.sampled(count))
        yield versus(f"Glow, log_prob, {count}", "normflows", log_prob, lambda x=x: peer.judged(x))


def zuko_couplings(engine: Engine) -> Iterator[Row]:
    """The eight couplings at 14×14 of our RealNVP as zuko's, with our weights and conditioners."""
    from tools.bench._peer_parts import zuko_of

    level, flow = zuko_of("realnvp-fashion-28", engine)
    for count in COUNTS:
        x = torch.randn(count, 4, 14, 14, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            z, log_det = level(x)
            theirs, their_log_det = flow.transform.call_and_ladj(x.flatten(1))
            agreeing(z.flatten(1), theirs, 1e-3)
            agreeing(log_det / 784, their_log_det / 784, 1e-4)

        def there(x: Tensor = x) -> Tensor:
            with torch.inference_mode():
                z, log_det = level(x)
                return log_det - 0.5 * z.flatten(1).square().sum(dim=1)

        def back(z: Tensor = z) -> Tensor:
            with torch.inference_mode():
                return level.inverse(z)

        def their_log_prob(x: Tensor = x) -> Tensor:
            with torch.inference_mode():
                return flow.log_prob(x.flatten(1))

        def their_inverse(z: Tensor = z) -> Tensor:
            with torch.inference_mode():
                return flow.transform.inv(z.flatten(1))

        yield versus(f"Couplings of RealNVP, log_prob, {count}", "zuko", there, their_log_prob)
        yield versus(f"Couplings of RealNVP, inverse, {count}", "zuko", back, their_inverse)


# -- pythae ---------------------------------------------------------------------------------------------------------------


def pythae_vae(engine: Engine, folder: Path) -> Iterator[Row]:
    """A VAE of pythae with the networks of its MNIST benchmarks, written by pythae and opened by both."""
    from tools.bench._peer_parts import write_pythae

    for kind in ("ResNet", "ConvNet"):
        their_model, sampler = write_pythae(folder / kind, kind)
        model: Any = engine.model(engine.adopt(str(folder / kind)).id)
        for count in COUNTS:
            params, noise = model.Params(), Noise(range(count))
            x = torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
            z = model.draw(params, noise)
            with torch.inference_mode():
                agreeing(to_uint8([*model.decode(z, params, noise)][-1].x), to_uint8(2 * their_model.decoder(z).reconstruction - 1), 1)

            def sample(noise: Noise = noise, model: Any = model, params: Any = params) -> Tensor:
                with torch.inference_mode():
                    return [*model.decode(model.draw(params, noise), params, noise)][-1].x

            def through(x: Tensor = x, model: Any = model, params: Any = params, noise: Noise = noise) -> Tensor:
                with torch.inference_mode():
                    return [*model.decode(model.encode(x, params), params, noise)][-1].x

            yield versus(f"VAE {kind}, sampling, {count}", "pythae", sample, lambda count=count, sampler=sampler: sampler.sample(count))
            theirs = (x + 1) / 2
            yield versus(f"VAE {kind}, there and back, {count}", "pythae", through, lambda y=theirs, m=their_model: m.reconstruct(y))
