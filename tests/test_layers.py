"""The order of the house: imports go downward only, and each outside library is known to one place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from playground.settings import PROJECT

PACKAGE = PROJECT / "playground"
# From the bottom up. A module may import its own layer and those before it.
LAYERS: list[tuple[str, ...]] = [
    ("errors", "settings", "knobs"),
    ("device", "images", "latent", "masks", "metrics", "shelf", "passes", "recordings"),
    ("graphs", "traces", "line", "meters", "logs", "written"),
    ("nets",),
    ("families",),
    ("formats",),
    ("cards", "hub"),
    ("tasks", "request", "result", "engine", "library", "sampling", "observing"),
    ("wire", "turns"),
    ("remote", "zero", "compare", "quiz"),
    ("cluster",),
    ("training",),
    ("ui",),
    ("__main__", "app"),
]
ONLY = {
    "gradio": ("ui",),
    "plotly": ("ui",),
    "starlette": ("ui",),
    "fastapi": ("cluster",),
    "ray": ("cluster",),
    "httpx": ("remote",),
    "huggingface_hub": ("hub",),
    "diffusers": ("families", "nets", "formats"),
    "transformers": ("families", "nets", "formats"),
    "torchmetrics": ("metrics",),
    "prdc": ("metrics",),
    "prometheus_client": ("meters",),
    "spaces": ("ui", "app"),
    "sklearn": ("training",),
    "torchvision": (),
}
NEVER = {("training", "engine"), ("training", "request"), ("training", "tasks"), ("engine", "training")}
FILES = [PROJECT / "app.py", *sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")]


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py") if path.is_relative_to(PACKAGE) else "app"


def imports(path: Path) -> set[str]:
    """Full names of all imported modules, those inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def level(part: str) -> int:
    return next(index for index, layer in enumerate(LAYERS) if part in layer)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_imports_go_downward(path: Path) -> None:
    mine = part_of(path)
    for name in imports(path):
        first, _, rest = name.partition(".")
        if first == "playground" and rest:
            theirs = rest.partition(".")[0]
            if (PACKAGE / theirs).is_dir() or (PACKAGE / f"{theirs}.py").is_file():
                assert level(theirs) <= level(mine), f"{mine} must not know of {theirs}"
                assert (mine, theirs) not in NEVER, f"{mine} must not know of {theirs}"
        elif first in ONLY:
            assert mine in ONLY[first], f"{mine} must not know of {first}"


def test_only_settings_reads_the_environment() -> None:
    for path in FILES:
        reads = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
        ]
        writes_for_gradio = path == PACKAGE / "ui" / "__init__.py"
        assert not reads or path.name == "settings.py" or writes_for_gradio, path


def test_the_top_is_thin() -> None:
    assert len((PROJECT / "app.py").read_text().splitlines()) < 30


def test_the_package_answers_without_torch() -> None:
    """`python -m playground --help` must not wait for torch."""
    import subprocess
    import sys

    code = "import sys, playground, playground.__main__; sys.exit('torch' in sys.modules or 'gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
