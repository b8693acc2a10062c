"""The manifest: what it may say, what is refused and in which words, and that the bundled one is true."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import tomli

from playground.cards import Card, bundled_cards, file_sha256, find_card, read_cards, write_hashes
from playground.errors import BadWeights, UnknownCard
from playground.hub import resolve
from playground.settings import PROJECT

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HASH = "ab" * 32
FIELDS = {
    "family": '"vae"',
    "title": '"A VAE"',
    "repo": '"acme/vae"',
    "revision": f'"{COMMIT}"',
    "license": '"apache-2.0"',
    "paper": '"arXiv:1312.6114"',
    "dataset": '"fashion-28"',
    "files": f'{{ "model.safetensors" = "sha256:{HASH}", "config.json" = "sha256:{HASH}" }}',
    "defaults": '{ temperature = 0.8, mean = true, words = ["a", "b"] }',
}
"""An entry with every field, as TOML."""


def write_manifest(folder: Path, text: str) -> Path:
    manifest = folder / "models.toml"
    manifest.write_text(text, encoding="utf-8")
    return manifest


def entry(card_id: str = "vae-tiny-4", **changes: str | None) -> str:
    """A sound entry with some fields changed; None leaves one out."""
    fields = {name: value for name, value in {**FIELDS, **changes}.items() if value is not None}
    return f"[{card_id}]\n" + "".join(f"{name} = {value}\n" for name, value in fields.items())


def files(name: str, value: str = f"sha256:{HASH}") -> str:
    """A table of one file; the name between single quotes, where TOML takes it as it is."""
    return f"{{ '{name}' = \"{value}\" }}"


# -- what is read -------------------------------------------------------------------------------------------------------


def test_every_field_is_read(tmp_path: Path) -> None:
    card = read_cards(write_manifest(tmp_path, entry()))["vae-tiny-4"]
    assert card == Card(
        id="vae-tiny-4",
        family="vae",
        title="A VAE",
        files={"model.safetensors": HASH, "config.json": HASH},
        repo="acme/vae",
        revision=COMMIT,
        license="apache-2.0",
        paper="arXiv:1312.6114",
        dataset="fashion-28",
        defaults={"temperature": 0.8, "mean": True, "words": ["a", "b"]},
    )
    assert card.weights_sha256 == HASH


def test_a_card_may_wait_for_its_training(tmp_path: Path) -> None:
    card = read_cards(write_manifest(tmp_path, entry(files=None)))["vae-tiny-4"]
    assert not card.files
    with pytest.raises(BadWeights, match=r"has no weights yet\. Train it: python -m playground train vae-tiny-4"):
        resolve(card, weights_dir=tmp_path)


def test_only_family_and_title_are_needed(tmp_path: Path) -> None:
    without = dict.fromkeys(("repo", "revision", "license", "paper", "dataset", "defaults"))
    card = read_cards(write_manifest(tmp_path, entry(files=files("pictures.png"), **without)))["vae-tiny-4"]
    assert card == Card("vae-tiny-4", "vae", "A VAE", {"pictures.png": HASH})
    assert card.weights_sha256 == ""
    assert dict(card.defaults) == {}


def test_cards_keep_the_order_of_the_manifest(tmp_path: Path) -> None:
    text = "\n".join(entry(card_id) for card_id in ("vae-b-4", "vae-a-4", "vae-c-4"))
    assert list(read_cards(write_manifest(tmp_path, text))) == ["vae-b-4", "vae-a-4", "vae-c-4"]


# -- what is refused ----------------------------------------------------------------------------------------------------

DEFECTS = {
    "unknown field": (entry(colour='"red"'), "unknown field 'colour'"),
    "wrong type of title": (entry(title="7"), "title of [vae-tiny-4] is not a str"),
    "wrong type of files": (entry(files='"model.safetensors"'), "files of [vae-tiny-4] is not a dict"),
    "wrong type of defaults": (entry(defaults="[1]"), "defaults of [vae-tiny-4] is not a dict"),
    "wrong type of revision": (entry(revision="12"), "revision of [vae-tiny-4] is not a str"),
    "no family": (entry(family=None), "[vae-tiny-4] has no family"),
    "empty title": (entry(title='""'), "[vae-tiny-4] has no title"),
    "id of one word": (entry("vae"), "[vae] is not named family-dataset-size"),
    "id in capitals": (entry("VAE-tiny-4"), "[VAE-tiny-4] is not named family-dataset-size"),
    "id with a path": (entry('"vae-tiny/../4"'), "[vae-tiny/../4] is not named family-dataset-size"),
    "entry that is no table": ("vae-tiny-4 = 1\n", "[vae-tiny-4] is not a table"),
    "repo without revision": (entry(revision=None), "[vae-tiny-4] needs both repo and revision, or neither"),
    "revision without repo": (entry(repo=None), "[vae-tiny-4] needs both repo and revision, or neither"),
    "revision that is a branch": (entry(revision='"main"'), "revision of [vae-tiny-4] is not a commit of 40 hex digits"),
    "short revision": (entry(revision=f'"{COMMIT[:7]}"'), "revision of [vae-tiny-4] is not a commit of 40 hex digits"),
    "repo without owner": (entry(repo='"vae"'), "repo of [vae-tiny-4] is not owner/name"),
    "repo that is a link": (entry(repo='"https://hub/acme/vae"'), "repo of [vae-tiny-4] is not owner/name"),
    "repo that climbs": (entry(repo='"../.."'), "repo of [vae-tiny-4] is not owner/name"),
    "repo the Hub cannot hold": (entry(repo='"acme/a--b"'), "repo of [vae-tiny-4] is not owner/name"),
    "file in a parent": (entry(files=files("../model.safetensors")), "file '../model.safetensors' of [vae-tiny-4] is not a plain"),
    "file that is a parent": (entry(files=files("..")), "file '..' of [vae-tiny-4] is not a plain"),
    "file at the root": (entry(files=files("/model.safetensors")), "file '/model.safetensors' of [vae-tiny-4] is not a plain"),
    "file in a folder": (entry(files=files("a/model.safetensors")), "file 'a/model.safetensors' of [vae-tiny-4] is not a plain"),
    "file with backslash": (entry(files=files("..\\x.json")), "file '..\\\\x.json' of [vae-tiny-4] is not a plain"),
    "file without name": (entry(files=files("")), "file '' of [vae-tiny-4] is not a plain"),
    "hash without sha256": (entry(files=files("a.json", HASH)), "file 'a.json' of [vae-tiny-4] needs a hash"),
    "short hash": (entry(files=files("a.json", f"sha256:{HASH[:-1]}")), "file 'a.json' of [vae-tiny-4] needs a hash"),
    "hash in capitals": (entry(files=files("a.json", f"sha256:{HASH.upper()}")), "file 'a.json' of [vae-tiny-4] needs a hash"),
    "hash of another kind": (entry(files=files("a.json", "md5:" + "0" * 32)), "file 'a.json' of [vae-tiny-4] needs a hash"),
    "hash that is a number": (entry(files='{ "a.json" = 7 }'), "file 'a.json' of [vae-tiny-4] needs a hash"),
} | {
    f"pickle {name}": (entry(files=files(name)), f"file '{name}' of [vae-tiny-4] may hold a pickle")
    for name in ("model.bin", "model.pt", "model.pth", "model.ckpt", "model.pkl", "model.pickle", "model.npy", "model.PT")
}


@pytest.mark.parametrize(("text", "words"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_is_told_with_its_entry_and_field(tmp_path: Path, text: str, words: str) -> None:
    sound = entry("vae-sound-4")
    with pytest.raises(BadWeights) as caught:
        read_cards(write_manifest(tmp_path, f"{text}\n{sound}"))
    assert words in str(caught.value)
    assert str(caught.value).endswith("Mend models.toml, or restore it: git checkout -- weights/models.toml.")


@pytest.mark.parametrize("data", [b"[vae-tiny-4\n", b"title = \xff\n", b"[a-b]\n[a-b]\n"], ids=["open", "not text", "twice"])
def test_a_manifest_that_is_not_toml(tmp_path: Path, data: bytes) -> None:
    manifest = tmp_path / "models.toml"
    manifest.write_bytes(data)
    with pytest.raises(BadWeights, match=r"models\.toml is not TOML \(.*git checkout -- weights/models\.toml"):
        read_cards(manifest)


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match=r"models\.toml cannot be read \(No such file.*git checkout -- weights/models\.toml"):
        bundled_cards(tmp_path)


def test_a_card_that_is_not_there(tmp_path: Path) -> None:
    cards = read_cards(write_manifest(tmp_path, entry("vae-a-4") + entry("vae-b-4")))
    assert find_card(cards, "vae-b-4") is cards["vae-b-4"]
    with pytest.raises(UnknownCard) as caught:
        find_card(cards, "vae-c-4")
    assert str(caught.value) == "There is no card called 'vae-c-4'. Did you mean vae-b-4 or vae-a-4?"
    with pytest.raises(UnknownCard, match="There are: none"):
        find_card({}, "vae-a-4")


# -- hashes -------------------------------------------------------------------------------------------------------------


def test_a_hash_is_that_of_the_whole_file(tmp_path: Path) -> None:
    data = bytes(range(256)) * 8200  # more than the two blocks it is read in
    (tmp_path / "file").write_bytes(data)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(data).hexdigest()


HEAD = '# All models.\n\n[vae-a-4]\nfamily = "vae"\ntitle = "A, 4×4"  # small\n'
TABLE = f'[vae-a-4.files]\n"gone.json" = "sha256:{HASH}"\n'
TAIL = f'\n# The second one.\n[vae-b-4]\nfamily = "vae"\ntitle = "B"\n[vae-b-4.files]\n"config.json" = "sha256:{HASH}"\n'
DEFAULTS = "[vae-a-4.defaults]\ntemperature = 0.8\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (HEAD + TAIL, HEAD + "{table}" + TAIL),
        (HEAD + TABLE + TAIL, HEAD + "{table}" + TAIL),
        (HEAD + TABLE + DEFAULTS + TAIL, HEAD + "{table}" + DEFAULTS + TAIL),
        (HEAD + DEFAULTS + TABLE + TAIL, HEAD + DEFAULTS + "{table}" + TAIL),
        (HEAD + DEFAULTS + TAIL, HEAD + "{table}" + DEFAULTS + TAIL),
        (HEAD + TABLE + TAIL.lstrip(), HEAD + "{table}" + TAIL.lstrip()),
        (HEAD + "# At the end.", HEAD + "{table}# At the end."),
        (HEAD + TABLE + "# At the end.", HEAD + "{table}# At the end."),
        (HEAD + '# Which data.\ndataset = "a"\n' + TAIL, HEAD + '# Which data.\ndataset = "a"\n' + "{table}" + TAIL),
        (HEAD, HEAD + "{table}"),
        (HEAD.rstrip("\n"), HEAD + "{table}"),
        (HEAD + TABLE.rstrip("\n"), HEAD + "{table}"),
    ],
    ids=[
        "no table",
        "table",
        "table first",
        "table last",
        "other table only",
        "comment at once",
        "comment at the end",
        "table and comment at the end",
        "comment among fields",
        "last entry",
        "no last newline",
        "table at the end",
    ],
)
def test_hashes_are_written_and_the_rest_stays(tmp_path: Path, before: str, after: str) -> None:
    manifest = write_manifest(tmp_path, before)
    folder = tmp_path / "vae-a-4"
    folder.mkdir()
    for name in ("model.safetensors", "config.json"):
        (folder / name).write_bytes(name.encode())
    write_hashes(manifest, "vae-a-4", ["model.safetensors", "config.json"])
    hashes = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("config.json", "model.safetensors")}
    rows = "".join(f'"{name}" = "sha256:{value}"\n' for name, value in hashes.items())
    written = manifest.read_text(encoding="utf-8")
    assert written == after.format(table=f"[vae-a-4.files]\n{rows}")
    assert dict(read_cards(manifest)["vae-a-4"].files) == hashes
    write_hashes(manifest, "vae-a-4", ["config.json", "model.safetensors"])
    assert manifest.read_text(encoding="utf-8") == written


def test_hashes_are_seen_at_once(tmp_path: Path) -> None:
    """`bundled_cards` remembers what it read; a training run that ends must not leave it with old hashes."""
    manifest = write_manifest(tmp_path, HEAD + TABLE)
    assert list(bundled_cards(tmp_path)["vae-a-4"].files) == ["gone.json"]
    (tmp_path / "vae-a-4").mkdir()
    (tmp_path / "vae-a-4" / "new.json").write_bytes(b"{}")
    write_hashes(manifest, "vae-a-4", ["new.json"])
    assert list(bundled_cards(tmp_path)["vae-a-4"].files) == ["new.json"]


def test_hashes_need_an_entry(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, HEAD)
    with pytest.raises(UnknownCard, match=r"has no entry \[vae-c-4\]\. Add one with family, title"):
        write_hashes(manifest, "vae-c-4", ["config.json"])
    assert manifest.read_text(encoding="utf-8") == HEAD


# -- the bundled manifest -----------------------------------------------------------------------------------------------


def test_the_bundled_manifest_is_true() -> None:
    weights = PROJECT / "weights"
    cards = read_cards(weights / "models.toml")
    assert list(cards) == list(tomli.loads((weights / "models.toml").read_text(encoding="utf-8")))
    found = {card.id: {name: file_sha256(weights / card.id / name) for name in card.files} for card in cards.values()}
    assert found == {card.id: dict(card.files) for card in cards.values()}
