"""Random requests, drawn from the declarations of knobs alone."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

from playground.cards import Card
from playground.families import FAMILIES
from playground.knobs import MAX_SEED, KnobSpec
from playground.latent import Latent
from playground.request import Request
from playground.tasks import TASKS

WEIGHTS = st.floats(-5, 5, allow_nan=False).map(lambda weight: float(f"{weight:.3g}")).filter(lambda weight: abs(weight) > 1e-3)
SOURCES = st.one_of(
    st.integers(0, MAX_SEED).map(lambda seed: f"seed:{seed}"),
    st.integers(0, 19).map(lambda index: f"test:{index}"),
    st.tuples(st.integers(-10, 10), st.integers(-10, 10)).map(lambda place: f"near:{place[0] / 10},{place[1] / 10}"),
    st.just("origin"),
)
OFFSETS = st.builds(lambda weight, kind, index: f"{weight:g}*{kind}:{index}", WEIGHTS, st.sampled_from(["dim", "pc"]), st.integers(1, 4))


@st.composite
def latents(draw: st.DrawFn) -> Latent:
    """One or two sources and up to two offsets."""
    first, *more = draw(st.lists(SOURCES, min_size=1, max_size=2, unique=True))
    weighted = [f"{draw(st.floats(0.1, 0.9)):.3g}*{source}" for source in more]
    return Latent.parse(" + ".join([first, *weighted, *draw(st.lists(OFFSETS, max_size=2))]))


def values(spec: KnobSpec) -> st.SearchStrategy[Any]:
    """Values that a knob allows."""
    if spec.widget == "latents":
        return st.lists(latents(), min_size=spec.min_length or 1, max_size=spec.max_length or 4)
    if spec.widget in ("latent", "recipe"):
        return latents()
    if spec.widget == "direction":
        return st.sampled_from(["pc:1", "dim:2", "class:0"])
    if spec.widget == "mask":
        return st.sampled_from(["left", "middle", "box:3,4,10,9", "bits:gAE"])
    if spec.widget == "knob":
        return st.sampled_from(["", "temperature", "truncation_psi"])
    if spec.widget == "class":
        return st.sampled_from(["any", "none", "0", "2"])
    if spec.widget == "name":
        return st.sampled_from(["", "sleeves", "a-b_2"])
    if spec.kind == "int":
        return st.integers(int(spec.minimum or 0), int(spec.maximum or 0))
    if spec.kind == "float":
        return st.floats(spec.minimum, spec.maximum)
    if spec.kind == "bool":
        return st.booleans()
    return st.sampled_from(list(spec.choices)) if spec.kind == "choice" else st.text(string.printable, max_size=spec.max_length)


@st.composite
def requests(draw: st.DrawFn, cards: dict[str, Card]) -> Request:
    """Any request on any of the cards."""
    card = draw(st.sampled_from(sorted(cards)))
    family = FAMILIES[cards[card].family]
    task = draw(st.sampled_from([task for task in TASKS.values() if task.missing(family) is None]))
    specs = [*task.specs(), *family.Params.specs()]
    return Request.build(card, task.name, cards=cards, **{spec.name: draw(values(spec)) for spec in specs})
