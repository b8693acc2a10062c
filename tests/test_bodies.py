"""What is sent to the page: how much, how slowly, by how many, and the files that nobody here has a use for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message

from playground.ui.bodies import AT_ONCE, CLOSED, Bodies
from tests import loops
from tests.conftest import Site

LIMIT = 1000


async def length(http: HTTPRequest) -> Response:
    return JSONResponse({"bytes": len(await http.body())})


def behind(seconds: float = 60.0) -> Bodies:
    """A page that says how much it got."""
    return Bodies(Starlette(routes=[Route("/{path:path}", length, methods=["GET", "POST"])]), LIMIT, seconds)


def post(bodies: Bodies, path: str, content: Any, method: str = "POST") -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(bodies), base_url="http://page") as client:
            return await client.request(method, path, content=content)

    return loops.run(ask())


async def drip(bodies: Bodies, parts: Sequence[Message | None]) -> list[Message]:
    """What is sent back for messages that come one by one; after None nothing comes any more."""
    scope = {"type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"", "headers": [], "root_path": ""}
    sent: list[Message] = []
    left = list(parts)

    async def receive() -> Message:
        message = left.pop(0) if left else None
        if message is None:
            await anyio.sleep_forever()
        return message  # type: ignore[return-value]

    async def send(message: Message) -> None:
        sent.append(message)

    await bodies(scope, receive, send)
    return sent


def part(size: int, more: bool = True) -> Message:
    return {"type": "http.request", "body": b"x" * size, "more_body": more}


@pytest.mark.parametrize("size", [0, 1, LIMIT])
def test_what_is_small_enough_arrives_whole(size: int) -> None:
    bodies = behind()
    assert post(bodies, "/gradio_api/queue/join", b"x" * size).json() == {"bytes": size}
    assert bodies.held == 0


def test_too_much_is_refused_before_and_while_it_comes() -> None:
    async def endless() -> Any:
        while True:
            yield b"x" * 400

    bodies = behind()
    for content in (b"x" * (LIMIT + 1), endless()):
        answer = post(bodies, "/", content)
        assert answer.status_code == 413 and "Hand in less" in answer.json()["error"] and answer.headers["connection"] == "close"
    assert bodies.held == 0


def test_what_does_not_come_is_not_waited_for() -> None:
    bodies = behind(seconds=0.05)
    sent = loops.run(drip(bodies, [part(10), None]))
    assert sent[0]["status"] == 408 and b"did not come within 0.05 seconds" in sent[1]["body"]
    assert bodies.held == 0


def test_who_goes_away_gets_no_answer() -> None:
    bodies = behind()
    assert loops.run(drip(bodies, [part(10), {"type": "http.disconnect"}])) == [] and bodies.held == 0


def test_many_that_send_slowly_hold_no_more_than_their_share() -> None:
    bodies = behind()

    async def crowd() -> list[list[Message]]:
        async with anyio.create_task_group() as group:
            for _ in range(AT_ONCE):
                group.start_soon(drip, bodies, [part(LIMIT), None])
            await anyio.wait_all_tasks_blocked()
            assert bodies.held == AT_ONCE * LIMIT
            answers = [await drip(bodies, [part(size, more=False)]) for size in (LIMIT // 2, 5)]
            group.cancel_scope.cancel()
        return [*answers, await drip(bodies, [part(LIMIT // 2, more=False)])]

    late, small, later = loops.run(crowd())
    assert [answer[0]["status"] for answer in (late, small, later)] == [503, 200, 200] and bodies.held == 0


@pytest.mark.parametrize("path", CLOSED)
def test_files_are_not_taken(path: str) -> None:
    assert post(behind(), path, b"x").status_code == 404
    assert post(behind(), path, b"", method="GET").status_code == 200, "only what sends something is looked at"


@pytest.mark.api
def test_the_page_keeps_no_file_that_somebody_sends(site: Site) -> None:
    answer = httpx.post(f"{site.url}gradio_api/upload", files={"files": ("a.png", b"x" * 100)})
    assert answer.status_code == 404 and "playground/open" in answer.json()["error"]
    assert not any(site.app.get_blocks().upload_file_set)
    assert httpx.post(f"{site.url}gradio_api/queue/join", content=b"x" * (11 * 2**20)).status_code == 413
