"""One engine behind HTTP: `POST /stream` asks, newline-delimited JSON answers (see `playground.wire`)."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from playground.engine import Engine
from playground.errors import PlaygroundError, UnknownCard
from playground.library import Library
from playground.request import MAX_LINK, Request, read_query
from playground.settings import Settings
from playground.turns import Waiting, in_turn
from playground.wire import error_line, to_line, waiting_line

STILL_HERE = 5.0
"""Seconds after which an empty line says that the work goes on."""
MEDIA_TYPE = "application/x-ndjson"


class Asked(BaseModel):
    """What a page sends: a request as its query string, and who asks, as any text that tells visitors apart."""

    model_config = ConfigDict(extra="forbid")

    request: str = Field(max_length=MAX_LINK)
    visitor: str = Field("", max_length=64)


Prepare = Callable[[str], Awaitable[None]]
"""Told the card of each request before it runs."""


def ingress(engine: Engine, prepare: Prepare | None = None) -> FastAPI:
    """The application around an engine. `/health` and `/ready` are open; all else wants the token of the settings, where they have one."""
    app = FastAPI(title="Latent Playground engine", docs_url=None, redoc_url=None, openapi_url=None)

    def known(authorization: Annotated[str, Header()] = "") -> None:
        token = engine.settings.engine_token
        if token and not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, "This engine wants a token.")

    @app.post("/stream", dependencies=[Depends(known)])
    async def stream(asked: Asked) -> StreamingResponse:
        return StreamingResponse(_alive(_lines(engine, asked, prepare)), media_type=MEDIA_TYPE)

    @app.get("/health")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "ok", "models_loaded": engine.num_loaded(), "running": engine.in_use()})

    @app.get("/ready")
    async def ready() -> JSONResponse:
        return JSONResponse({"status": "ok" if engine.problem is None else str(engine.problem)}, 200 if engine.problem is None else 503)

    return app


async def _lines(engine: Engine, asked: Asked, prepare: Prepare | None) -> AsyncGenerator[bytes, None]:
    try:
        request = await asyncio.to_thread(_understood, engine, asked.request)
        if prepare is not None:
            await prepare(request.card)
        async with aclosing(in_turn(engine.line, asked.visitor, lambda: engine.stream(request, asked.visitor))) as results:
            async for result in results:
                yield waiting_line(result.position, result.seconds) if isinstance(result, Waiting) else to_line(result)
    except PlaygroundError as error:
        yield error_line(error)
    except Exception as error:
        yield error_line(PlaygroundError(f"Something went wrong in the engine ({type(error).__name__}).", "Try again."))


def _understood(engine: Engine, query: str) -> Request:
    """The request. A model of the Hub that is not here yet is brought in first, where this engine's own rules allow it."""
    try:
        return Request.from_query(query, cards=engine.cards)
    except UnknownCard:
        card = str(read_query(query).get("card", ""))
        if "/" not in card or not engine.may_fetch(card.partition("@")[0]):
            raise
        Library(engine).bring(card)
        return Request.from_query(query, cards=engine.cards)


async def _alive(lines: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """The same lines, with an empty one whenever the next takes long. Closed when the other end is gone, which stops the work."""
    following: asyncio.Task[bytes | None] | None = None
    try:
        while True:
            following = asyncio.ensure_future(_next(lines))
            while not (await asyncio.wait([following], timeout=STILL_HERE))[0]:
                yield b"\n"
            if (line := following.result()) is None:
                return
            yield line
    finally:
        if following is not None and not following.done():
            following.cancel()
            await asyncio.wait([following])
        await lines.aclose()


async def _next(lines: AsyncIterator[bytes]) -> bytes | None:
    return await anext(lines, None)


def app() -> FastAPI:
    """An engine as the environment says: `uvicorn --factory playground.cluster.ingress:app`."""
    return ingress(Engine(Settings.from_environment()))
