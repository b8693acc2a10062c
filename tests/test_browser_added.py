"""A model that a visit adds: in the tab of its family, in Compare, by link, and for nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from playground.cards import bundled_cards
from playground.settings import PROJECT, Settings
from tests.browsing import Tab, browse
from tests.conftest import Site, opened
from tests.hub_server import HubServer
from tests.test_library import contents

pytestmark = pytest.mark.browser
REPO = "acme/my-vae"


@pytest.fixture
def site_with_hub(remote: HubServer, tmp_path: Path) -> Iterator[Site]:
    """A page that may fetch any repo, with a lock file of its own."""
    for path in (PROJECT / "weights").iterdir():
        (tmp_path / path.name).symlink_to(path)
    remote.add_repo(REPO, contents())
    with opened(Settings(weights_dir=tmp_path, device="cpu", port=0)) as site:
        yield site


def add(tab: Tab, name: str = REPO) -> None:
    """Looks at a model on the tab Models, and adds it."""
    tab.page.locator("#tab-models-button").click()
    tab.page.get_by_label("Add a model").fill(name)
    tab.page.get_by_role("button", name="Look").click()
    tab.page.get_by_role("button", name="Fetch and add").or_(tab.page.get_by_role("button", name="Add", exact=True)).click()
    expect(tab.page.locator(".lp-models-add .lp-find-amount")).to_have_text("It is in the list.")


def test_a_model_of_the_hub_is_opened_compared_and_linked(chromium: Browser, site_with_hub: Site) -> None:
    with browse(chromium, site_with_hub.url) as tab:
        tab.open_plain()
        add(tab)
        tab.page.locator(".lp-models-add").get_by_role("button", name="Open").click()
        tab.panel = "vae-sample"
        link = tab.settled(f"card={REPO.replace('/', '%2F')}%40")
        assert tab.find(".lp-knobs").is_visible() and tab.knob("temperature").is_visible()
        assert "my-vae" in tab.page.locator("#vae-card input").input_value()
        tab.shot("added-vae")

        tab.page.locator("#vae-card input").click()  # back to one of the page's own, and to the added one again
        tab.page.get_by_role("option", name=bundled_cards()["vae-fashion-28"].title).click()
        tab.settled("card=vae-fashion-28&")
        tab.page.locator("#vae-card input").click()
        tab.page.get_by_role("option", name="my-vae").click()
        tab.settled(f"card={REPO.replace('/', '%2F')}%40")

        tab.page.locator("#tab-compare-button").click()
        tab.page.wait_for_function("window.playground.panels['compare-seed']?.kept?.progress === 1")
        tab.page.locator("#compare-seed-1 button").first.click()
        tab.page.locator("#compare-seed-1-card input").click()
        tab.page.get_by_role("option", name="my-vae").click()
        tab.page.wait_for_function(
            f"(window.playground.panels['compare-seed']?.kept?.panes ?? []).some((pane) => pane.card.startsWith('{REPO}@') && pane.png)"
        )
        tab.shot("added-compare")

    with browse(chromium, site_with_hub.url) as other:
        other.open_plain()
        other.page.locator("#tab-vae-button").click()
        other.panel = "vae-sample"
        other.settled()
        assert "my-vae" not in other.page.content()

        other.page.goto(f"{site_with_hub.url}?{link}")  # but who has its link may see what it shows
        other.settled(f"card={REPO.replace('/', '%2F')}%40")
        assert "my-vae" in other.page.locator("#vae-card input").input_value()


def test_a_link_to_a_model_that_is_not_here_says_where_to_fetch_it(chromium: Browser, site_with_hub: Site) -> None:
    with browse(chromium, site_with_hub.url) as tab:
        tab.open_plain(f"card=acme%2Fnothing%40{'0' * 40}&task=sample")
        assert "This link could not be opened. The model acme/nothing@" in tab.page.locator("#notice").inner_text()
        assert "Fetch it on the tab Models" in tab.page.locator("#notice").inner_text()
