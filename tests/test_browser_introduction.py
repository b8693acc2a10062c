"""The introduction of every tab as a person meets it: one line, then all that it opens to, on a desk and on a phone, light and dark."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from playground.families import FAMILIES
from playground.ui.claims import Words
from playground.ui.matrix import QUESTIONS
from tests.browsing import DESK, FIRST, PHONE, Tab, browse
from tests.conftest import Site

pytestmark = pytest.mark.browser
LOADED = """(images) => images.filter((image) => image.checkVisibility()).map((image) => image.complete && image.naturalWidth > 0)"""


def opened(tab: Tab, family: str, theme: str = "light") -> Page:
    """The tab with its introduction open and its pictures there."""
    tab.open("sample", f"__theme={theme}", family=family)
    tab.page.locator(f"#tab-{family} .lp-intro button").first.click()
    expect(tab.page.locator(f"#tab-{family} .lp-matrix")).to_be_visible()
    tab.page.locator(f"#tab-{family} .lp-way svg:visible").scroll_into_view_if_needed()
    tab.page.wait_for_function(
        f"(family) => {{ const seen = ({LOADED})([...document.querySelectorAll(`#tab-${{family}} .lp-way img`)]);"
        " return seen.length && seen.every((there) => there); }",
        arg=family,
    )
    return tab.page


def complaints(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_one_line_that_opens_to_all_there_is_to_say(tab: Tab, family: str) -> None:
    words = Words.read(family)
    assert words is not None
    tab.open("sample", family=family, card=FIRST[family])
    intro = tab.page.locator(f"#tab-{family} .lp-intro")
    expect(intro).to_contain_text(words.idea[0])
    expect(intro.locator(".lp-way, .lp-claims, .lp-matrix")).to_have_count(0)  # nothing of it is in the page before it is asked for
    height = intro.bounding_box()
    assert height is not None and height["height"] < 64
    expect(tab.find(".lp-stage canvas")).to_be_in_viewport()
    asked = len(tab.asked)
    intro.locator("button").first.click()
    for part in (*words.idea[1:], *(claim.claim for claim in (*words.good, *words.bad)), *QUESTIONS):
        expect(intro).to_contain_text(part)
    expect(intro.locator(".katex-display")).to_be_visible()
    expect(intro.locator(".lp-way svg:visible")).to_have_attribute("aria-label", words.way["words"])
    expect(intro.locator(".lp-claims li")).to_have_count(len(words.good) + len(words.bad))
    expect(intro.locator(".lp-claims .lp-verdict")).to_have_count(len(words.good) + len(words.bad))
    tab.page.wait_for_function(f"() => performance.getEntriesByType('resource').some((entry) => entry.name.includes('{FIRST[family]}'))")
    assert any("playground/picture.png" in url or "playground/source.png" in url for url in tab.asked[asked:])
    intro.locator("button").first.click()
    expect(intro.locator(".lp-matrix")).to_be_hidden()


@pytest.mark.parametrize(("viewport", "kind"), [(DESK, "wide"), (PHONE, "narrow")], ids=["desk", "phone"])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_fits_and_can_be_read(chromium: Browser, site: Site, family: str, viewport: dict[str, int], kind: str) -> None:
    with browse(chromium, site.url, viewport=viewport) as tab:
        page = opened(tab, family)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        way = page.locator(f"#tab-{family} .lp-way svg:visible")
        expect(way).to_have_count(1)
        expect(way).to_have_class(f"lp-{kind}")
        scale = way.evaluate("svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width")
        assert 0.85 < scale <= 1.01  # letters of 12 pixels and more stay at 10 and more
        inside = way.evaluate(
            """svg => [...svg.querySelectorAll('text, img')].every((each) => { const box = each.getBoundingClientRect();
                return box.left >= 0 && box.right <= innerWidth; })"""
        )
        assert inside
        wide = page.locator(f"#tab-{family} .lp-scroll").evaluate("box => box.scrollWidth - box.clientWidth")
        assert wide <= 0
        way.scroll_into_view_if_needed()
        tab.shot(f"introduction-{family}-{kind}")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("family", FAMILIES)
def test_axe_finds_nothing_in_it(tab: Tab, family: str, theme: str) -> None:
    words = complaints(opened(tab, family, theme))
    assert not words, "\n".join(words)


@pytest.mark.parametrize("family", FAMILIES)
def test_axe_finds_nothing_in_it_on_a_phone(chromium: Browser, site: Site, family: str) -> None:
    with browse(chromium, site.url, viewport=PHONE) as tab:
        words = complaints(opened(tab, family))
        assert not words, "\n".join(words)


def test_pausing_on_a_number_tells_how_it_was_measured(tab: Tab) -> None:
    page = opened(tab, "gan")
    number = page.locator("#tab-gan .lp-claims data").first
    assert "python -m playground evaluate" in str(number.get_attribute("title")) and number.inner_text()


def test_the_line_opens_by_keyboard(tab: Tab) -> None:
    tab.open("sample", family="flow", card=FIRST["flow"])
    tab.page.locator("#tab-flow .lp-intro button").first.focus()
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#tab-flow .lp-matrix")).to_be_visible()
