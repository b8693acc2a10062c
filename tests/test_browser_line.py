"""The line as a visitor sees it: how many are before, then the picture; and a sentence when it is full."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from playground.compare import Comparison
from playground.settings import Settings
from tests.browsing import PHONE, Tab, browse
from tests.conftest import Site, opened

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def narrow() -> Iterator[Site]:
    with opened(Settings(hub="off", device="cpu", port=0, at_once=1, line_length=1)) as site:
        yield site


@pytest.fixture
def tab(chromium: Browser, narrow: Site) -> Iterator[Tab]:
    with browse(chromium, narrow.url) as tab:
        yield tab


@pytest.mark.parametrize("panel", ["vae-sample", "compare-seed"])
def test_who_waits_is_told_and_then_served(tab: Tab, narrow: Site, panel: str) -> None:
    comparison = Comparison.build("seed", ["vae-fashion-28", "gan-fashion-28"], num_samples=4)
    tab.panel = panel
    tab.page.goto(f"{tab.url}?{comparison.to_query() if panel.startswith('compare') else 'card=vae-fashion-28&task=sample'}")
    before = tab.settled()
    place = narrow.engine.line.join("somebody else")
    tab.knob("random").click()
    expect(tab.find(".lp-caption")).to_contain_text("In line: next")
    tab.shot(f"line-{panel}")
    assert tab.of("kept.query") == before
    place.leave()
    tab.page.wait_for_function("([panel, query]) => window.playground.panels[panel].kept.query !== query", arg=[panel, before])
    tab.settled()
    assert "In line" not in tab.caption() and narrow.engine.line.waiting() == 0


def test_the_line_is_told_in_sight_on_a_phone(chromium: Browser, narrow: Site) -> None:
    with browse(chromium, narrow.url, viewport=PHONE, has_touch=True) as tab:
        tab.open("sample")
        place = narrow.engine.line.join("somebody else")
        tab.page.evaluate("document.querySelector('#vae-sample-random').click()")  # the pictures stay in sight
        expect(tab.find(".lp-caption")).to_contain_text("In line: next")
        expect(tab.find(".lp-caption")).to_be_in_viewport()
        tab.shot("phone-line")
        place.leave()
        tab.settled()


def test_stop_leaves_the_line(tab: Tab, narrow: Site) -> None:
    tab.open("sample")
    place = narrow.engine.line.join("somebody else")
    tab.page.click("#vae-sample-random")
    expect(tab.find(".lp-caption")).to_contain_text("In line: next")
    tab.page.click("#vae-sample-stop")
    expect(tab.find(".lp-caption")).not_to_contain_text("In line")
    assert narrow.engine.line.waiting() == 0
    place.leave()


def test_a_full_line_asks_to_come_back(tab: Tab, narrow: Site) -> None:
    tab.open("sample")
    places = [narrow.engine.line.join(name) for name in ("one", "two")]
    tab.page.click("#vae-sample-random")
    expect(tab.page.locator(".toast-body")).to_contain_text("waiting here already. Try again in about")
    for place in places:
        place.leave()
    tab.page.click("#vae-sample-random")
    tab.page.wait_for_function("!window.playground.panels['vae-sample'].dirty")
    tab.settled()
