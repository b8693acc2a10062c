"""Noise, and recipes of latents."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from playground.errors import BadLatent
from playground.latent import (
    DIRECTIONS,
    MAX_NAME,
    MAX_SEED,
    MAX_TERMS,
    SOURCES,
    Latent,
    Noise,
    Term,
    near_point,
)

calm = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
"""No clock and no chance: a busy machine must not fail a test."""

SEEDS = st.integers(0, MAX_SEED)


# -- noise --------------------------------------------------------------------------------------------------------------


@calm
@given(seeds=st.lists(SEEDS, min_size=1, max_size=6))
def test_noise_of_a_picture_does_not_know_its_batch(seeds: list[int]):
    batch = Noise(seeds)
    for place, seed in enumerate(seeds):
        assert torch.equal(batch.normal((3, 2))[place], Noise([seed]).normal((3, 2))[0])
        assert torch.equal(batch.uniform((4,), "pixels")[place], Noise([seed]).uniform((4,), "pixels")[0])


@calm
@given(seed=SEEDS)
def test_the_latent_stream_is_torchs_own(seed: int):
    expected = torch.randn((5,), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(Noise([seed]).normal((5,))[0], expected)


def test_streams_and_seeds_are_independent():
    drawn = {(seed, stream): Noise([seed]).normal((2000,), stream)[0] for seed in (0, 1) for stream in ("latent", "pixels", "posterior")}
    correlation = torch.corrcoef(torch.stack(list(drawn.values()))) - torch.eye(len(drawn))
    assert correlation.abs().max().item() < 0.1  # 4.5 standard deviations of the chance correlation
    assert Noise([0]).normal((4,), "pixels").tolist() == Noise([0]).normal((4,), "pixels").tolist()


def test_noise_has_the_right_shape_range_and_slices():
    noise = Noise(range(10, 16))
    assert len(noise) == 6
    assert noise.normal((2, 3)).shape == (6, 2, 3)
    uniform = noise.uniform((500,), "component")
    assert uniform.dtype == torch.float32
    assert 0 <= uniform.min().item() < 0.01 < 0.99 < uniform.max().item() < 1
    assert noise.slice(2, 4).seeds == (12, 13)
    assert torch.equal(noise.slice(2, 4).normal((3,)), noise.normal((3,))[2:4])


# -- recipes ------------------------------------------------------------------------------------------------------------

WEIGHTS = st.floats(-1000, 1000, allow_nan=False).map(lambda weight: float(f"{weight:.6g}"))
WHOLE = st.integers(0, MAX_SEED).map(str)
PLACES = st.tuples(st.floats(-2, 2), st.floats(-2, 2)).map(lambda place: f"{place[0]:.4g},{place[1]:.4g}".replace("e-0", "e-"))
PNGS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=1, max_size=40)
VALUES = {"origin": st.just(""), "near": PLACES, "png": PNGS}
SPANS = st.none() | st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda ends: (min(ends), max(ends)))
NAMES = st.just("") | st.text("abcXYZ0189-_äß", min_size=1, max_size=MAX_NAME)
TERMS = st.sampled_from(SOURCES + DIRECTIONS).flatmap(
    lambda kind: st.builds(Term, WEIGHTS, st.just(kind), VALUES.get(kind, WHOLE), SPANS, NAMES)
)
LATENTS = (
    st.lists(TERMS, min_size=1, max_size=MAX_TERMS)
    .map(lambda terms: Latent(tuple(terms)))
    .filter(lambda latent: bool(latent.sources) and all(abs(sum(term.weight for term in mixed)) > 1e-3 for mixed in mixtures(latent)))
)


def mixtures(latent: Latent) -> list[list[Term]]:
    """What is mixed in each of the layers 0..21, asked of the terms one by one; only what has no layers where there is nothing else."""
    plain = [term for term in latent.sources if term.layers is None] or [Term(1.0, "origin", "")]
    own = [[term for term in latent.sources if term.layers and term.layers[0] <= layer <= term.layers[1]] for layer in range(22)]
    return [found or plain for found in own] + [plain]


@calm
@given(latent=LATENTS)
def test_a_recipe_survives_being_written_and_read(latent: Latent):
    assert Latent.parse(str(latent)) == latent


@calm
@given(latent=LATENTS)
def test_a_written_recipe_is_stable(latent: Latent):
    assert str(Latent.parse(str(latent))) == str(latent)


@calm
@given(weight=st.floats(-1000, 1000).filter(lambda weight: abs(weight) > 1e-3), seed=SEEDS)
def test_a_written_weight_has_six_digits(weight: float, seed: int):
    (term,) = Latent.parse(str(Latent((Term(weight, "seed", str(seed)),)))).terms
    assert term.weight == pytest.approx(weight, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("seed:7", [(1, "seed", "7")]),
        ("  seed:007 ", [(1, "seed", "7")]),
        ("test:12 + 1.5*pc:1", [(1, "test", "12"), (1.5, "pc", "1")]),
        ("test:12 + -1.5*pc:1", [(1, "test", "12"), (-1.5, "pc", "1")]),
        ("0.25*seed:7 + 0.75*seed:9", [(0.25, "seed", "7"), (0.75, "seed", "9")]),
        ("2*dim:3", [(1, "origin", ""), (2, "dim", "3")]),
        (".5*near:-0.2,1e-1", [(0.5, "near", "-0.2,1e-1")]),
        ("1e-2*class:0 + origin", [(0.01, "class", "0"), (1, "origin", "")]),
        ("png:aB-_9", [(1, "png", "aB-_9")]),
        ("seed:5@3-5", [(1, "seed", "5", (3, 5))]),
        ("seed:1 + seed:5@3", [(1, "seed", "1"), (1, "seed", "5", (3, 3))]),
        ("2*pc:1@0-02", [(1, "origin", ""), (2, "pc", "1", (0, 2))]),
        ("seed:1 + 2*sefa:07@0-2~Ärmel-2_x", [(1, "seed", "1"), (2, "sefa", "7", (0, 2), "Ärmel-2_x")]),
        ("origin@1 + 1*dim:3~sleeves", [(1, "origin", "", (1, 1)), (1, "dim", "3", None, "sleeves")]),
        ("seed:1 + 0.5*seed:2@1-3 + 0.5*test:3@2-5", [(1, "seed", "1"), (0.5, "seed", "2", (1, 3)), (0.5, "test", "3", (2, 5))]),
    ],
)
def test_recipes_a_person_writes(text: str, terms: list[tuple[float, str, str]]):
    assert Latent.parse(text).terms == tuple(Term(*term) for term in terms)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("   ", "empty"),
        (None, "empty"),
        (7, "empty"),
        ("seed", "whole number"),
        ("seed:", "not part"),
        ("seed:x", "whole number"),
        ("seed:-1", "whole number"),
        ("seed:1.5", "whole number"),
        ("seed:٣", "whole number"),
        (f"seed:{MAX_SEED + 1}", "whole number"),
        ("seed:" + "9" * 6000, "whole number"),
        ("pc:", "not part"),
        ("class:red", "whole number"),
        ("moon:3", "neither a source nor a direction"),
        ("SEED:3", "not part"),
        ("origin:3", "not part"),
        ("png", "not part"),
        ("near:1", "not a place"),
        ("near:1,2,3", "not a place"),
        ("near:a,b", "not a place"),
        ("near:3,0", "outside the map"),
        ("near:nan,0", "outside the map"),
        ("near:inf,0", "outside the map"),
        ("1001*seed:1", "beyond ±1000"),
        ("1e999*seed:1", "beyond ±1000"),
        ("nan*seed:1", "not part"),
        ("seed:1 + ", "not part"),
        ("seed:1+seed:2", "not part"),
        ("seed:1 + + seed:2", "not part"),
        ("<script>alert(1)</script>", "not part"),
        ("0*seed:1", "weight 0"),
        ("0*seed:1 + 1*pc:1", "weight 0"),
        ("1*seed:1 + -1*seed:2", "add up to 0"),
        (" + ".join(["seed:1"] * (MAX_TERMS + 1)), "too long"),
        ("png:" + "a" * 20_000, "longer than"),
        ("seed:1@", "names no layers"),
        ("seed:1@5-3", "names no layers"),
        ("seed:1@a", "names no layers"),
        ("seed:1@-1", "names no layers"),
        ("seed:1@1-2-3", "names no layers"),
        ("seed:1@٣", "names no layers"),
        ("seed:1@1000", "names no layers"),
        ("pc:1~", "no name for a direction"),
        ("pc:1~two words", "not part"),
        ("pc:1~a+b", "no name for a direction"),
        ("pc:1~" + "a" * 25, "at most 24"),
        ("pc:1~a~b", "no name for a direction"),
        ("pc:1~sleeves@0-2", "no name for a direction"),
        ("seed:1 + 0*seed:2@3", "weight 0"),
        ("seed:1 + 1*seed:2@0-3 + -1*seed:3@3-5", "add up to 0"),
    ],
)
def test_bad_recipes_are_refused_in_a_sentence(text: object, words: str):
    with pytest.raises(BadLatent, match=words) as caught:
        Latent.parse(text)
    assert str(caught.value)[-1] in ".!"
    assert len(str(caught.value)) < 300  # what was handed in is quoted in part only


@calm
@given(text=st.text(max_size=60))
def test_any_text_is_a_recipe_or_a_sentence(text: str):
    try:
        latent = Latent.parse(text)
    except BadLatent as error:
        assert error.what
        assert error.remedy
    else:
        assert latent.sources


def test_parts_of_a_recipe():
    latent = Latent.parse("0.5*test:3 + 0.5*seed:8 + 2*pc:1")
    assert [term.kind for term in latent.sources] == ["test", "seed"]
    assert [term.kind for term in latent.offsets] == ["pc"]
    assert latent.noise_seed == 8
    assert Latent.parse("test:3").noise_seed == 0
    assert Latent.seed(4) == Latent.parse("seed:4")
    assert latent.plus(0, "dim", "1") == latent
    assert str(Latent.seed(4).plus(-1.5, "dim", "2")) == "seed:4 + -1.5*dim:2"


def test_parts_of_a_recipe_with_layers():
    latent = Latent.parse("seed:1 + seed:2@1-3 + seed:3@3-5 + 2*pc:1@0-2~hem")
    assert [str(term) for term in latent.base] == ["seed:1"]
    assert latent.pieces == ((1, 2), (3, 3), (4, 5))
    assert [[term.value for term in latent.at(layer)] for layer in range(7)] == [["1"], ["2"], ["2"], ["2", "3"], ["3"], ["3"], ["1"]]
    assert Latent.parse("seed:1@0-2").base == (Term(1.0, "origin", ""),) and Latent.parse("seed:1").pieces == ()
    assert str(Latent.seed(4).plus(2, "pc", "1", (0, 2), "hem")) == "seed:4 + 2*pc:1@0-2~hem"


@calm
@given(latent=LATENTS)
def test_pieces_have_the_same_sources_throughout(latent: Latent):
    inside = {layer: piece for piece in latent.pieces for layer in range(piece[0], piece[1] + 1)}
    expected = mixtures(latent)
    for layer in range(22):
        assert [*latent.at(layer)] == expected[layer]
        assert (layer in inside) == any(term.covers(layer) for term in latent.sources)
        assert layer not in inside or latent.at(layer) == latent.at(inside[layer][0])


def test_mixing_recipes_with_layers_mixes_each_layer():
    mixed = Latent.mix([Latent.parse("seed:1 + seed:2@3-5 + 2*pc:1@0-1~hem"), Latent.seed(7)], [0.25, 0.75])
    assert str(mixed) == "0.25*seed:1 + 0.5*pc:1@0-1~hem + 0.75*seed:7 + 0.25*seed:2@3-5 + 0.75*seed:7@3-5"
    crossed = Latent.mix([Latent.parse("seed:1 + seed:2@0-3"), Latent.parse("seed:7 + seed:8@2-5")], [0.5, 0.5])
    assert [[(term.weight, term.value) for term in crossed.at(layer)] for layer in (0, 2, 5, 6)] == [
        [(0.5, "2"), (0.5, "7")], [(0.5, "2"), (0.5, "8")], [(0.5, "1"), (0.5, "8")], [(0.5, "1"), (0.5, "7")]
    ]  # fmt: skip
    assert str(Latent.mix([Latent.parse("seed:1 + seed:2@0-3"), Latent.seed(3)], [1.0, 0.0])) == "seed:1 + seed:2@0-3"


def test_mixing_recipes_weighs_their_shares():
    mixed = Latent.mix([Latent.parse("2*seed:1 + 2*seed:2 + 4*pc:1"), Latent.parse("test:5")], [0.25, 0.75])
    assert str(mixed) == "0.125*seed:1 + 0.125*seed:2 + 1*pc:1 + 0.75*test:5"
    assert str(Latent.mix([Latent.seed(1), Latent.seed(2)], [1.0, 0.0])) == "seed:1"


def test_recipes_are_fields_of_pydantic_models():
    class Holder(BaseModel):
        latent: Latent

    assert Holder(latent="seed:3").model_dump() == {"latent": "seed:3"}
    assert Holder(latent=Latent.seed(3)).latent == Latent.seed(3)
    with pytest.raises(ValidationError, match="neither a source nor a direction"):
        Holder(latent="moon:3")


def test_near_point_reads_both_coordinates():
    assert near_point("0.25,-1.5") == (0.25, -1.5)
