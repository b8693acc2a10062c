"""Compare in a browser: every question, all ways to look, panes that come and go, and what is taken away."""

from __future__ import annotations

import csv
import io
import zipfile

import pytest
from playwright.sync_api import Browser, expect

from playground.compare import QUESTIONS, Comparison
from playground.families import FAMILIES
from playground.images import png_text
from tests.browsing import DESK, FIRST, PHONE, Tab, browse
from tests.conftest import Site

pytestmark = pytest.mark.browser
FAST = [FIRST[family] for family in ("ae", "vae", "gan", "flow")]


def compare(tab: Tab, question: str, cards: list[str] | None = None, **knobs: object) -> Tab:
    """The page at a comparison, by link, with its board whole."""
    tab.panel = f"compare-{question}"
    tab.page.goto(f"{tab.url}?{Comparison.build(question, cards or FAST, **knobs).to_query()}")
    tab.settled()
    return tab


def canvas_of(tab: Tab, index: int) -> str:
    """What pane `index` shows, as a data URL."""
    return str(tab.of(f"views[{index}].canvas.toDataURL()"))


def press(tab: Tab, *keys: str) -> None:
    tab.find(".lp-panes").focus()
    for key in keys:
        tab.page.keyboard.press(key)


def test_the_tab_opens_with_a_pane_of_every_family(tab: Tab) -> None:
    tab.open_plain()
    tab.page.locator("#tab-compare-button").click()
    tab.panel = "compare-seed"
    tab.settled()
    assert [pane["card"] for pane in tab.of("panes")] == [FIRST[family] for family in FAMILIES]
    expect(tab.find(".lp-pane-title").first).to_contain_text("1 ◆ Autoencoder")
    expect(tab.find(".lp-answer")).to_contain_text("own noise")
    assert "compare=seed" in tab.page.url
    tab.shot("compare")


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_by_its_link(tab: Tab, question: str) -> None:
    compare(tab, question)
    link = Comparison.build(question, FAST).to_query()
    assert tab.of("kept.query") == link
    for pane in tab.of("panes"):
        assert pane["png"] and not pane["errors"] and pane["weights_sha256"]
    assert len({canvas_of(tab, index) for index in range(len(FAST))}) == len(FAST)
    tab.find("[data-take=link]").click()
    assert tab.page.evaluate("navigator.clipboard.readText()") == f"{tab.url}?{link}"
    tab.find("[data-take=python]").click()
    assert tab.page.evaluate("navigator.clipboard.readText()") == Comparison.from_query(link).to_python()
    tab.shot(f"compare-{question}")


def test_a_link_that_is_none_is_told(tab: Tab) -> None:
    tab.panel = "compare-seed"
    tab.page.goto(f"{tab.url}?compare=seed&pane=card%3Dnobody-fashion-28")
    tab.settled()
    expect(tab.page.locator("#notice")).to_contain_text("nobody-fashion-28")


def test_knobs_act_and_panes_keep_theirs(tab: Tab) -> None:
    compare(tab, "seed", ["vae-fashion-28", "gan-fashion-28"])
    before = canvas_of(tab, 0), canvas_of(tab, 1)
    tab.page.locator("#compare-seed-1 .label-wrap").click()
    tab.page.locator("#compare-seed-1-temperature input[type=number]").fill("0.2")
    tab.page.keyboard.press("Tab")
    tab.settled("temperature%3D0.2")
    assert canvas_of(tab, 0) != before[0] and canvas_of(tab, 1) == before[1]
    tab.knob("seed").locator("input").fill("7")
    tab.page.keyboard.press("Tab")
    assert "temperature%3D0.2" in tab.settled("seed=7")
    assert canvas_of(tab, 1) != before[1]


def test_panes_come_change_and_go(tab: Tab) -> None:
    compare(tab, "seed", ["vae-fashion-28"], num_samples=5)
    tab.page.click("#compare-seed-add")
    tab.page.wait_for_function("playground.panels['compare-seed'].panes.length === 2")
    assert "num_samples=5" in tab.settled()
    second = tab.of("panes")[1]["card"]
    assert second != "vae-fashion-28"
    tab.page.locator("#compare-seed-2-card input").click()
    tab.page.get_by_role("option", name="Glow", exact=False).click()
    tab.settled("glow-fashion-28")
    assert [pane["card"] for pane in tab.of("panes")] == ["vae-fashion-28", "glow-fashion-28"]
    tab.page.click("#compare-seed-2-away")
    tab.page.wait_for_function("playground.panels['compare-seed'].panes.length === 1")
    assert "glow" not in tab.settled("num_samples=5")


def test_another_question_is_put_to_the_same_panes(tab: Tab) -> None:
    compare(tab, "seed", ["vae-fashion-28", "glow-fashion-28"])
    tab.page.locator("#tab-compare-trip-button").click()
    tab.panel = "compare-trip"
    tab.settled()
    assert [pane["card"] for pane in tab.of("panes")] == ["vae-fashion-28", "glow-fashion-28"]
    expect(tab.find(".lp-pane-foot").nth(1)).to_contain_text("PSNR 100.0 dB")


def test_zoom_pan_and_choice_move_all_panes(tab: Tab) -> None:
    compare(tab, "seed", ["vae-fashion-28", "gan-fashion-28"])
    whole = [canvas_of(tab, index) for index in range(2)]
    press(tab, "+", "+")
    near = [canvas_of(tab, index) for index in range(2)]
    assert near[0] != whole[0] and near[1] != whole[1] and tab.of("zoom") == 2.25
    box = tab.find(".lp-pane canvas").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    tab.page.mouse.move(x - 60, y - 30, steps=4)
    tab.page.mouse.up()
    assert canvas_of(tab, 0) != near[0] and canvas_of(tab, 1) != near[1]
    press(tab, "0")
    assert [canvas_of(tab, index) for index in range(2)] == whole
    tab.find(".lp-pane canvas").first.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    chosen = tab.of("selected")
    assert chosen > 0 and canvas_of(tab, 1) != whole[1]
    press(tab, "ArrowRight")
    assert tab.of("selected") == chosen + 1
    expect(tab.find(".lp-caption")).to_contain_text(f"seed {chosen + 1}")
    press(tab, "2")
    expect(tab.find(".lp-caption")).to_contain_text("GAN")


def test_pixels_are_crisp_or_smooth(tab: Tab) -> None:
    compare(tab, "seed", ["vae-fashion-28"], num_samples=1)
    crisp = canvas_of(tab, 0)
    tab.find("[data-smooth]").click()
    assert canvas_of(tab, 0) != crisp
    expect(tab.find("[data-smooth]")).to_have_attribute("aria-pressed", "true")
    tab.find("[data-smooth]").click()
    assert canvas_of(tab, 0) == crisp


def test_two_panes_are_wiped_flipped_and_subtracted(tab: Tab) -> None:
    compare(tab, "seed", ["vae-fashion-28", "gan-fashion-28", "vae-fashion-28"])
    shown = "duoView.canvas.toDataURL()"
    tab.find("[data-look=flip]").click()
    first = tab.of(shown)
    press(tab, " ")
    second = tab.of(shown)
    assert first != second
    tab.find("[data-look=wipe]").click()
    halves = tab.of(shown)
    assert halves not in (first, second)
    press(tab, "Shift+ArrowLeft")
    assert tab.of("wipe") == pytest.approx(0.45) and tab.of(shown) != halves
    tab.find("[data-look=difference]").click()
    colours = """(() => { const { canvas } = window.playground.panels['compare-seed'].duoView, { width, height } = canvas;
        const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
        return data.reduce((most, level, at) => at % 4 < 3 && at > 40 * width ? Math.max(most, level) : most, 0); })()"""
    assert tab.page.evaluate(colours) > 100
    tab.find(".lp-b").select_option("2")  # the same card with the same knobs
    assert tab.page.evaluate(colours) == 0
    tab.shot("compare-difference")
    tab.find("[data-look=side]").click()
    expect(tab.find(".lp-pane").first).to_be_visible()


def test_two_panes_are_needed_to_look_at_two(tab: Tab) -> None:
    compare(tab, "seed", ["vae-fashion-28"])
    tab.find("[data-look=wipe]").click()
    expect(tab.page.locator("#lp-say")).to_contain_text("Two panes are needed")


def test_one_scrubber_moves_all_rows(tab: Tab) -> None:
    compare(tab, "gesture", ["vae-fashion-28", "gan-fashion-28"])
    before = [canvas_of(tab, index) for index in range(2)]
    tab.find(".lp-scrub").fill("0")
    after = [canvas_of(tab, index) for index in range(2)]
    assert after[0] != before[0] and after[1] != before[1]
    expect(tab.find(".lp-caption")).to_contain_text("100 % A")
    tab.find(".lp-play").click()
    tab.page.wait_for_function("playground.panels['compare-gesture'].selected >= 3")
    tab.find(".lp-play").click()
    assert tab.of("playing") is None
    tab.page.wait_for_function("document.querySelector('#compare-gesture-plot .js-plotly-plot')")
    with tab.page.expect_download() as download:
        tab.find("[data-take=webp]").click()
    assert download.value.path().read_bytes()[8:12] == b"WEBP"


def test_a_sheet_says_which_cells_cannot_be(tab: Tab) -> None:
    compare(tab, "sheet", ["vae-fashion-28", "gan-fashion-28"], x="temperature", x_values="0.4, 9", y="seed", y_values="0, 1")
    vae, gan = tab.of("panes")
    assert [*vae["errors"]] == ["1", "3"] and len(gan["errors"]) == 4 and "png" not in gan
    expect(tab.find(".lp-pane-foot").nth(1)).to_contain_text("GAN has no knob called 'temperature'")
    press(tab, "ArrowRight")
    expect(tab.find(".lp-caption")).to_contain_text("from 0 to 2")


def test_a_long_comparison_streams_and_stops(tab: Tab) -> None:
    slow = ("ddpm-fashion-28", {"num_inference_steps": 50})
    tab.panel = "compare-seed"
    tab.page.goto(f"{tab.url}?{Comparison.build('seed', [slow, 'vae-fashion-28'], num_samples=48).to_query()}")
    tab.page.wait_for_function("window.playground?.panels['compare-seed']?.panes[1]?.progress >= 1")
    assert tab.of("panes")[0]["progress"] < 1, "the fast pane is shown before the slow one is done"
    tab.page.click("#compare-seed-stop")
    tab.page.wait_for_timeout(1500)
    stopped = tab.of("panes")[0]["progress"]
    tab.page.wait_for_timeout(1500)
    assert tab.of("panes")[0]["progress"] == stopped < 1
    tab.knob("num_samples").locator("input[type=number]").fill("1")
    tab.page.keyboard.press("Tab")
    tab.settled("num_samples=1")


def test_the_zip_holds_what_is_on_the_board(tab: Tab) -> None:
    compare(tab, "sheet", ["vae-fashion-28"], x_values="0, 100", y_values="3, 4")
    with tab.page.expect_download() as download:
        tab.find("[data-take=zip]").click()
    with zipfile.ZipFile(download.value.path()) as file:
        assert file.read("link.txt").decode().strip() == f"?{tab.of('kept.query')}"
        rows = [*csv.DictReader(io.StringIO(file.read("cells.csv").decode()))]
        assert [row["label"] for row in rows] == ["0, 3", "100, 3", "0, 4", "100, 4"]
        sheet = file.read("sheet.png")
    tab.open("sample")
    with tab.page.expect_navigation():
        tab.page.locator(".lp-open input").set_input_files({"name": "sheet.png", "mimeType": "image/png", "buffer": sheet})
    tab.panel = "compare-sheet"
    assert tab.settled() == png_text(sheet)["playground"]


def test_numbers_above_columns_are_thinned_where_they_have_no_room(tab: Tab) -> None:
    compare(tab, "sheet", ["vae-fashion-28"], x_values="0, 100", y_values="3")
    every = """([panel, heads, pitch]) => { // numbers of about 7 pixels a digit
      const context = document.createElement("canvas").getContext("2d");
      context.font = "12px system-ui, sans-serif";
      return window.playground.panels[panel].every(context, heads, pitch); }"""
    numbers, names = ["0", "25", "50", "75", "100"], ["DDPM", "DDIM", "Euler"]
    cases = (
        (numbers, 40, 1),
        (numbers, 16, 2),
        (numbers, 8, 4),
        (["0", "33", "67", "100"], 14, 3),
        (["7"], 3, 1),
        (names, 3, 1),
        ([], 3, 1),
    )
    for heads, pitch, wanted in cases:
        assert tab.page.evaluate(every, [tab.panel, heads, pitch]) == wanted, heads


def test_two_comparisons_at_once_never_mix(chromium: Browser, site: Site) -> None:
    with browse(chromium, site.url) as mine, browse(chromium, site.url) as yours:
        compare(mine, "seed", ["vae-fashion-28", "gan-fashion-28"], seed=1)
        compare(yours, "seed", ["gan-fashion-28", "vae-fashion-28"], seed=1)
        assert canvas_of(mine, 0) == canvas_of(yours, 1) and canvas_of(mine, 1) == canvas_of(yours, 0)
        for tab, seed in ((mine, "2"), (yours, "3")):
            tab.knob("seed").locator("input").fill(seed)
            tab.page.keyboard.press("Tab")
        assert "seed=2" in mine.settled("seed=2") and "seed=3" in yours.settled("seed=3")
        for tab, cards in ((mine, ["vae", "gan"]), (yours, ["gan", "vae"])):
            assert [pane["card"].partition("-")[0] for pane in tab.of("panes")] == cards


@pytest.mark.parametrize("question", QUESTIONS)
def test_on_a_phone_the_board_stands_above_its_knobs(chromium: Browser, site: Site, question: str) -> None:
    with browse(chromium, site.url, viewport=PHONE, has_touch=True) as tab:
        compare(tab, question, ["vae-fashion-28", "gan-fashion-28", "realnvp-fashion-28"]).shot(f"phone-compare-{question}")
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        board, knobs = tab.find(".lp-panes").bounding_box(), tab.find(".lp-knobs").bounding_box()
        assert board is not None and knobs is not None and board["y"] + board["height"] <= knobs["y"]
        tab.page.locator(f"#compare-{question}-stop").scroll_into_view_if_needed()
        expect(tab.find(".lp-panes")).to_be_in_viewport()


@pytest.mark.parametrize(("viewport", "shown"), [(DESK, ""), (PHONE, "-narrow")], ids=["desk", "phone"])
def test_what_was_measured_is_drawn_when_it_is_looked_at(chromium: Browser, site: Site, viewport: dict[str, int], shown: str) -> None:
    with browse(chromium, site.url, viewport=viewport) as tab:
        compare(tab, "seed", ["vae-fashion-28"])
        assert not tab.page.locator("#compare-frontier .js-plotly-plot").count()
        tab.page.locator("#tab-compare-measured-button").click()
        for name in ("frontier", "strengths"):
            expect(tab.page.locator(f"#compare-{name}{shown} .js-plotly-plot")).to_be_visible()
            expect(tab.page.locator(f"#compare-{name}{'' if shown else '-narrow'}")).to_be_hidden()
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        tab.shot(f"compare-measured{shown}")


def test_two_fingers_zoom_all_panes(chromium: Browser, site: Site) -> None:
    with browse(chromium, site.url, viewport=PHONE, has_touch=True) as tab:
        compare(tab, "seed", ["vae-fashion-28", "gan-fashion-28"])
        before = canvas_of(tab, 1)
        tab.find(".lp-pane canvas").first.evaluate(
            """(canvas) => { const { left, top } = canvas.getBoundingClientRect();
            const finger = (type, pointerId, x) =>
                canvas.dispatchEvent(new PointerEvent(type, { pointerId, clientX: left + x, clientY: top + 30 }));
            canvas.setPointerCapture = () => {}; // these fingers are not real
            finger("pointerdown", 1, 40); finger("pointerdown", 2, 60);
            finger("pointermove", 1, 30); finger("pointermove", 2, 70);
            finger("pointerup", 1, 30); finger("pointerup", 2, 70); }"""
        )
        assert tab.of("zoom") == pytest.approx(2) and canvas_of(tab, 1) != before
        assert tab.of("fingers.size") == 0
