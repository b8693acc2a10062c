"""Every class of public model, with the very same configuration keys and random weights: from a Hub to every task, and to Compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from playground import Comparison, Engine, Request, Settings
from playground.errors import NotCapable
from playground.families import FAMILIES
from playground.library import Library
from playground.settings import PROJECT
from playground.tasks import TASKS
from tests.hub_server import HubServer
from tests.public import PIXELS, pixels
from tests.public_codecs import CODECS, codec, pythae
from tests.public_latents import PUBLIC
from tests.test_conformance import BASE

Repo = Mapping[str, bytes]
REPOS: dict[str, Callable[[], Repo]] = {
    **{name: lambda name=name: pixels(name) for name in PIXELS},
    **PUBLIC,
    **{name: lambda name=name: codec(name) for name in CODECS if name not in PUBLIC},
    "clementchadebec/reproduced_vae": lambda: pythae("reproduced_vae"),
}
BRIEF = {
    "num_inference_steps": 2,
    "num_samples": 2,
    "num_frames": 3,
    "num_values": 3,
    "most_steps": 5,
    "num_resamplings": 1,
    "terms": ["seed:1"] * 3,
}
MEASURED = "cannot be measured by"
"""What a tool says that measures pictures by those of this page."""


@pytest.fixture
def engine(remote: HubServer, tmp_path: Path) -> Iterator[Engine]:
    """An engine with our test pictures and a lock file of its own."""
    for path in (PROJECT / "weights").iterdir():
        (tmp_path / path.name).symlink_to(path)
    yield Engine(Settings(weights_dir=tmp_path, device="cpu", batch_size=2))


def adopted(engine: Engine, remote: HubServer, name: str) -> str:
    remote.add_repo(name, REPOS[name]())
    return engine.adopt(name).id


def knobs_of(engine: Engine, card: str, task: str) -> dict[str, Any]:
    """What takes little time, of the knobs that there are; seeds where the model cannot encode."""
    model = engine.model(card)
    known = {spec.name for spec in [*TASKS[task].specs(), *model.Params.specs()]}
    return {name: value for name, value in {**BASE[task], **BRIEF, **TASKS[task].beginnings(model)}.items() if name in known}


@pytest.mark.parametrize("name", REPOS)
def test_it_is_fetched_loaded_and_put_to_every_task_that_it_can_do(name: str, engine: Engine, remote: HubServer) -> None:
    card = adopted(engine, remote, name)
    model, done = engine.model(card), []
    assert model.family in FAMILIES
    for task in TASKS.values():
        if task.missing(model) is not None:
            with pytest.raises(NotCapable):
                engine.run(Request.build(card, task.name, cards=engine.cards)) if task.missing(type(model)) is None else task.check(model)
            continue
        try:
            result = engine.run(Request.build(card, task.name, cards=engine.cards, **knobs_of(engine, card, task.name)))
        except NotCapable as error:
            assert MEASURED in str(error), task.name
            continue
        assert result.sheet.progress == 1 and result.pictures.dtype == np.uint8, task.name
        assert result.weights_sha256 == engine.cards[card].weights_sha256  # type: ignore[index]
        done.append(task.name)
    assert {"sample", "traverse", "interpolate", "vary", "decode"} <= {*done, *([] if model.knobs() else ["vary"])}, done


@pytest.mark.parametrize("name", REPOS)
def test_it_stands_beside_others_in_compare(name: str, engine: Engine, remote: HubServer) -> None:
    card = adopted(engine, remote, name)
    steps = {"num_inference_steps": 2} if engine.model(card).family == "diffusion" else {}
    for question, knobs in (
        ("seed", {"num_samples": 2}),
        ("gesture", {"num_frames": 3}),
        ("trip", {}),
        ("dial", {"num_samples": 2}),
        ("score", {}),
    ):
        board = Comparison.build(question, [(card, steps), "vae-beta-4-fashion-28"], cards=engine.cards, **knobs).run(engine)
        theirs, ours = board.answers
        assert not ours.errors and board.is_whole
        assert theirs.made or "cannot" in theirs.errors[0] or "no knob" in theirs.errors[0], theirs.errors


def test_everything_that_is_listed_is_found_and_fits(engine: Engine, remote: HubServer) -> None:
    """The list of the tab Models; a model whose class is tested under another name stands for it."""
    alike = {"google/ddpm-celebahq-256": 1, "google/ddpm-church-256": 1, "google/ddpm-bedroom-256": 1}
    listed = [card for card in (engine.cards or {}).values() if card.repo and not card.files]
    assert len(listed) >= 14
    for card in listed:
        known = card.repo if card.repo in REPOS else "google/ddpm-cifar10-32" if card.repo in alike else "clementchadebec/reproduced_vae"
        remote.add_repo(str(card.repo), REPOS[known]())
        finding = Library(engine).look(card.id)
        assert (finding.card.title, finding.card.about, finding.card.repo) == (card.title, card.about, card.repo)
        assert finding.card.family == card.family or known.startswith("clement"), card.id
        assert finding.card.license or card.license
