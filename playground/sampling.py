"""Drawing pictures into files: what `python -m playground sample` does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from playground.engine import Engine
from playground.errors import BadKnob
from playground.knobs import MAX_SEED, whole_number
from playground.request import Request
from playground.result import Result
from playground.settings import Settings

PER_REQUEST = 64
MOST = 1_000_000


def sample_to(out: Path, card: str, knobs: Sequence[str], settings: Settings) -> Iterator[Path]:
    """Writes `--num-samples` pictures and yields the files: one PNG each with its recipe inside, or all in one `.npz`.

    The `.npz` holds `images`, uint8 (N, H, W, C). Raises `BadKnob` for an option that is no knob or does not fit and for a
    place that cannot be written to, `BadWeights` when there are no cards, and what `Engine.adopt` raises for a model that is none of ours.
    """
    options = read_options(knobs)
    count, seed = _whole(options, "num_samples", 16, least=1, most=MOST), _whole(options, "seed", 0, least=0, most=MAX_SEED)
    engine = Engine(settings)
    if engine.problem:
        raise engine.problem
    card = own_or_adopted(engine, card)
    results = _results(engine, card, options, count, seed)
    if out.suffix == ".npz":
        with _writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
        images = np.concatenate([result.pictures for result in results])
        with _writing(out):
            np.savez_compressed(out, images=images)
        yield out
        return
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
    for result in results:
        for index in range(len(result.pictures)):
            path = out / f"{re.sub(r'[^a-zA-Z0-9_.-]+', '-', card)}-seed{result.sheet.seeds[index]:010d}.png"
            picture = result.cell_png(index)
            with _writing(path):
                path.write_bytes(picture)
            yield path


def own_or_adopted(engine: Engine, model: str) -> str:
    """The id of a card of ours, or of any other model (see `Engine.adopt`), which is fetched if it must be."""
    known = (engine.cards or {}).get(model)
    is_ours = known.files if known is not None else "/" not in model
    return model if is_ours else engine.adopt(model).id


def _results(engine: Engine, card: str, options: dict[str, str], count: int, seed: int) -> Iterator[Result]:
    for start in range(0, count, PER_REQUEST):
        number = min(PER_REQUEST, count - start)
        first = (seed + start) % (MAX_SEED + 1)
        yield engine.run(Request.build(card, "sample", cards=engine.cards, num_samples=number, seed=first, **options))


def read_options(arguments: Sequence[str]) -> dict[str, str]:
    """`--some-name value` or `--some-name=value` pairs as knobs. Raises `BadKnob` for anything else."""
    options: dict[str, str] = {}
    words = [part for argument in arguments for part in (argument.split("=", 1) if argument.startswith("--") else [argument])]
    for name, value in zip(words[::2], [*words[1::2], None], strict=False):
        if not name.startswith("--") or value is None:
            raise BadKnob(f"{name!r} is not an option with a value.", "Write knobs as --temperature 0.8.")
        options[name[2:].replace("-", "_")] = value
    return options


def _whole(options: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    """Takes an option that is a whole number out of the `options`."""
    text = options.pop(name, str(default))
    if (number := whole_number(text, least, most)) is None:
        raise BadKnob(f"--{name.replace('_', '-')} cannot be {text[:40]!r}.", f"Give a whole number from {least} to {most}.")
    return number


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadKnob(f"{path} cannot be written ({error.strerror or error}).", "Give --out a place of yours with room on it.") from error
