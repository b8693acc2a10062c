"""The flow's tools, driven as a person would: how likely, step by step, and what could be missing."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.browsing import PHONE, Tab, browse
from tests.conftest import Site

pytestmark = pytest.mark.browser
CARD = "glow-fashion-28"
TOOLS = ("density", "steps", "complete")


def opened(tab: Tab, task: str, **knobs: object) -> Tab:
    query = "&".join([f"card={CARD}&task={task}", *(f"{name}={value}" for name, value in knobs.items())])
    return tab.open(task, query, family="flow", card=CARD)


def turn(tab: Tab, name: str, value: object) -> None:
    """Types a number into a knob's field."""
    tab.knob(name).locator("input[type=number]").first.fill(str(value))
    tab.page.keyboard.press("Tab")
    tab.settled(f"{name}={value}")


def test_a_black_picture_is_likelier_than_a_shirt_and_that_is_said(tab: Tab) -> None:
    opened(tab, "density", picture="test:7")
    labels = tab.of("about.labels")
    assert labels[0].startswith("all black") and labels[-1].startswith("noise")
    expect(tab.find(".lp-answer")).to_contain_text("The surprise: an empty black picture is likelier still")
    expect(tab.find(".js-plotly-plot")).to_be_visible()
    assert len(tab.of("kept.facts.test_bits")) == len(tab.of("kept.facts.train_bits")) == 256
    tab.shot("flow-density")
    shirt = tab.of("kept.facts.nats")
    tab.find(".lp-gallery").focus()
    tab.page.keyboard.press("ArrowRight")
    tab.page.wait_for_function("!playground.panels['flow-density'].kept.query.includes('test%3A7')")
    tab.settled()
    assert tab.of("kept.facts.nats") != shirt


def test_another_seed_brings_another_letter(tab: Tab) -> None:
    opened(tab, "density", seed=0)
    before = tab.of("kept.png")
    turn(tab, "seed", 27)
    assert tab.of("kept.png") != before


def test_steps_are_scrubbed_without_a_request(tab: Tab) -> None:
    opened(tab, "steps")
    expect(tab.find(".lp-answer")).to_contain_text(re.compile(r"back to within .* of 255 grey levels"))
    expect(tab.find(".js-plotly-plot")).to_be_visible()
    assert abs(sum(tab.of("kept.facts.nats")) - tab.of("kept.facts.total_nats")) < 1
    asked, scrub, seen = len(tab.asked), tab.find(".lp-scrub"), set()
    for frame in (0, 1, 9, 18):
        scrub.fill(str(frame))
        seen.add(tab.picture())
        assert tab.of("selected") == frame
    assert len(seen) == 4 and len(tab.asked) == asked
    expect(tab.find(".lp-caption")).to_contain_text("18: 7×7")
    tab.shot("flow-steps")


def test_the_temperature_spreads_the_drawn_latent_alone(tab: Tab) -> None:
    opened(tab, "steps", temperature=0.8)
    nats, png = tab.of("kept.facts.nats"), tab.of("kept.png")
    turn(tab, "temperature", 0.3)
    assert tab.of("kept.facts.nats") == nats and tab.of("kept.png") != png


def test_what_is_missing_is_made_up_and_it_is_said_how_well(tab: Tab) -> None:
    opened(tab, "complete", num_steps=8, num_samples=2)
    assert tab.of("about.count") == 4 and tab.of("about.labels[1]").startswith("what is kept")
    expect(tab.find(".lp-answer")).to_contain_text(re.compile(r"The classifier takes \d of 2 completions"))
    bottom = tab.of("kept.png")
    turn(tab, "num_climbs", 20)
    expect(tab.find(".lp-answer")).to_contain_text("Going up the density changed")
    assert tab.of("kept.png") != bottom
    tab.shot("flow-complete")


def test_a_search_is_seen_to_happen_and_can_be_stopped(tab: Tab) -> None:
    opened(tab, "complete", num_steps=1, num_samples=1)
    tab.page.evaluate("window.shares = []; setInterval(() => shares.push(playground.panels['flow-complete'].about.progress), 20)")
    for name, value in (("num_samples", 8), ("num_steps", 100)):
        tab.knob(name).locator("input[type=number]").fill(str(value))
        tab.page.keyboard.press("Tab")
    tab.page.wait_for_function("new Set(shares.filter((share) => share < 1)).size > 2")
    tab.page.click("#flow-complete-stop")
    tab.page.wait_for_timeout(2000)  # whatever was under way when it was pressed has arrived
    stopped = tab.of("about.progress")
    tab.page.wait_for_timeout(2000)
    assert tab.of("about.progress") == stopped < 1


@pytest.mark.parametrize("task", TOOLS)
def test_a_tool_fits_a_phone(chromium: Browser, site: Site, task: str) -> None:
    with browse(chromium, site.url, viewport=PHONE, has_touch=True) as tab:
        opened(tab, task, **({"num_steps": 5} if task == "complete" else {}))
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        box = tab.find(".lp-stage canvas").first.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
        tab.shot(f"phone-flow-{task}")
