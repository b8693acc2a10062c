"""What every family is asked: likelihood by every card, arithmetic of latents, and the nearest training pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from playground.cards import bundled_cards
from playground.engine import Engine
from playground.errors import BadKnob, BadLatent
from playground.families import FAMILIES
from playground.families.capabilities import HasCritic, HasEvidence, HasLikelihood, HasVariationalBound
from playground.families.judging import Judge, judge_of
from playground.images import from_uint8, pack
from playground.latent import MAX_TERMS, Latent, Noise
from playground.request import Request
from playground.result import Result
from playground.settings import Settings
from playground.tasks.arithmetic import added
from playground.tasks.neighbours import nearest, told
from playground.ui.figures import FIGURES
from tests.tiny import TINY_CARDS, TinyEngine

VAE = "vae-fashion-28"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The bundled cards."""
    yield Engine(Settings(hub="off", device="cpu"))


@pytest.fixture(scope="module")
def tiny() -> TinyEngine:
    return TinyEngine(batch_size=8)


def ask(engine: Engine, card: str, task: str, **knobs: Any) -> Result:
    return engine.run(Request.build(card, task, cards=engine.cards, **knobs))


def packed_training_picture(engine: Engine, index: int) -> str:
    return f"png:{pack(engine.training_shelf_of(VAE).pictures[index])}"


# -- neighbours ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["pixels", "features"])
def test_a_training_picture_finds_itself_at_no_distance(engine: Engine, by: str) -> None:
    result = ask(engine, VAE, "neighbours", picture=packed_training_picture(engine, 4321), num_samples=0, num_nearest=2, by=by)
    assert result.sheet.facts["nearest"] == [0.0]
    assert np.array_equal(result.pictures[1], engine.training_shelf_of(VAE).pictures[4321])
    assert "None of 1,000 test pictures lies nearer" in result.sheet.says


def test_neighbours_are_those_of_an_exhaustive_search(engine: Engine) -> None:
    result = ask(engine, VAE, "neighbours", picture="test:17", num_samples=1, seed=3, num_nearest=4)
    training = engine.training_shelf_of(VAE).pictures
    assert result.sheet.facts["searched"] == len(training) == 10_000
    for row, picture in enumerate((engine.shelf_of(VAE).pictures[17], ask(engine, VAE, "sample", num_samples=1, seed=3).pictures[0])):
        error = training.astype(np.float64) - picture
        distances = np.sqrt((error**2).mean(axis=(1, 2, 3)))
        order = np.argsort(distances)[:4]
        assert np.array_equal(result.pictures[5 * row + 1 : 5 * row + 5], training[order])
        assert result.sheet.facts["nearest"][row] == pytest.approx(distances[order[0]], abs=1e-3)
        assert result.sheet.labels[5 * row + 4] == f"{distances[order[3]]:.1f}"


def test_real_pictures_are_the_yardstick(engine: Engine) -> None:
    result = ask(engine, VAE, "neighbours", picture="test:5", num_samples=0)
    real, training = result.sheet.facts["real"], engine.training_shelf_of(VAE).pictures.astype(np.float64)
    assert len(real) == 1000
    for index in (0, 5, 999):
        error = training - engine.shelf_of(VAE).pictures[index]
        assert real[index] == pytest.approx(np.sqrt((error**2).mean(axis=(1, 2, 3))).min(), abs=1e-3)
    assert real[5] == result.sheet.facts["nearest"][0]


def test_feature_distances_are_those_of_the_classifier(tiny: TinyEngine) -> None:
    card = next(iter(TINY_CARDS))
    result = ask(tiny, card, "neighbours", picture="test:2", num_samples=0, num_nearest=1, by="features")
    classifier = tiny.classifier_of(card)
    with torch.inference_mode():
        asked, known = (
            classifier.features(from_uint8(x)) for x in (tiny.shelf_of(card).pictures[2:3], tiny.training_shelf_of(card).pictures)
        )
    assert result.sheet.facts["nearest"][0] == pytest.approx((known - asked).norm(dim=1).min().item(), abs=1e-3)


def test_nearest_agrees_with_all_distances() -> None:
    points, among = (
        torch.randn(7, 5, generator=torch.Generator().manual_seed(1)),
        torch.randn(60, 5, generator=torch.Generator().manual_seed(2)),
    )
    distances, indices = nearest(points, among, 3)
    every = np.linalg.norm(points.numpy()[:, None] - among.numpy()[None], axis=2)
    assert np.allclose(distances.numpy(), np.sort(every, axis=1)[:, :3], atol=1e-5)
    assert np.array_equal(indices.numpy(), np.argsort(every, axis=1)[:, :3])
    assert nearest(among, among, 1)[0].abs().max() == 0
    assert nearest(points, among[:2], 2)[0].shape == (7, 2)


def test_the_sentence_counts_the_real_pictures_that_lie_nearer() -> None:
    facts = {
        "names": ["test picture 0", "seed 7", "seed 8"],
        "nearest": [1.0, 4.0, 6.0],
        "real": [2.0, 3.0, 5.0, 8.0],
        "searched": 1234,
        "by_pixels": True,
    }
    assert told(facts) == "Nearest of 1,234 training pictures: 4.0 grey levels from seed 7. 50 % of 4 test pictures lie nearer to one."


def test_a_stopped_search_goes_on_where_it_was(engine: Engine) -> None:
    card = "ae-fashion-28"
    request = Request.build(card, "neighbours", cards=engine.cards, num_samples=0, by="features")
    stream = engine.stream(request)
    shares = [next(stream).sheet.progress for _ in range(3)]
    stream.close()
    assert engine.in_use() == 0 and shares == sorted(shares) and shares[-1] < 0.6
    assert next(engine.stream(request)).sheet.progress > shares[-1]


# -- arithmetic ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("card", [card for card in TINY_CARDS if not card.startswith("diffusion")])
def test_the_result_is_the_sum_of_latents(tiny: TinyEngine, card: str) -> None:
    a, b, c = "seed:1", "test:3", "seed:4"
    result = ask(tiny, card, "arithmetic", terms=[a, b, c], strength=2.0, num_frames=5)
    model = tiny.model(card)
    params = model.Params.parse({})
    with torch.inference_mode():
        za, zc = (model.draw(params, Noise([seed])) for seed in (1, 4))
        zb = model.encode(from_uint8(tiny.shelf_of(card).pictures[3:4]), params)
        for index, strength in enumerate((0.0, 0.5, 1.0, 1.5, 2.0)):
            *_, last = model.decode(za + strength * (zc - zb), params, Noise([0]))
            made = from_uint8(result.pictures[15 + index : 16 + index])
            assert (made - last.x).abs().max() < 0.02, strength
    assert result.sheet.latents[17] == "seed:1 + seed:4 + -1*test:3" and result.sheet.labels[17] == "A − B + C"
    assert np.array_equal(result.pictures[15], result.pictures[0])  # at strength 0 it is A


def test_what_is_subtracted_comes_last_and_no_sum_on_the_way_is_nothing() -> None:
    parsed = [Latent.parse(text) for text in ("seed:1", "2*seed:2 + -1*seed:3", "seed:4 + 2*pc:1")]
    mixed = added(*parsed, 1.0)
    sources = [term.weight for term in mixed.sources]
    assert (np.cumsum(sources) > 0.5).all() and sum(sources) == pytest.approx(1)
    assert {str(term) for term in mixed.terms} == {"seed:1", "seed:4", "2*pc:1", "-2*seed:2", "seed:3"}
    assert added(*parsed, 0.0) == parsed[0]


def test_recipes_that_would_be_too_long_are_refused(tiny: TinyEngine) -> None:
    long = " + ".join(f"0.1*seed:{index}" for index in range(MAX_TERMS - 2))
    with pytest.raises(BadLatent, match=f"{MAX_TERMS + 1} terms, more than {MAX_TERMS}"):
        ask(tiny, "vae-tiny-28", "arithmetic", terms=[long, "seed:1 + seed:2", "seed:3"])
    with pytest.raises(BadKnob, match="Give 3 to 3"):
        ask(tiny, "vae-tiny-28", "arithmetic", terms=["seed:1", "seed:2"])


# -- likelihood by every card -------------------------------------------------------------------------------------------


def test_a_rank_is_a_percentile() -> None:
    others = np.random.default_rng(3).normal(size=501)
    for value in (-3.0, 0.2, 9.0):
        likelier = Judge("exact", "bits/dim", lambda x, noise: x, passes=1).rank(value, others)
        better = Judge("score", "dB", lambda x, noise: x, passes=1).rank(value, others)
        assert likelier == pytest.approx(100 * np.searchsorted(np.sort(-others), -value) / 501)
        assert better == pytest.approx(100 * np.searchsorted(np.sort(others), value) / 501)
    assert Judge("score", "critic", lambda x, noise: x, passes=1).words(-1.5) == "critic −1.5"


@pytest.fixture(scope="module")
def judged(engine: Engine) -> Result:
    return ask(engine, "glow-fashion-28", "lens", picture="test:7")


def test_every_card_has_its_say_and_the_asked_one_comes_first(engine: Engine, judged: Result) -> None:
    facts = judged.sheet.facts
    assert facts["names"][0] == "glow"
    assert sorted(f"{name}-fashion-28" for name in facts["names"]) == sorted(engine.siblings(VAE))
    kinds = dict(zip(facts["names"], facts["kinds"], strict=True))
    assert (kinds["glow"], kinds["vae"], kinds["ddpm"], kinds["ae"], kinds["gan"]) == ("exact", "bound", "bound", "score", "score")


def test_each_judgement_is_the_models_own_number(engine: Engine, judged: Result) -> None:
    x = from_uint8(engine.shelf_of(VAE).pictures[7:8])
    facts = judged.sheet.facts
    bit = 784 * math.log(2)
    for name, value in zip(facts["names"], facts["value"], strict=True):
        model = engine.model(f"{name}-fashion-28")
        with torch.inference_mode():
            if isinstance(model, HasLikelihood):
                assert value == pytest.approx(-model.log_prob(x, Noise([0])).item() / bit, abs=1e-4)
            elif isinstance(model, HasEvidence):
                weights = model.log_weights(x, Noise([0]), 16)[:, 0].double().numpy()
                assert value == pytest.approx(-np.log(np.mean(np.exp(weights - weights.max()))) / bit - weights.max() / bit, abs=1e-4)
                assert value < sum(part.item() for part in model.evidence(x, Noise([0]))) / bit + 0.1
            elif isinstance(model, HasVariationalBound):
                assert value == pytest.approx(-model.variational_bound(x, Noise([0])).item() / bit, abs=1e-4)
            elif isinstance(model, HasCritic):
                assert value == pytest.approx(model.score(x).item(), abs=1e-4)
            else:
                again = ask(engine, f"{name}-fashion-28", "reconstruct", picture="test:7").sheet.facts["psnr_db"]
                assert value == pytest.approx(again, abs=0.02)  # that one is of grey levels


def test_ranks_are_among_the_first_test_pictures(engine: Engine, judged: Result) -> None:
    facts, row = judged.sheet.facts, judged.sheet.facts["names"].index("glow")
    pictures = engine.shelf_of(VAE).pictures[:200]
    with torch.inference_mode():
        bits = -engine.model("glow-fashion-28").log_prob(from_uint8(pictures), Noise(range(200))).double().numpy() / (784 * math.log(2))
    assert facts["ranked"][row] == 200 and facts["ranked"][facts["names"].index("ddpm")] == 24
    assert facts["rank"][row] == pytest.approx(100 * (bits > facts["value"][row]).mean(), abs=0.51)
    assert [facts[key][row] for key in ("low", "middle", "high")] == pytest.approx(np.quantile(bits, (0.05, 0.5, 0.95)).tolist(), abs=1e-3)


def test_flows_see_the_picture_itself_and_others_their_reconstruction(engine: Engine, judged: Result) -> None:
    given = judged.pictures[0].astype(int)
    assert np.array_equal(given, engine.shelf_of(VAE).pictures[7])
    names = [label.partition("\n")[0] for label in judged.sheet.labels]
    assert "tarflow" not in names and "ddpm" not in names  # they take many steps
    assert np.abs(judged.pictures[names.index("realnvp")].astype(int) - given).max() <= 1
    back = ask(engine, VAE, "reconstruct", picture="test:7", num_samples=0).pictures[1, ..., :1]
    assert np.abs(judged.pictures[names.index("vae")].astype(int) - back).max() <= 1
    cell = judged.cell(names.index("vae"))
    assert cell is not None and cell.card == VAE and np.abs(engine.run(cell).pictures[0].astype(int) - back).max() <= 1


def test_a_blank_picture_is_likely_and_noise_is_not(engine: Engine) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (28, 28, 1), dtype=np.uint8)
    ranks = {}
    for name, picture in (("blank", np.zeros((28, 28, 1), np.uint8)), ("noise", noise)):
        facts = ask(engine, "glow-fashion-28", "lens", picture=f"png:{pack(picture)}").sheet.facts
        ranks[name] = {
            card: rank for card, kind, rank in zip(facts["names"], facts["kinds"], facts["rank"], strict=True) if kind != "score"
        }
    assert all(rank == 0 for rank in ranks["noise"].values())
    assert all(rank > 95 for rank in ranks["blank"].values())


def test_a_model_that_can_say_nothing_at_once_is_left_out() -> None:
    class Mute:
        live = False

        def encode(self, x: Any, params: Any) -> Any:
            raise AssertionError

    assert judge_of(Mute(), FAMILIES["vae"].Params()) is None  # type: ignore[arg-type]


# -- plots --------------------------------------------------------------------------------------------------------------


def test_the_plot_of_the_lens_shows_what_was_found(judged: Result) -> None:
    facts = judged.sheet.facts
    plot = FIGURES["lens"](facts, FAMILIES["flow"].look)
    spread, middle, own, ranks = plot.data
    likely = [name for name, kind in zip(facts["names"], facts["kinds"], strict=True) if kind != "score"]
    assert list(own.y) == list(spread.y) == list(middle.y) == likely and list(ranks.y) == facts["names"]
    assert [low + wide for low, wide in zip(spread.base, spread.x, strict=True)] == pytest.approx(
        [high for high, kind in zip(facts["high"], facts["kinds"], strict=True) if kind != "score"]
    )
    assert list(ranks.x) == facts["rank"] and ranks.marker.color[0] == FAMILIES["flow"].look.colour


def test_the_plot_of_neighbours_marks_each_picture(tiny: TinyEngine) -> None:
    facts = ask(tiny, "vae-tiny-28", "neighbours", num_samples=2, seed=9).sheet.facts
    plot = FIGURES["neighbours"](facts, FAMILIES["vae"].look)
    assert [trace.x[0] for trace in plot.data[1:]] == facts["nearest"] == [line.x0 for line in plot.layout.shapes]
    assert len(plot.data[0].x) == len(tiny.shelf_of("vae-tiny-28").pictures)


def test_the_bundled_training_pictures_are_among_the_manifest() -> None:
    card = bundled_cards()["training-fashion-28"]
    assert card.family not in FAMILIES and set(card.files) == {"pictures.json", "pictures.webp"}
