"""The tools of the autoencoder and the VAE, driven as a person would."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.browsing import PHONE, Tab, browse
from tests.conftest import Site

pytestmark = pytest.mark.browser
AE = "ae-fashion-28"
TOOLS = [("ae", AE, task) for task in ("compress", "denoise", "anomaly", "holes")]
TOOLS += [("vae", "vae-fashion-28", task) for task in ("anomaly", "inside", "rate", "aggregate")]


def says(tab: Tab) -> str:
    return tab.find(".lp-answer").inner_text()


def turn(tab: Tab, knob: str, value: str) -> None:
    """Types a number into a slider's box."""
    tab.knob(knob).locator("input[type=number]").fill(value)
    tab.page.keyboard.press("Tab")


@pytest.mark.parametrize(("family", "card", "task"), TOOLS)
def test_each_tool_says_what_is_seen(tab: Tab, family: str, card: str, task: str) -> None:
    tab.open(task, family=family, card=card).shot(f"{family}-{task}")
    expect(tab.find(".lp-answer")).to_contain_text(re.compile(r"\d"))


def test_the_code_size_is_a_dial_of_compression(tab: Tab) -> None:
    tab.open("compress", f"card={AE}&task=compress&code_size=4&picture=test:2", family="ae")
    expect(tab.page.locator("#ae-compress-plot .js-plotly-plot .scatterlayer .trace")).to_have_count(4)
    few, before = says(tab), tab.picture()
    turn(tab, "code_size", "64")
    tab.settled("code_size=64")
    assert "shrunk to 4 numbers" in few and "shrunk to 64 numbers" in says(tab)
    assert tab.picture() != before
    names = tab.of("about.labels")
    assert [name.split("\n")[0] for name in names] == ["what the model saw", "Autoencoder", "PCA", "JPEG", "WebP"]
    assert names[1].endswith("64 B · 12×")


def test_compress_follows_the_finger(tab: Tab) -> None:
    tab.open("compress", family="ae", card=AE)
    count = """() => {
        const panel = playground.panels["ae-compress"], show = panel.show;
        window.frames = 0;
        panel.show = function (...all) { frames++; return show.apply(this, all); }; }"""
    tab.page.evaluate(count)
    slider = tab.knob("code_size").locator("input[type=range]")
    slider.focus()
    for _ in range(12):
        tab.page.keyboard.press("ArrowLeft")
    tab.settled("code_size=20")
    assert tab.page.evaluate("frames") >= 2, "frames come while the knob moves, before the kept answer"


def test_more_noise_costs_more(tab: Tab) -> None:
    tab.open("denoise", family="ae", card=AE)
    assert "Paint a hole" in says(tab)
    calm, before = float(tab.of("about.labels")[2].split("\n")[1].split(" dB")[0]), tab.picture()
    turn(tab, "noise", "0.9")
    tab.settled("noise=0.9")
    assert float(tab.of("about.labels")[2].split("\n")[1].split(" dB")[0]) < calm - 1
    assert "more noise than the 0.6" in says(tab) and tab.picture() != before
    tab.open("denoise", f"card={AE}&task=denoise&noise=0&hole=box:9,9,10,10", family="ae").shot("denoise-hole")
    assert re.search(r"Inside the hole [\d.]+ dB → [\d.]+ dB, outside exact → ", says(tab))


def test_the_threshold_decides_what_is_stopped(tab: Tab) -> None:
    tab.open("anomaly", family="ae", card=AE)
    expect(tab.page.locator("#ae-anomaly-plot .js-plotly-plot .scatterlayer .trace")).to_have_count(6)
    plot = tab.page.locator("#ae-anomaly-plot .js-plotly-plot")
    expect(plot).to_contain_text(re.compile(r"upside down · AUC 0\.\d{3}"))
    assert re.search(r"stops 5\.\d% of the test pictures", says(tab))
    turn(tab, "threshold", "0")
    tab.settled("threshold=0.0")
    assert all("stopped" in name for name in tab.of("about.labels")[:1] + tab.of("about.labels")[3:5])
    turn(tab, "threshold", "100")
    tab.settled("threshold=100")
    assert "passes" in tab.of("about.labels")[0] and "stops 0.0% of the test pictures" in says(tab)


def test_random_codes_beside_those_of_a_vae(tab: Tab) -> None:
    tab.open("holes", family="ae", card=AE)
    expect(tab.page.locator("#ae-holes-plot .js-plotly-plot .boxlayer .trace")).to_have_count(5)
    assert tab.of("about.group") == 4 and tab.of("across") == tab.of("about.columns") == 7, "a row for each kind of code"
    assert "A VAE" in says(tab)
    before = tab.picture()
    tab.page.click("#ae-holes-random")
    tab.page.wait_for_function("(before) => playground.panels['ae-holes'].canvas.toDataURL() !== before", arg=before)
    tab.settled()


def test_a_vae_cell_among_holes_is_a_request_of_the_vae(tab: Tab) -> None:
    tab.open("holes", family="ae", card=AE)
    cells = tab.of("kept.cells")
    assert cells[0].startswith(f"card={AE}&task=decode") and "prior=standard" in cells[0] and cells[7] == ""
    assert "card=vae-" in cells[21] and "temperature=1.0" in cells[21]


def test_epsilon_is_drawn_again(tab: Tab) -> None:
    tab.open("inside")
    assert "ε moves a pixel by" in says(tab)
    before = tab.picture()
    tab.knob("seed").locator("input").fill("77")
    tab.page.keyboard.press("Tab")
    tab.settled("seed=77")
    assert tab.picture() != before and tab.of("about.labels")[2] == "what ε moves"


def test_rates_of_cards_side_by_side(tab: Tab) -> None:
    tab.open("rate")
    betas = tab.of("kept.facts.beta")
    assert tab.of("about.group") == len(betas) and betas == sorted(betas)
    points = tab.page.locator("#vae-rate-plot .js-plotly-plot .scatterlayer .points path.point")
    expect(points).to_have_count(len(betas))
    first = tab.of("about.labels")[0]
    assert first.startswith(f"β = {betas[0]:g}") and "nats" in first


def test_a_posterior_moves_with_its_picture(tab: Tab) -> None:
    tab.open("aggregate")
    expect(tab.page.locator("#vae-aggregate-plot .js-plotly-plot .scatterlayer .trace")).to_have_count(5)
    centre = tab.of("kept.facts.centre")
    tab.open("aggregate", "card=vae-fashion-28&task=aggregate&picture=test:1")
    assert tab.of("kept.facts.centre") != centre and "nats from the prior" in says(tab)


@pytest.mark.parametrize(("family", "card", "task"), TOOLS)
def test_tools_fit_a_phone(chromium: Browser, site: Site, family: str, card: str, task: str) -> None:
    with browse(chromium, site.url, viewport=PHONE, has_touch=True, device_scale_factor=2) as tab:
        tab.open(task, family=family, card=card).shot(f"phone-{family}-{task}")
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        expect(tab.find(".lp-stage canvas")).to_be_in_viewport()
