"""Runs the benchmark, whole or in part, and prints its table: `python -m tools.bench [--only NAME]`."""

from __future__ import annotations

import argparse
import datetime
import importlib
import pkgutil
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from playground.device import device_words, pick_device
from tools.bench.row import HEAD, Row

Part = Callable[[], Iterator[Row]]


def parts() -> dict[str, Part]:
    """The parts by name: all modules of this package that have `rows`."""
    names = [each.name for each in pkgutil.iter_modules([str(Path(__file__).parent)]) if not each.name.startswith("_")]
    modules = {name: importlib.import_module(f"tools.bench.{name}") for name in names}
    return {name: module.rows for name, module in modules.items() if hasattr(module, "rows")}


def main() -> None:
    """Prints rows as they are measured."""
    known = parts()
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--only", choices=[*known], action="append", help="run this part alone; may be given several times")
    chosen = parser.parse_args().only or [*known]
    torch.set_num_threads(1)
    device = device_words(pick_device("auto"))
    print(f"{datetime.date.today()}, {device}, Python {platform.python_version()}, torch {torch.__version__}\n\n{HEAD}", flush=True)
    for name in chosen:
        for row in known[name]():
            print(row.markdown(), flush=True)


if __name__ == "__main__":
    main()
