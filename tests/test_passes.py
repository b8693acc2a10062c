"""Passes of the network, as Compare tells them, are those that it makes."""

from __future__ import annotations

from typing import Any

import pytest

from playground.compare import QUESTIONS, Comparison
from playground.compare.questions import SameSeed
from playground.families import FAMILIES
from playground.families.tarflow import TransformerFlow
from playground.latent import Noise
from playground.ui.boards import figures_of
from tests.tiny import TINY_CARDS, TinyEngine


def build(question: str, panes: Any, **knobs: Any) -> Comparison:
    return Comparison.build(question, panes, cards=TINY_CARDS, **knobs)


@pytest.fixture(scope="module")
def engine() -> TinyEngine:
    return TinyEngine()


@pytest.mark.parametrize("scheduler", ["ddpm", "heun", "unipc"])
@pytest.mark.parametrize(("guidance", "label"), [(1.0, "any"), (2.0, "any"), (2.0, "none")])
def test_passes_are_those_that_the_network_makes(scheduler: str, guidance: float, label: str) -> None:
    model = FAMILIES["diffusion"].tiny()
    params = model.Params.parse({"scheduler": scheduler, "guidance_scale": guidance, "label": label, "num_inference_steps": 4})
    rows = []
    model.network.register_forward_hook(lambda _, given, __: rows.append(len(given[0])))  # type: ignore[attr-defined]
    noise = Noise([0, 1, 2])
    [*model.decode(model.draw(params, noise), params, noise)]
    assert model.passes(params) == sum(rows) / 3


def test_passes_are_told_of_the_knobs_that_ran(engine: TinyEngine) -> None:
    few = [("diffusion-tiny-28", {"num_inference_steps": 2, "guidance_scale": 2.0})]
    (turned,) = build("dial", few, position=100, num_samples=1).run(engine).answers  # without guidance
    assert turned.model["passes"] == [2]
    (table,) = build("sheet", few, x="num_inference_steps", x_values="1, 3", y="").run(engine).answers
    assert table.model["passes"] == [2, 6] and figures_of(engine, SameSeed(), table)["Passes"] == "2–6"


def test_passes_of_a_transformer_flow_are_its_tokens() -> None:
    model = TransformerFlow.tiny()
    params, noise, calls = model.Params.parse({}), Noise([0, 1]), []
    for flow in model.network.flows:
        flow.norm.register_forward_hook(lambda *_: calls.append(1))  # type: ignore[union-attr,operator]
    [*model.decode(model.draw(params, noise), params, noise)]
    assert model.passes(params) == len(calls)


@pytest.mark.parametrize("family", ["ae", "vae", "gan", "flow"])
def test_the_other_families_pass_once(family: str) -> None:
    model = FAMILIES[family].tiny()
    assert model.passes(model.Params.parse({})) == 1


@pytest.mark.parametrize("question", ["trip", "score"])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_passes_there_and_back_are_those_that_the_network_makes(question: str, guidance: float) -> None:
    engine, calls = TinyEngine(), []
    knobs = {"num_inference_steps": 3, "guidance_scale": guidance}
    comparison = build(question, [("diffusion-tiny-28", knobs)])
    if question == "score":
        comparison.run(engine)  # the test pictures are judged once
    engine.model("diffusion-tiny-28").network.register_forward_hook(lambda _, given, __: calls.append(len(given[0])))  # type: ignore[attr-defined]
    (answer,) = comparison.run(engine).answers
    assert not answer.errors and answer.model["passes"] == [sum(calls)]


@pytest.mark.parametrize(("card", "trip", "score"), [("ae", 2, 2), ("vae", 2, 2), ("gan", 152, 1), ("flow", 2, 1)])
def test_passes_of_the_other_families_there_and_back(engine: TinyEngine, card: str, trip: int, score: int) -> None:
    for question, passes in (("trip", trip), ("score", score)):
        (answer,) = build(question, [f"{card}-tiny-28"]).run(engine).answers
        assert answer.model["passes"] == [passes] and figures_of(engine, QUESTIONS[question].parse({}), answer)["Passes"] == str(passes)
