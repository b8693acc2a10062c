"""What the engine costs beyond the networks: a whole request against the same pictures made in a few lines of plain torch.

Both draw the same numbers, so the pictures must be the same. Nothing but torch and the network's own layers is called on the plain side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from playground.engine import Engine
from playground.nets.likelihood import LogisticMixture
from playground.request import Request
from playground.settings import Settings
from playground.traces import RUNS
from tools.bench.row import Row, compared, short
from tools.bench.timing import by_turns

COUNTS = (1, 16)
STEPS = 20
Plain = Callable[[Any, Sequence[int]], Tensor]
"""A model and seeds to pictures (B, C, H, W) in [-1, 1]."""


def rows() -> Iterator[Row]:
    """For each family what a request takes with one picture and with sixteen, beside the bare work."""
    engine = Engine(Settings(hub="off"))
    for card, (plain, knobs) in PLAIN.items():
        model = engine.model(card)
        for count in COUNTS:
            request = Request.build(card, "sample", num_samples=count, **knobs)
            for _ in range(RUNS + 4):  # until it is recorded
                engine.run(request)
                engine.recordings.settle()
            whole, bare = by_turns(*_ways(engine, request, plain, model, range(count)))
            yield from _lines(card.removesuffix("-fashion-28"), count, whole, bare)


def _ways(engine: Engine, request: Request, plain: Plain, model: Any, seeds: Sequence[int]) -> tuple[Callable[[], Any], Callable[[], Any]]:
    def bare() -> NDArray[np.uint8]:
        with torch.inference_mode():
            levels = ((plain(model, seeds).clamp(-1, 1) + 1) * 127.5).round()
            return levels.to(torch.uint8).permute(0, 2, 3, 1).numpy()

    off = np.abs(engine.run(request).sheet.pictures.astype(int) - bare().astype(int))
    if off.max() > 1:
        raise RuntimeError(f"{request.card}: the plain pictures are others, by {off.max()} levels.")
    return lambda: engine.run(request), bare


def _lines(name: str, count: int, whole: float, bare: float) -> Iterator[Row]:
    against = f"the same in plain torch ({short(bare)} ms)"
    if count == 1:
        yield Row(f"Engine, {name}, 1 picture: beyond the network", whole - bare, "ms", against, whole / bare, "≤ 2 ms")
    else:
        yield compared(f"Engine, {name}, {count} pictures", whole, "ms", "the same in plain torch", bare, "ratio ≤ 1.05")


def randn(seeds: Sequence[int], *shape: int) -> Tensor:
    """Each picture's own numbers."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def autoencoder(model: Any, seeds: Sequence[int]) -> Tensor:
    z = randn(seeds, *model.latent.shape)
    return model.network.decode(z, torch.full((len(z),), 32)).float()  # type: ignore[no-any-return]


def vae(model: Any, seeds: Sequence[int]) -> Tensor:
    return LogisticMixture(model.network.decoder(randn(seeds, *model.latent.shape))).mean()


def gan(model: Any, seeds: Sequence[int]) -> Tensor:
    generator = model.network.generator
    return generator.synthesis(generator.mapping(randn(seeds, model.latent.shape[1])))  # type: ignore[no-any-return]


def flow(model: Any, seeds: Sequence[int]) -> Tensor:
    return (256 * model.network.inverse(0.8 * randn(seeds, *model.latent.shape)) - 0.5) / 127.5 - 1  # type: ignore[no-any-return]


def diffusion(model: Any, seeds: Sequence[int]) -> Tensor:
    """DDIM with guidance, in both passes of one batch."""
    x, told = randn(seeds, *model.latent.shape), torch.tensor([0] * len(seeds) + [10] * len(seeds))
    scheduler_times = torch.cat([torch.arange(1000, 0, -1000 / STEPS).round() - 1, torch.tensor([0.0])]) / 999
    places = model.path.at(scheduler_times)
    signals, sigmas = places.signal.flatten().tolist(), places.sigma.flatten().tolist()
    signals[-1], sigmas[-1] = 1.0, 0.0
    for index, time in enumerate(scheduler_times[:-1].tolist()):
        with_it, without = model.network(torch.cat([x, x]), torch.full((2 * len(x),), 1000 * time), told).chunk(2)
        u = without + 1.5 * (with_it - without)
        x_0 = (signals[index] * x - sigmas[index] * u).clamp(-1, 1)
        x = signals[index + 1] * x_0 + sigmas[index + 1] * (x - signals[index] * x_0) / sigmas[index]
    return x


PLAIN: dict[str, tuple[Plain, dict[str, Any]]] = {
    "ae-fashion-28": (autoencoder, {"prior": "standard", "temperature": 1.0, "code_size": 32}),
    "vae-fashion-28": (vae, {"prior": "standard", "temperature": 1.0}),
    "gan-fashion-28": (gan, {"truncation_psi": 1.0, "noise": "none"}),
    "realnvp-fashion-28": (flow, {"temperature": 0.8}),
    "glow-fashion-28": (flow, {"temperature": 0.8}),
    "tarflow-fashion-28": (flow, {"temperature": 0.8, "denoise": False}),
    "ddpm-fashion-28": (
        diffusion,
        {"scheduler": "ddim", "num_inference_steps": STEPS, "guidance_scale": 1.5, "label": "0", "eta": 0.0},
    ),
}
"""By card: the plain way, and the knobs that it stands for."""
