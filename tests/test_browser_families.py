"""Every family's tab, and what is special to some: models to choose from, and pictures that take many steps."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from playground.cards import bundled_cards
from playground.families import FAMILIES
from playground.tasks import TASKS
from tests.browsing import CARDS, FIRST, PHONE, Tab, browse
from tests.conftest import Site

pytestmark = pytest.mark.browser
SEVERAL = [family for family in FAMILIES if sum(card.family == family for card in CARDS) > 1]
ABLE = [(family, task) for family, model in FAMILIES.items() for task, kind in TASKS.items() if kind.missing(model) is None]


def spread(tab: Tab) -> float:
    """How much the greys of the large canvas differ."""
    with Image.open(io.BytesIO(tab.find(".lp-stage canvas").screenshot())) as image:
        return float(np.asarray(image.convert("L")).std())


@pytest.mark.parametrize(("family", "task"), [pair for pair in ABLE if pair[0] != "vae"])  # that one has tests of its own
def test_every_task_of_every_family_shows_a_picture(tab: Tab, family: str, task: str) -> None:
    tab.open(task, family=family, card=FIRST[family]).shot(f"{family}-{task}")
    assert tab.of("kept.card") == FIRST[family] and spread(tab) > 20
    assert tab.page.get_by_role("tab", name=FAMILIES[family].title, exact=False).first.get_attribute("aria-selected") == "true"


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_family_cannot_do_is_said_in_words(tab: Tab, family: str) -> None:
    tab.open("sample", family=family, card=FIRST[family])
    for task, kind in TASKS.items():
        if kind.common and (lack := kind.missing(FAMILIES[family])) is not None:
            tab.turn_to(task)
            expect(tab.page.locator(f"#tab-{family}-{task}")).to_contain_text(f"This family cannot {lack}")


@pytest.mark.parametrize("card", [card for card in CARDS if card.family in SEVERAL], ids=lambda card: card.id)
def test_another_model_is_chosen_in_its_tab(tab: Tab, card) -> None:
    other = next(each for each in CARDS if each.family == card.family and each.id != card.id)
    tab.open("traverse", family=card.family, card=other.id)
    before = tab.of("kept.png")  # the middle frame alone would not do: it is the start itself, which flows give back exactly
    tab.page.locator(f"#{card.family}-card input").click()
    tab.page.get_by_role("option", name=card.title, exact=True).click()
    tab.settled(f"card={card.id}")
    assert tab.of("kept.card") == card.id and tab.of("kept.png") != before
    expect(tab.page.locator(f"#{card.family}-card input")).to_have_value(card.title)
    tab.turn_to("sample").settled(f"card={card.id}")
    tab.shot(f"model-{card.id}")
    assert spread(tab) > 20


def test_every_panel_that_was_opened_follows_the_model(tab: Tab) -> None:
    tab.open("sample", family="gan", card="gan-fashion-28")
    tab.turn_to("traverse").settled()
    tab.turn_to("sample")
    tab.page.locator("#gan-card input").click()
    tab.page.get_by_role("option", name=bundled_cards()["wgan-gp-fashion-28"].title, exact=True).click()
    tab.settled("card=wgan-gp-fashion-28")
    assert "card=wgan-gp-fashion-28&task=sample" in tab.page.url
    tab.turn_to("traverse").settled("card=wgan-gp-fashion-28")


def test_a_family_is_built_when_it_is_turned_to_and_keeps_what_was_set(tab: Tab) -> None:
    tab.open_plain()
    assert not tab.page.locator("#vae-tasks").count()
    tab.page.locator("#tab-vae-button").click()
    tab.panel = "vae-sample"
    tab.settled()
    tab.knob("num_samples").locator("input[type=number]").fill("3")
    tab.page.keyboard.press("Tab")
    link = tab.settled("num_samples=3")
    tab.page.locator("#tab-ae-button").click()
    tab.page.wait_for_function("location.search.includes('card=ae-fashion-28')")
    tab.page.locator("#tab-vae-button").click()
    tab.page.wait_for_function("(link) => location.search === `?${link}`", arg=link)  # the link is of what is looked at
    assert tab.settled() == link and tab.page.evaluate("document.querySelectorAll('#tab-vae .lp-sheet').length") == 1


def test_a_long_sampling_is_seen_to_happen_and_can_be_stopped(tab: Tab) -> None:
    tab.open("sample", f"card={FIRST['diffusion']}&task=sample&num_samples=1&num_inference_steps=5", family="diffusion")
    finished = tab.of("kept.query")
    tab.page.evaluate("window.shares = []; setInterval(() => shares.push(playground.panels['diffusion-sample'].about.progress), 20)")
    for name, value in (("num_samples", "64"), ("num_inference_steps", "100")):
        tab.knob(name).locator("input[type=number]").fill(value)
        tab.page.keyboard.press("Tab")
    tab.page.wait_for_function("new Set(shares.filter((share) => share < 1)).size > 2")
    tab.page.click("#diffusion-sample-stop")
    tab.page.wait_for_timeout(1500)  # whatever was under way when it was pressed has arrived
    stopped = tab.of("about.progress")
    tab.page.wait_for_timeout(1500)
    assert tab.of("about.progress") == stopped < 1 and tab.of("kept.query") != finished
    assert spread(tab) > 5
    tab.shot("stopped")


@pytest.mark.parametrize("family", FAMILIES)
def test_families_fit_a_phone(chromium: Browser, site: Site, family: str) -> None:
    with browse(chromium, site.url, viewport=PHONE, has_touch=True) as tab:
        tab.open("sample", family=family, card=FIRST[family]).shot(f"phone-{family}")
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        expect(tab.find(".lp-stage canvas")).to_be_in_viewport()
