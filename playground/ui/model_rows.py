"""The tab Models as plain data: a row a card, and what was found of a model that somebody looked at. No path of this machine is in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from playground import hub
from playground.cards import Card
from playground.engine import Engine
from playground.errors import PlaygroundError
from playground.families import FAMILIES
from playground.hub import Lock, Pin, Place
from playground.library import Finding
from playground.settings import Settings
from playground.ui.boards import LIKELIHOODS

SHARED = "shared"
"""The group of what is no model: test pictures, the classifier that measures."""
MAX_FIGURES = 2**20
"""Bytes of the largest `metrics.json` that is read: a fetched one is somebody else's."""
_ARXIV = re.compile(r"https://arxiv\.org/abs/([\w./-]+)", re.ASCII)


def groups() -> list[dict[str, str]]:
    """The headings of the list, in the order of the page's tabs."""
    families = [
        {"name": name, "title": each.title, "glyph": each.look.glyph, "colour": each.look.colour} for name, each in FAMILIES.items()
    ]
    return [*families, {"name": SHARED, "title": "Shared by all", "glyph": "", "colour": "#80858d"}]


def policy(settings: Settings) -> str:
    """What this page fetches and lets visitors do, in a line."""
    most = f"{settings.max_fetch_mb * 2**20 / 1e9:.1f} GB"
    fetches = {
        "off": "This page fetches nothing from the Hub.",
        "listed": "This page fetches only what it lists.",
        "any": f"This page fetches any model of the Hub that fits, up to {most}.",
    }
    return fetches[settings.hub] + ("" if settings.visitors == "trusted" else " Folders, unloading and forgetting are not for visitors.")


def asks(settings: Settings) -> str:
    """What may be written into the box, in a sentence; "" where nothing can be added."""
    on_hub = "owner/name of the Hub (with @revision)" if settings.hub != "off" else ""
    folder = "a folder of this machine" if settings.visitors == "trusted" else ""
    words = ", or ".join(part for part in (on_hub, folder) if part)
    return f"Write {words}." if words else ""


def listing(engine: Engine, guests: Sequence[str]) -> dict[str, Any]:
    """All that the tab shows: `rows`, what is in memory, and what is free on the disk, in bytes."""
    memory = {"count": engine.num_loaded(), "bytes": engine.resident_bytes(), "most": engine.settings.memory_mb * 2**20}
    return {"rows": rows(engine, guests), "memory": memory, "free": hub.free_bytes()}


def rows(engine: Engine, guests: Sequence[str]) -> list[dict[str, Any]]:
    """A row a card: by family in the order of the page, the page's own before those that this visit added, what all share at last."""
    cards = engine.cards or {}
    made = [_row(engine, guests, card, _pin(engine, card)) for card in cards.values()]
    shown = {row["card"] for row in made}
    added = [card for each in guests if each not in shown and (card := _find(engine, each)) is not None]
    made += [_row(engine, guests, card, _pin(engine, card)) for card in added]
    order = [group["name"] for group in groups()]
    return sorted(made, key=lambda row: order.index(row["group"]))


def told(engine: Engine, finding: Finding, guests: Sequence[str]) -> dict[str, Any]:
    """A finding for the page: what it is, how large, what must be fetched, and whether the disk has room for that."""
    card, look, free = finding.card, FAMILIES[finding.card.family].look, hub.free_bytes()
    return {
        "card": card.id,
        "title": card.title,
        "family": card.family,
        "kind": FAMILIES[card.family].title,
        "glyph": look.glyph,
        "colour": look.colour,
        "parameters": finding.parameters,
        "bytes": finding.bytes,
        "missing": finding.missing,
        "free": free,
        "fits": not finding.missing or finding.missing + hub.SPARE_BYTES <= free,
        "licence": card.license,
        "note": finding.note,
        "source": _source(card),
        "offered": card.id in guests,
    }


def as_it_is(engine: Engine, finding: Finding) -> Finding:
    """The same finding with what is missing of it now: a download that was stopped may have left whole files."""
    if finding.listing is not None:
        return replace(finding, missing=finding.listing.missing_bytes(finding.names))
    here = hub.bytes_of(finding.card, engine.settings.weights_dir)
    return replace(finding, missing=max(0, finding.bytes - here) if finding.card.repo else 0)


def _find(engine: Engine, card_id: str) -> Card | None:
    """The card of that id; None when there is none, or the lock file that would know it is damaged."""
    try:
        return (engine.cards or {}).get(card_id)
    except PlaygroundError:
        return None


def _row(engine: Engine, guests: Sequence[str], card: Card, pin: Pin | None) -> dict[str, Any]:
    """What is said of `card`, with the weights of `pin` where it has none of its own."""
    own = card if card.files or pin is None else replace(card, id=pin.id, files=pin.files, revision=pin.commit)
    place = hub.place_of(own, engine.settings.weights_dir)
    loaded = engine.is_loaded(own.id)
    return {
        "key": card.id,
        "card": own.id if own.files else "",
        "group": card.family if card.family in FAMILIES else SHARED,
        "title": card.title,
        "about": card.about,
        "bytes": _bytes(engine, own, pin, place),
        "licence": card.license,
        "paper": _paper(card),
        "source": _source(own),
        "figures": _figures(engine, own, place),
        "place": place,
        "loaded": loaded,
        "offered": own.id == card.id or own.id in guests,
        "can": _deeds(engine, own, place, loaded),
    }


def _pin(engine: Engine, card: Card) -> Pin | None:
    """How it was fetched first. Of a lock file that cannot be read, whoever looks at a model is told."""
    if card.repo is None:
        return None
    lock = Lock(engine.settings.lock_path)
    try:
        return lock.find_id(card.id) if card.files else lock.find(card.repo, card.revision or "main")
    except PlaygroundError:
        return None


def _deeds(engine: Engine, card: Card, place: Place, loaded: bool) -> list[str]:
    """What the buttons of a row can do."""
    allowed = card.repo is not None and engine.may_fetch(card.repo)
    if card.family not in FAMILIES or (place in ("cached", "hub") and not allowed) or place == "nowhere":
        return []
    if place == "hub":
        return ["fetch"]
    trusted = engine.settings.visitors == "trusted"
    memory = ["unload"] * trusted if loaded else ["load"]
    return ["open", *memory, *["forget"] * (trusted and place == "cached")]


def _bytes(engine: Engine, card: Card, pin: Pin | None, place: Place) -> int | None:
    """How large it is; None where only the Hub knows."""
    if pin is not None:
        return pin.bytes
    return None if place in ("hub", "nowhere") else hub.bytes_of(card, engine.settings.weights_dir)


def _figures(engine: Engine, card: Card, place: Place) -> list[str]:
    """What `evaluate` wrote of a card: its Fréchet distance, then its likelihood, or how well it reconstructs."""
    written = hub.bytes_of(replace(card, files={"metrics.json": ""}), engine.settings.weights_dir)
    if place in ("hub", "nowhere") or not 0 < written <= MAX_FIGURES:
        return []
    try:
        measured = engine.measured(card.id)
    except (PlaygroundError, ValueError, OSError, RecursionError):  # a fetched one may hold anything
        return []
    likelihoods = [(name, "{:.3f} bits/dim") for name in LIKELIHOODS]
    forms = [("classifier_fd", "FD {:.2f}"), *likelihoods, ("reconstruction_psnr_db", "PSNR {:.1f} dB")]
    shown = [form.format(value) for name, form in forms if (value := _number(measured, name)) is not None]
    return shown[:2]


def _number(measured: Any, name: str) -> float | None:
    entry = measured.get(name) if isinstance(measured, Mapping) else None
    value = entry.get("value") if isinstance(entry, Mapping) else None
    return value if isinstance(value, float) and abs(value) < 1e5 else None  # nor NaN


def _paper(card: Card) -> dict[str, str] | None:
    if not card.paper.startswith("https://"):
        return None
    arxiv = _ARXIV.fullmatch(card.paper)
    return {"words": f"arXiv {arxiv[1]}" if arxiv else "Paper", "href": card.paper}


def _source(card: Card) -> dict[str, str] | None:
    """Its page on the Hub, at its commit."""
    if card.repo is None:
        return None
    commit = f" @ {card.revision[:12]}" if card.revision else ""
    return {"words": card.repo + commit, "href": hub.page_of(card.repo, card.revision)}
