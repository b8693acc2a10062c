"""A board as what a browser gets: each pane's pictures, what belongs to each, and what was measured of its model."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from playground.cards import find_card
from playground.compare import Answer, Board, Question
from playground.engine import Engine
from playground.errors import PlaygroundError
from playground.result import TEXT_KEY
from playground.tasks.sample import Sample

MEASURED = {
    "classifier_fd": ("FD", "{:.2f}"),
    "precision": ("Precision", "{:.3f}"),
    "recall": ("Recall", "{:.3f}"),
    "coverage": ("Coverage", "{:.3f}"),
}
LIKELIHOODS = ("bits_per_dim", "iwae_64_bits_per_dim", "ode_bits_per_dim")
"""What a card says of likelihood, the first of them that it has."""


def board_value(engine: Engine, board: Board) -> dict[str, Any]:
    """All that the page keeps of a board; pictures not made yet are black."""
    comparison = board.comparison
    return {
        "query": comparison.to_query(),
        "python": comparison.to_python(),
        "question": comparison.question.name,
        "progress": round(board.progress, 4),
        "says": board.says,
        "panes": [pane_value(engine, comparison.question, answer, {TEXT_KEY: comparison.to_query()}) for answer in board.answers],
    }


def pane_value(engine: Engine, question: Question, answer: Answer, text: Mapping[str, str]) -> dict[str, Any]:
    """One pane: who it is, its pictures as a PNG with what belongs to each, errors by cell, and figures by name."""
    card, made, family = find_card(engine.cards or {}, answer.pane.card), answer.sheet(), answer.pane.family
    value: dict[str, Any] = {
        "card": card.id,
        "title": card.short_title,
        "glyph": family.look.glyph,
        "colour": family.look.colour,
        "legend": answer.grid.legend,
        "progress": round(answer.progress, 4),
        "errors": {str(index): words for index, words in answer.errors.items()},
        "weights_sha256": answer.weights_sha256,
        "measured": figures_of(engine, question, answer),
        "tells": answer.tells,
    }
    if made is None:
        return value
    return value | {
        "png": f"data:image/png;base64,{base64.b64encode(answer.png(text)).decode()}",
        "size": made.pictures.shape[1],
        "count": len(made.pictures),
        "columns": made.columns,
        "labels": [label.replace("\n", " · ") for label in made.labels],
        "free": answer.is_whole and not made.named and made.group == 1 and isinstance(answer.made[0].request.task, Sample),
        "heads": list(made.heads),
        "sides": list(made.sides),
        "cells": [request.to_query() if request else "" for request in answer.requests()] if answer.progress >= 1 else [],
    }


def figures_of(engine: Engine, question: Question, answer: Answer) -> dict[str, str]:
    """What was measured in this very run, then what `evaluate` measured of the card, in words with their units."""
    told: dict[str, str] = {}
    if answer.ms_per_picture is not None:
        time = answer.ms_per_picture if question.per_picture else answer.ms
        told["Time a picture" if question.per_picture else "Time"] = f"{time:,.{1 if time < 10 else 0}f} ms"
    if answer.model:
        if answer.model["passes"][0]:
            least, most = answer.model["passes"][0], answer.model["passes"][-1]
            told["Passes"] = f"{least}" if least == most else f"{least}–{most}"
        told["In memory"] = f"{answer.model['bytes'] / 1e6:.1f} MB"
    try:
        measured = engine.measured(answer.pane.card)
    except PlaygroundError:
        return told
    if "parameters" in measured:
        told["Parameters"] = f"{measured['parameters']['value'] / 1e6:.2f} M"
    for name, (title, form) in MEASURED.items():
        if name in measured:
            told[title] = form.format(measured[name]["value"])
    if {"classifier_fd", "classifier_fd_floor"} <= measured.keys():
        told["FD"] += f" (n {measured['classifier_fd']['n']:,}, floor {measured['classifier_fd_floor']['value']:.2f})"
    likelihood = next((measured[name]["value"] for name in LIKELIHOODS if name in measured), None)
    if likelihood is not None:
        told["Bits/dim"] = f"{likelihood:.3f}"
    return told
