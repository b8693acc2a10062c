"""Events of a panel that the page built anew while they were on their way."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from playground.engine import Engine
from playground.settings import Settings
from playground.ui import build
from playground.ui.stale import Stale
from tests.browsing import Tab
from tests.conftest import Site


@pytest.fixture(scope="module")
def page():
    return build(Engine(Settings(hub="off", device="cpu")))


@pytest.fixture
def client(page) -> TestClient:
    """A server that knows one event beside the page's quiet one, and answers with what it was asked."""
    left = next(number for number, event in page.fns.items() if event.api_name == "left")

    async def event(http: HTTPRequest) -> JSONResponse:
        body = await http.json()
        {3: "three", left: "left"}[body["fn_index"]]
        if body["data"] == ["broken"]:
            raise KeyError("broken")
        return JSONResponse({**body, "length": int(http.headers["content-length"]) - len(await http.body())})

    routes = [Route(path, event, methods=["POST"]) for path in ("/gradio_api/queue/join", "/gradio_api/run/predict", "/other")]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(Stale, page=page)]))


def asked(number: int, *data: str) -> dict[str, object]:
    return {"fn_index": number, "data": list(data), "session_hash": "visit", "event_data": {"a": 1}, "trigger_id": 7}


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/run/predict"])
def test_an_event_that_is_known_passes_as_it_is(client: TestClient, path: str) -> None:
    assert client.post(path, json=asked(3, "é")).json() == {**asked(3, "é"), "length": 0}


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/run/predict"])
def test_one_that_is_no_more_ends_quietly_in_the_same_visit(client: TestClient, page, path: str) -> None:
    answer = client.post(path, json=asked(250, "é")).json()
    assert page.fns[answer["fn_index"]].api_name == "left" and answer["length"] == 0
    assert answer["session_hash"] == "visit" and answer["data"] == [] and answer["event_data"] is None


def test_other_faults_are_not_hidden(client: TestClient) -> None:
    with pytest.raises(KeyError, match="broken"):
        client.post("/gradio_api/queue/join", json=asked(3, "broken"))
    with pytest.raises(KeyError, match="250"):
        client.post("/other", json=asked(250))


@pytest.mark.browser
def test_a_panel_that_the_server_has_given_up_does_no_harm(tab: Tab, site: Site) -> None:
    tab.open("sample", family="ae")
    visit = tab.page.evaluate(
        "performance.getEntriesByType('resource').map(({name}) => /session_hash=(\\w+)/.exec(name)?.[1]).find(Boolean)"
    )
    events = site.app.state_holder[visit].blocks_config.fns
    gone = [number for number, event in events.items() if event.rendered_in is not None and event.renderable is None]
    assert gone
    for number in gone:
        del events[number]
    answered: list[int] = []
    tab.page.on("response", lambda answer: answered.append(answer.status) if answer.request.method == "POST" else None)
    tab.find("#ae-sample-reset").click()  # asks without the queue
    tab.page.evaluate("playground.panels['ae-sample'].settle()")  # and with it
    for _ in range(200):
        if len(answered) >= 2:
            break
        tab.page.wait_for_timeout(50)
    assert len(answered) >= 2 and set(answered) == {200}
    tab.turn_to("traverse").settled()
