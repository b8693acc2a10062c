"""The tab Models as a person meets it, on a page that holds little else, against a Hub of this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from huggingface_hub import constants
from playwright.sync_api import Browser, Locator, expect

from playground.cards import Card, bundled_cards
from playground.engine import Engine
from playground.families import FAMILIES
from playground.settings import PROJECT, Settings
from playground.ui import launch
from playground.ui.models_tab import models_tab
from playground.ui.stale import add_left
from tests.browsing import PHONE, Tab, browse
from tests.conftest import Site
from tests.hub_server import HubServer

pytestmark = pytest.mark.browser
VAE = PROJECT / "weights" / "vae-beta-4-fashion-28"
THING = {name: (VAE / name).read_bytes() for name in ("config.json", "model.safetensors", "codes.safetensors")}
SIZE = f"{sum(map(len, THING.values())) / 1e6:.1f} MB"
LISTED = Card("vae-listed-28", "vae", "A listed VAE", {}, repo="acme/listed", license="mit", about="It is only listed.")
BUNDLED = ("vae-fashion-28", "gan-fashion-28", "pictures-fashion-28", "classifier-fashion-28")
WEIGHTS = "model.safetensors"


@contextmanager
def models_page(lock: Path, **settings: Any) -> Iterator[Site]:
    """The tab beside a few of its like; below them what it told others: the ids of this visit, and what was to be opened."""
    cards = {**{name: bundled_cards()[name] for name in BUNDLED}, LISTED.id: LISTED}
    engine = Engine(Settings(**{"hub": "any", "device": "cpu", "port": 0, "lock_file": lock, "hub_retries": 0, **settings}), cards)
    with gr.Blocks(title="Models", analytics_enabled=False, fill_width=True) as page:
        gr.HTML("<h1>Models</h1>", js_on_load=None)
        guests = gr.State([])
        with gr.Tabs(elem_id="families"):
            for name in ("vae", "gan"):
                with gr.Tab(FAMILIES[name].title, id=name, elem_id=f"tab-{name}"):
                    gr.Markdown(f"The tab of {name}.")
            with gr.Tab("Models", id="models", elem_id="tab-models") as tab:
                view = models_tab(engine, guests, tab)
        add_left()
        kept = gr.Textbox(label="Guests", elem_id="guests")
        opened = gr.Textbox(label="Opened", elem_id="opened")
        guests.change(lambda ids: " ".join(ids), guests, kept)
        view.open(_opened, None, opened)
    _, url, _ = launch(page, engine, prevent_thread_lock=True, quiet=True)
    yield Site(url, engine)
    page.close(verbose=False)


def _opened(event: gr.EventData) -> str:
    return str(event._data)


@pytest.fixture(scope="module")
def models_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with models_page(tmp_path_factory.mktemp("lock") / "lock.json") as site:
        yield site


class Visitor:
    """Somebody at the tab."""

    def __init__(self, tab: Tab) -> None:
        self.tab, self.page = tab, tab.page

    def open(self, query: str = "") -> Visitor:
        self.page.goto(f"{self.tab.url}?{query}")
        self.page.locator("#tab-models-button").click()
        expect(self.row("vae-fashion-28")).to_be_visible()
        return self

    @property
    def box(self) -> Locator:
        return self.page.locator(".lp-models-add > .lp-find")

    def look(self, text: str, state: str = "found") -> Locator:
        self.page.get_by_label("Add a model").fill(text)
        self.page.keyboard.press("Enter")
        return self.turned(self.box, state)

    def turned(self, find: Locator, state: str) -> Locator:
        expect(find).to_have_attribute("data-state", state)
        return find

    def row(self, key: str) -> Locator:
        """By the key that its script knows it by."""
        self.page.wait_for_function("(key) => window.playground?.models?.rows.has(key)", arg=key)
        self.page.evaluate("(key) => playground.models.rows.get(key).root.dataset.test = key", key)
        return self.page.locator(f'[data-test="{key}"]')

    def listed(self) -> list[str]:
        return list(self.page.evaluate("[...playground.models.rows.keys()]"))

    def guests(self, count: int = 1) -> list[str]:
        """The ids of the cards that this visit added, once there are so many."""
        expect(self.page.locator("#guests textarea")).to_have_value(re.compile(r"^\S+( \S+)" + f"{{{count - 1}}}$"))
        return self.page.locator("#guests textarea").input_value().split()

    @property
    def spoken(self) -> Locator:
        return self.page.locator(".lp-models [role=status]")


@pytest.fixture
def visitor(chromium: Browser, remote: HubServer, models_site: Site) -> Iterator[Visitor]:
    """On a Hub with two repos that fit; nothing is fetched, loaded or pinned yet."""
    models_site.engine.settings.lock_path.unlink(missing_ok=True)
    for card in (*models_site.engine.cards, *list(models_site.engine._seats)):
        models_site.engine.unload(card)
    remote.add_repo("acme/listed", THING)
    remote.add_repo("acme/thing", {**THING, "README.md": b"---\nlicense: cc0-1.0\n---\n# Thing"})
    with browse(chromium, models_site.url) as tab:
        yield Visitor(tab)


def test_a_repo_is_looked_at_fetched_stopped_and_fetched_again(visitor: Visitor, remote: HubServer) -> None:
    find = visitor.open().look("acme/thing")
    expect(find.locator(".lp-find-title")).to_have_text("◉ thing · VAE, 28×28")
    expect(find.locator(".lp-find-facts")).to_contain_text("parameters")
    expect(find.locator(".lp-find-facts")).to_contain_text(f"{SIZE} · licence cc0-1.0 · acme/thing @ ")
    expect(find.locator(".lp-find-need")).to_contain_text("GB are free on the disk")
    expect(visitor.spoken).to_contain_text("Found: thing")
    places = "(find) => [...find.children].map((part) => [part.offsetTop, part.offsetHeight])"
    at = find.evaluate(places)
    remote.inject(path=WEIGHTS, method="GET", rate=500_000)
    find.get_by_role("button", name="Fetch and add").click()
    expect(find.locator(".lp-find-amount")).to_contain_text(f"of {SIZE}")
    visitor.page.wait_for_function("parseFloat(document.querySelector('.lp-find .lp-bar i').style.width) > 10")
    assert find.evaluate(places) == at  # nothing jumps
    value = find.get_by_role("progressbar", name="Download").get_attribute("aria-valuenow")
    assert value is not None and 10 < int(value) < 100
    find.get_by_role("button", name="Stop").click()
    visitor.turned(find, "found")
    expect(find.locator(".lp-find-amount")).to_have_text("Stopped. Whole files are kept.")
    assert find.evaluate(places) == at
    find.get_by_role("button", name="Fetch and add").click()
    visitor.turned(find, "added")
    expect(visitor.spoken).to_have_text("It is in the list.")
    gets = [each for each in remote.requests if each.method == "GET" and each.path.endswith(WEIGHTS)]
    assert len(gets) == 2  # the first was given up in its midst

    (card,) = visitor.guests()
    assert card.startswith("acme/thing@")
    expect(visitor.row(card).locator(".lp-model-place")).to_have_text("cached")
    find.get_by_role("button", name="Open").click()
    expect(visitor.page.locator("#opened textarea")).to_have_value(card)
    expect(visitor.page.get_by_text("The tab of vae.")).to_be_visible()


LEFT = "(parts) => [...new Set(parts.map((part) => part.getBoundingClientRect().left))].length"


def test_load_unload_and_forget(visitor: Visitor, models_site: Site) -> None:
    visitor.open().look("acme/thing").get_by_role("button", name="Fetch and add").click()
    visitor.turned(visitor.box, "added")
    (card,) = visitor.guests()
    row = visitor.row(card)
    for column in (".lp-model-title", ".lp-model-place", ".lp-model-load", ".lp-model-main"):
        assert visitor.page.locator(f"{column}:visible").evaluate_all(LEFT) == 1, column
    expect(row.locator(".lp-model-memory")).to_be_hidden()
    row.get_by_role("button", name="Load: ").click()
    expect(row.locator(".lp-model-memory")).to_be_visible()
    assert models_site.engine.is_loaded(card)
    expect(visitor.page.locator(".lp-models-room")).to_contain_text("In memory: 1 model")
    expect(row.get_by_role("button", name="Unload: ")).to_be_focused()  # the same button
    visitor.page.keyboard.press("Enter")
    expect(row.locator(".lp-model-memory")).to_be_hidden()
    assert not models_site.engine.is_loaded(card)

    row.get_by_role("button", name="Forget: ").click()
    expect(row.locator(".lp-model-forget")).to_have_text(f"Really forget? {SIZE}")
    visitor.page.keyboard.press("Escape")
    expect(row.locator(".lp-model-forget")).to_have_text("Forget")
    row.locator(".lp-model-forget").click()
    visitor.page.get_by_label("Add a model").focus()  # going elsewhere is a no
    expect(row.locator(".lp-model-forget")).to_have_text("Forget")
    row.locator(".lp-model-forget").click()
    row.locator(".lp-model-forget").click()
    expect(row).to_have_count(0)
    expect(visitor.page.locator("#guests textarea")).to_have_value("")
    assert not list(Path(constants.HF_HUB_CACHE).glob("models--acme--thing/snapshots/*/*"))


def test_a_listed_model_is_fetched_in_its_row(visitor: Visitor) -> None:
    row = visitor.open().row(LISTED.id)
    expect(row).to_contain_text("It is only listed.")
    expect(row.locator(".lp-model-place")).to_have_text("on the Hub")
    row.get_by_role("button", name="Fetch…: A listed VAE").click()
    find = visitor.turned(row.locator(".lp-find"), "found")
    expect(find.get_by_role("button", name="Fetch and add")).to_be_focused()
    visitor.page.keyboard.press("Tab")
    visitor.page.keyboard.press("Enter")  # Cancel
    visitor.turned(find, "empty")
    expect(row.locator(".lp-model-main")).to_be_focused()
    visitor.page.keyboard.press("Enter")
    visitor.turned(find, "found")
    visitor.page.keyboard.press("Enter")
    expect(row.locator(".lp-model-place")).to_have_text("cached")
    expect(find).to_be_hidden()
    expect(row.get_by_role("button", name="Open: A listed VAE")).to_be_focused()
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.locator("#opened textarea")).to_have_value(visitor.guests()[0])


def test_another_visit_has_its_own_list(visitor: Visitor, chromium: Browser) -> None:
    visitor.open()
    for text in ("acme/thing", LISTED.id):
        visitor.look(text).get_by_role("button", name="Fetch and add").click()
        visitor.turned(visitor.box, "added")
    own, of_both = visitor.guests(2)
    with browse(chromium, visitor.tab.url) as tab:
        other = Visitor(tab).open()
        assert own in visitor.listed() and own not in other.listed()
        row = other.row(LISTED.id)
        expect(row.locator(".lp-model-place")).to_have_text("cached")  # somebody fetched it, so it need not be fetched again
        expect(other.page.locator("#guests textarea")).to_have_value("")
        row.get_by_role("button", name="Open: ").click()
        expect(other.page.locator("#opened textarea")).to_have_value(of_both)
        expect(other.page.locator("#guests textarea")).to_have_value(of_both)


def test_refusals_are_sentences_and_nothing_typed_is_lost(visitor: Visitor, remote: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.add_repo("acme/other", {"notes.txt": b"dear diary"})
    remote.add_repo("acme/pickle", {"config.json": THING["config.json"], "model.bin": b"x"})
    visitor.open()
    said = visitor.box.locator(".lp-find-words")
    for text, words in (("acme/none", "There is no acme/none on the Hub"), ("acme/other", "is no model that this page knows"),
                        ("acme/pickle", "a pickle, which can run code"), ("two words", "is no repo of the Hub")):  # fmt: skip
        visitor.look(text, "refused")
        expect(said).to_contain_text(words)
        expect(visitor.spoken).to_contain_text(words)
        expect(visitor.page.get_by_label("Add a model")).to_have_value(text)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    visitor.look("acme/thing", "refused")
    expect(said).to_contain_text("did not answer")


def test_a_download_that_fails_says_so_and_can_be_tried_again(visitor: Visitor, remote: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor.open()
    with monkeypatch.context() as small:
        small.setattr("playground.hub.free_bytes", lambda: 10**6)
        find = visitor.look("acme/thing")
        expect(find.locator(".lp-find-need.lp-error")).to_contain_text("1.0 MB are free on the disk: that is too little")
        expect(find.locator(".lp-find-go")).to_have_attribute("aria-disabled", "true")
    visitor.look("acme/thing")
    expect(find.locator(".lp-find-need")).not_to_contain_text("too little")
    remote.inject(path=WEIGHTS, method="HEAD|GET", status=503)
    find.get_by_role("button", name="Fetch and add").click()
    expect(find.locator(".lp-find-amount.lp-error")).to_contain_text("The Hub answered 503")
    find.get_by_role("button", name="Fetch and add").click()
    visitor.turned(find, "added")


def test_a_download_goes_on_while_another_tab_is_looked_at(visitor: Visitor, remote: HubServer) -> None:
    find = visitor.open().look("acme/thing")
    remote.inject(path=WEIGHTS, method="GET", rate=1_000_000)
    find.get_by_role("button", name="Fetch and add").click()
    visitor.page.locator("#tab-gan-button").click()
    expect(visitor.page.get_by_text("The tab of gan.")).to_be_visible()
    visitor.page.locator("#tab-models-button").click()
    expect(find.get_by_role("button", name="Stop")).to_be_visible()
    row = visitor.row(LISTED.id)
    row.locator(".lp-model-main").click()
    other = visitor.turned(row.locator(".lp-find"), "found")
    other.locator(".lp-find-go").click()
    expect(other.locator(".lp-find-amount")).to_contain_text("One download at a time")
    visitor.turned(find, "added")


def test_somebody_elses_words_are_only_words(visitor: Visitor, remote: HubServer) -> None:
    evil = '<img src=x onerror="window.evil = 1">'
    config = json.loads(THING["config.json"]) | {"image_size": evil}
    remote.add_repo("acme/worse", {**THING, "config.json": json.dumps(config).encode()})
    remote.add_repo("acme/evil", {**THING, "README.md": f"---\nlicense: '{evil}'\n---\n".encode()})
    expect(visitor.open().look("acme/worse", "refused")).to_contain_text("<img src=x onerror=")
    find = visitor.look("acme/evil")
    expect(find.locator(".lp-find-facts")).to_contain_text(evil)
    find.get_by_role("button", name="Fetch and add").click()
    visitor.turned(find, "added")
    expect(visitor.row(visitor.guests()[0])).to_contain_text(evil)
    assert visitor.page.evaluate("window.evil") is None and visitor.page.locator(".lp-models img").count() == 0


def test_strangers_neither_forget_nor_unload(chromium: Browser, remote: HubServer, tmp_path: Path) -> None:
    remote.add_repo("acme/listed", THING)
    with models_page(tmp_path / "lock.json", visitors="strangers", hub="listed") as site, browse(chromium, site.url) as tab:
        site.engine.adopt(LISTED.id)
        site.engine.model("vae-fashion-28")
        visitor = Visitor(tab).open()
        expect(tab.page.locator(".lp-models-policy")).to_contain_text("This page fetches only what it lists.")
        expect(visitor.row("vae-fashion-28").locator(".lp-model-memory")).to_be_visible()
        expect(visitor.row(LISTED.id).locator(".lp-model-place")).to_have_text("cached")
        expect(tab.page.locator(".lp-model-forget:visible")).to_have_count(0)
        expect(tab.page.get_by_role("button", name="Unload: ")).to_have_count(0)
        visitor.look(str(VAE), "refused")
        expect(visitor.box).to_contain_text("not open to visitors")
        visitor.look("acme/thing", "refused")
        expect(visitor.box).to_contain_text("acme/thing is not on this page's list.")
        tab.page.evaluate("playground.models.fire('act', { ticket: 99, what: 'unload', card: 'vae-fashion-28' })")
        tab.page.wait_for_function("playground.models.props.said?.ticket === 99")
        assert "Visitors of this page" in tab.page.evaluate("playground.models.props.said.error")
        assert site.engine.is_loaded("vae-fashion-28")


def test_a_server_that_died_is_said(chromium: Browser, remote: HubServer, tmp_path: Path) -> None:
    remote.add_repo("acme/thing", THING)
    with browse(chromium, "") as tab:
        with models_page(tmp_path / "lock.json") as site:
            tab.url = site.url
            visitor = Visitor(tab).open()
            tab.page.route("**/queue/join*", lambda route: route.abort())
            visitor.look("acme/thing", "looking")
            visitor.row("vae-fashion-28").locator(".lp-model-load").click()
        tab.page.evaluate("playground.models.pulse()")
        expect(visitor.box).to_contain_text("The page's server does not answer.")
        expect(visitor.row("vae-fashion-28").locator(".lp-model-said")).to_contain_text("does not answer")
        tab.problems.clear()  # refused connections are what this is about
        tab.hosts.clear()


WIDTH = "Math.max(...[...document.querySelectorAll('.lp-models *')].map((part) => part.getBoundingClientRect().right))"
PILES = """(row) => {
    const at = (name) => row.querySelector(name).getBoundingClientRect();
    return at(".lp-model-do").top >= at(".lp-model-data").bottom && at(".lp-model-data").top >= at(".lp-model-name").bottom; }"""


def test_on_a_phone_each_card_is_a_block(visitor: Visitor, chromium: Browser, remote: HubServer) -> None:
    long = "acme/" + "a-very-long-name-" * 5 + "28"
    remote.add_repo(long, THING)
    with browse(chromium, visitor.tab.url, viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2) as tab:
        phone = Visitor(tab).open()
        find = phone.look(long)
        find.get_by_role("button", name="Fetch and add").tap()
        phone.turned(find, "added")
        (card,) = phone.guests()
        phone.row(card).locator(".lp-model-forget").tap()
        assert phone.row(card).evaluate(PILES)
        heights = "(parts) => Math.min(...parts.map((part) => part.offsetHeight))"
        assert tab.page.locator(".lp-models .lp-button:visible").evaluate_all(heights) >= 44
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert tab.page.evaluate(WIDTH) <= PHONE["width"]
        assert not tab.violations(), "\n".join(tab.violations())
        tab.shot("models-phone")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(visitor: Visitor, theme: str) -> None:
    visitor.open(f"__theme={theme}")
    visitor.page.locator(".lp-models-fits summary").click()
    assert not visitor.tab.violations(), "\n".join(visitor.tab.violations())
    visitor.look("acme/none", "refused")
    row = visitor.row(LISTED.id)
    row.locator(".lp-model-main").click()
    row.get_by_role("button", name="Fetch and add").click()
    expect(row.locator(".lp-model-place")).to_have_text("cached")
    row.locator(".lp-model-load").click()
    expect(row.locator(".lp-model-memory")).to_be_visible()
    row.locator(".lp-model-forget").click()
    visitor.look("acme/thing")
    assert not visitor.tab.violations(), "\n".join(visitor.tab.violations())
    visitor.tab.shot(f"models-{theme}")
