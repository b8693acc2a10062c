"""Named endpoints `/<family>_<task>`: the same requests for programs, with a signature made from the knobs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import gradio as gr

from playground.cards import Card
from playground.engine import Engine, why
from playground.families import Model
from playground.knobs import KnobSpec
from playground.request import Request
from playground.tasks import TASKS, Task
from playground.ui.answers import kept
from playground.ui.panels import default_of

_TYPES: dict[str, Any] = {"int": int, "float": float, "bool": bool, "choice": str, "text": str, "texts": list[str]}


def add_endpoints(engine: Engine, family: type[Model], cards: list[Card]) -> None:
    """One endpoint for each task that the family can do."""
    model = engine.model(cards[0].id)
    for task in TASKS.values():
        if task.missing(model) is None:
            gr.api(_endpoint(engine, family, task, cards[0]), api_name=f"{family.family}_{task.name}", concurrency_limit=4)


def _endpoint(engine: Engine, family: type[Model], task: type[Task], card: Card) -> Callable[..., dict[str, Any]]:
    specs = [*task.specs(), *family.Params.specs()]

    def call(*arguments: Any) -> dict[str, Any]:
        names = ["card", *(spec.name for spec in specs)]
        values = dict(zip(names, arguments, strict=True))
        try:
            chosen = values.pop("card")
            return kept(engine.run(Request.build(chosen, task.name, cards=engine.cards, **values)))
        except Exception as error:
            raise gr.Error(why(error), print_exception=False) from error

    parameter = inspect.Parameter
    defaults = {spec.name: default_of(spec, card) for spec in specs}
    knobs = [
        parameter(spec.name, parameter.POSITIONAL_OR_KEYWORD, default=defaults[spec.name], annotation=_TYPES[spec.kind]) for spec in specs
    ]
    first = parameter("card", parameter.POSITIONAL_OR_KEYWORD, default=card.id, annotation=str)
    call.__signature__ = inspect.Signature([first, *knobs], return_annotation=dict)
    call.__annotations__ = {"card": str, **{spec.name: _TYPES[spec.kind] for spec in specs}, "return": dict}
    call.__name__ = f"{family.family}_{task.name}"
    call.__doc__ = _documentation(task, specs)
    return call


def _documentation(task: type[Task], specs: list[KnobSpec]) -> str:
    lines = [task.says, "", "Parameters:", "    card: Which model, by its id."]
    for spec in specs:
        bounds = f" {spec.minimum:g} to {spec.maximum:g}." if spec.minimum is not None and spec.maximum is not None else ""
        choice = f" One of {', '.join(spec.choices)}." if spec.kind == "choice" else ""
        lines.append(f"    {spec.name}: {spec.help}{bounds}{choice}")
    answer = "    `png` (data URL with its recipe inside), `query` (the link), `python`, `about`, `facts`, `cells`, `weights_sha256`."
    return "\n".join([*lines, "Returns:", answer])
