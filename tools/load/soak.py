"""Thousands of requests of all kinds: after them the page holds no more than after the first few hundred."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx

from tools.load.served import Served
from tools.load.visitors import Endpoints, Refused

AT_ONCE = 6
PARTS = 10
LIVE = (
    "card=vae-fashion-28&task=sample&num_samples={few}",
    "card=vae-fashion-28&task=traverse&start=test:{some}",
    "card=vae-fashion-28&task=map&x=0.{some}&y=-0.{some}",
    "card=vae-fashion-28&task=reconstruct&picture=test:{some}",
    "card=ae-fashion-28&task=interpolate&ends=test:{some}&ends=seed:{some}",
    "card=gan-fashion-28&task=sample&seed={some}&num_samples={few}",
    "card=glow-fashion-28&task=sample&seed={some}&num_samples=2",
    "card=vae-fashion-28&task=decode&latent=seed:{some}+%2B+2*pc:1",
)
BAD = (
    "card=none&task=sample",
    "card=vae-fashion-28&task=none",
    "card=vae-fashion-28&task=sample&num_samples=9999",
    "%ff%00",
    "card=" + "x" * 9000,
)


def soak(served: Served, count: int) -> Iterator[str]:
    """Lines of a table: what the page holds after each tenth of the requests."""
    yield "| Requests | MiB | open files | threads | files in the temporary folder |\n|---|---|---|---|---|"
    numbers = itertools.count()
    for part in range(1, PARTS + 1):
        asyncio.run(_some(served.url, count // PARTS, numbers))
        left = len(list(Path(tempfile.gettempdir(), "gradio").rglob("*")))
        yield f"| {part * count // PARTS:,} | {served.memory_mib:.0f} | {served.files} | {served.threads} | {left} |"


async def _some(url: str, count: int, numbers: Iterator[int]) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        endpoints, room = await Endpoints.of(client), asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with room:
                await _ask(client, endpoints, number)

        await asyncio.gather(*(one(next(numbers)) for _ in range(count)))


async def _ask(client: httpx.AsyncClient, endpoints: Endpoints, number: int) -> None:
    """One request; which kind depends on its number alone."""
    chance, kind = random.Random(number), number % 20
    if kind == 17:
        await _break_off(client, chance)
    elif kind == 18:
        body = chance.randbytes(chance.randrange(10, 200_000))
        await _expect(client.post("playground/open?card=vae-fashion-28&as=picture", content=body), 400)
    elif kind == 19:
        await _expect(client.get(f"playground/live?{chance.choice(BAD)}"), 400)
    elif kind in (15, 16):
        name = chance.choice(["vae_sample", "gan_sample", "ae_reconstruct", "diffusion_sample"])
        knobs = {"num_samples": 1, "num_inference_steps": 2} if name == "diffusion_sample" else {}
        try:
            await endpoints.call(name, seed=number, **knobs)
        except Refused as error:
            raise AssertionError(f"{name}: {error}") from error
    else:
        words = LIVE[number % len(LIVE)].format(few=chance.randint(1, 9), some=chance.randint(0, 99))
        await _expect(client.get(f"playground/live?{words}"), 200)


async def _break_off(client: httpx.AsyncClient, chance: random.Random) -> None:
    """Asks for much and goes away."""
    url = f"playground/picture.png?card=ddpm-fashion-28&task=sample&num_samples=2&num_inference_steps=8&seed={chance.randrange(10**6)}"
    with contextlib.suppress(httpx.TimeoutException):
        await client.get(url, timeout=0.05)


async def _expect(asked: object, status: int) -> None:
    answer = await asked  # type: ignore[misc]
    if answer.status_code != status:
        raise AssertionError(f"{answer.status_code} instead of {status}: {answer.text[:200]}")
