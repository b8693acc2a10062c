"""A knob is declared once; its widget, its check and its sentence follow. The operator's settings work alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from playground.errors import BadKnob
from playground.knobs import MAX_SEED, Knob, Knobs, KnobSpec, Seed
from playground.latent import Latent
from playground.settings import PREFIX, PROJECT, Settings


class Radio(Knobs):
    """One knob of each kind."""

    seed: int = Seed()
    volume: float = Knob(0.5, label="Volume", help="How loud.", ge=0.0, le=11.0, step=0.5, unit="dB", stage="decode")
    stations: int = Knob(3, label="Stations", help="How many.", ge=1, le=9, step=1)
    stereo: bool = Knob(True, label="Stereo", help="Both ears.")
    band: Literal["fm", "am"] = Knob("fm", label="Band", help="Which waves.", choices={"fm": "short", "am": "long"})
    size: Literal["s", "m"] = Knob("s", label="Size", help="Without words of its own.")
    place: Latent = Knob(Latent.seed(7), label="Place", help="Where.", widget="direction")
    ends: tuple[Latent, ...] = Knob(
        (Latent.seed(1), Latent.seed(2)), label="Ends", help="From where to where.", min_length=2, max_length=4, widget="latents"
    )


SPECS = {spec.name: spec for spec in Radio.specs()}


# -- declaration --------------------------------------------------------------------------------------------------------


def test_specs_come_in_the_order_of_declaration():
    assert list(SPECS) == ["seed", "volume", "stations", "stereo", "band", "size", "place", "ends"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("seed", {"kind": "int", "label": "Seed", "default": 0, "minimum": 0, "maximum": MAX_SEED, "step": 1, "widget": "seed"}),
        ("volume", {"kind": "float", "help": "How loud.", "default": 0.5, "minimum": 0, "maximum": 11, "step": 0.5, "unit": "dB"}),
        ("volume", {"stage": "decode", "widget": "", "choices": {}, "min_length": None, "max_length": None}),
        ("stations", {"kind": "int", "default": 3, "minimum": 1, "maximum": 9, "stage": None, "unit": ""}),
        ("stereo", {"kind": "bool", "default": True, "minimum": None, "maximum": None, "step": None}),
        ("band", {"kind": "choice", "default": "fm", "choices": {"fm": "short", "am": "long"}}),
        ("size", {"kind": "choice", "default": "s", "choices": {"s": "s", "m": "m"}}),
        ("place", {"kind": "text", "default": "seed:7", "widget": "direction"}),
        ("ends", {"kind": "texts", "default": ["seed:1", "seed:2"], "min_length": 2, "max_length": 4, "widget": "latents"}),
    ],
)
def test_spec_of_each_kind(name: str, expected: dict[str, Any]):
    spec = SPECS[name]
    assert {key: getattr(spec, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("seed", (0, MAX_SEED)),
        ("volume", (0.0, 11.0)),
        ("stations", (1, 9)),
        ("stereo", (False, True)),
        ("band", ("fm", "am")),
        ("place", ()),
        ("ends", ()),
    ],
)
def test_ends_of_each_kind(name: str, ends: tuple[Any, ...]):
    found = SPECS[name].ends()
    assert found == ends
    assert [type(end) for end in found] == [type(end) for end in ends]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_both_ends_of_a_knob_are_accepted(spec: KnobSpec):
    for end in (*spec.ends(), spec.default):
        found = getattr(Radio.parse({spec.name: end}), spec.name)
        shown = [str(item) for item in found] if spec.kind == "texts" else str(found) if spec.kind == "text" else found
        assert shown == end


# -- checking -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"volume": "2.5"}, {"volume": 2.5}),  # text, as from a link
        ({"stations": "4"}, {"stations": 4}),
        ({"stations": 4.0}, {"stations": 4}),
        ({"stereo": "false"}, {"stereo": False}),
        ({"band": "am"}, {"band": "am"}),
        ({"place": "test:3 + 2*pc:1"}, {"place": Latent.parse("test:3 + 2*pc:1")}),
        ({"ends": ["seed:3", "seed:4", "seed:5"]}, {"ends": tuple(Latent.seed(seed) for seed in (3, 4, 5))}),
    ],
)
def test_values_and_their_text_are_read(values: dict[str, Any], expected: dict[str, Any]):
    knobs = Radio.parse(values)
    assert {name: getattr(knobs, name) for name in expected} == expected


NUMBER = "Volume cannot be {}. Give a number from 0 to 11."
WHOLE = "Stations cannot be {}. Give a whole number from 1 to 9."
BAND = "Band cannot be {}. Choose one of: fm, am."


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("volume", 11.5, NUMBER),
        ("volume", -0.1, NUMBER),
        ("volume", float("nan"), NUMBER),
        ("volume", float("inf"), NUMBER),
        ("volume", "nan", NUMBER),
        ("volume", "-inf", NUMBER),
        ("volume", "loud", NUMBER),
        ("volume", None, NUMBER),
        ("volume", [], NUMBER),
        ("stations", 0, WHOLE),
        ("stations", 10, WHOLE),
        ("stations", 2.5, WHOLE),
        ("stations", "2.5", WHOLE),
        ("stations", 10**40, WHOLE),
        ("stations", {}, WHOLE),
        ("band", "pm", BAND),
        ("band", 3, BAND),
        ("band", ["fm"], BAND),
    ],
)
def test_what_does_not_fit_is_refused_with_label_and_bounds(name: str, value: object, sentence: str):
    with pytest.raises(BadKnob) as caught:
        Radio.parse({name: value})
    shown = repr(value)
    assert str(caught.value) == sentence.format(shown if len(shown) <= 40 else shown[:37] + "…")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("seed", -1, "Seed cannot be -1. Give a whole number from 0 to 2147483647."),
        ("stereo", "loud", "Stereo: "),
        ("place", "moon:3", "Place: 'moon' is neither a source nor a direction."),
        ("place", 7, "Place: "),
        ("ends", ["seed:1"], "Ends cannot have 1 entries. Give 2 to 4."),
        ("ends", ["seed:1"] * 5, "Ends cannot have 5 entries. Give 2 to 4."),
        ("ends", ["seed:1", "moon:3"], "Ends: 'moon' is neither a source nor a direction."),
        ("ends", "seed:1", "Ends: "),
        ("colour", 1, "There is no knob called 'colour'. There are: seed, volume, stations, stereo, band, size, place, ends."),
    ],
)
def test_other_kinds_are_refused_in_a_sentence(name: str, value: object, words: str):
    with pytest.raises(BadKnob) as caught:
        Radio.parse({name: value})
    assert str(caught.value).startswith(words)
    assert caught.value.what.endswith(".")
    assert caught.value.remedy.endswith(".")


def test_a_number_without_bounds_is_refused_in_a_sentence_too():
    class Open(Knobs):
        gain: float = Knob(1.0, label="Gain", help="Any.")
        offset: float = Knob(0.0, label="Offset", help="At least 0.", ge=0)

    with pytest.raises(BadKnob, match=r"^Gain cannot be 'x'\. Give a number\.$"):
        Open.parse({"gain": "x"})
    with pytest.raises(BadKnob, match=r"^Offset cannot be -1\. Give a number from 0\.$"):
        Open.parse({"offset": -1})


def test_a_long_value_is_quoted_in_part():
    with pytest.raises(BadKnob) as caught:
        Radio.parse({"volume": "9" * 5000 + "x"})
    assert len(str(caught.value)) < 120


def test_knobs_are_frozen_and_come_back_from_plain_values():
    knobs = Radio.parse({"volume": 3, "place": "test:1", "ends": ["seed:5", "origin"]})
    with pytest.raises(ValidationError, match="frozen"):
        knobs.volume = 4.0
    plain = knobs.to_plain()
    assert plain["ends"] == ["seed:5", "origin"]
    assert Radio.parse(plain) == knobs


# -- settings -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No variable of ours, whoever runs the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    monkeypatch.delenv("SPACE_ID", raising=False)
    return monkeypatch


def test_without_variables_the_defaults_hold(bare_environment: pytest.MonkeyPatch):
    assert Settings.from_environment() == Settings()
    assert Settings().host == "" and Settings().port == 7860


def test_variables_are_read_and_empty_ones_are_not(bare_environment: pytest.MonkeyPatch):
    given = {"PORT": "8000", "WEIGHTS_DIR": "somewhere", "HUB": "off", "HUB_TIMEOUT": "2.5", "DEVICE": "cpu", "THREADS": ""}
    for name, value in given.items():
        bare_environment.setenv(PREFIX + name, value)
    found = Settings.from_environment()
    assert (found.port, found.weights_dir, found.hub, found.hub_timeout, found.device) == (8000, Path("somewhere"), "off", 2.5, "cpu")
    assert found.threads == Settings().threads


@pytest.mark.parametrize(
    ("name", "value", "bound"),
    [
        ("PORT", "70000", "65535"),
        ("PORT", "-1", "0"),
        ("PORT", "http", "integer"),
        ("DEVICE", "tpu", "cpu"),
        ("MEMORY_MB", "1", "16"),
        ("THREADS", "0", "1"),
        ("THREADS", "1.5", "integer"),
        ("BATCH_SIZE", "2000", "1024"),
        ("HUB", "maybe", "listed"),
        ("HUB_TIMEOUT", "0", "0"),
        ("HUB_TIMEOUT", "nan", "600"),
        ("HUB_RETRIES", "11", "10"),
        ("MAX_UPLOAD_MB", "x", "integer"),
        ("LIVE_PER_SECOND", "0", "1"),
    ],
)
def test_a_variable_that_does_not_fit_is_named_with_its_bound(bare_environment: pytest.MonkeyPatch, name: str, value: str, bound: str):
    bare_environment.setenv(PREFIX + name, value)
    with pytest.raises(BadKnob) as caught:
        Settings.from_environment()
    assert f"{PREFIX}{name}={value!r} does not fit" in str(caught.value)
    assert bound in caught.value.what.partition(" does not fit")[2]
    assert caught.value.remedy == Settings.model_fields[name.lower()].description


def test_a_space_is_open_to_strangers(bare_environment: pytest.MonkeyPatch):
    assert (Settings.from_environment().hub, Settings.from_environment().visitors) == ("any", "trusted")
    bare_environment.setenv("SPACE_ID", "somebody/playground")
    assert (Settings.from_environment().hub, Settings.from_environment().visitors) == ("listed", "strangers")
    bare_environment.setenv(PREFIX + "HUB", "any")
    assert Settings.from_environment().hub == "any"


def test_the_lock_file_is_in_the_weights_folder_unless_it_is_put_elsewhere(tmp_path: Path):
    assert Settings(weights_dir=tmp_path).lock_path == tmp_path / "hub-lock.json"
    assert Settings(weights_dir=tmp_path, lock_file=tmp_path / "other").lock_path == tmp_path / "other"


def test_the_table_lists_every_setting_once():
    head, rule, *rows = Settings.table().splitlines()
    assert head == "| Variable | Default | What it does |"
    assert set(rule) == {"|", "-"}
    assert len(rows) == len(Settings.model_fields)
    for row, (name, field) in zip(rows, Settings.model_fields.items(), strict=True):
        variable, default, words = (cell.strip() for cell in row.strip("|").split("|"))
        assert variable == f"`{PREFIX}{name.upper()}`"
        assert words == field.description
        assert default.strip("`") in (str(field.default), "weights", "")
    assert str(PROJECT) not in Settings.table()  # the table is the same on every machine
