"""From noise to picture in many steps, and back: loops that show what they see."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from playground.families.base import Step
from playground.families.schedulers import MEMORY, course, num_looks
from playground.latent import Noise
from playground.nets.diffusion import Path, Schedule, lost, renewed

Predict = Callable[[Tensor, Tensor], Tensor]
"""What a network says at x_t (B, C, H, W) and times (B,) in 0..1: the heading u of that shape."""

CORRECTIONS = 2
"""Looks at each step back; with guidance or few steps, more would be closer."""


def denoise(
    path: Path,
    predict: Predict,
    z: Tensor,
    *,
    scheduler: str,
    num_inference_steps: int,
    eta: float,
    noise: Noise,
    num_left: int | None = None,
) -> Iterator[Step]:
    """Noise `z` (B, C, H, W) to pictures. Every step tells x_t, the x_0 it guesses and the noise it sees; the last `x` is the picture.

    With `num_left`, at least 1, `z` is x_t where so many steps are left (`time_left` says when), and only those are made. `eta` is
    DDIM's share of fresh noise. Heun looks twice a step, so it has 2·`num_inference_steps` - 1 of them. Guesses are kept within [-1, 1]
    where the path is `bounded`.
    """
    way = course(path, scheduler, num_inference_steps, eta, num_left)
    times, total = torch.tensor([move.time for move in way.moves], device=z.device), len(way.moves)
    x, seen, before = way.start * z, deque[Tensor](maxlen=MEMORY), num_looks(scheduler, num_inference_steps) - total
    for index, (move, at) in enumerate(zip(way.moves, path.along(times), strict=True)):
        x_t = x
        x_0, eps = path.seen(at, x_t, predict(x_t, times[index].expand(len(z))))
        seen.appendleft(x_0)
        x = move.on(x_t, seen, noise.normal(z.shape[1:], f"step/{before + index}").to(z) if move.fresh else None)
        if index + 1 == total:
            x_0 = x.clamp(-1, 1) if path.bounded else x
        yield Step(x_0, index + 1, total, x_t, eps, move.time)


def time_left(path: Path, scheduler: str, num_inference_steps: int, num_left: int) -> float:
    """The time at which `num_left` steps of a sampler are left; 0 when none is."""
    return course(path, scheduler, num_inference_steps).moves[-num_looks(scheduler, num_left)].time if num_left else 0.0


def renoise(path: Path, predict: Predict, x: Tensor, num_inference_steps: int, num_left: int | None = None) -> Iterator[Tensor]:
    """Pictures (B, C, H, W) back to the noise that DDIM makes them of (Song et al., section 4.3), or to where `num_left` steps are left.

    A step back is right when the step from there leads here again. That is sought by correcting what it misses, as in Pan et al.,
    arXiv 2309.04907, so the network never looks at a picture without noise, of which it cannot say what the noise was.
    """
    times = torch.linspace(0, 1, num_inference_steps + 1, device=x.device)
    for now, then in pairwise(times if num_left is None else times[: num_left + 1]):
        here, there = path.at(now.view(1)), path.at(then.view(1))
        back = x
        for _ in range(CORRECTIONS):
            back = back + x - here.noised(*path.seen(there, back, predict(back, then.expand(len(x)))))
        x = back
        yield x


def evened(path: Path, predict: Predict) -> tuple[Path, Predict]:
    """The same way at an even pace, place by place, and what the network says there."""
    if not isinstance(path, Schedule):
        return path, predict
    even = path.evened()

    def along(x: Tensor, time: Tensor) -> Tensor:
        return predict(x, path.time_of(even.place(time).tan()))

    return even, along


def repaint(
    path: Path, predict: Predict, x: Tensor, hidden: Tensor, *, num_inference_steps: int, num_resamplings: int, noise: Noise
) -> Iterator[Step]:
    """Completes pictures `x` (B, C, H, W) where `hidden` (H, W) is true: RePaint, Lugmayr et al., arXiv 2201.09865, algorithm 1.

    At each step what is known is noised afresh, what is not comes from the sampler; the two fit badly, so noise is put back and the
    step made again, `num_resamplings` times in all. Every `x` it tells is exactly the given one outside of `hidden`.
    """
    times = torch.linspace(1, 0, num_inference_steps + 1, device=x.device)
    x_t, index, total = noise.normal(x.shape[1:]).to(x), 0, num_inference_steps * num_resamplings
    for t, s in pairwise(times):
        now, then = path.at(t.view(1)), path.at(s.view(1))
        for _ in range(num_resamplings):
            index += 1
            fresh, known, back = (noise.normal(x.shape[1:], f"{use}/{index}").to(x) for use in ("step", "known", "back"))
            x_0, eps = path.seen(now, x_t, predict(x_t, t.expand(len(x))))
            yield Step(torch.where(hidden, x_0, x), index, total, x_t, eps, float(t))
            less = torch.where(hidden, renewed(now, then, x_0, eps, 1.0, fresh), then.noised(x, known))
            x_t = now.signal / then.signal * less + lost(now, then) * back
        x_t = less
