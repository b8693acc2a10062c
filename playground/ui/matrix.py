"""What can it answer? One table for all families, made of what their models can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from playground.engine import Engine
from playground.errors import PlaygroundError
from playground.families import FAMILIES, Model
from playground.families.capabilities import (
    Encodes,
    HasCritic,
    HasEvidence,
    HasLikelihood,
    HasMap,
    HasODE,
    HasPosterior,
    HasVariationalBound,
    Inverts,
)
from playground.tasks.base import CAPABILITY_WORDS, able

Asked = type[Model] | Model
Answer = Callable[[Asked], str]
"""What a model answers to a question, in a word or two; empty for no."""
_OWN = ' class="lp-own"'


def _encodes(model: Asked) -> str:
    return "search" if able(model, Inverts) else "yes" if able(model, Encodes) else ""


def _likelihood(model: Asked) -> str:
    if able(model, HasLikelihood):
        return "exact"
    return "estimate" if able(model, HasODE) else "bound" if able(model, HasEvidence) or able(model, HasVariationalBound) else ""


def _can(capability: type) -> Answer:
    return lambda model: "yes" if able(model, capability) else ""


QUESTIONS: dict[str, Answer] = {
    "Turn a picture into a latent?": _encodes,
    "And get the very picture back?": lambda model: "yes" if model.exact else "",
    "Say how likely a picture is?": _likelihood,
    "Draw in one step?": lambda model: "yes" if model.live else "",
    "Draw in many steps, and stop between?": lambda model: "" if model.live else "yes",
    "Say how sure it is of a latent?": _can(HasPosterior),
    "Say how real a picture looks?": _can(HasCritic),
    "Draw a map of its codes?": _can(HasMap),
}


def models_of(engine: Engine) -> dict[str, list[Asked]]:
    """Every family with its models that load; the family itself where none does."""
    found: dict[str, list[Asked]] = {}
    for name, family in FAMILIES.items():
        cards = [card.id for card in (engine.cards or {}).values() if card.family == name and card.files]
        found[name] = list({type(model): model for model in _loaded(engine, cards)}.values()) or [family]
    return found


def _loaded(engine: Engine, cards: Sequence[str]) -> list[Model]:
    models = []
    for card in cards:
        try:
            models.append(engine.model(card))
        except PlaygroundError:  # its own tab says what is wrong with it
            continue
    return models


def answer(ask: Answer, models: Sequence[Asked]) -> str:
    """What a family answers: what all its models do, or that only some of them do."""
    answers = {ask(model) for model in models}
    return next(iter(answers)) if len(answers) == 1 else "some"


def matrix_html(models: Mapping[str, Sequence[Asked]], own: str) -> str:
    """The table, the column of the family `own` set off; below it, what that one cannot."""
    heads = "".join(_head(FAMILIES[name], name == own) for name in models)
    rows = "".join(
        f'<tr><th scope="row">{escape(question)}</th>{"".join(_cell(answer(ask, models[name]), name == own) for name in models)}</tr>'
        for question, ask in QUESTIONS.items()
    )
    table = f'<table class="lp-matrix"><thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    lacks = [words for need, words in CAPABILITY_WORDS.items() if not any(able(model, need) for model in models[own])]
    cannot = f'<p class="lp-cannot">It cannot {_or([escape(words) for words in lacks])}.</p>' if lacks else ""
    return f'<div class="lp-scroll" tabindex="0" role="region" aria-label="What each family can answer">{table}</div>{cannot}'


def _or(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{'; '.join(words[:-1])}; or {words[-1]}"


def _head(family: type[Model], own: bool) -> str:
    glyph = f'<span aria-hidden="true" style="color:{family.look.colour}">{family.look.glyph}</span>'
    return f'<th scope="col"{_OWN if own else ""}><span class="lp-name">{glyph} {escape(family.title)}</span></th>'


def _cell(words: str, own: bool) -> str:
    mark = "–" if not words else "✓"
    shown = "" if words in ("", "yes") else f"<br>{escape(words)}"
    spoken = words or "no"
    hidden = f'<span class="lp-spoken">{escape(spoken)}</span>' if not shown else ""
    return f'<td{_OWN if own else ""}><span aria-hidden="true">{mark}</span>{hidden}{shown}</td>'
