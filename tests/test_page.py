"""The page as a whole: accessibility, mistakes of all kinds, Stop, and a page without weights."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from torch import Tensor

from playground.compare import QUESTIONS, Comparison
from playground.families import FAMILIES
from playground.families.base import Step
from playground.families.vae import VAE
from playground.knobs import Knobs
from playground.latent import Noise
from playground.settings import PROJECT, Settings
from playground.tasks import TASKS
from tests.browsing import CARD, Tab, browse
from tests.conftest import Site, opened

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("task", TASKS)
def test_axe_finds_nothing(tab: Tab, task: str, theme: str) -> None:
    tab.open(task, f"__theme={theme}")
    if task == "sample":
        tab.page.locator("#tab-vae .lp-intro button").first.click()
        expect(tab.page.locator("#tab-vae .lp-intro .katex-display")).to_be_visible()
    if task == "inside":
        tab.page.wait_for_selector("#vae-inside-plot .js-plotly-plot")
    assert not tab.violations(), "\n".join(tab.violations())


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_axe_finds_nothing_in_compare(tab: Tab, question: str, theme: str) -> None:
    tab.panel = f"compare-{question}"
    tab.page.goto(f"{tab.url}?{Comparison.build(question, [CARD, 'gan-fashion-28']).to_query()}&__theme={theme}")
    tab.settled()
    tab.page.locator(f"#compare-{question}-1 .label-wrap").click()
    expect(tab.page.locator(f"#compare-{question}-1-card")).to_be_visible()
    assert not tab.violations(), "\n".join(tab.violations())


FIRST = f"{next(iter(FAMILIES))}-sample"
BAD_LINKS = {
    f"card={CARD}&task=sample&temperature=9": ("from 0 to 2", "vae-sample"),
    "card=gone-card-1&task=sample": ("There is no card called", FIRST),
    f"card={CARD}&task=sample&wobble=3": ("no knob called 'wobble'", "vae-sample"),
    f"card={CARD}&task=sample{'&seed=1' * 200}": ("more than 200 values", FIRST),
    f"card={CARD}": ("names no task", "vae-sample"),
    f"card={CARD}&task=fly": ("no task called", "vae-sample"),
    "card=gan-fashion-28&task=density": ("cannot", "gan-sample"),
    f"card={CARD}&task=reconstruct&picture=test:999999": ("no test picture", "vae-reconstruct"),
    f"card={CARD}&task=reconstruct&picture=png:AAAA": ("not a picture", "vae-reconstruct"),
}


@pytest.mark.parametrize("link", BAD_LINKS)
def test_a_bad_link_gets_a_sentence_and_its_model_opens(tab: Tab, link: str) -> None:
    words, tab.panel = BAD_LINKS[link]
    tab.page.goto(f"{tab.url}?{link}")
    tab.settled()
    expect(tab.page.locator("#notice")).to_contain_text(words)
    tab.page.click(f"#{tab.panel}-reset")
    assert tab.settled().startswith("card=")


def test_a_bad_file_gets_a_sentence_and_loses_nothing(tab: Tab, tmp_path: Path) -> None:
    tab.open("sample")
    before = tab.settled()
    (tmp_path / "notes.png").write_text("dear diary")
    (tmp_path / "huge.png").write_bytes(b"\0" * (12 * 2**20))
    for name, words in (("notes.png", "not a picture"), ("huge.png", "at most 10 MiB")):
        tab.page.locator(".lp-open input").set_input_files(tmp_path / name)
        expect(tab.page.locator("#lp-say")).to_contain_text(words)
    assert tab.settled() == before
    tab.problems = [problem for problem in tab.problems if "400" not in problem]  # the browser notes the refusal itself


def test_a_bad_upload_keeps_the_picture_there_was(tab: Tab, tmp_path: Path) -> None:
    tab.open("reconstruct")
    (tmp_path / "notes.png").write_text("dear diary")
    tab.find("input[type=file]").set_input_files(tmp_path / "notes.png")
    expect(tab.page.locator("#lp-say")).to_contain_text("not a picture")
    assert "test%3A0" in tab.settled()
    tab.find(".lp-seed").fill("-5")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#lp-say")).to_contain_text("whole number")
    tab.problems = [problem for problem in tab.problems if "400" not in problem]


def test_a_dead_server_is_said(chromium: Browser) -> None:
    with browse(chromium, "") as tab:
        with opened(Settings(hub="off", device="cpu", port=0)) as site:
            tab.url = site.url
            tab.open("sample")
        tab.page.evaluate("window.playground.push('vae-sample', [...window.playground.panels['vae-sample'].values].with(2, 99))")
        expect(tab.find(".lp-caption")).to_contain_text("does not answer")
        tab.problems.clear()  # refused connections are what this is about
        tab.hosts.clear()


def test_no_weights_no_tab_but_a_sentence(chromium: Browser, tmp_path: Path) -> None:
    with opened(Settings(hub="off", device="cpu", port=0, weights_dir=tmp_path / "nowhere")) as site, browse(chromium, site.url) as tab:
        tab.page.goto(site.url)
        expect(tab.page.locator(f"#tab-{next(iter(FAMILIES))}")).to_contain_text("cannot be read")
        tab.shot("no-weights")


def test_stop_stops_keeps_what_was_made_and_frees_the_model(chromium: Browser, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, decode = threading.Semaphore(1), VAE.decode

    def slow(self: VAE, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        gate.acquire()
        yield from decode(self, z, params, noise)

    with browse(chromium, site.url) as tab:
        tab.open("sample")
        monkeypatch.setattr(VAE, "decode", slow)
        monkeypatch.setattr("playground.ui.panels.PREVIEWS_PER_SECOND", 1e9)
        monkeypatch.setattr(type(site.engine), "run", lambda self, request: next(iter(())))  # live frames fail; only the kept one runs
        tab.knob("num_samples").locator("input[type=number]").fill("64")
        tab.page.keyboard.press("Tab")
        tab.page.wait_for_function("window.playground.panels['vae-sample'].about.progress < 1")
        assert site.engine.in_use() == 1 and tab.of("about.progress") > 0
        assert tab.find(".lp-bar i").evaluate("bar => parseFloat(bar.style.width)") > 0
        made = tab.picture()
        tab.page.click("#vae-sample-stop")
        tab.page.wait_for_timeout(200)
        for _ in range(8):
            gate.release()
        for _ in range(100):
            if not site.engine.in_use():
                break
            tab.page.wait_for_timeout(100)
        assert site.engine.in_use() == 0
        assert tab.picture() == made
        tab.problems.clear()


def test_motion_stops_where_it_is_not_wanted(chromium: Browser, site: Site) -> None:
    with browse(chromium, site.url, reduced_motion="reduce") as tab:
        tab.open("traverse")
        tab.find(".lp-play").click()
        expect(tab.page.locator("#lp-say")).to_contain_text("Motion is switched off")
        assert tab.of("playing") in (None, 0) and tab.of("selected") == 7


def test_a_link_to_a_family_whose_first_model_is_gone_turns_to_why(chromium: Browser, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(PROJECT / "weights", weights, ignore=shutil.ignore_patterns("vae-fashion-28"))
    with opened(Settings(hub="off", device="cpu", port=0, weights_dir=weights)) as site, browse(chromium, site.url) as tab:
        tab.page.goto(f"{site.url}?card=vae-beta-1-fashion-28&task=sample")
        expect(tab.page.locator("#tab-vae")).to_contain_text("not available")
        tab.page.locator("#tab-gan-button").click()
        tab.panel = "gan-sample"
        tab.settled()
