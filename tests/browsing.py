"""Driving the page: one tab of Chromium that notes what went wrong and whom it asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from playground.cards import bundled_cards
from playground.families import FAMILIES
from playground.settings import PROJECT
from playground.tasks import TASKS

CARD = "vae-fashion-28"
CARDS = [card for card in bundled_cards().values() if card.family in FAMILIES and card.files]
FIRST = {family: next(card.id for card in CARDS if card.family == family) for family in FAMILIES}
HOMES = {task: next(name for name in ("vae", *FAMILIES) if kind.missing(FAMILIES[name]) is None) for task, kind in TASKS.items()}
"""Where each task is looked at when no family is named: at the VAE, or at the first family that can do it."""
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
PATIENCE = 120_000
"""Milliseconds before a wait gives up; nothing is measured by it."""
expect.set_options(timeout=PATIENCE)
LEAVING = ("AbortError: signal is aborted", "Connection errored out")
"""What Gradio's own client says when a page is left while its event stream is open."""


@dataclass
class Tab:
    """A browser tab on the page; `panel` is the one that is looked at."""

    page: Page
    url: str
    panel: str = "vae-sample"
    problems: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def open(self, task: str, query: str = "", *, family: str = "", card: str = "") -> Tab:
        """The page at a task, by link, with its picture kept; `query` is the whole link, or what follows its card and task."""
        family = family or HOMES[task]
        self.panel = f"{family}-{task}"
        self.page.goto(f"{self.url}?{query if 'card=' in query else f'card={card or FIRST[family]}&task={task}&{query}'}")
        self.settled()
        return self

    def turn_to(self, task: str) -> Tab:
        """Selects the task's tab in the open family: in the row, or in the menu of those that the row has no room for."""
        family = self.panel.partition("-")[0]
        self.panel = f"{family}-{task}"
        button, menu = self.page.locator(f"#tab-{self.panel}-button"), self.page.locator(f"#{family}-tasks .overflow-menu")
        if button.count():
            button.click()
        else:
            menu.get_by_label("More tabs").click()
            menu.get_by_role("button", name=TASKS[task].title, exact=True).click()
        return self

    def open_plain(self, query: str = "") -> Tab:
        """The page without a link, or with one that is none: the first task of the first family."""
        self.panel = f"{next(iter(FAMILIES))}-sample"
        self.page.goto(f"{self.url}?{query}")
        self.settled()
        return self

    def settled(self, *parts: str) -> str:
        """Waits until the kept answer is of the knobs as they are, and its link holds `parts`; the link."""
        ready = """([panel, parts]) => {
            const shown = window.playground?.panels[panel];
            return shown?.kept && !shown.dirty && !shown.inFlight && shown.kept.about.progress >= 1
                && parts.every((part) => shown.kept.query.includes(part)); }"""
        self.page.wait_for_function(ready, arg=[self.panel, list(parts)], timeout=PATIENCE)
        return str(self.of("kept.query"))

    def requests(self) -> list[str]:
        """What was asked of models so far: live frames, and events of the queue."""
        return [url for url in self.asked if "/playground/" in url or "/queue/join" in url]

    def of(self, path: str) -> Any:
        """A property of the panel's script object."""
        return self.page.evaluate(f"window.playground.panels['{self.panel}'].{path}")

    def find(self, selector: str) -> Locator:
        """Inside the panel's tab."""
        return self.page.locator(f"#tab-{self.panel} {selector}")

    def knob(self, name: str) -> Locator:
        return self.page.locator(f"#{self.panel}-{name}")

    def caption(self) -> str:
        return self.find(".lp-caption").inner_text()

    def picture(self) -> str:
        """What the large canvas shows, as a data URL."""
        return str(self.of("canvas.toDataURL()"))

    def violations(self) -> list[str]:
        """What axe finds wrong on the page as it is, in words."""
        found = Axe().run(self.page).response["violations"]
        return [f"{each['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}" for each in found for node in each["nodes"]]

    def shot(self, name: str) -> None:
        """Keeps a screenshot in the ignored folder `artifacts/`."""
        folder = PROJECT / "artifacts"
        folder.mkdir(exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png")


@contextmanager
def browse(chromium: Browser, url: str, **context: Any) -> Iterator[Tab]:
    """A fresh tab in a fresh context. At the end nothing may have gone wrong, and nobody else been asked."""
    options = {"viewport": DESK, "reduced_motion": "no-preference", **context}
    with chromium.new_context(**options) as browser_context:
        browser_context.grant_permissions(["clipboard-read", "clipboard-write"])
        tab = Tab(browser_context.new_page(), url)
        tab.page.set_default_timeout(PATIENCE)
        tab.page.on("console", lambda message: _complain(tab, message.text) if message.type == "error" else None)
        tab.page.on("pageerror", lambda error: _complain(tab, str(error)))
        tab.page.on("request", lambda request: _note(tab, request.url))
        yield tab
        assert tab.hosts <= {urlsplit(url).hostname}, tab.hosts
        assert not tab.problems, tab.problems


def _complain(tab: Tab, words: str) -> None:
    if not any(leaving in words for leaving in LEAVING):
        tab.problems.append(words)


def _note(tab: Tab, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme in ("http", "https", "ws", "wss"):
        tab.hosts.add(str(parts.hostname))
        tab.asked.append(url)
