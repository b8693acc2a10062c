"""Publishing cards: the real client against a Hub on this machine, from the command line to the repo."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi, constants

from playground.__main__ import main
from playground.cards import bundled_cards, file_sha256
from playground.errors import BadRequest, HubUnreachable
from playground.hub import publishing
from playground.hub.publishing import Publisher
from tests.hub_server import FOREVER, NEVER, HubServer, point_client_at

# The client uploads large files the way that its own HTTP library calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

TOKEN = "hf_ThisIsNobodysBusiness"
CARD = "vae-tiny-4"
REPO = f"ann/{CARD}"
README = b"---\nlicense: mit\ntags:\n- vae\n---\n\n# Tiny\n"
WEIGHTS = {"config.json": b'{"size": 4}\n', "model.safetensors": bytes(range(256)) * 40}
BESIDE = {"README.md": README, "metrics.json": b"{}\n", "training.png": b"\x89PNG picture"}
FILES = WEIGHTS | BESIDE
READING = {"GET", "HEAD"}
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder with one card, and files beside it that are none of the Hub's business."""
    folder = tmp_path / "weights"
    (folder / CARD).mkdir(parents=True)
    for name, data in {**FILES, "checkpoint.pt": b"private", "notes.txt": b"private"}.items():
        (folder / CARD / name).write_bytes(data)
    rows = "".join(f'"{name}" = "sha256:{file_sha256(folder / CARD / name)}"\n' for name in WEIGHTS)
    head = f'# All models.\n\n[{CARD}]\nfamily = "vae"\ntitle = "Tiny" # small\nlicense = "mit"\n\n[{CARD}.files]\n{rows}'
    later = '\n# Later.\n[vae-later-4]\nfamily = "vae"\ntitle = "Later"\n'
    theirs = '[vae-theirs-4]\nfamily = "vae"\ntitle = "Theirs"\nrepo = "ben/vae"\n'
    (folder / "models.toml").write_text(head + later + theirs)
    monkeypatch.setenv("PLAYGROUND_WEIGHTS_DIR", str(folder))
    monkeypatch.setenv("PLAYGROUND_HUB_RETRIES", "2")
    return folder


@pytest.fixture
def ann(remote: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """A Hub that knows Ann, whose token the environment holds, and nobody who waits before trying again."""
    remote.add_token(TOKEN, "ann", orgs=["acme"])
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(publishing, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda seconds: None, time=time.time))
    return remote


@pytest.fixture(autouse=True)
def the_token_is_never_shown(capfd: Capture, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test makes the program say or log, the token is not in it."""
    caplog.set_level("DEBUG", "huggingface_hub")
    yield
    shown = capfd.readouterr()
    assert TOKEN not in shown.out + shown.err + caplog.text


def say(capfd: Capture, *arguments: str, namespace: str = "ann") -> tuple[int, str]:
    """Exit status and words of the command."""
    status = main(["publish", *(arguments or [CARD]), "--namespace", namespace])
    shown = capfd.readouterr()
    assert TOKEN not in shown.out + shown.err
    return status, shown.out if status == 0 else shown.err.strip().splitlines()[-1]


def commits(remote: HubServer, repo: str = REPO) -> int:
    """How many commits a repo has, the first empty one aside."""
    return len(remote.repos()[repo].commits) - 1


def held(remote: HubServer, repo: str = REPO) -> dict[str, bytes]:
    """What a repo holds, but for what the Hub puts there."""
    return {name: data for name, data in remote.files(repo).items() if name != ".gitattributes"}


# -- what is sent -------------------------------------------------------------------------------------------------------


def test_a_card_becomes_a_repo_in_one_commit(ann: HubServer, weights: Path, capfd: Capture) -> None:
    status, words = say(capfd)
    assert status == 0 and words == f"{CARD} is at {ann.url}/{REPO}\n"
    assert held(ann) == FILES  # and so no checkpoint, no notes
    assert commits(ann) == 1 and not ann.repos()[REPO].private


def test_the_second_time_nothing_is_sent(ann: HubServer, weights: Path, capfd: Capture) -> None:
    say(capfd)
    ann.requests.clear()
    status, words = say(capfd)
    assert status == 0 and words == f"{CARD} is already at {ann.url}/{REPO}\n"
    assert commits(ann) == 1 and {request.method for request in ann.requests} <= READING


def test_only_what_changed_is_sent(ann: HubServer, weights: Path, capfd: Capture) -> None:
    say(capfd)
    (weights / CARD / "README.md").write_bytes(README + b"More.\n")
    ann.requests.clear()
    assert say(capfd, CARD, "--yes")[0] == 0
    assert held(ann) == FILES | {"README.md": README + b"More.\n"} and commits(ann) == 2
    assert "PUT" not in {request.method for request in ann.requests}


def test_what_the_hub_lacks_is_added_unasked(ann: HubServer, weights: Path, capfd: Capture) -> None:
    ann.add_repo(REPO, WEIGHTS)
    assert say(capfd)[0] == 0
    assert held(ann) == FILES


def test_a_private_repo(ann: HubServer, weights: Path, capfd: Capture) -> None:
    assert say(capfd, CARD, "--private")[0] == 0
    assert ann.repos()[REPO].private and held(ann) == FILES
    assert say(capfd, CARD, "--private")[1].startswith(f"{CARD} is already at")


def test_what_is_to_be_private_never_goes_to_a_public_repo(ann: HubServer, weights: Path, capfd: Capture) -> None:
    before = ann.add_repo(REPO, {})
    status, words = say(capfd, CARD, "--private", "--yes")
    assert status == 2 and words == f"playground: {REPO} is public. Make it private on its page, or leave out --private."
    assert ann.repos()[REPO].branches["main"] == before


def test_all_means_every_card_whose_files_are_here(ann: HubServer, weights: Path, capfd: Capture) -> None:
    assert say(capfd, "--all", namespace="acme")[1] == f"{CARD} is at {ann.url}/acme/{CARD}\n"
    assert list(ann.repos()) == [f"acme/{CARD}"]


# -- what is overwritten ------------------------------------------------------------------------------------------------

OTHER = {"config.json": b"{}", "model.safetensors": b"other weights", "README.md": README, "notes.txt": b"mine"}
QUESTION = f"Overwrite {REPO} (2 files differ: config.json, model.safetensors; 1 file would be deleted: notes.txt)?"


@pytest.mark.parametrize(("answer", "done"), [("y", True), ("YES ", True), ("", False), ("n", False), (EOFError(), False)], ids=str)
def test_a_person_is_asked_first(
    ann: HubServer, weights: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch, answer: str | Exception, done: bool
) -> None:
    def asked(question: str) -> str:
        assert question == f"{QUESTION} [y/N] "
        if isinstance(answer, Exception):
            raise answer
        return answer

    ann.add_repo(REPO, OTHER)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", asked)
    status, words = say(capfd)
    assert status == 0 and held(ann) == (FILES if done else OTHER)
    assert words == (f"{CARD} is at {ann.url}/{REPO}\n" if done else f"{REPO} is left as it is.\n")


def test_without_a_terminal_nothing_is_overwritten(ann: HubServer, weights: Path, capfd: Capture) -> None:
    ann.add_repo(REPO, OTHER)
    status, words = say(capfd)
    assert status == 2 and words == f"playground: {QUESTION} There is no terminal to answer at. Say --yes, or leave the repo as it is."
    assert held(ann) == OTHER
    assert say(capfd, CARD, "--yes")[0] == 0 and held(ann) == FILES


@pytest.mark.parametrize("moment", ["asked", "sent"])
def test_what_somebody_else_adds_meanwhile_is_not_overwritten(
    ann: HubServer, weights: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    ann.add_repo(REPO, OTHER)

    def meddle(*_: object, **__: object) -> bool:
        ann.add_repo(REPO, OTHER | {"thesis.txt": b"years of work"})
        return True

    if moment == "sent":  # the client looks at the metadata, then it sends the commit
        monkeypatch.setattr(HfApi, "_validate_yaml", meddle)
        (weights / CARD / "README.md").write_bytes(README + b"More.\n")
    with pytest.raises(BadRequest, match=rf"^Somebody else is changing {REPO} on the Hub\."):
        [*Publisher(weights, "ann", meddle if moment == "asked" else lambda question: True).run([CARD])]
    assert held(ann) == OTHER | {"thesis.txt": b"years of work"}


# -- only saying it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (None, "would be created; to upload: 5 files, 10,"),
        (FILES, "already holds these files; nothing would be done."),
        (WEIGHTS, "would be completed; to upload: 3 files, "),
        (OTHER, f"would be overwritten ({QUESTION.partition('(')[2][:-1]}; to upload: 4 files, 10,"),
    ],
    ids=["new", "same", "less", "other"],
)
def test_a_dry_run_only_reads(ann: HubServer, weights: Path, capfd: Capture, there: dict[str, bytes] | None, words: str) -> None:
    if there is not None:
        ann.add_repo(REPO, there)
    before = (weights / "models.toml").read_text()
    status, said = say(capfd, CARD, "--dry-run", "--record")
    assert status == 0 and said.startswith(f"{REPO}: {words}")
    assert ann.requests and {request.method for request in ann.requests} <= READING
    assert (held(ann) if there is not None else None) == there and (weights / "models.toml").read_text() == before


# -- what is recorded ---------------------------------------------------------------------------------------------------


def test_the_manifest_is_told_the_commit(ann: HubServer, weights: Path, capfd: Capture) -> None:
    before = (weights / "models.toml").read_text()
    say(capfd, CARD, "--record")
    card = bundled_cards(weights)[CARD]
    assert (card.repo, card.revision) == (REPO, ann.repos()[REPO].branches["main"])
    after = (weights / "models.toml").read_text()
    rows = f'repo = "{REPO}"\nrevision = "{card.revision}"\n'
    assert rows in after and after.replace(rows, "") == before
    say(capfd, CARD, "--record")  # nothing new
    assert (weights / "models.toml").read_text() == after


# -- what is refused here -----------------------------------------------------------------------------------------------


def test_a_damaged_file_is_never_published(ann: HubServer, weights: Path, capfd: Capture) -> None:
    model = weights / CARD / "model.safetensors"
    model.write_bytes(b"\1" + WEIGHTS["model.safetensors"][1:])
    status, words = say(capfd)
    assert status == 2 and f"{model} is damaged: its sha256 begins" in words and "Nothing of it is published." in words
    model.unlink()
    assert "model.safetensors cannot be read (No such file or directory)" in say(capfd)[1]
    assert ann.requests == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vae-later-4"], "vae-later-4 has no weights here. Train it: python -m playground train vae-later-4."),
        (["vae-theirs-4"], "vae-theirs-4 has no weights here. They are on the Hub already, as ben/vae."),
        (["vae-absent-4"], "There is no card called 'vae-absent-4'."),
        (["--private"], "No card was named. Name one, or write --all."),
    ],
)
def test_what_is_no_card_with_weights(ann: HubServer, weights: Path, capfd: Capture, arguments: list[str], words: str) -> None:
    status, said = say(capfd, *arguments)
    assert status == 2 and said.startswith(f"playground: {words}")
    assert ann.requests == []


@pytest.mark.parametrize("namespace", ["a b", "acme/models", "", "a--b"])
def test_a_namespace_that_cannot_be(ann: HubServer, weights: Path, capfd: Capture, namespace: str) -> None:
    status, words = say(capfd, namespace=namespace)
    assert status == 2 and "cannot be the name of a repo on the Hub. Give --namespace your user name there" in words
    assert ann.requests == []


@pytest.mark.parametrize("token", [None, "hf_ThisIsNobodysBusiness\u2026", "hf_two words\x7f"])
def test_without_a_token(ann: HubServer, weights: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch, token: str | None) -> None:
    monkeypatch.delenv("HF_TOKEN") if token is None else monkeypatch.setenv("HF_TOKEN", token)
    status, words = say(capfd)
    assert status == 2 and "token" in words and f"{ann.url}/settings/tokens" in words
    assert ann.requests == []


def test_offline_mode(ann: HubServer, weights: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert say(capfd)[1] == "playground: HF_HUB_OFFLINE is set, so nothing can be published. Unset it, and try again."
    assert ann.requests == []


# -- what the Hub refuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_on_https", [False, True])
def test_a_wrong_token(ann: HubServer, weights: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch, as_on_https: bool) -> None:
    if as_on_https:  # where the client takes any 401 for a repo that is not there
        monkeypatch.setattr("huggingface_hub.utils._http.REPO_API_REGEX", re.compile("/api/models/"))
        ann.inject(status=401)
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    status, words = say(capfd, CARD, "--dry-run")
    assert status == 2 and words.startswith("playground: The Hub does not know this token. Set HF_TOKEN to one of")
    assert "hf_old" not in words


def test_a_token_that_may_only_read(ann: HubServer, weights: Path, capfd: Capture) -> None:
    ann.add_token(TOKEN, "ann", may_write=False)
    status, words = say(capfd)
    assert status == 2 and words.startswith("playground: The token may only read. Make one that may write at")
    assert REPO not in ann.repos()


@pytest.mark.parametrize("there", [False, True])
def test_a_namespace_of_somebody_else(ann: HubServer, weights: Path, capfd: Capture, there: bool) -> None:
    if there:
        ann.add_repo(f"ben/{CARD}", {})
    status, words = say(capfd, namespace="ben")
    assert status == 2
    assert words == "playground: The Hub does not let ann write to ben. Give --namespace one of: ann, acme; or use another token."


MOVED = f"Somebody else is changing {REPO} on the Hub. Wait a moment, and publish again."


@pytest.mark.parametrize(
    ("path", "fault", "words"),
    [
        ("preupload", {"status": 409}, MOVED),
        ("commit", {"status": 409}, MOVED),
        ("commit", {"status": 412}, MOVED),
        ("create", {"status": 429, "retry_after": 40}, "The Hub was asked too often. Try again in 40 seconds."),
        ("commit", {"status": 400}, f"The Hub refused {REPO} (status 400). Look at its page, and check the namespace and HF_TOKEN."),
    ],
)
def test_what_will_not_pass_is_not_tried_again(
    ann: HubServer, weights: Path, capfd: Capture, path: str, fault: dict[str, int], words: str
) -> None:
    ann.inject(path=path, method="POST", **fault)
    assert say(capfd) == (2, f"playground: {words}")


def test_metadata_that_the_hub_does_not_take(ann: HubServer, weights: Path, capfd: Capture) -> None:
    (weights / CARD / "README.md").write_text("---\nlicense: whatever\n---\n")
    assert say(capfd) == (2, f"playground: The Hub does not take the metadata in the README.md of {REPO}. Rewrite it: make figures.")
    assert held(ann) == {}


# -- what passes --------------------------------------------------------------------------------------------------------

STEPS = {
    "looking": ("GET", "/api/models/"),
    "creating": ("POST", "/api/repos/create"),
    "validating": ("POST", "/api/validate-yaml"),
    "asking how": ("POST", "/preupload/"),
    "asking where": ("POST", "/info/lfs/"),
    "uploading": ("PUT", "/lfs/"),
    "verifying": ("POST", "/lfs/verify"),
    "committing": ("POST", "/commit/"),
}


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize(("method", "path"), STEPS.values(), ids=STEPS)
def test_a_busy_hub_is_asked_again(ann: HubServer, weights: Path, capfd: Capture, method: str, path: str, status: int) -> None:
    ann.inject(path=path, method=method, status=status)
    assert say(capfd)[0] == 0
    assert held(ann) == FILES and commits(ann) == 1


@pytest.mark.parametrize("path", ["/api/repos/create", "/commit/"])
def test_an_answer_that_was_lost(ann: HubServer, weights: Path, capfd: Capture, path: str) -> None:
    """What was asked for is done, and the connection breaks before the answer."""
    ann.inject(path=path, method="POST", truncate=1)
    assert say(capfd)[0] == 0
    assert held(ann) == FILES and commits(ann) == 1


@pytest.mark.parametrize(("method", "path"), [STEPS["looking"], STEPS["uploading"], STEPS["committing"]])
def test_a_hub_that_stays_busy_is_given_up(ann: HubServer, weights: Path, capfd: Capture, method: str, path: str) -> None:
    ann.inject(path=path, method=method, status=503, times=FOREVER)
    assert say(capfd) == (2, f"playground: The Hub answered 503 for {REPO}. Try again in a minute.")
    ann.reset()
    ann.add_token(TOKEN, "ann")
    assert say(capfd)[0] == 0 and held(ann) == FILES


def test_a_hub_that_is_none(ann: HubServer, weights: Path, capfd: Capture) -> None:
    ann.add_repo(REPO, {})
    ann.inject(path="/api/models", corrupt=True, times=FOREVER)
    assert "does not speak as the Hub does" in say(capfd)[1]


def test_a_dead_hub(ann: HubServer, weights: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # taken, so that nobody else gets it, and not listening
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        point_client_at(url, monkeypatch)
        status, words = say(capfd)
    assert status == 2 and words.startswith(f"playground: The Hub at {url} did not answer.")


def test_a_silent_hub(ann: HubServer, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HubServer() as silent:  # its own, as it may see a request after the client gave up
        point_client_at(silent.url, monkeypatch)
        silent.inject(delay=NEVER, times=FOREVER)
        with pytest.raises(HubUnreachable, match="did not answer"):
            [*Publisher(weights, "ann", lambda question: True, timeout=0.05, retries=1).run([CARD])]
        assert len(silent.requests) <= 2
