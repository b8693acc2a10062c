"""One suite for every family: on its tiny model, and on every bundled card."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from playground.cards import bundled_cards
from playground.engine import Engine
from playground.families import FAMILIES
from playground.families.base import Model
from playground.families.capabilities import Encodes, HasEvidence, HasMap, Inverts
from playground.images import from_uint8, png_text, to_uint8
from playground.knobs import Knobs, KnobSpec
from playground.latent import Latent, Noise
from playground.metrics import psnr_db
from playground.request import Request
from playground.settings import Settings
from playground.tasks import TASKS, Task
from playground.tasks.vary import turnable
from playground.ui.figures import FIGURES
from tests.tiny import TINY_CARDS, TinyEngine

BUNDLED = [card.id for card in bundled_cards().values() if card.family in FAMILIES and card.files]
PHONE_LETTERS = 46
"""Of a line of text across a plot on a phone of 390 pixels."""
LEVELS = 1
"""Grey levels that a picture may differ by when its batch does: matrix products are summed in another order."""

# What makes each knob of a task matter: seeds where pictures would do, more than one source to mix, noise in the pixels.
BASE: dict[str, dict[str, Any]] = {
    "sample": {"num_samples": 3, "seed": 5, "scheduler": "ddim", "eta": 0.5, "guidance_scale": 2.0, "label": "any", "truncation_psi": 0.5},
    "traverse": {"start": "seed:5", "direction": "pc:1", "span": 2.0, "num_frames": 5, "direction_name": ""},
    "interpolate": {"ends": ["seed:1", "seed:2", "seed:3"], "num_frames": 5},
    "reconstruct": {"picture": "test:3", "num_samples": 2, "seed": 4},
    "inside": {"picture": "test:3", "num_samples": 2, "seed": 4},
    "rate": {"picture": "test:3", "num_samples": 2, "seed": 4},
    "aggregate": {"picture": "test:3", "num_samples": 2, "seed": 4},
    "compress": {"picture": "test:3"},
    "denoise": {"picture": "test:3", "noise": 0.3, "salt": 0.05, "hole": "box:9,9,10,10", "seed": 4},
    "arithmetic": {"terms": ["seed:1", "test:3", "seed:2"], "num_frames": 5},
    "neighbours": {"picture": "test:3", "num_samples": 2, "seed": 4, "num_nearest": 3},
    "lens": {"picture": "test:3"},
    "anomaly": {"picture": "test:3", "threshold": 50.0},
    "holes": {"num_samples": 3, "seed": 5},
    "style": {"seed": 5, "num_rows": 2, "num_columns": 2},
    "directions": {"start": "seed:5", "num_directions": 2, "num_frames": 3},
    "noise": {"start": "seed:5", "num_samples": 2, "seed": 4},
    "critic": {"num_samples": 2, "seed": 4},
    "collapse": {"num_samples": 2, "seed": 4},
    "trajectory": {"start": "seed:5"},
    "schedulers": {"most_steps": 10, "seed": 5},
    "noising": {"picture": "test:3", "num_frames": 5, "seed": 4},
    "inpaint": {"picture": "test:3", "mask": "left", "target": "none", "num_samples": 2, "num_resamplings": 2, "seed": 4},
    "variation": {"picture": "test:3", "strength": 0.5, "target": "none", "num_samples": 2, "seed": 4},
    "edit": {"picture": "test:3", "target": "2", "push": 2.0, "depth": 0.5},
    "quality": {"num_samples": 2, "seed": 5},
    "vary": {"num_values": 3, "num_samples": 2, "seed": 5},
    "density": {"picture": "test:3", "seed": 4},
    "steps": {"picture": "test:3", "seed": 4},
    "complete": {"picture": "test:3", "mask": "bottom", "num_samples": 2, "num_steps": 2, "num_climbs": 5, "seed": 4},
    "map": {"x": 0.3, "y": -0.2},
    "decode": {"latent": "0.5*seed:1 + 0.5*seed:2", "pixels": "sample", "scheduler": "ddpm"},
}
BRIEF = {"num_inference_steps": 6}
"""What takes many steps takes fewer here."""
QUIET = {"pixels": "mean", "scheduler": "dpmsolver++", "noise": "none"}
"""No noise but that of the latent."""
WRITTEN = ("direction_name",)
"""Knobs that change the recipe, not the picture."""
OTHER_TEXT: dict[str, Any] = {
    "direction": "dim:1",
    "start": "seed:6",
    "picture": "test:4",
    "latent": "0.5*seed:1 + 0.5*seed:9",
    "ends": ["seed:1", "seed:7"],
    "terms": ["seed:1", "seed:7", "test:2"],
    "label": "1",
    "target": "1",
    "mask": "right",
    "hole": "left",
    "direction_name": "sleeves",
}


@pytest.fixture(scope="module", params=[*TINY_CARDS, *BUNDLED])
def card(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[bool, Engine]]:
    yield {True: TinyEngine(batch_size=4), False: Engine(Settings(hub="off", device="cpu"))}


@pytest.fixture
def engine(card: str, engines: dict[bool, Engine]) -> Engine:
    return engines[card in TINY_CARDS]


@pytest.fixture
def model(engine: Engine, card: str) -> Model:
    return engine.model(card)


@pytest.fixture
def params(model: Model) -> Knobs:
    return model.Params()


def ask(engine: Engine, card: str, task: str, **knobs: Any) -> Any:
    family = FAMILIES[(engine.cards or {})[card].family]
    known = {spec.name for spec in [*TASKS[task].specs(), *family.Params.specs()]}
    merged = {name: value for name, value in {**BRIEF, **BASE[task], **knobs}.items() if name in known}
    return engine.run(Request.build(card, task, cards=engine.cards, **merged))


def numbers(fact: Any) -> list[float]:
    """All numbers of a fact; names and other words are none."""
    if isinstance(fact, dict):
        fact = list(fact.values())
    return [number for part in fact for number in numbers(part)] if isinstance(fact, list) else [] if isinstance(fact, str) else [fact]


def able_tasks(model: Model, card: str) -> list[type[Task]]:
    """What a card is asked here: all that a tiny one can, and of a bundled one what every tab has; tools have tests of their own."""
    return [task for task in TASKS.values() if task.missing(model) is None and (task.common or card in TINY_CARDS)]


def test_a_family_says_what_it_is(model: Model) -> None:
    assert model.title and model.equation and (type(model).__doc__ or "").count("\n\n") >= 1
    assert model.look.colour.startswith("#") and len(model.look.glyph) == 1
    assert model.bytes() > 0


def test_same_seed_same_bytes(engine: Engine, card: str, model: Model) -> None:
    for task in able_tasks(model, card):
        first, again = (ask(engine, card, task.name) for _ in range(2))
        assert first.png() == again.png(), task.name


def test_another_seed_another_picture(engine: Engine, card: str) -> None:
    assert not np.array_equal(ask(engine, card, "sample", seed=5).pictures, ask(engine, card, "sample", seed=50).pictures)


def test_picture_i_is_the_lone_picture_of_seed_plus_i(engine: Engine, card: str, model: Model, params: Knobs) -> None:
    seeds = list(range(40, 49))  # more than one batch of either engine
    together = model.draw(params, Noise(seeds))
    alone = torch.cat([model.draw(params, Noise([seed])) for seed in seeds])
    assert torch.equal(together, alone)
    sheet = ask(engine, card, "sample", num_samples=9, seed=40).pictures.astype(int)
    lone = np.concatenate([ask(engine, card, "sample", num_samples=1, seed=seed).pictures for seed in seeds]).astype(int)
    assert np.abs(sheet - lone).max() <= LEVELS


def test_cells_are_requests_of_their_own(engine: Engine, card: str, model: Model) -> None:
    for task in able_tasks(model, card):
        result = ask(engine, card, task.name)
        for index in range(len(result.pictures)):
            cell = result.cell(index)
            if cell is not None and result.sheet.labels[index] != "what the model saw":
                lone = engine.run(cell).pictures[0].astype(int)
                assert np.abs(lone - result.pictures[index].astype(int)).max() <= LEVELS + 1, (task.name, index)


def knob_cases() -> list[tuple[str, str, KnobSpec]]:
    cases = [(family, task.name, spec) for family in FAMILIES for task in TASKS.values() for spec in task.specs()]
    return cases + [(family, "sample", spec) for family, model in FAMILIES.items() for spec in model.Params.specs()]


@pytest.mark.parametrize(("family", "task", "spec"), knob_cases(), ids=lambda value: getattr(value, "name", str(value)))
def test_every_knob_shows_and_stays_finite(family: str, task: str, spec: KnobSpec) -> None:
    engine, card = TinyEngine(batch_size=64), f"{family}-tiny-28"
    model = engine.model(card)
    if TASKS[task].missing(model) is not None or spec not in (*TASKS[task].specs_for(model), *model.knobs()):
        return  # nothing to turn: the page does not show it
    names = tuple(knob.name for knob in turnable(model)) if spec.widget == "knob" else ()
    ends = spec.ends() or names or (BASE[task][spec.name], OTHER_TEXT[spec.name])
    seen = []
    for value in ends:
        result = ask(engine, card, task, **{spec.name: value})
        assert np.isfinite(result.pictures.astype(float)).all()
        assert all(np.isfinite(numbers(fact)).all() for fact in result.sheet.facts.values())
        seen.append((result.pictures.tobytes(), result.sheet.latents if spec.name in WRITTEN else ()))
    assert len(set(seen)) == len(seen), f"{spec.name} changes nothing in {task}"


def test_raw_pictures_are_finite_and_in_range_at_both_ends(model: Model) -> None:
    for spec in model.knobs():
        for value in spec.ends():
            chosen = model.Params.parse({spec.name: value})
            for step in model.decode(model.draw(chosen, Noise([1, 2])), chosen, Noise([1, 2])):
                assert torch.isfinite(step.x).all() and step.x.min() >= -1.001 and step.x.max() <= 1.001


def test_knobs_of_the_other_half_change_nothing(engine: Engine, card: str, model: Model) -> None:
    """A panel hides the knobs of a stage that its task does not use: they must not matter."""
    for task in able_tasks(model, card):
        unused = [spec for spec in model.knobs() if spec.stage is not None and spec.stage not in task.stages]
        for spec in (*unused, *(spec for spec in model.knobs() if spec.name in task.without)):
            if spec.kind == "text":
                continue
            assert len({ask(engine, card, task.name, **{spec.name: end}).pictures.tobytes() for end in spec.ends()}) == 1


def test_walks_pass_through_their_start_and_ends(engine: Engine, card: str, model: Model) -> None:
    start = ask(engine, card, "decode", latent="seed:5", **QUIET).pictures[0].astype(int)
    walk = ask(engine, card, "traverse", **QUIET).pictures.astype(int)
    assert np.abs(walk[2] - start).max() <= LEVELS
    assert not np.array_equal(walk[0], walk[-1])
    strip = ask(engine, card, "interpolate", **QUIET).pictures.astype(int)
    for frame, seed in ((0, 1), (2, 2), (4, 3)):
        end = ask(engine, card, "decode", latent=f"seed:{seed}", **QUIET).pictures[0].astype(int)
        assert np.abs(strip[frame] - end).max() <= LEVELS


def test_four_ends_span_a_square(engine: Engine, card: str) -> None:
    result = ask(engine, card, "interpolate", ends=["seed:1", "seed:2", "seed:3", "seed:4"], num_frames=3, **QUIET)
    assert (len(result.pictures), result.sheet.columns) == (9, 3)
    for cell, seed in ((0, 1), (2, 2), (6, 3), (8, 4)):
        end = ask(engine, card, "decode", latent=f"seed:{seed}", **QUIET).pictures[0].astype(int)
        assert np.abs(result.pictures[cell].astype(int) - end).max() <= LEVELS


def test_every_offered_direction_moves_the_picture(engine: Engine, card: str, model: Model) -> None:
    still = ask(engine, card, "decode", latent="seed:5", **QUIET).pictures
    for direction in [*model.directions()][:6]:
        offset = model.direction(*direction.split(":"))
        assert offset is not None and offset.shape == (1, *model.latent.shape) and torch.isfinite(offset).all()
        moved = ask(engine, card, "decode", latent=f"seed:5 + 3*{direction}", **QUIET).pictures
        assert not np.array_equal(moved, still), direction
    assert model.direction("dim", "100000") is None and model.direction("pc", "0") is None


def test_encoding_and_decoding(engine: Engine, card: str, model: Model, params: Knobs) -> None:
    if not isinstance(model, Encodes):
        return
    shelf = engine.shelf_of(card)
    x = from_uint8(shelf.pictures[:20])
    with torch.inference_mode():
        z = model.encode(x, params)
        assert z.shape == (20, *model.latent.shape) and torch.isfinite(z).all()
        alone = torch.cat([model.encode(x[index : index + 1], params) for index in range(5)])
        assert torch.allclose(z[:5], alone, atol=2e-4)
        *_, last = model.decode(z, model.Params.parse({}), Noise([0] * 20))
    assert last.x.shape == x.shape and not torch.allclose(last.x[0], last.x[1])
    if card not in TINY_CARDS and not isinstance(model, Inverts):  # where a search follows, the encoder only guesses
        assert psnr_db(x, last.x).mean() >= 18  # the least faithful is the VAE whose codes are dear


def test_the_posterior_fits_the_encoder(engine: Engine, card: str, model: Model, params: Knobs) -> None:
    if not isinstance(model, HasEvidence):
        return
    x = from_uint8(engine.shelf_of(card).pictures[:4])
    with torch.inference_mode():
        mu, log_var = model.posterior(x)
        distortion, rate = model.evidence(x, Noise([1, 2, 3, 4]))
        again, _ = model.evidence(x, Noise([1, 2, 3, 4]))
        other, _ = model.evidence(x, Noise([5, 6, 7, 8]))
    assert isinstance(model, Encodes) and torch.equal(mu.flatten(1), model.encode(x, params).flatten(1))
    assert torch.isfinite(log_var).all() and (rate > 0).all() and torch.isfinite(distortion).all()
    assert torch.equal(distortion, again) and not torch.equal(distortion, other)
    assert model.average_kl().shape == mu.shape[1:] and (model.average_kl() >= 0).all()


def test_the_map_goes_through_its_pictures(engine: Engine, card: str, model: Model, params: Knobs) -> None:
    if not isinstance(model, HasMap):
        return
    for projection in ("neighbours", "principal"):
        points = model.map_points(projection)
        assert points.shape[1] == 2 and len(points) <= len(engine.shelf_of(card).pictures)
        recipe = Latent.parse(model.map_latent(projection, 0.25, -0.5))
        assert engine.run(Request.build(card, "decode", cards=engine.cards, latent=recipe)).pictures.std() > 0
    x, y = model.map_points("neighbours")[7].tolist()
    *_, there = model.decode(model.near(x, y), model.Params.parse({}), Noise([0]))
    *_, code = model.decode(model.encode(from_uint8(engine.shelf_of(card).pictures[7:8]), params), model.Params.parse({}), Noise([0]))
    if card not in TINY_CARDS:  # a tiny map is random; a real one holds the codes of the shelf
        assert psnr_db(there.x, code.x).item() > 15


@pytest.mark.parametrize("task", FIGURES)
def test_words_along_a_plot_fit_a_phone(engines: dict[bool, Engine], task: str) -> None:
    engine = engines[True]
    card = next(card for card in TINY_CARDS if TASKS[task].missing(engine.model(card)) is None)
    plot = FIGURES[task](ask(engine, card, task).sheet.facts, engine.model(card).look)
    titles = [axis.title.text or "" for axis in (*plot.select_xaxes(), *plot.select_yaxes())]
    for words in "<br>".join([*titles, *(note.text for note in plot.layout.annotations)]).split("<br>"):
        assert len(re.sub("<[^>]*>", "", words)) <= PHONE_LETTERS, words


def test_a_result_carries_its_request_and_weights(engine: Engine, card: str) -> None:
    result = ask(engine, card, "sample")
    text = png_text(result.png())
    assert Request.from_query(text["playground"], cards=engine.cards) == result.request
    assert text["playground-weights"] == result.weights_sha256 == (engine.cards or {})[card].weights_sha256
    with Image.open(io.BytesIO(result.png(scale=3))) as image:
        assert image.size == (3 * 2 * 28, 3 * 2 * 28)


def test_stopping_frees_the_model_and_keeps_what_was_made(card: str) -> None:
    if card not in TINY_CARDS:
        return
    engine = TinyEngine(batch_size=2)
    stream = engine.stream(Request.build(card, "sample", cards=engine.cards, num_samples=8))
    first = next(stream)
    assert engine.in_use() == 1 and 0 < first.sheet.progress < 1
    assert first.pictures[:2].any() and not first.pictures[2:].any()
    stream.close()
    assert engine.in_use() == 0
    assert ask(engine, card, "sample").sheet.progress == 1


def test_previews_end_in_the_result(card: str) -> None:
    if card not in TINY_CARDS:
        return
    engine = TinyEngine(batch_size=2)
    request = Request.build(card, "sample", cards=engine.cards, num_samples=7)
    shares = [result.sheet.progress for result in engine.stream(request)]
    assert shares == sorted(shares) and len(shares) >= 4 and shares[-1] == 1
    assert np.array_equal(to_uint8(from_uint8(engine.run(request).pictures)), engine.run(request).pictures)
