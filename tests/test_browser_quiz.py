"""The blind quiz as a person meets it, on a page that holds little else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import gradio as gr
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Route, expect

from playground.quiz import Round, choices
from playground.ui import launch
from playground.ui.quizzing import quiz_view
from playground.ui.stale import add_left
from tests.browsing import DESK, PHONE, Tab, browse
from tests.conftest import Site
from tests.tiny import TinyEngine

pytestmark = pytest.mark.browser
PARTS = (".lp-quiz-stage", ".lp-quiz-choices", ".lp-quiz-end", ".lp-quiz-scores summary")


@pytest.fixture(scope="module")
def quiz_site() -> Iterator[Site]:
    """The quiz in the second of two tabs."""
    engine = TinyEngine(port=0)
    with gr.Blocks(title="Quiz", analytics_enabled=False, fill_width=True) as page:
        gr.HTML("<h1>Quiz</h1>", js_on_load=None)
        add_left()
        with gr.Tabs(elem_id="families"):
            with gr.Tab("First"):
                gr.Markdown("Nothing here.")
            with gr.Tab("Quiz"):
                quiz_view(choices(engine))
                gr.Textbox(label="Notes")
    _, url, _ = launch(page, engine, prevent_thread_lock=True, quiet=True)
    yield Site(url, engine)
    page.close(verbose=False)


class Player:
    """Somebody at the quiz, who knows the answers."""

    def __init__(self, tab: Tab, engine: TinyEngine) -> None:
        self.tab, self.page, self.engine = tab, tab.page, engine

    def open(self, query: str = "", state: str = "asking") -> Player:
        self.page.goto(f"{self.tab.url}?{query}")
        self.page.get_by_role("tab", name="Quiz").click()
        self.wait(state)
        return self

    def find(self, selector: str) -> Locator:
        return self.page.locator(f".lp-quiz {selector}")

    def wait(self, state: str) -> None:
        self.page.wait_for_selector(f'.lp-quiz[data-state="{state}"]')

    @property
    def seed(self) -> int:
        return int(self.page.evaluate("playground.quiz.seed"))

    @property
    def round(self) -> Round:
        return Round.of(self.engine, self.seed)

    @property
    def wrong(self) -> str:
        return next(choice.name for choice in self.round.choices if choice.name != self.round.truth.maker)

    def click(self, name: str) -> None:
        self.find(f'[data-name="{name}"]').click()
        self.wait("told")

    def number(self, name: str) -> str:
        return str(1 + [choice.name for choice in self.round.choices].index(name))

    def press(self, key: str, state: str) -> None:
        self.page.keyboard.press(key)
        self.wait(state)

    def places(self) -> list[tuple[float, float]]:
        """Top, counted from the top of the page, and height of each part."""
        tops = "(part) => [part.getBoundingClientRect().top + scrollY, part.offsetHeight]"
        return [tuple(self.find(part).evaluate(tops)) for part in PARTS]


@pytest.fixture
def player(chromium: Browser, quiz_site: Site) -> Iterator[Player]:
    with browse(chromium, quiz_site.url) as tab:
        yield Player(tab, quiz_site.engine)  # type: ignore[arg-type]


@pytest.fixture
def phone(chromium: Browser, quiz_site: Site) -> Iterator[Player]:
    with browse(chromium, quiz_site.url, viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2) as tab:
        yield Player(tab, quiz_site.engine)  # type: ignore[arg-type]


def asked(tab: Tab) -> list[str]:
    return [url for url in tab.asked if "quiz.json" in url]


def test_the_first_round_waits_until_it_is_seen(player: Player) -> None:
    player.page.goto(player.tab.url)
    expect(player.page.get_by_text("Nothing here.")).to_be_visible()
    player.page.wait_for_function("window.playground?.ready")
    player.page.wait_for_timeout(500)
    assert not asked(player.tab)
    player.page.get_by_role("tab", name="Quiz").click()
    player.wait("asking")
    player.page.wait_for_function(
        "performance.getEntriesByType('resource').filter((entry) => entry.name.includes('quiz.json')).length === 2"
    )
    assert len(asked(player.tab)) == 2  # this round, and the next, so that a slow maker does not give itself away


def test_a_right_guess_by_click(player: Player) -> None:
    player.open()
    truth, title = player.round.truth, player.round.title()
    expect(player.find("canvas")).to_have_attribute("aria-label", "Four pictures, all by one maker")
    expect(player.find(".lp-quiz-next")).to_be_hidden()
    expect(player.find(".lp-quiz-hint")).to_be_visible()
    player.click(truth.maker)
    expect(player.find(".lp-quiz-hint")).to_be_hidden()
    expect(player.find(".lp-quiz-verdict")).to_have_text(f"✓ Right: {title}")
    expect(player.find(".lp-quiz-tell")).to_have_text(truth.tell)
    expect(player.find('[data-mark="right"]')).to_have_accessible_name(f"{title} (your guess, right)")
    expect(player.find('[data-mark="wrong"]')).to_have_count(0)
    expect(player.find(".lp-quiz-score")).to_have_text("1 of 1 right · chance would be 0.2 · streak 1")
    expect(player.find(".lp-quiz-next")).to_be_focused()


def test_a_wrong_guess_by_click_marks_both_and_not_by_colour_alone(player: Player) -> None:
    player.open()
    maker, title, wrong = player.round.truth.maker, player.round.title(), player.wrong
    player.click(wrong)
    said = next(choice.title for choice in player.round.choices if choice.name == wrong)
    expect(player.find(".lp-quiz-verdict")).to_have_text(f"✗ {title}, not {said}")
    expect(player.find(f'[data-name="{wrong}"]')).to_have_accessible_name(f"{said} (your guess, wrong)")
    expect(player.find(f'[data-name="{maker}"]')).to_have_accessible_name(f"{title} (the right answer)")
    signs = "(button) => getComputedStyle(button.querySelector('b'), '::before').content"
    assert player.find(f'[data-name="{wrong}"]').evaluate(signs) == '"✗"'
    assert player.find(f'[data-name="{maker}"]').evaluate(signs) == '"✓"'
    expect(player.find(".lp-quiz-score")).to_have_text("0 of 1 right · chance would be 0.2 · streak 0")
    player.find(f'[data-name="{maker}"]').click(force=True)  # an answer is given once
    expect(player.find(".lp-quiz-score")).to_contain_text("0 of 1")


def test_the_link_makes_the_pictures_again(player: Player) -> None:
    player.open()
    while player.round.truth.request is None:
        player.click("data")
        expect(player.find(".lp-quiz-made")).to_be_hidden()
        player.press("n", "asking")
    request = player.round.truth.request
    player.click(player.round.truth.maker)
    expect(player.find(".lp-quiz-made")).to_have_attribute("href", f"?{request.to_query()}")
    expect(player.find(".lp-quiz-made")).to_have_text("See how it was made")


@pytest.mark.parametrize("onward", ["Enter", "ArrowRight", "n"])
def test_keys_answer_and_go_on(player: Player, onward: str) -> None:
    player.open()
    player.page.evaluate("document.activeElement.blur()")
    before = player.seed
    player.press(player.number(player.round.truth.maker), "told")
    expect(player.find(".lp-quiz-verdict")).to_contain_text("✓ Right")
    player.press(onward, "asking")
    assert player.seed != before
    expect(player.find("[data-mark]")).to_have_count(0)
    expect(player.find(".lp-quiz-verdict")).to_be_empty()
    player.press(player.number(player.wrong), "told")
    expect(player.find(".lp-quiz-score")).to_contain_text("1 of 2 right")


def test_who_goes_by_tab_stops_keeps_the_place(player: Player) -> None:
    player.open()
    player.find(".lp-quiz-choice").first.focus()
    for _ in range(2):
        player.press("Enter", "told")
        expect(player.find(".lp-quiz-next")).to_be_focused()
        player.press("Enter", "asking")
        expect(player.find("canvas")).to_be_focused()
        player.page.keyboard.press("Tab")
        expect(player.find(".lp-quiz-choice").first).to_be_focused()


def test_keys_that_are_typed_elsewhere_are_no_answers(player: Player) -> None:
    player.open()
    notes = player.page.get_by_label("Notes")
    notes.click()
    player.page.keyboard.type("123")
    player.page.get_by_role("tab", name="First").click()
    expect(player.page.get_by_text("Nothing here.")).to_be_visible()
    player.page.keyboard.press("1")
    player.page.wait_for_timeout(200)
    assert player.page.evaluate("playground.quiz.state") == "asking"
    expect(player.find(".lp-quiz-score")).to_contain_text("Nothing answered yet")


def test_scores_survive_a_reload_and_can_be_cleared(player: Player) -> None:
    player.open()
    maker, wrong = player.round.truth.maker, player.wrong
    player.click(wrong)
    player.open()
    expect(player.find(".lp-quiz-score")).to_have_text("0 of 1 right · chance would be 0.2 · streak 0")
    player.find(".lp-quiz-score").click()
    names = [choice.name for choice in player.round.choices]
    cell = player.find("tbody tr").nth(names.index(maker)).locator("td").nth(names.index(wrong))
    expect(cell).to_have_text("1")
    expect(
        player.find(
            "tbody td",
        ).filter(has_text=re.compile(r"\d"))
    ).to_have_count(1)
    assert json.loads(player.page.evaluate("localStorage.getItem('lp-quiz')"))["table"] == {maker: {wrong: 1}}
    player.find(".lp-quiz-clear").click()
    expect(player.find(".lp-quiz-score")).to_have_text("Nothing answered yet · chance is 1 in 6")
    player.open()
    expect(player.find(".lp-quiz-score")).to_contain_text("Nothing answered yet")


BROKEN = [
    "dear diary",
    "null",
    "[]",
    '{"table": 3}',
    '{"table": {"vae": {"gan": -2}}, "chance": 1, "streak": 0}',
    '{"table": {}, "chance": "x"}',
]


@pytest.mark.parametrize("kept", BROKEN)
def test_scores_that_cannot_be_read_are_none(player: Player, kept: str) -> None:
    player.page.add_init_script(f"sessionStorage.told || localStorage.setItem('lp-quiz', {json.dumps(kept)}); sessionStorage.told = 1")
    player.open()
    expect(player.find(".lp-quiz-score")).to_contain_text("Nothing answered yet")
    player.click(player.round.truth.maker)
    player.open()
    expect(player.find(".lp-quiz-score")).to_contain_text("1 of 1 right")


def test_without_storage_scores_last_as_long_as_the_page(player: Player) -> None:
    player.page.add_init_script(
        "for (const name of ['getItem', 'setItem']) Storage.prototype[name] = () => { throw new DOMException('no'); };"
    )
    player.open()
    player.click(player.round.truth.maker)
    player.press("n", "asking")
    player.click(player.round.truth.maker)
    expect(player.find(".lp-quiz-score")).to_contain_text("2 of 2 right")


def test_a_dead_server_is_said_and_the_round_can_be_tried_again(player: Player) -> None:
    player.page.route("**/quiz.json?*", lambda route: route.abort())
    player.open(state="failed")
    expect(player.find(".lp-quiz-wait")).to_contain_text("does not answer")
    before = player.seed
    player.page.unroute("**/quiz.json?*")
    player.find(".lp-quiz-again").click()
    player.wait("asking")
    assert player.seed == before
    player.page.route("**/quiz-answer.json?*", lambda route: route.fulfill(status=429, content_type="text/plain", body="Wait a second."))
    player.find(".lp-quiz-choice").first.click()
    expect(player.find(".lp-quiz-verdict")).to_have_text("Wait a second.")
    player.page.unroute("**/quiz-answer.json?*")
    player.click(player.round.truth.maker)
    expect(player.find(".lp-quiz-score")).to_contain_text("1 of 1 right")
    player.tab.problems.clear()  # the browser notes each refusal itself


def test_a_next_round_that_failed_early_is_asked_for_again(player: Player) -> None:
    answers = iter([False, True])
    player.page.route("**/quiz.json?*", lambda route: route.abort() if next(answers, False) else route.continue_())
    player.open()
    player.page.wait_for_function("playground.quiz.coming === null")
    player.click(player.round.truth.maker)
    player.press("n", "asking")
    player.tab.problems.clear()


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_nothing_jumps(player: Player, viewport: dict[str, int]) -> None:
    page = player.page
    page.set_viewport_size(viewport)  # type: ignore[arg-type]
    held: list[Route] = []
    page.route("**/quiz.json?*", lambda route: held.append(route))
    player.open(state="loading")
    at = player.places()
    held[0].continue_()
    player.wait("asking")
    page.unroute("**/quiz.json?*")  # lets go of the next round, too
    assert player.places() == at
    player.click(player.wrong)
    assert player.places() == at
    expect(player.find(".lp-quiz-next")).to_be_in_viewport(ratio=1)
    player.press("Enter", "asking")
    expect(player.find("canvas")).to_be_in_viewport(ratio=1)


CRISP = """(canvas) => {
    const box = canvas.getBoundingClientRect(), gap = Math.round(8 * devicePixelRatio), across = box.width > 2 * box.height ? 4 : 2;
    const factor = (canvas.width - gap * (across - 1)) / across / 28;
    return { across, factor, pixels: canvas.width / box.width, rendering: getComputedStyle(canvas).imageRendering }; }"""


def test_pictures_are_large_and_crisp(player: Player, phone: Player) -> None:
    for who, across, least in ((player, 4, 10), (phone, 2, 9)):
        seen = who.open().find("canvas").evaluate(CRISP)
        assert seen["across"] == across and seen["factor"] == int(seen["factor"]) >= least and seen["rendering"] == "pixelated"
        assert seen["pixels"] == pytest.approx(who.page.evaluate("devicePixelRatio"))


def test_it_is_played_with_a_finger(phone: Player) -> None:
    phone.open()
    for _ in range(2):
        phone.find(f'[data-name="{phone.round.truth.maker}"]').tap()
        phone.wait("told")
        expect(phone.find(".lp-quiz-next")).to_be_in_viewport(ratio=1)
        phone.find(".lp-quiz-next").tap()
        phone.wait("asking")
    phone.find(".lp-quiz-score").tap()
    expect(phone.find("table")).to_be_visible()
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    right = "Math.max(...[...document.querySelectorAll('.lp-quiz *')].map((part) => part.getBoundingClientRect().right))"
    assert phone.page.evaluate(right) <= PHONE["width"]
    heights = "(parts) => Math.min(...parts.map((part) => part.offsetHeight))"
    assert phone.find(".lp-quiz-choice, .lp-quiz-next").evaluate_all(heights) >= 44
    phone.tab.shot("quiz-phone")


def complaints(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(player: Player, theme: str) -> None:
    player.open(f"__theme={theme}")
    assert not complaints(player.page)
    player.click(player.wrong)
    player.find(".lp-quiz-score").click()
    assert not complaints(player.page)
    player.tab.shot(f"quiz-{theme}")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_a_phone(phone: Player, theme: str) -> None:
    phone.open(f"__theme={theme}").click(phone.wrong)
    phone.find(".lp-quiz-score").click()
    assert not complaints(phone.page)
