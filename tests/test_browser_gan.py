"""The GAN's tools, driven as a person would: layers, names, style mixing, directions, noise, scores, mode collapse."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.browsing import PHONE, Tab, browse
from tests.conftest import Site

pytestmark = pytest.mark.browser
CARD = "gan-fashion-28"
TOOLS = ("style", "directions", "noise", "critic", "collapse")


def opened(tab: Tab, task: str, **knobs: object) -> Tab:
    query = "&".join([f"card={CARD}&task={task}", *(f"{name}={value}" for name, value in knobs.items())])
    return tab.open(task, query, family="gan", card=CARD)


def turn(tab: Tab, name: str, value: object) -> None:
    """Types a number into a slider's field."""
    tab.knob(name).locator("input[type=number]").first.fill(str(value))
    tab.page.keyboard.press("Tab")
    tab.settled(f"{name}={value}")


def test_a_direction_is_walked_in_some_layers_and_named(tab: Tab) -> None:
    opened(tab, "traverse", start="seed:25", direction="pc:1", num_frames=5)
    whole = tab.of("kept.png")
    turn(tab, "from_layer", 3)
    assert tab.of("kept.png") != whole
    expect(tab.find(".lp-answer")).to_contain_text("layers 3–5")
    tab.knob("direction_name").locator("input, textarea").first.fill("shade")
    tab.settled("direction_name=shade")
    assert tab.of("about.labels")[0] == "shade -3.00"
    assert "pc%3A1%403-5~shade" in tab.of("kept.cells[0]")
    tab.shot("gan-named")


def test_a_name_that_no_recipe_holds_is_refused_in_a_sentence(tab: Tab) -> None:
    opened(tab, "traverse", start="seed:25", num_frames=5)
    tab.knob("direction_name").locator("input, textarea").first.fill("two words")
    expect(tab.find(".lp-caption")).to_contain_text("is no name for a direction")
    tab.problems[:] = [words for words in tab.problems if "400 (Bad Request)" not in words]  # Chromium notes the refusal


def test_styles_are_mixed_by_layer(tab: Tab) -> None:
    opened(tab, "style", noise="none")
    assert tab.of("about.heads")[1] == "B 100"
    fine = tab.of("kept.png")
    turn(tab, "from_layer", 0)
    expect(tab.find(".lp-answer")).to_contain_text("from their column by 0.")  # all layers are the column's now
    assert tab.of("kept.png") != fine
    tab.shot("gan-style")


def test_directions_by_both_ways_with_their_spectrum(tab: Tab) -> None:
    opened(tab, "directions", num_directions=4)
    expect(tab.find(".lp-answer")).to_contain_text("of the variance of w")
    expect(tab.find(".js-plotly-plot")).to_be_visible()
    tab.knob("kind").get_by_text("SeFa of the layers").click()
    tab.settled("kind=sefa")
    assert tab.of("about.sides")[0].startswith("sefa:1")
    tab.shot("gan-directions")


def test_noise_is_shown_and_measured(tab: Tab) -> None:
    opened(tab, "noise")
    assert tab.of("about.labels")[0] == "no noise" and tab.of("about.labels").pop() == "deviation"
    expect(tab.find(".lp-answer")).to_contain_text("grey levels")
    before = tab.of("kept.png")
    turn(tab, "strength", 100)
    assert tab.of("kept.png") != before
    tab.shot("gan-noise")


def test_the_critic_puts_pictures_in_order_and_sees_truncation(tab: Tab) -> None:
    opened(tab, "critic")
    scores = [float(label.split("\n")[1].replace("−", "-")) for label in tab.of("about.labels")]
    assert scores == sorted(scores, reverse=True)
    said = tab.find(".lp-answer").inner_text()
    assert "times in 100" in said
    turn(tab, "truncation_psi", 0.5)
    expect(tab.find(".lp-answer")).not_to_have_text(said)
    tab.shot("gan-critic")


def test_cards_with_a_critic_are_compared(tab: Tab) -> None:
    opened(tab, "collapse")
    assert len(tab.of("kept.facts.names")) == len(tab.of("kept.about.labels")) // 8 >= 3
    assert len(set(map(str, tab.of("kept.facts.variety")))) >= 3
    expect(tab.find(".js-plotly-plot")).to_be_visible()
    tab.shot("gan-collapse")


@pytest.mark.parametrize("task", TOOLS)
def test_the_tools_fit_a_phone(chromium: Browser, site: Site, task: str) -> None:
    with browse(chromium, site.url, viewport=PHONE, has_touch=True) as tab:
        opened(tab, task).shot(f"phone-gan-{task}")
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        expect(tab.find(".lp-stage canvas")).to_be_in_viewport()
