"""Diffusion's tools in a browser: a mask painted by mouse, finger and keyboard; films that need no further request; tables."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Browser, expect

from playground.masks import Mask
from tests.browsing import PATIENCE, PHONE, Tab, browse
from tests.conftest import Site

pytestmark = pytest.mark.browser
CARD = "ddpm-fashion-28"
QUICK = f"card={CARD}&num_inference_steps=4"


def opened(tab: Tab, task: str, query: str = "") -> Tab:
    return tab.open(task, f"{QUICK}&task={task}&{query}", family="diffusion", card=CARD)


def mask_of(tab: Tab) -> str:
    return parse_qs(str(tab.of("kept.query")))["mask"][0]


def painted(tab: Tab, before: str) -> str:
    """Waits for another mask than `before` to be kept; its text."""
    script = "([panel, before]) => new URLSearchParams(playground.panels[panel].kept?.query).get('mask') !== before"
    tab.page.wait_for_function(script, arg=[tab.panel, before], timeout=PATIENCE)
    tab.settled()
    return mask_of(tab)


def inpainting(tab: Tab, mask: str = "none") -> Tab:
    opened(tab, "inpaint", f"picture=test:0&num_samples=1&num_resamplings=1&mask={mask}")
    tab.find(".lp-mask canvas").scroll_into_view_if_needed()
    return tab


def test_a_mask_is_painted_and_erased_with_the_mouse(tab: Tab) -> None:
    inpainting(tab)
    canvas = tab.find(".lp-mask canvas")
    tab.find(".lp-mask .lp-brush").fill("1")  # which may scroll: before the canvas is measured
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    cell = box["width"] / 28

    def drag(*cells: tuple[int, int]) -> None:
        for index, (column, row) in enumerate(cells):
            tab.page.mouse.move(box["x"] + (column + 0.5) * cell, box["y"] + (row + 0.5) * cell)
            if index == 0:
                tab.page.mouse.down()
        tab.page.mouse.up()

    blank = canvas.evaluate("canvas => canvas.toDataURL()")
    drag((5, 10), (15, 10))
    text = painted(tab, "none")
    marked = Mask.parse(text).pixels(28)
    assert text.startswith("bits:") and marked[10, 5:16].all() and int(marked.sum()) == 11
    assert canvas.evaluate("canvas => canvas.toDataURL()") != blank
    expect(tab.find(".lp-share")).to_contain_text("1 % of the picture is marked")
    tab.find("[data-mark='0']").click()
    drag((10, 10), (10, 10))
    expected = marked.clone()
    expected[10, 10] = False
    assert Mask.parse(painted(tab, text)).pixels(28).equal(expected)
    tab.shot("mask-painted")


def test_ready_made_masks_swap_and_reset(tab: Tab) -> None:
    inpainting(tab)
    for name, mask in (("Left", "left"), ("Swap", "right"), ("Middle", "middle"), ("Clear", "none")):
        before = mask_of(tab)
        tab.find(".lp-mask").get_by_role("button", name=name, exact=True).click()
        assert painted(tab, before) == mask
    tab.find(".lp-mask .lp-reset").click()
    assert painted(tab, "none") == "right"  # the knob's default


def test_a_mask_is_painted_with_the_keyboard_alone(tab: Tab) -> None:
    inpainting(tab)
    tab.find(".lp-mask .lp-brush").fill("1")
    tab.find(".lp-mask canvas").focus()
    for key in ("ArrowLeft", "ArrowUp", "Space", "ArrowRight", "Space"):
        tab.page.keyboard.press(key)
    painted(tab, "none")
    marked = Mask.parse(mask_of(tab)).pixels(28)
    assert marked.nonzero().tolist() == [[13, 13], [13, 14]]
    assert "marked" in str(tab.find(".lp-mask canvas").get_attribute("aria-valuetext"))


def test_a_finger_paints_and_the_page_does_not_scroll(chromium: Browser, site: Site) -> None:
    with browse(chromium, site.url, viewport=PHONE, has_touch=True) as tab:
        canvas = inpainting(tab).find(".lp-mask canvas")
        canvas.evaluate("canvas => canvas.scrollIntoView({ block: 'start', behavior: 'instant' })")  # below the picture, which stays
        box = canvas.bounding_box()
        assert box is not None and box["width"] >= 280 and box["x"] + box["width"] <= PHONE["width"]
        tab.page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        marked = Mask.parse(painted(tab, "none")).pixels(28)
        assert marked[14, 14] and 4 <= int(marked.sum()) <= 24
        tab.shot("phone-inpaint")


def test_the_mask_lies_over_the_picture_that_is_chosen(tab: Tab) -> None:
    inpainting(tab)
    seen = tab.find(".lp-mask canvas").evaluate("canvas => canvas.toDataURL()")
    tab.find(".lp-gallery").focus()
    tab.page.keyboard.press("ArrowRight")
    tab.page.wait_for_function(
        "([panel, seen]) => document.querySelector(`#tab-${panel} .lp-mask canvas`).toDataURL() !== seen", arg=[tab.panel, seen]
    )
    tab.settled()


def test_what_is_outside_the_mask_is_the_picture_itself(tab: Tab) -> None:
    inpainting(tab, "left").shot("diffusion-inpaint")
    assert tab.of("kept.facts.changed_outside") == 0 and tab.of("kept.facts.hidden_share") == 0.5
    expect(tab.find(".lp-answer")).to_contain_text("50 % that is not hidden is kept exactly")


def test_the_trajectory_is_scrubbed_without_a_request(tab: Tab) -> None:
    opened(tab, "trajectory", "start=seed:1")
    tab.page.wait_for_selector(f"#{tab.panel}-plot .js-plotly-plot")
    asked, seen = len(tab.requests()), set()
    assert tab.of("places") == 4 and tab.of("about.group") == 3
    for step in range(4):
        tab.find(".lp-scrub").fill(str(step))
        seen.add(tab.picture())
        expect(tab.find(".lp-caption")).to_contain_text("x_t at t = ")
    assert len(seen) == 4 and len(tab.requests()) == asked
    tab.shot("diffusion-trajectory")


def test_the_noise_schedule_follows_the_finger(tab: Tab) -> None:
    opened(tab, "noising", "picture=test:0&num_frames=5")
    before = tab.picture()
    tab.find(".lp-scrub").fill("1")
    assert tab.picture() != before
    tab.knob("seed").locator("input").fill("9")
    tab.page.keyboard.press("Tab")
    tab.settled("seed=9")
    assert any("playground/live" in url and "task=noising" in url for url in tab.asked)
    tab.page.wait_for_selector(f"#{tab.panel}-plot .js-plotly-plot")
    assert tab.knob("scheduler").count() == tab.knob("num_inference_steps").count() == 0  # they would change nothing
    tab.shot("diffusion-noising")


def test_the_scheduler_table_keeps_its_rows_and_tells_each_cell(tab: Tab) -> None:
    opened(tab, "schedulers", "most_steps=5")
    assert tab.of("across") == 2 and tab.of("about.sides") == ["DDPM", "DDIM", "Euler", "Heun", "DPM-Solver++", "UniPC"]
    canvas = tab.find(".lp-stage canvas")
    left, top = tab.of("margins")
    canvas.click(position={"x": left + tab.of("cell") * 0.5, "y": top + tab.of("pitch") * 2.5})
    expect(tab.find(".lp-caption")).to_contain_text("Euler, 2 steps")
    tab.shot("diffusion-schedulers")


def test_a_knob_to_vary_is_chosen(tab: Tab) -> None:
    opened(tab, "vary", "num_values=3&num_samples=2")
    assert tab.of("about.heads") == ["1", "4.5", "8"]
    tab.knob("knob").locator("input").click()
    tab.page.get_by_role("option", name="Steps", exact=True).click()
    tab.settled("knob=num_inference_steps")
    assert tab.of("about.heads") == ["1", "50", "100"]
    tab.page.wait_for_selector(f"#{tab.panel}-plot .js-plotly-plot")
    tab.shot("diffusion-vary")


@pytest.mark.parametrize(
    ("task", "knob", "value", "words"),
    [
        ("variation", "strength", "0.0", "the picture itself"),
        ("edit", "depth", "0.5", "makes the picture again"),
        ("quality", "num_samples", "3", "Fréchet distance|Nothing is measured"),
    ],
)
def test_a_knob_changes_the_answer_and_its_sentence(tab: Tab, task: str, knob: str, value: str, words: str) -> None:
    opened(tab, task)
    before = tab.of("kept.png")
    tab.knob(knob).locator("input[type=number]").fill(value)
    tab.page.keyboard.press("Tab")
    tab.settled(f"{knob}={value}")
    assert tab.of("kept.png") != before
    expect(tab.find(".lp-answer")).to_contain_text(re.compile(words))
    tab.shot(f"diffusion-{task}")


def test_few_steps_follow_the_finger_and_many_do_not(tab: Tab) -> None:
    tab.open("sample", "card=rectified-fashion-28&task=sample&num_samples=1&num_inference_steps=1&guidance_scale=1", family="diffusion")

    def frames(knob: str, value: str) -> int:
        """How many live frames were asked for while a knob was set and the answer kept."""
        asked = sum("playground/live" in url for url in tab.asked)
        tab.knob(knob).locator("input").first.fill(value)
        tab.page.keyboard.press("Tab")
        tab.settled(f"{knob}={value}")
        return sum("playground/live" in url for url in tab.asked) - asked

    assert frames("seed", "5") > 0
    frames("num_inference_steps", "20")
    assert frames("seed", "6") == 0
    frames("num_inference_steps", "1")
    assert frames("seed", "7") > 0
