"""`make figures`: puts what code and `metrics.json` know into README, between its markers, and into the metadata of every model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from playground.settings import PROJECT, Settings
from playground.training.model_card import figures_table, rewrite_metadata

README = PROJECT / "README.md"


def tables(weights_dir: Path = PROJECT / "weights") -> Mapping[str, str]:
    """Marker → what stands between `<!-- marker -->` and `<!-- /marker -->`."""
    return {"settings": Settings.table(), "figures": figures_table(weights_dir)}


def filled(text: str, contents: Mapping[str, str]) -> str:
    """The text with every marked part replaced. Raises `ValueError` when a marker is missing."""
    for marker, content in contents.items():
        opening, closing = f"<!-- {marker} -->", f"<!-- /{marker} -->"
        before, found, rest = text.partition(opening)
        _, closed, after = rest.partition(closing)
        if not (found and closed):
            raise ValueError(f"README has no {opening} … {closing}")
        text = f"{before}{opening}\n{content}\n{closing}{after}"
    return text


if __name__ == "__main__":
    README.write_text(filled(README.read_text(), tables()))
    rewrite_metadata(PROJECT / "weights")
