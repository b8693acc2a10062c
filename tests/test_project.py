"""Words and numbers of the project itself: they must agree with the code."""

from __future__ import annotations

import json
import re
import stat
import subprocess

import pytest
import tomli
import yaml
from packaging.requirements import Requirement

from playground import __version__
from playground.cards import bundled_cards
from playground.families import FAMILIES
from playground.settings import PROJECT
from playground.training.model_card import MEANING
from tools.write_readme import README, filled, tables

GENERATIVE = [card for card in bundled_cards().values() if card.family in FAMILIES and card.files]


def pins(name: str) -> dict[str, str]:
    """What a file pins for the Python that runs this."""
    lines = [line.partition("#")[0].strip() for line in (PROJECT / name).read_text().splitlines()]
    wanted = [Requirement(line) for line in lines if line]
    return {each.name: str(each.specifier).removeprefix("==") for each in wanted if each.marker is None or each.marker.evaluate()}


def test_readme_is_a_space_that_runs_what_is_pinned() -> None:
    front = yaml.safe_load(README.read_text().split("---")[1])
    assert front["sdk"] == "gradio" and front["sdk_version"] == pins("requirements.txt")["gradio"]
    assert (PROJECT / front["app_file"]).is_file() and front["license"] == "apache-2.0"
    assert len(front["short_description"]) <= 60


def test_readme_tables_are_those_of_the_code() -> None:
    assert filled(README.read_text(), tables()) == README.read_text(), "run: make figures"


def test_tables_are_filled_between_their_markers() -> None:
    text = "Before.\n<!-- a -->\nold\n<!-- /a -->\nAfter.\n"
    assert filled(text, {"a": "new"}) == "Before.\n<!-- a -->\nnew\n<!-- /a -->\nAfter.\n"
    with pytest.raises(ValueError, match="<!-- b -->"):
        filled(text, {"b": "new"})


def test_readme_names_two_commands_that_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert {"run", "test"} <= set(targets)
    assert "make run" in README.read_text() and "make test" in README.read_text()
    assert (PROJECT / "docs" / "screenshot.png").is_file()


def test_every_requirement_is_pinned_and_installed() -> None:
    from importlib.metadata import version

    for name in ("requirements.txt", "requirements-train.txt", "requirements-dev.txt"):
        for package, wanted in pins(name).items():
            assert version(package).partition("+")[0] == wanted, package


def test_versions_agree() -> None:
    assert tomli.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"] == __version__


def test_bundled_weights_stay_small() -> None:
    assert sum(path.stat().st_size for path in (PROJECT / "weights").rglob("*") if path.is_file()) < 40 * 2**20


@pytest.mark.parametrize("card", GENERATIVE, ids=lambda card: card.id)
def test_a_card_is_a_hub_repo_with_measured_figures(card) -> None:
    folder = PROJECT / "weights" / card.id
    figures = json.loads((folder / "metrics.json").read_text())
    assert set(figures) <= set(MEANING) and {"classifier_fd", "classifier_fd_floor", "parameters", "bytes", "ms_per_picture"} <= set(
        figures
    )
    for figure in figures.values():
        assert {*figure} - {"standard_error"} == {"value", "n", "seed", "command", "date", "device"}
    assert figures["classifier_fd"]["n"] == 10_000
    assert figures["bytes"]["value"] == (folder / "model.safetensors").stat().st_size
    readme = (folder / "README.md").read_text()
    assert yaml.safe_load(readme.split("---")[1])["license"] == card.license
    for name, figure in figures.items():
        assert f"| `{name}` |" in readme and str(figure["value"]) in readme
    assert json.loads((folder / "config.json").read_text())["training"]["command"] in readme


def test_the_vae_reaches_what_was_promised() -> None:
    folder = PROJECT / "weights" / "vae-fashion-28"
    figures = {name: figure["value"] for name, figure in json.loads((folder / "metrics.json").read_text()).items()}
    assert figures["elbo_bits_per_dim"] <= 3.45 and figures["reconstruction_psnr_db"] >= 20
    assert figures["bytes"] < 6e6 and json.loads((folder / "config.json").read_text())["latent_dim"] <= 32


def test_ci_calls_make_test() -> None:
    run = PROJECT / ".ci" / "run"
    assert run.stat().st_mode & stat.S_IXUSR and "make test" in run.read_text()


def test_shell_scripts_are_well_formed() -> None:
    for script in sorted((PROJECT / "tools").glob("*.sh")):
        shell = "bash" if "bash" in script.read_text().splitlines()[0] else "sh"
        assert subprocess.run([shell, "-n", str(script)], check=False).returncode == 0, script
