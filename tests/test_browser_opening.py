"""Opening the page: how much is sent, what is cached, and that what the document leaves out can still be had."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from playground.ui import hints
from tests.browsing import DESK, Tab
from tests.conftest import Site
from tools.write_hints import asked

pytestmark = pytest.mark.browser
FIRST_VISIT, LATER = 500_000, 150_000
"""Bytes; what Gradio's own scripts and the page's document come to when both are compressed, with room to grow."""


def visit(context: BrowserContext, url: str) -> tuple[int, int, list[str]]:
    """Bytes until the first picture is kept, files that came from the browser's cache, and the scripts that cannot be cached for good."""
    page, sizes, cached, fleeting = context.new_page(), [0], [0], []
    network = context.new_cdp_session(page)
    network.send("Network.enable")

    def met(event: dict[str, Any]) -> None:
        answer = event["response"]
        cached[0] += bool(answer.get("fromDiskCache"))
        headers = {name.lower(): value for name, value in answer["headers"].items()}
        if "/assets/" in answer["url"] and "immutable" not in headers.get("cache-control", ""):
            fleeting.append(answer["url"])

    network.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
    network.on("Network.responseReceived", met)
    page.goto(url)
    page.wait_for_function("Object.values(window.playground?.panels || {}).some((panel) => panel.kept)")
    page.close()
    return sum(sizes), cached[0], fleeting


def test_little_is_sent_and_nothing_twice(chromium: Browser, site: Site) -> None:
    with chromium.new_context(viewport=DESK) as context:
        first, _, fleeting = visit(context, site.url)
        later, cached, _ = visit(context, site.url)
    assert first < FIRST_VISIT and later < LATER
    assert not fleeting and cached > 30


def test_what_opening_takes_is_asked_for_at_once_and_only_that(chromium: Browser, site: Site) -> None:
    words: list[str] = []
    with chromium.new_context(viewport=DESK) as context:
        page, live = context.new_page(), []
        page.on("console", lambda message: words.append(message.text))
        page.on("request", lambda request: "/playground/live" in request.url and live.append(request.url))
        assert set(asked(page, site.url)) == set(hints.files()), "what Gradio asks for is written down by `make hints`"
        page.wait_for_timeout(4000)  # a browser says after a while what it fetched for nothing
    assert len(live) == 1, "the picture is asked for once"
    assert not words


def test_the_list_of_endpoints_is_whole(tab: Tab) -> None:
    tab.open_plain()
    assert tab.page.evaluate("window.gradio_config.components.every((part) => part.type !== 'api')")
    tab.page.locator("footer .show-api").click()
    tab.page.wait_for_url("**view=api*")
    expect(tab.page.locator(".api-docs").get_by_text("/vae_sample").first).to_be_visible()
    tab.problems.clear()  # its pages ask for a list of MCP tools, which a page without MCP does not have


def test_a_click_is_kept_without_a_rest(tab: Tab) -> None:
    tab.open("sample")
    waits = tab.page.evaluate(
        """(id) => new Promise((done) => {
        const panel = window.playground.panels[id];
        panel.rest = done;
        document.querySelector(`#${id}-random`).click();
    })""",
        tab.panel,
    )
    assert waits == 50
