"""What each tab says first: four sentences, claims with figures or sources, numbers that are those of the files, an honest matrix."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from playground.cards import bundled_cards
from playground.engine import Engine
from playground.families import FAMILIES, Model
from playground.families.capabilities import Encodes, HasCritic, HasLikelihood, HasMap, HasODE, HasPosterior, Inverts
from playground.latent import Noise
from playground.request import Request
from playground.settings import PROJECT, Settings
from playground.tasks.base import CAPABILITY_WORDS
from playground.training.model_card import MEANING
from playground.training.sweep import FIGURES as SWEPT
from playground.ui.claims import VERDICTS, Claim, Figure, Found, Words, looking, number
from playground.ui.diagrams import SIZES, address, way_svg
from playground.ui.matrix import QUESTIONS, answer, matrix_html, models_of
from tests.tiny import TINY_CARDS, TinyEngine

CARDS = bundled_cards()


def words_of(family: str) -> Words:
    words = Words.read(family)
    assert words is not None, f"playground/ui/introductions/{family}.toml is missing"
    return words


CLAIMS = [(family, claim) for family in FAMILIES for claim in (*words_of(family).good, *words_of(family).bad)]
SUBJECTS = {
    "stability": "collapse",
    "coverage": "recall|coverage",
    "sharpness": "sharpness_ratio",
    "speed": "ms_per_picture",
    "likelihood": "likel",
}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(Settings(hub="off", device="cpu"))


class Numbers(HTMLParser):
    """The <data> of a page: the exact value, and the text that is seen."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[float, str, str]] = []
        self.open: dict[str, str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open = dict(attrs) if tag == "data" else self.open

    def handle_data(self, data: str) -> None:
        if self.open is not None:
            self.found.append((float(self.open["value"]), data, self.open["title"]))

    def handle_endtag(self, tag: str) -> None:
        self.open = None if tag == "data" else self.open


def read(text: str) -> float:
    """The number that a person reads: 1,234 · 81.5 % · 1.3 × 10⁻⁵."""
    digits = text.replace(",", "").partition("\u00a0")[0]
    mantissa, _, power = digits.partition(" × 10")
    value = float(mantissa) * 10 ** int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)
    return value / 100 if text.endswith("%") else value


# -- words --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_idea_is_four_sentences(family: str) -> None:
    idea = words_of(family).idea
    assert len(idea) == 4
    for sentence in idea:
        assert sentence[0].isupper() and re.findall(r"[.!?](?=\s|$)", sentence) == ["."] and sentence.endswith("."), sentence
    assert FAMILIES[family].equation


@pytest.mark.parametrize("family", FAMILIES)
def test_all_that_matters_is_spoken_of(family: str) -> None:
    words = words_of(family)
    assert len(words.good) >= 3 and len(words.bad) >= 3
    said = " ".join(f"{claim.claim} {claim.figures} {claim.holds}" for claim in (*words.good, *words.bad))
    assert [subject for subject, trace in SUBJECTS.items() if not re.search(trace, said)] == []


@pytest.mark.parametrize(("family", "claim"), CLAIMS, ids=lambda value: value if isinstance(value, str) else value.claim[:30])
def test_no_claim_without_a_figure_or_a_source(family: str, claim: Claim) -> None:
    assert claim.source or (claim.figures and claim.holds)
    assert bool(claim.figures) == bool(claim.holds)
    assert not claim.source or re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{4,5}", claim.source)
    for figure in claim.named():
        assert figure.card in CARDS and CARDS[figure.card].family in FAMILIES, figure
        assert figure.metric in (SWEPT if figure.knob else MEANING), figure
        if figure.knob:
            FAMILIES[CARDS[figure.card].family].Params.parse({figure.knob: figure.value})
    assert re.sub(r"{[^}]*}", "", claim.figures).count("{") == 0
    own = {figure.card for figure in claim.named() if CARDS[figure.card].family == family}
    assert own or not claim.holds  # a claim is about the family whose tab it is in
    compared = {str(figure) for rule in claim.holds for figure in map(str, Claim("", "", (rule,)).named())}
    assert compared <= {str(figure) for figure in Claim("", claim.figures).named()}  # what decides is shown


# -- figures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_every_number_shown_is_the_one_of_the_file(family: str, engine: Engine) -> None:
    numbers = Numbers(words_of(family).html(looking(engine))).found
    assert len(numbers) > 4
    for value, shown, title in numbers:
        where, _, how = title.partition(": ")
        name, _, count = where.partition(", n = ")
        metric, _, card = name.partition(" of ")
        card, _, swept = card.partition(" at ")
        folder = PROJECT / "weights" / card
        if swept:
            knob, _, setting = swept.partition(" = ")
            (figure,) = [row for row in json.loads((folder / "sweeps.json").read_text())[knob] if str(row["value"]) == setting]
            figure = {**figure, "value": figure[metric]}
        else:
            figure = json.loads((folder / "metrics.json").read_text())[metric]
        assert value == figure["value"] == pytest.approx(read(shown), rel=1e-12), (title, shown)
        assert int(count.replace(",", "")) == figure["n"] and how == figure["command"]


@pytest.mark.parametrize(
    ("metric", "value", "shown"),
    [
        ("coverage", 0.815, "81.5 %"),
        ("smallest_class_share", 0.005, "0.5 %"),
        ("reconstruction_psnr_db", 100.0, "100 dB"),
        ("ms_per_picture", 726.78, "726.78 ms"),
        ("iwae_64_bits_per_dim", 3.1498, "3.1498 bits/dim"),
        ("inversion_error", 1.3173e-05, "1.3173 × 10⁻⁵"),
        ("parameters", 2699940, "2,699,940"),
        ("classifier_kid", 0.0, "0"),
        ("recall", 0.0, "0 %"),
    ],
)
def test_numbers_are_written_with_every_digit_and_their_unit(metric: str, value: float, shown: str) -> None:
    assert number(metric, value).replace("\u00a0", " ") == shown
    assert read(number(metric, value)) == pytest.approx(value)


RULE = Claim(
    "It is fast.",
    "{ms_per_picture of a-b} to {ms_per_picture of c-d}.",
    ("ms_per_picture of a-b < ms_per_picture of c-d", "ms_per_picture of a-b < 5"),
)


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        ({"a-b": 1.0, "c-d": 2.0}, "seen"),
        ({"a-b": 7.0, "c-d": 8.0}, "in part"),
        ({"a-b": 7.0, "c-d": 7.0}, "unseen"),  # a tie is no lead
        ({"a-b": float("nan"), "c-d": 2.0}, "unmeasured"),
        ({"a-b": 1.0}, "unmeasured"),
        ({}, "unmeasured"),
    ],
)
def test_the_verdict_follows_the_figures(figures: dict[str, float], verdict: str) -> None:
    def look(figure: Figure) -> Found | None:
        return Found(figures[figure.card], 10, "how") if figure.card in figures else None

    assert RULE.verdict(look) == verdict
    html = RULE.html(look)
    assert VERDICTS[RULE.verdict(look)] in html and html.count("lp-verdict") == 1
    assert ("Not measured yet." in html) == (verdict == "unmeasured")
    assert len(Numbers(html).found) == (0 if verdict == "unmeasured" else 2)


def test_a_claim_of_the_literature_alone_says_so() -> None:
    claim = Claim("It is so.", source="https://arxiv.org/abs/1234.56789")
    html = claim.html(lambda figure: None)
    assert VERDICTS["source"] in html and 'href="https://arxiv.org/abs/1234.56789"' in html and ">arXiv 1234.56789<" in html


def test_figures_are_read_as_written() -> None:
    assert Figure.parse("recall of ddpm-fashion-28") == Figure("recall", "ddpm-fashion-28")
    swept = Figure.parse("recall at num_inference_steps=5 of ddpm-fashion-28")
    assert swept == Figure("recall", "ddpm-fashion-28", "num_inference_steps", "5")
    with pytest.raises(ValueError, match="is not written"):
        Figure.parse("recall ddpm")


def test_figures_of_other_knobs_come_from_the_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TinyEngine()
    rows = [{"value": value, "recall": recall, "n": 10, "command": "how"} for value, recall in ((1, 0.25), (20, 0.5))]
    monkeypatch.setattr(TinyEngine, "swept", lambda self, card: {"num_inference_steps": rows})
    look = looking(engine)
    assert look(Figure("recall", "diffusion-tiny-28", "num_inference_steps", "20")) == Found(0.5, 10, "how")
    assert look(Figure("recall", "diffusion-tiny-28", "num_inference_steps", "3")) is None
    assert look(Figure("coverage", "diffusion-tiny-28", "num_inference_steps", "1")) is None
    assert look(Figure("recall", "nobody-tiny-28")) is None


# -- what it can answer -------------------------------------------------------------------------------------------------

CARDS_OF = {family: [card.id for card in CARDS.values() if card.family == family and card.files] for family in FAMILIES}
CAPABLE = {
    "Turn a picture into a latent?": lambda model: isinstance(model, Encodes),
    "And get the very picture back?": lambda model: model.exact,
    "Say how likely a picture is?": lambda model: isinstance(model, (HasLikelihood, HasPosterior, HasODE)),
    "Draw in one step?": lambda model: model.live,
    "Draw in many steps, and stop between?": lambda model: not model.live,
    "Say how sure it is of a latent?": lambda model: isinstance(model, HasPosterior),
    "Say how real a picture looks?": lambda model: isinstance(model, HasCritic),
    "Draw a map of its codes?": lambda model: isinstance(model, HasMap),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_matrix_says_what_the_models_can(family: str, engine: Engine) -> None:
    assert list(CAPABLE) == list(QUESTIONS)
    models = [engine.model(card) for card in CARDS_OF[family]]
    rows = ElementTree.fromstring(_xml(matrix_html(models_of(engine), family))).findall(".//tbody/tr")
    column = list(FAMILIES).index(family)
    for row, (question, able) in zip(rows, CAPABLE.items(), strict=True):
        assert row.findtext("th") == question
        cells = row.findall("td")
        words = "".join(cells[column].itertext())
        every, some = all(map(able, models)), any(map(able, models))
        assert words.startswith("✓" if some else "–"), question
        assert words.endswith("some") == (some and not every)
        assert (words == "–no") == (not some)
        assert [cell.get("class") for cell in cells].count("lp-own") == 1 and cells[column].get("class") == "lp-own"


def test_kinds_of_likelihood_and_of_encoding_are_told_apart(engine: Engine) -> None:
    models = models_of(engine)
    kinds = {
        family: (answer(QUESTIONS["Say how likely a picture is?"], found), answer(QUESTIONS["Turn a picture into a latent?"], found))
        for family, found in models.items()
    }
    for family, model in ((family, found[0]) for family, found in models.items()):
        exact, bound, estimate = (isinstance(model, need) for need in (HasLikelihood, HasPosterior, HasODE))
        assert kinds[family][0] == ("exact" if exact else "estimate" if estimate else "bound" if bound else "")
        assert kinds[family][1] == ("search" if isinstance(model, Inverts) else "yes" if isinstance(model, Encodes) else "")
    assert {"exact", "bound", "estimate", ""} == {likelihood for likelihood, _ in kinds.values()}


@pytest.mark.parametrize("card", list(TINY_CARDS))
def test_exact_models_give_a_picture_back(card: str) -> None:
    model = TinyEngine().model(card)
    if isinstance(model, Encodes) and model.exact:
        params = model.Params()
        x = model.decode(model.draw(params, Noise([3])), params, Noise([3]))
        *_, made = x
        *_, again = model.decode(model.encode(made.x, params), params, Noise([3]))
        assert (again.x - made.x).abs().max() < 1 / 255
    assert type(model).exact == (card.startswith("flow"))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_it_cannot_is_said_in_the_words_of_the_capabilities(family: str, engine: Engine) -> None:
    html = matrix_html(models_of(engine), family)
    models = [engine.model(card) for card in CARDS_OF[family]]
    for need, words in CAPABILITY_WORDS.items():
        assert (words in html) == (not any(isinstance(model, need) for model in models)), words


def test_a_family_whose_weights_are_damaged_still_has_its_column(monkeypatch: pytest.MonkeyPatch) -> None:
    from playground.errors import BadWeights

    def refuse(self: Engine, card: str) -> Model:
        raise BadWeights("Damaged.", "Mend it.")

    monkeypatch.setattr(TinyEngine, "model", refuse)
    assert models_of(TinyEngine()) == {name: [family] for name, family in FAMILIES.items()}


# -- the data's way -----------------------------------------------------------------------------------------------------


def _xml(html: str) -> str:
    """As XML: HTML's void tags closed."""
    closed = re.sub("<(img|br)([^>]*)>", r"<\1\2/>", html)
    return f"<div>{closed}</div>"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_way_is_drawn_for_both_widths_and_told_in_words(family: str) -> None:
    way = words_of(family).way
    card = CARDS_OF[family][0]
    names = [node["id"] for node in way["nodes"]]
    assert len(set(names)) == len(names) and {end for edge in way["edges"] for end in edge["ends"]} <= set(names)
    assert {node["kind"] for node in way["nodes"]} <= set(SIZES)
    drawn = ElementTree.fromstring(_xml(way_svg(way, family=family, card=card))).findall(".//svg")
    assert [svg.get("class") for svg in drawn] == ["lp-wide", "lp-narrow"]
    for svg, most in zip(drawn, (700, 340), strict=True):
        width, height = (float(part) for part in (svg.get("viewBox") or "").split()[2:])
        assert width <= most and svg.get("role") == "img" and svg.get("aria-label") == way["words"]
        for shape in svg.iter("foreignObject"):
            left, top = float(shape.get("x", "")), float(shape.get("y", ""))
            assert 0 <= left <= width - 56 and 0 <= top <= height - 56
        assert sum(image.get("loading") == "lazy" and image.get("alt") == "" for image in svg.iter("img")) >= 1
    ids = [element.get("id") for svg in drawn for element in svg.iter() if element.get("id")]
    assert len(set(ids)) == len(ids) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_its_pictures_are_requests_that_the_page_can_answer(family: str) -> None:
    engine, card = TinyEngine(), f"{family}-tiny-28"
    for node in words_of(family).way["nodes"]:
        if "decoded" in node or "latent" in node:
            values = dict(parse_qsl(urlsplit(address(node, card)).query))
            request = Request.build(values["card"], "decode", cards=engine.cards, latent=values["latent"])
            assert engine.run(request).pictures.shape == (1, 28, 28, 1)
