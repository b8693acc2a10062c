"""What the tab Models says of every card, and what its server does and refuses, without a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.cards import Card, bundled_cards
from playground.engine import Engine
from playground.families import FAMILIES
from playground.hub import page_of
from playground.library import Finding, Library
from playground.settings import PROJECT, Settings
from playground.ui.model_rows import SHARED, as_it_is, asks, groups, listing, policy, rows, told
from playground.ui.models_tab import Counter
from tests.hub_server import HubServer

VAE = PROJECT / "weights" / "vae-beta-4-fashion-28"
NEEDED = ("config.json", "model.safetensors", "codes.safetensors")
THING = {name: (VAE / name).read_bytes() for name in NEEDED}
LISTED = Card(
    "vae-listed-28", "vae", "A listed VAE", {}, repo="acme/listed", license="mit", paper="https://arxiv.org/abs/1312.6114", about="To be."
)
TOKEN = "hf_" + "a" * 20


def engine_of(tmp_path: Path, **settings: Any) -> Engine:
    """The bundled cards, and one that is only listed."""
    cards = {**{card.id: card for card in bundled_cards().values() if card.files}, LISTED.id: LISTED}
    return Engine(Settings(**{"hub": "any", "device": "cpu", "lock_file": tmp_path / "lock.json", **settings}), cards)


@pytest.fixture
def engine(remote: HubServer, tmp_path: Path) -> Engine:
    remote.add_repo("acme/listed", THING)
    remote.add_repo("acme/thing", {**THING, "README.md": b"---\nlicense: cc0-1.0\n---\n# Thing"})
    return engine_of(tmp_path)


def row_of(engine: Engine, key: str, guests: tuple[str, ...] = ()) -> dict[str, Any]:
    return next(row for row in rows(engine, guests) if row["key"] == key)


def event(**data: Any) -> gr.EventData:
    return gr.EventData(None, data)


# ---- rows -----------------------------------------------------------------------------------------------------------


def test_rows_stand_in_the_order_of_the_page(engine: Engine) -> None:
    order = [row["group"] for row in rows(engine, [])]
    names = [group["name"] for group in groups()]
    assert names == [*FAMILIES, SHARED] and order == sorted(order, key=names.index)
    assert {row["key"] for row in rows(engine, [])} == set(engine.cards or {})
    assert {row["key"] for row in rows(engine, []) if row["group"] == SHARED} == {
        "pictures-fashion-28",
        "training-fashion-28",
        "classifier-fashion-28",
    }


def test_a_bundled_card(engine: Engine) -> None:
    row = row_of(engine, "vae-fashion-28")
    assert row["place"] == "bundled" and row["can"] == ["open", "load"] and not row["loaded"] and row["offered"]
    names = bundled_cards()["vae-fashion-28"].files
    assert row["bytes"] == sum((PROJECT / "weights" / "vae-fashion-28" / name).stat().st_size for name in names)
    assert row["paper"] == {"words": "arXiv 1312.6114", "href": "https://arxiv.org/abs/1312.6114"} and row["source"] is None
    measured = json.loads((PROJECT / "weights" / "vae-fashion-28" / "metrics.json").read_text())
    fd, bits = measured["classifier_fd"]["value"], measured["iwae_64_bits_per_dim"]["value"]
    assert row["figures"] == [f"FD {fd:.2f}", f"{bits:.3f} bits/dim"]
    assert row_of(engine, "gan-fashion-28")["figures"][1].startswith("PSNR ")
    engine.model("vae-fashion-28")
    row = row_of(engine, "vae-fashion-28")
    assert row["loaded"] and row["can"] == ["open", "unload"]
    engine.unload("vae-fashion-28")
    assert row_of(engine, "pictures-fashion-28")["can"] == []


def test_a_listed_model_before_and_after_it_is_fetched(engine: Engine) -> None:
    row = row_of(engine, LISTED.id)
    assert (row["place"], row["bytes"], row["card"], row["can"]) == ("hub", None, "", ["fetch"])
    assert row["source"] == {"words": "acme/listed", "href": page_of("acme/listed")}
    card = engine.adopt(LISTED.id)
    row = row_of(engine, LISTED.id)
    assert (row["place"], row["card"], row["can"]) == ("cached", card.id, ["open", "load", "forget"])
    assert row["bytes"] == sum(map(len, THING.values())) and row["title"] == "A listed VAE" and row["about"] == "To be."
    assert row["source"]["words"] == f"acme/listed @ {card.revision[:12]}" and card.revision in row["source"]["href"]
    assert not row["offered"]  # by a tab, to this visit
    assert row_of(engine, LISTED.id, (card.id,))["offered"]
    assert [each["key"] for each in rows(engine, [card.id])] == [each["key"] for each in rows(engine, [])]  # one row for both


def test_a_visits_own_model_is_listed_to_it_alone(engine: Engine) -> None:
    card = engine.adopt("acme/thing")
    assert card.id not in {row["key"] for row in rows(engine, [])}
    own = [row for row in rows(engine, [card.id, "gone/model@" + "0" * 40]) if row["key"] == card.id]
    assert len(own) == 1 and own[0]["place"] == "cached" and own[0]["licence"] == "cc0-1.0"
    family = [row["key"] for row in rows(engine, [card.id]) if row["group"] == "vae"]
    assert family[-1] == card.id and LISTED.id in family
    Library(engine).forget(card.id)
    assert row_of(engine, card.id, (card.id,))["can"] == ["fetch"]  # somebody else forgot it


def test_a_folder_has_a_row_without_its_path(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "secret-place" / "mine"
    folder.mkdir(parents=True)
    for name, data in THING.items():
        (folder / name).write_bytes(data)
    card = engine.adopt(str(folder))
    row = row_of(engine, card.id, (card.id,))
    assert (row["place"], row["can"], row["offered"]) == ("folder", ["open", "load"], True)
    assert row["bytes"] == sum(map(len, THING.values()))
    assert "secret-place" not in json.dumps(row)


def test_no_path_and_no_token_is_told(engine: Engine, remote: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.add_token(TOKEN, "somebody")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    card = engine.adopt("acme/thing")
    finding = Library(engine).look("acme/listed")
    said = json.dumps([listing(engine, [card.id]), told(engine, finding, [])])
    for secret in (str(tmp_path), str(PROJECT), TOKEN, str(Path.home())):
        assert secret not in said


def test_a_damaged_lock_file_hides_no_row(engine: Engine) -> None:
    engine.adopt(LISTED.id)
    engine.settings.lock_path.write_text("dear diary")
    assert row_of(engine, LISTED.id, ("acme/gone@" + "0" * 40,))["place"] == "hub"


def test_who_may_do_what(remote: HubServer, tmp_path: Path) -> None:
    remote.add_repo("acme/listed", THING)
    remote.add_repo("acme/thing", THING)
    trusted = engine_of(tmp_path)
    ids = (trusted.adopt("acme/listed").id, trusted.adopt("acme/thing").id)

    def can(**settings: Any) -> tuple[list[str], ...]:
        engine = engine_of(tmp_path, **settings)
        engine.model("vae-fashion-28")
        shown = {row["card"]: row["can"] for row in rows(engine, ids)}
        return tuple(shown.get(card, ["no row"]) for card in ("vae-fashion-28", *ids))

    everything = ["open", "load", "forget"]
    assert can() == (["open", "unload"], everything, everything)
    assert can(visitors="strangers") == (["open"], ["open", "load"], ["open", "load"])
    assert can(hub="listed") == (["open", "unload"], everything, ["no row"])
    assert can(hub="off") == (["open", "unload"], [], ["no row"])


HOSTILE = [
    "[]",
    "{}",
    "dear diary",
    "[" * 5000,
    '{"classifier_fd": 3}',
    '{"classifier_fd": {"value": "<b>0</b>"}}',
    '{"classifier_fd": {"value": NaN}}',
    '{"classifier_fd": {"value": 1e300}}',
    '{"classifier_fd": {"value": true}}',
    '{"classifier_fd": {"value": 2.5}, "more": "' + "x" * 2**20 + '"}',
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_somebody_elses_figures_are_shown_only_if_they_are_numbers(engine: Engine, remote: HubServer, text: str) -> None:
    remote.add_repo("acme/figures", {**THING, "metrics.json": text.encode()})
    card = engine.adopt("acme/figures")
    assert row_of(engine, card.id, (card.id,))["figures"] == []


def test_somebody_elses_figures_are_shown(engine: Engine, remote: HubServer) -> None:
    remote.add_repo("acme/figures", {**THING, "metrics.json": b'{"classifier_fd": {"value": 2.5, "n": 10}}'})
    card = engine.adopt("acme/figures")
    assert row_of(engine, card.id, (card.id,))["figures"] == ["FD 2.50"]


def test_a_link_is_one_of_the_web_or_none(engine: Engine, tmp_path: Path) -> None:
    cards = {
        name: Card(name, "vae", "VAE", {}, paper=paper) for name, paper in (("vae-a-1", "javascript:alert(1)"), ("vae-b-1", "https://x.y"))
    }
    engine = Engine(Settings(hub="off", device="cpu", lock_file=tmp_path / "lock.json"), cards)
    assert row_of(engine, "vae-a-1")["paper"] is None
    assert row_of(engine, "vae-b-1")["paper"] == {"words": "Paper", "href": "https://x.y"}
    assert row_of(engine, "vae-b-1")["place"] == "nowhere" and row_of(engine, "vae-b-1")["can"] == []


# ---- the policy, and what was found ---------------------------------------------------------------------------------


def test_the_policy_is_said() -> None:
    assert policy(Settings(hub="listed")) == "This page fetches only what it lists."
    assert "up to 6.4 GB" in policy(Settings(hub="any"))
    assert "not for visitors" in policy(Settings(hub="off", visitors="strangers"))
    assert asks(Settings(hub="off", visitors="strangers")) == ""
    assert "folder" in asks(Settings(hub="off")) and "owner/name" not in asks(Settings(hub="off"))
    assert "folder" not in asks(Settings(hub="any", visitors="strangers"))


def test_what_was_found_is_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Library(engine).look("acme/thing")
    monkeypatch.setattr("playground.hub.free_bytes", lambda: 10**9)
    found = told(engine, finding, [])
    assert (found["free"], found["fits"], found["licence"], found["family"]) == (10**9, True, "cc0-1.0", "vae")
    assert found["missing"] == found["bytes"] - len(THING["config.json"])  # which was read to know what it is
    assert found["bytes"] > sum(map(len, THING.values())) and not found["offered"]  # its README comes along
    assert re.fullmatch(r"acme/thing @ [0-9a-f]{12}", found["source"]["words"])
    monkeypatch.setattr("playground.hub.free_bytes", lambda: 10**6)
    assert not told(engine, finding, [])["fits"]


def test_what_is_missing_is_counted_again(engine: Engine) -> None:
    library = Library(engine)
    finding = library.look("acme/thing")
    assert as_it_is(engine, finding) == finding
    library.bring("acme/thing")
    assert as_it_is(engine, finding).missing == 0
    pinned = library.look("acme/thing")
    library.forget(pinned.card.id)
    assert pinned.missing == 0 and as_it_is(engine, pinned).missing == pinned.bytes


# ---- the server's side of the buttons -------------------------------------------------------------------------------


def looked(counter: Counter, text: str) -> tuple[dict[str, Any], Mapping[str, Finding]]:
    answer, found = counter.look([], {}, event(ticket=7, text=text))
    return answer["finding"], found


def test_look_then_fetch(engine: Engine) -> None:
    counter = Counter(engine)
    finding, found = looked(counter, " acme/thing ")
    assert finding["ticket"] == 7 and [*found] == [finding["card"]]
    steps = [step["progress"] for step in counter.fetch(found, event(ticket=8, card=finding["card"]))]
    done = [step["done"] for step in steps]
    assert {step["ticket"] for step in steps} == {8} and done == sorted(done) and done[0] == 0 and done[-1] == finding["missing"]
    assert [step["card"] for step in steps if step["card"]] == [steps[-1]["card"]] == [finding["card"]]
    answer, guests = counter.act([], event(ticket=9, what="take", card=finding["card"]))
    assert guests == [finding["card"]] and answer["said"] == {"ticket": 9}
    assert finding["card"] in {row["key"] for row in answer["value"]["rows"]}
    assert counter.act(guests, event(what="take", card=finding["card"]))[1] == guests  # once


def test_what_was_looked_at_is_what_is_fetched(engine: Engine, remote: HubServer) -> None:
    """The branch moves on between the two."""
    counter = Counter(engine)
    finding, found = looked(counter, "acme/thing")
    remote.add_repo("acme/thing", {**THING, "README.md": b"Another."})
    *_, last = counter.fetch(found, event(ticket=1, card=finding["card"]))
    assert last["progress"]["card"] == finding["card"]


def test_closing_stops_the_download(engine: Engine, remote: HubServer) -> None:
    counter = Counter(engine)
    finding, found = looked(counter, "acme/thing")
    remote.inject(path="model.safetensors", method="GET", rate=800_000)
    steps = counter.fetch(found, event(ticket=1, card=finding["card"]))
    while next(steps)["progress"]["done"] == 0:
        pass
    steps.close()  # type: ignore[attr-defined]
    assert engine.settings.lock_path.exists() is False
    *_, last = counter.fetch(found, event(ticket=2, card=finding["card"]))
    assert last["progress"]["card"] == finding["card"]
    asked = [each for each in remote.requests if each.method == "GET" and each.path.endswith("model.safetensors")]
    assert len(asked) == 2  # the first did not come to its end


def test_load_unload_forget(engine: Engine) -> None:
    counter = Counter(engine)
    card = engine.adopt("acme/thing").id
    for what, loaded in (("load", True), ("unload", False), ("load", True)):
        answer, guests = counter.act([card], event(what=what, card=card))
        row = next(row for row in answer["value"]["rows"] if row["key"] == card)
        assert "error" not in answer["said"] and row["loaded"] is loaded is engine.is_loaded(card) and guests == [card]
    answer, guests = counter.act([card], event(what="forget", card=card))
    assert guests == [] and not engine.is_loaded(card) and card not in {row["key"] for row in answer["value"]["rows"]}
    answer, _ = counter.act([], event(what="load", card=card))
    assert "not here" in answer["said"]["error"] and not engine.is_loaded(card)  # it is not fetched behind one's back


def test_a_model_at_work_is_not_unloaded(engine: Engine) -> None:
    with engine._lease("vae-fashion-28"):
        answer, _ = Counter(engine).act([], event(what="unload", card="vae-fashion-28"))
    assert "is at work" in answer["said"]["error"] and engine.is_loaded("vae-fashion-28")


def test_strangers_are_refused(remote: HubServer, tmp_path: Path) -> None:
    remote.add_repo("acme/thing", THING)
    engine = engine_of(tmp_path, visitors="strangers")
    counter, card = Counter(engine), engine.adopt("acme/thing").id
    engine.model(card)
    for what in ("unload", "forget"):
        answer, guests = counter.act([card], event(what=what, card=card))
        assert "Visitors of this page" in answer["said"]["error"] and guests == [card]
    assert engine.is_loaded(card) and row_of(engine, card, (card,))["place"] == "cached"
    assert "not open to visitors" in looked(counter, str(VAE))[0]["error"]


def test_the_weights_of_an_own_card_are_no_card_of_the_visit(remote: HubServer, tmp_path: Path) -> None:
    own = bundled_cards()["vae-beta-4-fashion-28"]
    commit = remote.add_repo("acme/own", THING)
    cards = {"vae-own-28": Card("vae-own-28", "vae", "Our VAE", own.files, "acme/own", commit)}
    engine = Engine(Settings(hub="any", device="cpu", weights_dir=tmp_path, lock_file=tmp_path / "lock.json"), cards)
    assert row_of(engine, "vae-own-28")["can"] == ["fetch"]
    card = engine.adopt("vae-own-28").id
    assert Counter(engine).act([], event(what="take", card=card))[1] == []
    assert row_of(engine, "vae-own-28")["can"] == ["open", "load", "forget"]


REFUSED = {
    "": "No model was named.",
    "thing": "is no repo of the Hub",
    "acme/none": "There is no acme/none",
    "acme/thing@gone": "has no commit gone",
    "acme/pickle": "a pickle",
    "acme/other": "is no model that this page knows",
    "/no/such/folder": "There is no folder",
}


@pytest.mark.parametrize(("text", "words"), REFUSED.items())
def test_a_refusal_is_a_sentence(engine: Engine, remote: HubServer, text: str, words: str) -> None:
    remote.add_repo("acme/pickle", {"config.json": THING["config.json"], "model.bin": b"x"})
    remote.add_repo("acme/other", {"notes.txt": b"dear diary"})
    counter = Counter(engine)
    answer, found = counter.look([], {}, event(ticket=3, text=text))
    assert words in answer["finding"]["error"] and answer["finding"]["ticket"] == 3 and found == gr.skip()


KEYS = st.sampled_from(["ticket", "text", "card", "what"]) | st.text()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
OFF = Counter(Engine(Settings(hub="off", device="cpu", visitors="strangers"), {LISTED.id: LISTED}))


@given(JSON)
def test_whatever_a_browser_sends_gets_an_answer(data: Any) -> None:
    sent = gr.EventData(None, data)
    assert isinstance(OFF.look([], {}, sent)[0]["finding"]["error"], str)
    assert isinstance([*OFF.fetch({}, sent)][-1]["progress"]["error"], str)
    answer, guests = OFF.act([], sent)
    assert isinstance(answer["said"]["error"], str) and isinstance(answer["said"]["ticket"], int) and guests == []
