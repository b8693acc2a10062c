"""`make hints`: which files of Gradio's front end opening the page takes, as Chromium asks for them. Again when Gradio has changed."""

from __future__ import annotations

from typing import Any
from unittest import mock

from playground.engine import Engine
from playground.settings import Settings
from playground.ui import hints
from tools.bench._browsing import browser, opened

OWN = ("index-",)
"""What the names of files begin with that Gradio's document asks for itself."""


def asked(page: Any, url: str) -> list[str]:
    """Names of the files that are fetched until the first picture is kept, in order."""
    names: list[str] = []
    page.on("request", lambda request: names.append(request.url.partition("/assets/")[2]))
    page.goto(url)
    page.wait_for_function("Object.values(window.playground?.panels || {}).some((panel) => panel.kept)")
    return [name for name in dict.fromkeys(names) if name and not name.startswith(OWN)]


def main() -> None:
    """Opens the page without hints, and writes down what it asked for."""
    with mock.patch.object(hints, "files", return_value=()), opened(Engine(Settings(hub="off", port=0))) as url, browser() as chromium:
        names = asked(chromium.new_page(viewport={"width": 1440, "height": 900}), url)
    hints.FILES.write_text("\n".join(names) + "\n")
    print(f"{hints.FILES}: {len(names)} files")


if __name__ == "__main__":
    main()
