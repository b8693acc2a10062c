"""The tab Models: every card with where its weights are, and a box to bring in any model of the Hub or of a folder.

The component asks by events, each with a `ticket` that its answer bears again: an answer to an earlier question is then known as such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import gradio as gr

from playground import hub
from playground.cards import find_card
from playground.engine import Engine, why
from playground.errors import BadRequest
from playground.families import FAMILIES
from playground.formats import FORMATS
from playground.library import Finding, Library
from playground.ui.model_rows import as_it_is, asks, groups, listing, policy, told
from playground.ui.panels import PRIVATE, text_of
from playground.ui.views import models_view

MAX_FOUND = 8
"""Findings that a visit keeps, so that what was looked at is what is fetched."""
MAX_TEXT = 400
MAX_DOWNLOADS = 4
"""Of all visitors at once; others wait for their turn."""

# On a phone the row of tabs slides to the one that was chosen.
_SELECTED = "(guests) => { window.playground?.shown('models'); return [guests]; }"


def models_tab(engine: Engine, guests: gr.State, tab: gr.Tab) -> gr.HTML:
    """Builds it inside the current `gr.Tab`. `guests` holds the ids of the cards that this visit added, in order."""
    fits = [each.says.replace("`", "") for each in FORMATS.values()]
    view = models_view(groups=groups(), policy=policy(engine.settings), asks=asks(engine.settings), fits=fits)
    found = gr.State({})
    counter = Counter(engine)
    tab.select(counter.show, guests, view, js=_SELECTED, concurrency_limit=None, **PRIVATE)
    several: dict[str, Any] = {"trigger_mode": "multiple", **PRIVATE}
    view.look(counter.look, [guests, found], [view, found], concurrency_limit=None, **several)
    fetching = view.fetch(counter.fetch, found, view, concurrency_limit=MAX_DOWNLOADS, **several)
    view.stop(None, None, None, cancels=[fetching], queue=False, **PRIVATE)
    view.act(counter.act, guests, [view, guests], concurrency_limit=None, **several)
    return view


class Counter:
    """Where a visitor's questions and wishes are answered, for one engine. Whatever goes wrong is a sentence in the answer."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.library = engine, Library(engine)

    def show(self, guests: Sequence[str]) -> dict[str, Any]:
        """All that there is, as it is now."""
        return gr.update(value=listing(self.engine, guests))

    def look(self, guests: Sequence[str], found: Mapping[str, Finding], event: gr.EventData) -> tuple[dict[str, Any], Any]:
        """What a repo, a folder or a listed card holds; the finding is kept under the id of its card to be."""
        ticket, asked = _ticket(event), _words(event, "text")
        try:
            finding = self.library.look(asked)
            told_of = told(self.engine, finding, guests)
        except Exception as error:
            return gr.update(finding={**ticket, "error": why(error)}), gr.skip()
        others = [(card, each) for card, each in found.items() if card != finding.card.id]
        return gr.update(finding={**ticket, **told_of}), dict([*others, (finding.card.id, finding)][-MAX_FOUND:])

    def fetch(self, found: Mapping[str, Finding], event: gr.EventData) -> Iterator[dict[str, Any]]:
        """Brings in what was found, telling of its progress in bytes; the last has `card`, its id. Closing it stops the download."""
        ticket, finding = _ticket(event), found.get(_words(event, "card"))
        try:
            if finding is None:
                raise BadRequest("It is no longer known what that was.", "Look at it again.")
            finding = as_it_is(self.engine, finding)
            yield gr.update(progress={**ticket, "done": 0, "total": finding.missing, "card": ""})
            with closing(self.library.adopt(finding)) as steps:
                for step in steps:
                    card = step.card.id if step.card else ""
                    yield gr.update(progress={**ticket, "done": step.done, "total": step.total, "card": card})
        except Exception as error:
            yield gr.update(progress={**ticket, "error": why(error)})

    def act(self, guests: Sequence[str], event: gr.EventData) -> tuple[dict[str, Any], list[str]]:
        """Does to a card what a button says, and tells how all stands then."""
        said, after = _ticket(event), [*guests]
        try:
            deeds: dict[str, Callable[[str, list[str]], None]] = {
                "take": self._take,
                "load": self._load,
                "unload": self._unload,
                "forget": self._forget,
            }
            if (deed := deeds.get(_words(event, "what"))) is None:
                raise BadRequest("There is no such button.", "Reload the page.")
            deed(_words(event, "card"), after)
        except Exception as error:
            said["error"] = why(error)
        return gr.update(value=listing(self.engine, after), said=said), after

    # -- what the buttons do ----------------------------------------------------------------------------------------

    def _take(self, card_id: str, guests: list[str]) -> None:
        """Adds a card to those of this visit, unless it is one of the page's own, or the weights of one."""
        card = find_card(self.engine.cards or {}, card_id)
        own = [each for each in (self.engine.cards or {}).values() if each.files]
        is_own = any(each.id == card.id or (each.repo and (each.repo, each.revision) == (card.repo, card.revision)) for each in own)
        if not is_own and card_id not in guests:
            guests.append(card_id)

    def _load(self, card_id: str, guests: list[str]) -> None:
        card = find_card(self.engine.cards or {}, card_id)
        if card.family not in FAMILIES:
            raise BadRequest(f"{card.title} is loaded when it is needed.", "There is nothing to do.")
        if hub.place_of(card, self.engine.settings.weights_dir) in ("hub", "nowhere"):
            raise BadRequest(f"The weights of {card.title} are not here.", "Fetch them first.")
        self.engine.model(card_id)

    def _unload(self, card_id: str, guests: list[str]) -> None:
        self._trusted()
        self.engine.unload(card_id)

    def _forget(self, card_id: str, guests: list[str]) -> None:
        self._trusted()
        self.library.forget(card_id)
        if card_id in guests:
            guests.remove(card_id)

    def _trusted(self) -> None:
        if self.engine.settings.visitors != "trusted":
            raise BadRequest("Visitors of this page can neither unload nor forget models.", "Run the page yourself.")


def _ticket(event: gr.EventData) -> dict[str, Any]:
    """What an answer must bear for the browser to know what it answers: a whole number, whatever was sent."""
    ticket = event._data.get("ticket") if isinstance(event._data, dict) else None
    return {"ticket": ticket if isinstance(ticket, int) else 0}


def _words(event: gr.EventData, name: str) -> str:
    return text_of(event, name)[:MAX_TEXT]
