"""Named endpoints `/<family>_<task>`: the same requests for programs, with a signature made from the knobs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import anyio
import gradio as gr

from playground.cards import Card
from playground.compare import Comparison
from playground.engine import Engine, why
from playground.families import Model
from playground.knobs import KnobSpec
from playground.request import Request
from playground.tasks import TASKS, Task
from playground.turns import turn
from playground.ui.answers import kept
from playground.ui.boards import board_value
from playground.ui.panels import default_of

_TYPES: dict[str, Any] = {"int": int, "float": float, "bool": bool, "choice": str, "text": str, "texts": list[str]}


def add_endpoints(engine: Engine, family: type[Model], cards: list[Card]) -> None:
    """One endpoint for each task that the family can do."""
    model = engine.model(cards[0].id)
    for task in TASKS.values():
        if task.missing(model) is None:
            specs = [*task.specs_for(model), *family.Params.specs()]
            gr.api(
                _endpoint(engine, f"{family.family}_{task.name}", task, specs, cards[0]),
                api_name=f"{family.family}_{task.name}",
                concurrency_limit=4,
            )


def add_comparing(engine: Engine) -> None:
    """The endpoint `/compare`: a whole comparison by its link."""

    async def compare(link: str) -> dict[str, Any]:
        """One question put to several models at once.

        Parameters:
            link: The comparison as the page's link has it: `compare=seed&num_samples=4&pane=card%3Dvae-fashion-28&pane=…`.
        Returns:
            `panes` (each with `card`, `png`, `cells`, `errors`, `measured`, `weights_sha256`), `query` (the link), `python`, `says`.
        """
        try:
            asked = Comparison.from_query(str(link), cards=engine.cards)
            async with turn(engine.line):
                return board_value(engine, await anyio.to_thread.run_sync(asked.run, engine))
        except Exception as error:
            raise gr.Error(why(error), print_exception=False) from error

    gr.api(compare, api_name="compare", concurrency_limit=2)


def _endpoint(engine: Engine, name: str, task: type[Task], specs: list[KnobSpec], card: Card) -> Callable[..., Any]:
    async def call(*arguments: Any) -> dict[str, Any]:
        names = ["card", *(spec.name for spec in specs)]
        values = dict(zip(names, arguments, strict=True))
        try:
            chosen = values.pop("card")
            request = Request.build(chosen, task.name, cards=engine.cards, **values)
            async with turn(engine.line):
                return await anyio.to_thread.run_sync(lambda: kept(engine.run(request)))
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
    call.__name__ = name
    call.__doc__ = _documentation(task, specs)
    return call


def _documentation(task: type[Task], specs: list[KnobSpec]) -> str:
    """What the API page shows (all before `Parameters:`), and what tools read of each parameter."""
    allowed, helps = {spec.name: _allowed(spec) for spec in specs}, {spec.name: spec.help for spec in specs}
    bounds = "; ".join(f"{name} {words}" for name, words in allowed.items() if words)
    lines = [f"{task.says} Allowed: {bounds}.", "Parameters:", "    card: Which model, by its id."]
    for name, words in allowed.items():
        lines.append(f"    {name}: {helps[name]}" + (f" Allowed: {words}." if words else ""))
    answer = "    `png` (data URL with its recipe inside), `query` (the link), `python`, `about`, `facts`, `cells`, `weights_sha256`."
    return "\n".join([*lines, "Returns:", answer])


def _allowed(spec: KnobSpec) -> str:
    if spec.minimum is not None and spec.maximum is not None:
        return f"{spec.minimum:.10g} to {spec.maximum:.10g}"
    if spec.min_length is not None:
        return f"{spec.min_length} to {spec.max_length} entries"
    return " or ".join(spec.choices)
