"""Each task as a person uses it, in Debian's Chromium. Screenshots are kept under `artifacts/`."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from playground.images import png_text
from playground.request import Request
from playground.tasks import TASKS
from tests.browsing import CARD, PHONE, Tab, browse
from tests.conftest import Site

pytestmark = pytest.mark.browser


def test_a_first_picture_is_there_without_a_click(tab: Tab) -> None:
    tab.open_plain().shot("first")
    assert tab.of("about.count") == 16 and tab.of("kept.weights_sha256")
    with Image.open(io.BytesIO(tab.find(".lp-stage canvas").screenshot())) as image:
        assert np.asarray(image.convert("L")).std() > 30
    assert not any("plotly" in url.lower() for url in tab.asked)  # 1.3 MB that the first tab does not need


def test_a_knob_acts_while_it_is_dragged(tab: Tab) -> None:
    tab.open("sample")
    before, slider = tab.picture(), tab.knob("temperature").locator("input[type=range]")
    box = slider.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    tab.page.mouse.move(box["x"] + box["width"] * 0.42, middle)
    tab.page.mouse.down()
    for step in range(10):
        tab.page.mouse.move(box["x"] + box["width"] * (0.42 + 0.05 * step), middle)
        tab.page.wait_for_timeout(20)
    tab.page.wait_for_function("window.playground.latencies.length > 1")
    assert tab.picture() != before, "the picture follows before the finger lifts"
    assert tab.of("kept.query").count("temperature=0.85") == 1, "what is kept waits"
    tab.page.mouse.up()
    tab.page.wait_for_function("!window.playground.panels['vae-sample'].kept.query.includes('temperature=0.85')")
    query = tab.settled()
    assert query in tab.page.url
    expect(tab.find(".lp-stage canvas")).to_be_in_viewport()


CROWD = """async (waited) => {
    const panel = window.playground.panels["vae-sample"], at = panel.props.names.indexOf("temperature"), real = window.fetch;
    const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
    let now = 0, most = 0, moves = 0;
    window.fetch = async (...asked) => { // frames that take a while, after which the server says how long they stood in line
        if (!String(asked[0]).startsWith("playground/live")) return real(...asked);
        most = Math.max(most, ++now);
        const answer = await real(...asked);
        await sleep(150);
        now--;
        return new Response(await answer.blob(), { headers: { "x-sheet": answer.headers.get("x-sheet"), "x-waited": waited } });
    };
    const drag = async () => {
        for (let move = 0; move < 8; move++) {
            const values = [...panel.values];
            values[at] = 0.2 + 0.01 * ++moves;
            panel.push(values);
            await sleep(20);
        }
        while (panel.inFlight || panel.want) await sleep(20);
    };
    await drag(); // now it knows
    most = 0;
    await drag();
    window.fetch = real;
    return most;
}"""


@pytest.mark.parametrize(("waited", "most"), [("0", 4), ("900", 1)], ids=["alone", "in a crowd"])
def test_in_a_crowd_one_frame_is_asked_for_at_a_time(tab: Tab, waited: str, most: int) -> None:
    tab.open("sample")
    assert tab.page.evaluate(CROWD, waited) == most


def test_seed_buttons_and_resets(tab: Tab) -> None:
    tab.open("sample")
    tab.page.click("#vae-sample-random")
    tab.page.wait_for_function("!window.playground.panels['vae-sample'].kept.query.includes('seed=0&')")
    seed = dict(pair.split("=") for pair in tab.settled().split("&"))["seed"]
    tab.knob("num_samples").locator("input[type=number]").fill("9")
    tab.page.keyboard.press("Tab")
    tab.settled("num_samples=9", f"seed={seed}")
    tab.knob("num_samples").get_by_label("Reset").click()
    tab.settled("num_samples=16", f"seed={seed}")
    tab.find("label").filter(has_text="one draw").click()
    tab.settled("pixels=sample")
    tab.knob("keep").locator("input").check()
    tab.page.click("#vae-sample-reset")
    tab.settled("pixels=mean", f"seed={seed}")
    tab.page.click("#vae-sample-random")
    tab.page.wait_for_timeout(500)
    assert tab.knob("seed").locator("input").first.input_value() == seed
    tab.knob("keep").locator("input").uncheck()
    tab.page.click("#vae-sample-reset")
    tab.settled("seed=0")


def test_times_have_the_unit_that_suits_them(tab: Tab) -> None:
    tab.open("sample")
    for ms, words in ((3.21, "3.2 ms"), (99.6, "100 ms"), (2349, "2.3 s")):
        tab.page.evaluate("([id, ms]) => { const panel = playground.panels[id]; panel.about.ms = ms; panel.describe(); }", [tab.panel, ms])
        assert tab.caption().endswith(words)


def test_traverse_is_scrubbed_without_asking_again(tab: Tab) -> None:
    tab.open("traverse").shot("traverse")
    assert tab.of("about.count") == 15 and "start" in tab.caption()
    middle, asked = tab.picture(), len(tab.requests())
    tab.find(".lp-scrub").focus()
    tab.page.keyboard.press("Home")
    assert "-3.00" in tab.caption() and tab.picture() != middle
    tab.find(".lp-strip canvas").click(position={"x": 5, "y": 10})
    tab.find(".lp-play").click()
    tab.page.wait_for_function("window.playground.panels['vae-traverse'].selected > 3")
    tab.find(".lp-play").click()
    assert len(tab.requests()) == asked
    tab.knob("direction").locator("input").click()
    tab.page.get_by_role("option", name="Towards Bag").click()
    assert "direction=class" in tab.settled("direction=class%3A8")


def test_interpolate_between_two_to_four_ends(tab: Tab, tmp_path: Path) -> None:
    tab.open("interpolate")
    assert tab.find(".lp-slot").count() == 2
    two = tab.picture()
    tab.find("label").filter(has_text="straight").click()
    tab.settled("mix=lerp")
    assert tab.picture() != two
    for count in (3, 4):
        tab.find(".lp-add").click()
        tab.page.wait_for_function(f"window.playground.panels['vae-interpolate'].kept.query.split('ends=').length === {count + 1}")
        tab.settled()
    assert tab.of("about.count") == 81 and tab.of("about.columns") == 9
    tab.shot("interpolate-four")
    expect(tab.find(".lp-add")).to_be_disabled()
    for name in ("webp", "gif", "mp4"):
        with tab.page.expect_download() as download:
            tab.find(f"[data-save={name}]").evaluate("button => button.click()")
        download.value.save_as(tmp_path / f"walk.{name}")
        assert (tmp_path / f"walk.{name}").stat().st_size > 2000
    with Image.open(tmp_path / "walk.webp") as animation:
        assert animation.n_frames > 100
    tab.find(".lp-remove").click()
    tab.page.wait_for_function("window.playground.panels['vae-interpolate'].kept.query.split('ends=').length === 4")
    tab.find(".lp-seed").fill("77")
    tab.page.keyboard.press("Enter")
    assert "seed%3A77" in tab.settled("seed%3A77")


def test_reconstruct_a_test_picture_an_upload_and_a_drawing(tab: Tab, tmp_path: Path) -> None:
    tab.open("reconstruct").shot("reconstruct")
    assert "PSNR" in tab.caption() and "SSIM" in tab.caption()
    gallery = tab.find(".lp-gallery")
    box = gallery.bounding_box()
    assert box is not None
    gallery.click(position={"x": box["width"] * 0.85, "y": box["height"] * 0.4})
    tab.page.wait_for_function("!window.playground.panels['vae-reconstruct'].kept.query.includes('test%3A0')")
    assert "Bag" in tab.find(".lp-slot").inner_text()
    tab.find(".lp-reset").click()
    expect(tab.find(".lp-slot")).to_contain_text("Ankle boot")
    tab.settled("test%3A0")
    gallery.focus()
    tab.page.keyboard.press("ArrowLeft")
    expect(tab.find(".lp-slot")).to_contain_text("Bag")
    photo = tmp_path / "photo.jpg"
    Image.linear_gradient("L").resize((400, 300)).save(photo)
    tab.find("input[type=file]").set_input_files(photo)
    tab.settled("png%3A")
    assert "your picture" in tab.find(".lp-slot").inner_text()
    uploaded = tab.of("kept.query")
    tab.find(".lp-draw").click()
    pad = tab.find("dialog canvas")
    area = pad.bounding_box()
    assert area is not None
    tab.page.mouse.move(area["x"] + 100, area["y"] + 60)
    tab.page.mouse.down()
    tab.page.mouse.move(area["x"] + 200, area["y"] + 250, steps=5)
    tab.page.mouse.up()
    tab.shot("drawing")
    tab.find(".lp-use").click()
    tab.page.wait_for_function("(old) => window.playground.panels['vae-reconstruct'].kept.query !== old", arg=uploaded)
    tab.settled("png%3A")
    tab.shot("reconstruct-drawing")


def test_inside_shows_what_each_dimension_carries(tab: Tab) -> None:
    tab.open("inside")
    tab.page.wait_for_selector("#vae-inside-plot .js-plotly-plot .point")
    assert tab.page.locator("#vae-inside-plot .bars .point").count() == 32
    caption = tab.caption()
    assert "nats" in caption and "bits/dim" in caption and "dead" in caption
    tab.shot("inside")


def test_the_map_follows_mouse_and_arrow_keys(tab: Tab) -> None:
    tab.open("map")
    tab.page.wait_for_function("window.playground.panels['vae-map'].map?.points['vae-fashion-28 neighbours']")
    canvas = tab.find(".lp-map canvas")
    box = canvas.bounding_box()
    assert box is not None
    place = tab.page.evaluate(
        """(() => { const map = window.playground.panels['vae-map'].map, dots = map.points[map.key];
        return [map.screen(dots.x[0], 1), map.screen(dots.y[0], -1)]; })()"""
    )
    tab.page.mouse.move(box["x"] + place[0], box["y"] + place[1])
    expect(tab.find(".lp-tip")).to_be_visible()
    tab.shot("map")
    before = tab.picture()
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + 60, box["y"] + 120, steps=8)
    tab.page.wait_for_function("(old) => window.playground.panels['vae-map'].canvas.toDataURL() !== old", arg=before)
    tab.page.mouse.up()
    tab.page.wait_for_function("!window.playground.panels['vae-map'].kept.query.includes('x=0.0&')")
    x = float(dict(pair.split("=") for pair in tab.settled().split("&"))["x"])
    canvas.focus()
    tab.page.keyboard.press("ArrowRight")
    moved = f"x={x + 0.02:.2f}".rstrip("0")
    tab.settled(moved)
    tab.find("label").filter(has_text="plane").click()
    tab.settled("projection=principal", moved)


def test_a_recipe_is_typed_and_mistakes_are_said_beside_the_picture(tab: Tab) -> None:
    tab.open("decode")
    box = tab.knob("latent").locator("input, textarea")
    kept = tab.of("kept.query")
    box.fill("seed:3 + 2*wings:1")
    expect(tab.find(".lp-caption")).to_contain_text("neither a source nor a direction")
    assert tab.of("kept.query") == kept
    box.fill("0.5*seed:3 + 0.5*test:9 + 2*class:8")
    tab.settled("test%3A9")
    assert tab.of("about.labels[0]") == "0.5*seed:3 + 0.5*test:9 + 2*class:8"
    tab.problems.clear()  # the browser notes the refused live frames
    tab.shot("recipe")


def test_one_picture_of_a_sheet_comes_back_alone(tab: Tab, tmp_path: Path) -> None:
    tab.open("interpolate", Request.build(CARD, "interpolate", ends=["seed:1", "test:2"], mix="lerp", pixels="sample").to_query())
    tab.find(".lp-scrub").focus()
    tab.page.keyboard.press("ArrowRight")
    with tab.page.expect_download() as download:
        tab.find("[data-save=cell]").click()
    download.value.save_as(tmp_path / "one.png")
    recipe = png_text((tmp_path / "one.png").read_bytes())["playground"]
    assert "task=decode" in recipe and "mix=lerp" in recipe
    with tab.page.expect_navigation():
        tab.page.locator(".lp-open input").set_input_files(tmp_path / "one.png")
    tab.panel = "vae-decode"
    assert tab.settled() == recipe
    with Image.open(tmp_path / "one.png") as saved, Image.open(io.BytesIO(site_png(tab))) as shown:
        assert np.abs(np.asarray(saved, dtype=int) - np.asarray(shown, dtype=int)).max() <= 1


def site_png(tab: Tab) -> bytes:
    """The kept PNG of the panel that is looked at."""
    return base64.b64decode(tab.of("kept.png").partition(",")[2])


def test_a_downloaded_png_restores_its_page(tab: Tab, tmp_path: Path) -> None:
    query = Request.build(CARD, "traverse", direction="dim:4", num_frames=7, span=1.5, start="seed:12").to_query()
    tab.open("traverse", query)
    assert tab.of("kept.query") == query
    with tab.page.expect_download() as download:
        tab.find("[data-save=png]").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert png_text(file.read_bytes())["playground"] == query
    tab.open("sample")
    with tab.page.expect_navigation():
        tab.page.locator(".lp-open input").set_input_files(file)
    tab.panel = "vae-traverse"
    assert tab.settled() == query
    expect(tab.find(".lp-stage canvas")).to_be_visible()
    assert tab.knob("span").locator("input[type=number]").input_value() == "1.5"


def test_a_dropped_png_restores_its_page(tab: Tab) -> None:
    tab.open("traverse")
    query = tab.of("kept.query")
    png = tab.of("kept.png")
    tab.open("sample")
    with tab.page.expect_navigation():
        tab.page.evaluate(
            """async (png) => { const data = new DataTransfer();
            data.items.add(new File([await (await fetch(png)).blob()], "dropped.png", { type: "image/png" }));
            document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data })); }""",
            png,
        )
    tab.panel = "vae-traverse"
    assert tab.settled() == query


@pytest.mark.parametrize("task", TASKS)
def test_links_and_python_of_every_task(tab: Tab, task: str) -> None:
    tab.open(task)
    query = tab.of("kept.query")
    tab.find("[data-save=link]").click()
    link = tab.page.evaluate("navigator.clipboard.readText()")
    assert link == f"{tab.url}?{query}"
    tab.find("[data-save=python]").click()
    assert tab.page.evaluate("navigator.clipboard.readText()") == Request.from_query(query).to_python()
    tab.page.goto(link)
    assert tab.settled() == query


def test_two_browsers_do_not_meet(chromium: Browser, site: Site) -> None:
    with browse(chromium, site.url) as mine, browse(chromium, site.url) as yours:
        mine.open("sample")
        yours.open("sample")
        mine.knob("num_samples").locator("input[type=number]").fill("4")
        mine.page.keyboard.press("Tab")
        mine.settled("num_samples=4")
        yours.knob("temperature").locator("input[type=number]").fill("0.2")
        yours.page.keyboard.press("Tab")
        assert "num_samples=16" in yours.settled("temperature=0.2")
        assert "temperature=0.85" in mine.settled("num_samples=4")
        assert mine.of("about.count") == 4 and yours.of("about.count") == 16


@pytest.mark.parametrize("task", TASKS)
def test_on_a_phone_the_result_stands_above_its_knobs(chromium: Browser, site: Site, task: str) -> None:
    with browse(chromium, site.url, viewport=PHONE, has_touch=True) as tab:
        tab.open(task).shot(f"phone-{task}")
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        result, knobs = tab.find(".lp-sheet").bounding_box(), tab.find(".lp-knobs").bounding_box()
        assert result is not None and knobs is not None and result["y"] + result["height"] <= knobs["y"] + 1
        if task not in ("inside", "map"):
            tab.find("[id$=-reset]").scroll_into_view_if_needed()
            expect(tab.find(".lp-stage canvas")).to_be_in_viewport()
            tab.shot(f"phone-{task}-knobs")


def test_on_a_desk_the_result_has_most_of_the_width(tab: Tab) -> None:
    for task in ("sample", "traverse", "reconstruct"):
        tab.open(task)
        box = tab.find(".lp-result").bounding_box()
        assert box is not None and box["width"] >= 0.6 * 1440
        expect(tab.find(".lp-caption")).to_be_in_viewport()
