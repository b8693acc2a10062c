"""What only a GAN can be asked: recipes by layer, style mixing, directions, noise, the critic's scores, mode collapse."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from playground.cards import bundled_cards
from playground.engine import _Seat, _Visit
from playground.errors import BadKnob, BadLatent, BadRequest, NotCapable
from playground.families.capabilities import HasCritic, HasLayers, HasNoiseInputs
from playground.families.gan import GAN, GANParams
from playground.images import from_uint8, to_uint8
from playground.latent import Latent, Noise
from playground.request import Request
from playground.result import Result
from playground.tasks import Bench
from playground.tasks.collapse import COUNTED, RULES, effective
from playground.tasks.critic import spread
from playground.tasks.layers import span_of, span_words
from playground.tasks.noise import DRAWN
from playground.tasks.style import mixed
from playground.training.recipes.collapsed import CollapsedRecipe
from playground.training.recipes.gan import GANRecipe
from playground.ui.figures import FIGURES
from tests.test_gan_family import decoded, without_noise
from tests.tiny import HASH, TINY_CARDS, TinyEngine

CARD = "gan-tiny-28"
PLAIN = "gan-plain-tiny-28"


class TwoGANs(TinyEngine):
    """The tiny engine with a second GAN; both have been measured."""

    def __init__(self) -> None:
        super().__init__(batch_size=16)
        paper = "https://arxiv.org/abs/1704.00028"
        self.cards = {**TINY_CARDS, PLAIN: dataclasses.replace(TINY_CARDS[CARD], id=PLAIN, title="A plain one on toys", paper=paper)}

    def _load(self, card: Any) -> _Seat:
        return _Seat(without_noise(), HASH) if card.id == PLAIN else super()._load(card)

    def measured(self, card: str) -> Mapping[str, Any]:
        return {"recall": {"value": 0.25}, "classifier_fd": {"value": 31.25}} if card == PLAIN else {}


@pytest.fixture(scope="module")
def engine() -> TwoGANs:
    return TwoGANs()


@pytest.fixture
def bench(engine: TwoGANs) -> Bench:
    return Bench(CARD, engine.model(CARD), GANParams(), _Visit(engine))


def ask(engine: TwoGANs, task: str, card: str = CARD, **knobs: Any) -> Result:
    return engine.run(Request.build(card, task, cards=engine.cards, **knobs))


# -- recipes by layer -----------------------------------------------------------------------------------------------------


def test_a_source_with_layers_replaces_those_and_no_others(bench: Bench) -> None:
    a, b = (bench.model.draw(bench.params, Noise([seed]))[0] for seed in (1, 2))
    z = bench.latent(Latent.parse("seed:1 + seed:2@3-4"))[0]
    for layer in range(6):
        assert torch.equal(z[layer], (b if layer in (3, 4) else a)[layer])
    alone = bench.latent(Latent.parse("seed:2@3-4"))[0]
    assert torch.equal(alone[3:5], b[3:5])
    assert torch.equal(alone[:3], bench.model.origin()[0, :3])
    halves = bench.latent(Latent.parse("seed:1 + 1*seed:2@0-1 + 3*origin@1-5"))[0]
    torch.testing.assert_close(halves[0], b[0])
    torch.testing.assert_close(halves[1], 0.25 * b[1] + 0.75 * bench.model.origin()[0, 1])


def test_a_direction_with_layers_moves_only_those(bench: Bench) -> None:
    a = bench.latent(Latent.seed(1))
    moved = bench.latent(Latent.parse("seed:1 + 2*pc:1@0-2~hem")) - a
    full = bench.latent(Latent.parse("seed:1 + 2*pc:1")) - a
    torch.testing.assert_close(moved[0, :3], full[0, :3])
    assert full[0].abs().max(dim=1).values.min() > 0.1
    assert not moved[0, 3:].any()


def test_layers_that_are_not_there_are_refused_in_a_sentence(engine: TwoGANs, bench: Bench) -> None:
    with pytest.raises(BadLatent, match=r"no layer 6 here[.] Layers run from 0 to 5"):
        bench.latent(Latent.parse("seed:1 + seed:2@4-6"))
    with pytest.raises(NotCapable, match="latent of its own in each layer"):
        ask(engine, "decode", "vae-tiny-28", latent="seed:1 + seed:2@1")
    with pytest.raises(NotCapable, match="latent of its own in each layer"):
        ask(engine, "traverse", "flow-tiny-28", start="seed:1", direction="pc:1", from_layer=2)


def test_interpolating_recipes_with_layers_goes_from_one_to_the_other(engine: TwoGANs) -> None:
    ends = ["seed:1 + seed:2@3-5", "seed:7 + 1*pc:1@0-1~hem"]
    strip = ask(engine, "interpolate", ends=ends, num_frames=5, noise="none", mix="lerp").pictures.astype(int)
    for frame, end in ((0, ends[0]), (-1, ends[1])):
        assert np.abs(strip[frame] - ask(engine, "decode", latent=end, noise="none").pictures[0].astype(int)).max() <= 1


# -- traverse -------------------------------------------------------------------------------------------------------------


def test_a_walk_through_some_layers_has_a_name_in_its_recipe(engine: TwoGANs, bench: Bench) -> None:
    result = ask(
        engine, "traverse", start="seed:5", direction="sefa:1", span=2, num_frames=3, from_layer=2, to_layer=0, direction_name="hem"
    )
    assert result.sheet.latents == ("seed:5 + -2*sefa:1@0-2~hem", "seed:5", "seed:5 + 2*sefa:1@0-2~hem")
    assert result.sheet.labels == ("hem -2.00", "start", "hem +2.00")
    assert "layers 0–2 (7×7 pixels)" in result.sheet.says
    z = bench.latent(Latent.parse("seed:5 + 2*sefa:1@0-2"))
    *_, last = bench.model.decode(z, bench.params, Noise([0]))
    assert np.array_equal(result.pictures[2], to_uint8(last.x)[0])
    for bad in ("two words", "a" * 25, "a+b"):
        with pytest.raises(BadKnob, match="Name"):
            ask(engine, "traverse", direction_name=bad)


def test_layers_are_asked_only_where_there_are_any(engine: TwoGANs) -> None:
    from playground.tasks.traverse import Traverse

    assert {"from_layer", "to_layer", "direction_name"} <= {spec.name for spec in Traverse.specs_for(engine.model(CARD))}
    assert "from_layer" not in {spec.name for spec in Traverse.specs_for(engine.model("vae-tiny-28"))}
    model = engine.model(CARD)
    assert isinstance(model, HasLayers)
    assert [span_of(model, *ends) for ends in ((0, 5), (5, 0), (4, 2), (3, 3))] == [None, None, (2, 4), (3, 3)]
    assert [span_words(model, span) for span in (None, (2, 3), (5, 5))] == [
        "all layers", "layers 2–3 (7×7 and 14×14 pixels)", "layer 5 (14×14 pixels)"
    ]  # fmt: skip


# -- style, directions, noise ---------------------------------------------------------------------------------------------


def test_a_style_mix_reads_its_column_in_the_chosen_layers(engine: TwoGANs, bench: Bench) -> None:
    result = ask(engine, "style", seed=5, other_seed=50, num_rows=2, num_columns=2, from_layer=4, to_layer=5)
    sheet, model = result.sheet, bench.model
    assert sheet.columns == 3 and sheet.heads == ("", "B 50", "B 51") and sheet.sides == ("", "A 5", "A 6")
    assert not result.pictures[0].any() and sheet.latents[0] == ""
    assert sheet.latents[8] == str(mixed(6, 51, (4, 5))) == "seed:6 + seed:51@4-5"
    a, b = model.draw(bench.params, Noise([6])), model.draw(bench.params, Noise([51]))
    assert isinstance(model, GAN)
    expected = decoded(model, torch.cat([a[:, :4], b[:, 4:]], dim=1), [6])
    assert np.array_equal(result.pictures[8], expected[0])
    assert np.array_equal(result.pictures[1], decoded(model, model.draw(bench.params, Noise([50])), [50])[0])
    mixtures = result.pictures[[4, 5, 7, 8]].astype(float)
    from_rows = np.abs(mixtures - result.pictures[[3, 3, 6, 6]]).mean()
    from_columns = np.abs(mixtures - result.pictures[[1, 2, 1, 2]]).mean()
    assert f"from their row by {from_rows:.0f} grey levels a pixel, from their column by {from_columns:.0f}." in sheet.says


def test_mixing_all_layers_gives_the_column(engine: TwoGANs) -> None:
    result = ask(engine, "style", num_rows=1, num_columns=1, from_layer=0, to_layer=5, noise="none")
    assert np.array_equal(result.pictures[3], result.pictures[1]) and not np.array_equal(result.pictures[3], result.pictures[2])


def test_the_sheet_of_directions_has_its_start_in_the_middle(engine: TwoGANs) -> None:
    result = ask(engine, "directions", start="seed:5", kind="pc", num_directions=3, num_frames=5, span=3, from_layer=1, to_layer=4)
    sheet = result.sheet
    assert sheet.columns == 5 and sheet.heads == ("−3", "−1.5", "start", "+1.5", "+3")
    assert sheet.latents[4] == "seed:5 + 3*pc:1@1-4" and sheet.latents[12] == "seed:5"
    for row in range(3):
        assert np.array_equal(result.pictures[5 * row + 2], result.pictures[2])
    assert sheet.facts["eigenvalues"] == pytest.approx([1.44, 0.81, 0.36, 0.01])
    assert sheet.says.startswith("The 3 shown hold 100 % of the variance of w; half of it lies in the first 1 of 4.")  # 2.61 of 2.62
    assert len(FIGURES["directions"](sheet.facts, GAN.look).data[0].y) == 4


def test_a_kind_without_a_spectrum_is_not_offered(engine: TwoGANs) -> None:
    with pytest.raises(NotCapable, match="how much lies in each of its directions"):
        ask(engine, "directions", "vae-tiny-28")
    with pytest.raises(BadKnob, match="one of: pc, sefa"):
        ask(engine, "directions", kind="dim")


def test_noise_is_measured_pixel_by_pixel(engine: TwoGANs, bench: Bench) -> None:
    result = ask(engine, "noise", start="seed:5", num_samples=3, seed=9, strength=1)
    model, facts = bench.model, result.sheet.facts
    assert isinstance(model, GAN) and isinstance(model, HasNoiseInputs)
    assert result.sheet.labels == ("no noise", "noise 9", "noise 10", "noise 11", "deviation")
    w = bench.latent(Latent.seed(5)).expand(DRAWN, -1, -1)
    *_, last = model.decode(w, GANParams(), Noise(range(9, 9 + DRAWN)))
    assert np.array_equal(result.pictures[1:4, ..., :1], to_uint8(last.x)[:3])
    levels = np.std(127.5 * last.x.numpy().astype(float), axis=0, ddof=1)[0]
    assert facts["mean_levels"] == pytest.approx(levels.mean(), rel=1e-3) and facts["largest_levels"] == pytest.approx(
        levels.max(), rel=1e-3
    )
    plain = decoded(model, w[:1], [0], noise="none")[0, ..., 0]
    assert facts["inside_levels"] == pytest.approx(levels[plain > 10].mean(), rel=1e-3)
    assert np.array_equal(result.pictures[0, ..., 0], plain)
    assert result.pictures[-1].sum(axis=-1).argmax() == levels.argmax()
    assert facts["names"] == ["7×7, first", "7×7, second", "14×14, first", "14×14, second"]


def test_a_network_without_noise_inputs_says_so(engine: TwoGANs) -> None:
    result = ask(engine, "noise", PLAIN, num_samples=2)
    assert result.sheet.says.startswith("This network was trained without noise inputs")
    assert np.array_equal(result.pictures[0], result.pictures[2]) and not result.pictures[-1].any()
    assert FIGURES["noise"](result.sheet.facts, GAN.look).data


# -- the critic -----------------------------------------------------------------------------------------------------------


def test_pictures_stand_in_the_order_of_their_scores(engine: TwoGANs, bench: Bench) -> None:
    result = ask(engine, "critic", num_samples=3, seed=4)
    scores = bench.able(HasCritic).score(from_uint8(result.pictures)).tolist()
    assert scores == sorted(scores, reverse=True)
    shown = [float(label.split("\n")[1].replace("−", "-")) for label in result.sheet.labels]
    assert shown == pytest.approx(scores, abs=0.006)
    names = {label.split("\n")[0] for label in result.sheet.labels}
    assert {"made 4", "made 6", "real 0", "real 2", "upside down", "blank", "noise"} <= names
    place = next(index for index, label in enumerate(result.sheet.labels) if label.startswith("real 1\n"))
    assert np.array_equal(result.pictures[place], TinyEngine().shelf("tiny").pictures[1])
    assert len(FIGURES["critic"](result.sheet.facts, GAN.look).data) == 2


def test_overlap_and_auc_against_counting() -> None:
    rng = torch.Generator().manual_seed(0)
    real, made = torch.randn(400, generator=rng) + 1, torch.randn(300, generator=rng)
    facts = spread(real, made)
    above = (real[:, None] > made[None]).double().mean().item()
    assert facts["auc"] == pytest.approx(above, abs=1e-4)
    assert above == pytest.approx(0.5 * (1 + math.erf(1 / 2)), abs=0.04)  # two Gaussians, one standard deviation apart
    assert facts["overlap"] == pytest.approx(1 - math.erf(0.5 / math.sqrt(2)), abs=0.1)
    assert sum(facts["real_share"]) == pytest.approx(1, abs=1e-3) and sum(facts["made_share"]) == pytest.approx(1, abs=1e-3)
    apart, same = spread(real + 100, made), spread(real, real)
    assert (apart["auc"], apart["overlap"]) == (1, 0) and (same["auc"], same["overlap"]) == (pytest.approx(0.5), pytest.approx(1))
    assert math.isfinite(sum(spread(torch.zeros(5), torch.zeros(4))["edges"]))


# -- mode collapse --------------------------------------------------------------------------------------------------------


def test_the_effective_number_of_classes() -> None:
    assert effective(torch.tensor([5, 5, 5, 5])) == pytest.approx(4)
    assert effective(torch.tensor([9, 0, 0])) == pytest.approx(1)
    assert effective(torch.tensor([3, 1])) == pytest.approx(4 / 3**0.75)  # e^H of 3/4 and 1/4
    assert bundled_cards()["gan-collapsed-fashion-28"].short_title == "A GAN whose generator outran its critic"


def test_the_rule_of_the_collapsed_card_is_that_of_its_recipe() -> None:
    assert f"one move of the critic to {CollapsedRecipe().generator_moves} of the generator" in RULES["1701.00160"]
    assert RULES["1701.00160"].startswith("R1 too") and CollapsedRecipe().gamma == GANRecipe().gamma > 0


def test_all_cards_with_a_critic_get_the_same_seeds(engine: TwoGANs) -> None:
    result = ask(engine, "collapse", num_samples=3, seed=4, truncation_psi=0.5)
    sheet = result.sheet
    assert sheet.cards == (CARD,) * 3 + (PLAIN,) * 3 and sheet.seeds == (4, 5, 6, 4, 5, 6)
    for index in (0, 4):
        cell = result.cell(index)
        assert cell is not None and cell.params.truncation_psi == 0.5  # type: ignore[attr-defined]
        assert np.abs(engine.run(cell).pictures[0].astype(int) - result.pictures[index].astype(int)).max() <= 1
    classifier, model = engine.classifier_of(CARD), engine.model(PLAIN)
    with torch.inference_mode():
        noise = Noise(range(COUNTED))
        *_, last = model.decode(model.draw(GANParams(truncation_psi=0.5), noise), GANParams(), noise)
        labels = classifier(from_uint8(to_uint8(last.x))).argmax(dim=1)
    assert sheet.facts["share"][1] == pytest.approx([(labels == kind).double().mean().item() for kind in range(3)], abs=0.01)
    assert "A plain one: scores are a price" in sheet.labels[3] and "FD 31.2, recall 0.25" in sheet.labels[3]
    assert "not yet evaluated" in sheet.labels[0]
    assert len(FIGURES["collapse"](sheet.facts, GAN.look).data) == 3


def test_less_truncation_is_more_variety(engine: TwoGANs) -> None:
    safe, bold = (ask(engine, "collapse", num_samples=2, truncation_psi=psi).sheet.facts["variety"] for psi in (0.2, 1.2))
    assert max(safe) < min(bold)


def test_directions_of_a_recipe_are_refused_when_there_are_none(engine: TwoGANs) -> None:
    with pytest.raises(BadRequest, match="no direction sefa:1"):
        ask(engine, "decode", "vae-tiny-28", latent="seed:1 + 1*sefa:1")
