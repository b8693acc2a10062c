"""What every family is asked, as a person asks it: arithmetic, neighbours, and likelihood by every card."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from playground.families import FAMILIES
from tests.browsing import PHONE, Tab, browse
from tests.conftest import Site

pytestmark = pytest.mark.browser


def pixels(tab: Tab, column: int, row: int) -> list[int]:
    """The grey levels of one picture of the kept sheet."""
    return list(
        tab.page.evaluate(
            """([panel, column, row]) => {
                const { bitmap, about } = playground.panels[panel], size = about.size;
                const canvas = new OffscreenCanvas(size, size), context = canvas.getContext("2d");
                context.drawImage(bitmap, column * size, row * size, size, size, 0, 0, size, size);
                return [...context.getImageData(0, 0, size, size).data].filter((_, index) => index % 4 === 0); }""",
            [tab.panel, column, row],
        )
    )


def test_arithmetic_is_scrubbed_and_follows_its_pictures(tab: Tab) -> None:
    tab.open("arithmetic")
    tab.shot("arithmetic")
    expect(tab.find(".lp-answer")).to_contain_text("Pullover − T-shirt + T-shirt")
    assert tab.of("about.group") == 4 and tab.of("places") == 9 and tab.of("selected") == 4
    at_one = tab.picture()
    tab.find(".lp-scrub").evaluate("scrub => { scrub.value = 0; scrub.dispatchEvent(new Event('input')); }")
    assert tab.picture() != at_one
    assert pixels(tab, 0, 3) == pixels(tab, 0, 0)  # with nothing added it is A
    assert pixels(tab, 4, 3) != pixels(tab, 4, 0)
    assert sum(pixels(tab, 4, 3)) < sum(pixels(tab, 4, 0))  # what turns a light T-shirt dark turns a pullover dark
    expect(tab.find(".lp-several")).to_be_hidden()  # there are three, no more and no fewer
    tab.knob("terms").get_by_role("button", name="End C").click()
    box = tab.knob("terms").locator(".lp-gallery img").bounding_box()
    assert box is not None
    tab.page.mouse.click(box["x"] + 0.05 * box["width"], box["y"] + 0.1 * box["height"])
    tab.settled("terms=test%3A19&terms=test%3A19")
    assert pixels(tab, 8, 3) == pixels(tab, 0, 3)  # C is B: nothing is added at any strength


def test_a_frame_of_arithmetic_is_a_recipe_of_its_own(tab: Tab) -> None:
    tab.open("arithmetic")
    wanted = pixels(tab, 4, 3)
    query = str(tab.of("kept.cells[31]"))
    assert "mix=lerp" in query
    tab.open("decode", query)
    differences = [abs(a - b) for a, b in zip(pixels(tab, 0, 0), wanted, strict=True)]
    assert max(differences) <= 2


def test_neighbours_stand_in_rows_and_the_plot_marks_them(tab: Tab) -> None:
    tab.open("neighbours", family="gan", card="gan-fashion-28")
    expect(tab.find(".lp-answer")).to_contain_text("Nearest of 10,000 training pictures")
    expect(tab.find(".prose.lp-says")).to_contain_text("10,000 of the 60,000")
    plot = tab.page.locator(f"#{tab.panel}-plot .js-plotly-plot")
    expect(plot).to_contain_text("distance to the nearest training picturegrey levels")
    expect(plot.locator(".shapelayer path")).to_have_count(4)
    tab.shot("neighbours")
    assert tab.of("across") == 7 and tab.of("about.count") == 28
    first = pixels(tab, 1, 1)
    tab.page.get_by_role("radio", name="classifier features").locator("visible=true").check()
    tab.settled("by=features")
    expect(plot).to_contain_text("Euclidean")
    assert pixels(tab, 1, 1) != first
    tab.shot("neighbours-features")
    tab.knob("num_nearest").locator("input[type=number]").fill("2")
    tab.page.keyboard.press("Tab")
    tab.settled("num_nearest=2")
    assert tab.of("across") == 3 and tab.of("about.count") == 12


def test_the_lens_hears_every_card_and_can_be_stopped(tab: Tab) -> None:
    tab.open("arithmetic", family="flow", card="glow-fashion-28")
    tab.turn_to("lens")
    tab.page.wait_for_function("playground.panels['flow-lens']?.about?.progress > 0")
    tab.page.click("#flow-lens-stop")
    tab.page.wait_for_timeout(1500)
    stopped = tab.of("about.progress")
    tab.page.wait_for_timeout(1500)
    assert tab.of("about.progress") == stopped
    tab.open("lens", family="flow", card="glow-fashion-28")
    answer = tab.find(".lp-answer")
    expect(answer).to_contain_text("ranks it highest")
    expect(answer).to_contain_text("of 200 test pictures")
    plot = tab.page.locator(f"#{tab.panel}-plot .js-plotly-plot")
    for name in ("glow", "vae", "ae", "gan", "ddpm", "tarflow"):
        expect(plot.locator(".yaxislayer-above text", has_text=name).first).to_be_visible()
    assert tab.of("kept.facts.names[0]") == "glow"
    tab.shot("lens")
    before = answer.inner_text()
    box = tab.knob("picture").locator(".lp-gallery img").bounding_box()
    assert box is not None
    tab.page.mouse.click(box["x"] + 0.55 * box["width"], box["y"] + 0.9 * box["height"])
    tab.settled("picture=test%3A")
    tab.page.wait_for_function("words => document.querySelector('#tab-flow-lens .lp-answer').textContent !== words", arg=before)
    tab.shot("lens-sandal")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_the_tools(tab: Tab, family: str) -> None:
    tab.open_plain()
    tab.page.locator(f"#tab-{family}-button").click()
    tab.panel = f"{family}-sample"
    tab.settled()
    for task in ("arithmetic", "neighbours", "lens"):
        tab.turn_to(task)
        expect(tab.page.locator(f"#tab-{family}-{task}")).to_be_visible()


@pytest.mark.parametrize("task", ["arithmetic", "neighbours"])
def test_they_fit_a_phone(chromium: Browser, site: Site, task: str) -> None:
    with browse(chromium, site.url, viewport=PHONE, has_touch=True) as tab:
        tab.open(task).shot(f"phone-{task}")
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        expect(tab.find(".lp-stage canvas")).to_be_in_viewport()


def test_names_have_room_on_a_phone(chromium: Browser, site: Site) -> None:
    with browse(chromium, site.url, viewport=PHONE, has_touch=True) as tab:
        tab.open("lens").shot("phone-lens")
        longest = tab.page.evaluate(
            "panel => { const { about } = playground.panels[panel]; return playground.panels[panel].longest(about.labels); }", tab.panel
        )
        cell, pitch, across = (tab.of(name) for name in ("cell", "pitch", "across"))
        assert longest * 10 / 12 <= cell > 50, "letters of ten pixels can be read"
        tab.find(".lp-stage canvas").tap(position={"x": 1.5 * cell, "y": 1.3 * pitch})
        assert tab.of("selected") == across + 1, "what is between pictures belongs to the nearest"
