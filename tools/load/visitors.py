"""People on the page: they drag a knob, let go, look, and now and then have diffusion draw."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

EVENTS_PER_SECOND = 30
DRAG_SECONDS = 2.0
MAX_IN_FLIGHT, CROWDED_MS = 4, 50
"""As in `static/playground.js`."""
LOOK_SECONDS = (0.5, 2.0)
KEPT_PATIENCE = 300.0
CARDS = ("vae-fashion-28",) * 6 + ("gan-fashion-28", "gan-fashion-28", "ae-fashion-28", "realnvp-fashion-28")
"""Most people are where the page opens or next to it."""
KEPT_FRAMES = 200
"""Frames of which the picture is remembered, to be compared with what one gets alone."""


@dataclass
class Seen:
    """What all visitors saw, in milliseconds; whatever went wrong, in words."""

    frames: list[float] = field(default_factory=list)
    skipped: int = 0
    kept: list[float] = field(default_factory=list)
    drawn: list[float] = field(default_factory=list)
    busy: int = 0
    errors: list[str] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0
    """How long it took until the last one had seen what was begun."""


class Endpoints:
    """The named endpoints, by Gradio's plain HTTP protocol."""

    def __init__(self, client: httpx.AsyncClient, info: Mapping[str, Any]) -> None:
        self.client, self.info = client, info["named_endpoints"]

    @classmethod
    async def of(cls, client: httpx.AsyncClient) -> Endpoints:
        return cls(client, (await client.get("gradio_api/info")).json())

    async def call(self, name: str, **knobs: Any) -> Any:
        """The answer. Raises `Refused` with the sentence of an error, and what httpx raises."""
        parameters = self.info[f"/{name}"]["parameters"]
        data = [knobs.get(each["parameter_name"], each["parameter_default"]) for each in parameters]
        begun = (await self.client.post(f"gradio_api/call/{name}", json={"data": data})).raise_for_status().json()["event_id"]
        event = ""
        async with self.client.stream("GET", f"gradio_api/call/{name}/{begun}", timeout=KEPT_PATIENCE) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: ") and event == "complete":
                    return json.loads(line.removeprefix("data: "))
                elif line.startswith("data: ") and event == "error":
                    raise Refused(line.removeprefix("data: "))
        raise Refused("the stream ended without an answer")


class Refused(Exception):
    """An endpoint's sentence."""


@dataclass
class Visitor:
    """One person, with a seed and habits of their own."""

    number: int
    client: httpx.AsyncClient
    endpoints: Endpoints
    seen: Seen
    until: float
    in_flight: int = 0
    crowded: bool = False

    async def stay(self) -> None:
        """Drags, lets go, looks; every fifth person has diffusion draw instead of dragging, every third time."""
        chance, turn = random.Random(self.number), 0
        await asyncio.sleep(chance.uniform(0, 1.0))
        while time.monotonic() < self.until:
            turn += 1
            if self.number % 5 == 4 and turn % 3 == 1:
                await self._kept(self.seen.drawn, "diffusion_sample", num_samples=16, seed=chance.randrange(10**6))
            else:
                await self._drag(chance.choice(CARDS), chance)
            await asyncio.sleep(chance.uniform(*LOOK_SECONDS))

    async def _drag(self, card: str, chance: random.Random) -> None:
        seed, tasks = chance.randrange(10**6), []
        for event in range(int(DRAG_SECONDS * EVENTS_PER_SECOND)):
            knob = "truncation_psi" if card.startswith("gan") else "temperature"
            url = f"playground/live?card={card}&task=sample&num_samples=16&seed={seed}&{knob}={0.3 + 0.01 * event:.2f}"
            if self.in_flight < (1 if self.crowded else MAX_IN_FLIGHT):
                tasks.append(asyncio.create_task(self._frame(url)))
            else:
                self.seen.skipped += 1
            await asyncio.sleep(1 / EVENTS_PER_SECOND)
        await asyncio.gather(*tasks)
        family = {"realnvp": "flow"}.get(card.partition("-")[0], card.partition("-")[0])
        await self._kept(self.seen.kept, f"{family}_sample", card=card, seed=seed)

    async def _frame(self, url: str) -> None:
        self.in_flight += 1
        began = time.perf_counter()
        try:
            answer = await self.client.get(url)
            self.crowded = float(answer.headers.get("x-waited", 0)) > CROWDED_MS
            if answer.status_code == 200:
                self.seen.frames.append(1000 * (time.perf_counter() - began))
                if len(self.seen.pictures) < KEPT_FRAMES:
                    self.seen.pictures[url] = answer.content
            else:
                self.seen.errors.append(f"frame: {answer.status_code} {answer.text[:100]}")
        except httpx.HTTPError as error:
            self.seen.errors.append(f"frame: {type(error).__name__}")
        finally:
            self.in_flight -= 1

    async def _kept(self, times: list[float], name: str, **knobs: Any) -> None:
        began = time.perf_counter()
        try:
            await self.endpoints.call(name, **knobs)
            times.append(1000 * (time.perf_counter() - began))
        except Refused as error:
            if "Try again" in str(error) or "waiting" in str(error):
                self.seen.busy += 1
            else:
                self.seen.errors.append(f"{name}: {error}")
        except httpx.HTTPError as error:
            self.seen.errors.append(f"{name}: {type(error).__name__}")


async def crowd(url: str, count: int, seconds: float, greedy: bool = False) -> Seen:
    """So many visitors for so long, each finishing what was begun; with one more who wants 64 pictures of 100 steps, if `greedy`."""
    seen, limits = Seen(), httpx.Limits(max_connections=None, keepalive_expiry=2.0)  # before the server closes what is idle
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        endpoints, began = await Endpoints.of(client), time.monotonic()
        glutton = asyncio.create_task(_gorge(endpoints)) if greedy else None
        await asyncio.gather(*(Visitor(number, client, endpoints, seen, began + seconds).stay() for number in range(count)))
        seen.seconds = time.monotonic() - began
        if glutton is not None:
            glutton.cancel()
    return seen


async def _gorge(endpoints: Endpoints) -> None:
    while True:
        await endpoints.call("diffusion_sample", num_samples=64, num_inference_steps=100)


async def alone(url: str, pictures: Mapping[str, bytes], same: Callable[[bytes, bytes], float]) -> list[float]:
    """How far each picture is from what the same address answers when nobody else is there."""
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        return [same(body, (await client.get(address)).content) for address, body in pictures.items()]
