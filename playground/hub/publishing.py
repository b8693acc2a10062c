"""Publishing: what lies in a card's folder becomes a repo of its own on the Hugging Face Hub, in one commit.

Nothing is sent that is there already, nothing is overwritten unasked, and no weights are sent but those that the manifest names by
their sha256. The token is found and sent by the Hub's client alone.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from playground.cards import JUDGED, Card, bundled_cards, find_card, write_source
from playground.errors import BadRequest, BadWeights, HubUnreachable, PlaygroundError
from playground.hub.download import git_sha1
from playground.hub.places import page_of

BESIDE = ("README.md", "metrics.json", "sweeps.json", JUDGED, "training.png")
"""Published too where they are there: words and figures, which may change while the weights stay."""
BACKOFF_SECONDS = 1.0
_HUBS_OWN = ".gitattributes"
_PASSING = {408, 500, 502, 503, 504}
_T = TypeVar("_T")


class _MayPass(HubUnreachable):
    """A Hub that is busy or silent: another try may succeed."""


@dataclass(frozen=True)
class Remote:
    """A repo as it is on the Hub: its newest commit, and what it holds."""

    commit: str
    private: bool
    files: Mapping[str, str]
    """Name to digest: the sha256 of a large file, git's sha1 of any other."""


@dataclass(frozen=True)
class Change:
    """What a commit would do to a repo."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    deleted: tuple[str, ...]

    @classmethod
    def of(cls, files: Mapping[str, bytes], remote: Remote | None) -> Change:
        """What makes the repo hold exactly these files; all of them are added where there is no repo."""
        there = remote.files if remote else {}
        added = tuple(name for name in files if name not in there)
        changed = tuple(name for name, data in files.items() if name in there and there[name] not in digests(data))
        return cls(added, changed, tuple(name for name in there if name not in files and name != _HUBS_OWN))

    @property
    def nothing(self) -> bool:
        """Whether the repo holds exactly these files already."""
        return not (self.added or self.changed or self.deleted)

    @property
    def losses(self) -> tuple[str, ...]:
        """Files on the Hub that would not be there afterwards as they are."""
        return self.changed + self.deleted

    def words(self) -> str:
        """What would be lost: `2 files differ: a, b; 1 file would be deleted: c`."""
        differ = f"{_count(self.changed)} differ{'s' if len(self.changed) == 1 else ''}: {', '.join(self.changed)}"
        deleted = f"{_count(self.deleted)} would be deleted: {', '.join(self.deleted)}"
        return "; ".join(words for words, names in ((differ, self.changed), (deleted, self.deleted)) if names)


@dataclass(frozen=True)
class Publisher:
    """What `python -m playground publish` was asked for. A card `id` becomes the repo `namespace/id`."""

    weights_dir: Path
    namespace: str
    agree: Callable[[str], bool]
    """Asks a person a question; it may raise a `PlaygroundError` where nobody can be asked."""
    private: bool = False
    dry_run: bool = False
    record: bool = False
    """Whether the manifest is told where each card is."""
    timeout: float = 10.0
    retries: int = 3

    def publishable(self) -> list[str]:
        """The cards whose files are here, in the order of the manifest."""
        return [card.id for card in bundled_cards(self.weights_dir).values() if card.files and (self.weights_dir / card.id).is_dir()]

    def run(self, card_ids: Sequence[str]) -> Iterator[str]:
        """Publishes cards one after the other; yields lines of words. What is done is done when a later card fails.

        Raises `UnknownCard`; `BadWeights` for files that are missing or damaged; `BadRequest` for what the Hub does not allow;
        `HubUnreachable` when it does not answer.
        """
        cards = [find_card(bundled_cards(self.weights_dir), card_id) for card_id in card_ids]
        _check_token()
        for card in cards:
            yield from self._publish(card)

    def _publish(self, card: Card) -> Iterator[str]:
        repo, files = f"{self.namespace}/{card.id}", read_files(card, self.weights_dir / card.id)
        remote = self._tried(lambda: self._look(repo))
        change = Change.of(files, remote)
        if self.dry_run:
            yield f"{repo}: {_plan(change, remote, files)}"
            return
        if change.losses and not self.agree(f"Overwrite {repo} ({change.words()})?"):
            yield f"{repo} is left as it is."
            return
        commit = remote.commit if remote and change.nothing else self._tried(lambda: self._bring(repo, files, change))
        yield f"{card.id} is {'already ' if change.nothing else ''}at {page_of(repo)}"
        if self.record:
            write_source(self.weights_dir / "models.toml", card.id, repo, commit)

    def _look(self, repo: str) -> Remote | None:
        """What the repo holds now; None when there is none that this token may read."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RepositoryNotFoundError

        with _told(repo):
            try:
                info = HfApi(token=True).model_info(repo, files_metadata=True, timeout=self.timeout)
            except RepositoryNotFoundError as error:
                if error.response.status_code == 401:  # to a token that it knows, the Hub says 404
                    raise _refused(error, repo) from error
                return None
            digests = {file.rfilename: file.lfs.sha256 if file.lfs else str(file.blob_id) for file in info.siblings or ()}
            remote = Remote(str(info.sha), bool(info.private), digests)
        if self.private and not remote.private:
            raise BadRequest(f"{repo} is public.", "Make it private on its page, or leave out --private.")
        return remote

    def _bring(self, repo: str, files: Mapping[str, bytes], agreed: Change) -> str:
        """Makes the repo hold exactly these files; the commit that does. A second try sends nothing that the first one brought."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        remote = self._look(repo)
        change = Change.of(files, remote)
        if remote and change.nothing:
            return remote.commit
        if not set(change.losses) <= set(agreed.losses):
            raise _moved(repo)
        api = HfApi(token=True)
        added = [CommitOperationAdd(name, files[name]) for name in change.added + change.changed]
        deleted = [CommitOperationDelete(name) for name in change.deleted]
        with _told(repo):
            if remote is None:
                api.create_repo(repo, private=self.private or None, exist_ok=True)
            message = f"Publish {repo.partition('/')[2]}"
            parent = remote.commit if remote else None
            return str(api.create_commit(repo, [*added, *deleted], commit_message=message, parent_commit=parent).oid)

    def _tried(self, step: Callable[[], _T]) -> _T:
        """Does a step again when what hindered it may pass."""
        for attempt in range(self.retries):
            try:
                return step()
            except _MayPass:
                time.sleep(BACKOFF_SECONDS * 2**attempt)
        return step()


def read_files(card: Card, folder: Path) -> dict[str, bytes]:
    """What of a card's folder is published, by name. These very bytes were checked against the manifest.

    Raises `BadWeights` for a card without files, and for a file that is missing or another than the manifest's.
    """
    if not card.files:
        remedy = f"They are on the Hub already, as {card.repo}." if card.repo else f"Train it: python -m playground train {card.id}."
        raise BadWeights(f"{card.id} has no weights here.", remedy)
    files = {}
    for name, expected in card.files.items():
        files[name] = _read(folder / name)
        found = hashlib.sha256(files[name]).hexdigest()
        if found != expected:
            what = f"{folder / name} is damaged: its sha256 begins {found[:12]}, not {expected[:12]}."
            raise BadWeights(what, f"Nothing of it is published. Restore it: git checkout -- weights/{card.id}.")
    return files | {name: _read(folder / name) for name in BESIDE if name not in files and (folder / name).is_file()}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadWeights(f"{path} cannot be read ({error.strerror}).", "Restore it, or train the card again.") from error


def digests(data: bytes) -> tuple[str, str]:
    """By what the Hub may know this content: its sha256 (64 hex digits), and the sha1 that git gives to it (40)."""
    return hashlib.sha256(data).hexdigest(), git_sha1(data)


def _plan(change: Change, remote: Remote | None, files: Mapping[str, bytes]) -> str:
    """What would be done, for `--dry-run`."""
    if change.nothing:
        return "already holds these files; nothing would be done."
    sent = change.added + change.changed
    size = sum(len(files[name]) for name in sent)
    verb = "would be created" if remote is None else f"would be overwritten ({change.words()})" if change.losses else "would be completed"
    return f"{verb}; to upload: {_count(sent)}, {size:,} bytes ({', '.join(sent) or 'nothing'})."


def _count(names: Sequence[str]) -> str:
    return "1 file" if len(names) == 1 else f"{len(names)} files"


def _tokens() -> str:
    """The page where tokens are made."""
    return page_of("settings/tokens")


def _check_token() -> None:
    """Raises `BadRequest` when there is none, or one that cannot be sent; what it is stays unsaid."""
    from huggingface_hub import get_token

    token = get_token()
    remedy = f"Make one that may write at {_tokens()}, and set HF_TOKEN to it, or run: hf auth login."
    if token is None:
        raise BadRequest("Publishing needs a token of the Hub, and there is none.", remedy)
    if not (token.isascii() and token.isprintable()):
        raise BadRequest("The token of the Hub holds letters that no token has.", remedy)


@contextmanager
def _told(repo: str) -> Iterator[None]:
    """What the Hub's client raises inside, as sentences of ours; no message of the Hub's is repeated in them."""
    import httpx2  # what the client speaks HTTP with; its errors come through
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except PlaygroundError:
        raise
    except HfHubHTTPError as error:
        raise _refused(error, repo) from error
    except (httpx2.RequestError, OSError) as error:
        raise _silent() from error
    except RuntimeError as error:  # the client's word for an upload that failed, around what made it fail
        cause = error.__cause__
        raise (_refused(cause, repo) if isinstance(cause, HfHubHTTPError) else _silent()) from error
    except HFValidationError as error:
        what = f"{repo!r} cannot be the name of a repo on the Hub."
        raise BadRequest(what, "Give --namespace your user name there, or an organization's.") from error
    except (ValueError, KeyError) as error:
        if str(error).startswith("Invalid metadata in README.md"):
            raise BadWeights(f"The Hub does not take the metadata in the README.md of {repo}.", "Rewrite it: make figures.") from error
        raise _MayPass(f"What answers at {page_of(repo)} does not speak as the Hub does.", "Try again, or check HF_ENDPOINT.") from error


def _silent() -> HubUnreachable:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return HubUnreachable("HF_HUB_OFFLINE is set, so nothing can be published.", "Unset it, and try again.")
    return _MayPass(f"The Hub at {constants.ENDPOINT} did not answer.", "Check the connection or HF_ENDPOINT, and publish again.")


def _refused(error: Any, repo: str) -> PlaygroundError:
    """The sentence for an answer that is a refusal."""
    status = error.response.status_code
    if status in _PASSING:
        return _MayPass(f"The Hub answered {status} for {repo}.", "Try again in a minute.")
    if status == 429:
        pause = error.response.headers.get("Retry-After", "")
        return HubUnreachable("The Hub was asked too often.", f"Try again in {pause if pause.isdecimal() else 'some hundred'} seconds.")
    if status == 401:
        return BadRequest("The Hub does not know this token.", f"Set HF_TOKEN to one of {_tokens()}.")
    if status == 403:
        return _forbidden(repo)
    if status in (409, 412):
        return _moved(repo)
    return BadRequest(f"The Hub refused {repo} (status {status}).", "Look at its page, and check the namespace and HF_TOKEN.")


def _forbidden(repo: str) -> BadRequest:
    """Why: a token that may only read, or a namespace that is somebody else's."""
    from huggingface_hub import HfApi

    owner = repo.partition("/")[0]
    with _told(repo):
        who = HfApi(token=True).whoami()
        name, own = who["name"], [who["name"], *(org["name"] for org in who.get("orgs", ()))]
    if who.get("auth", {}).get("accessToken", {}).get("role") == "read":
        return BadRequest("The token may only read.", f"Make one that may write at {_tokens()}.")
    return BadRequest(f"The Hub does not let {name} write to {owner}.", f"Give --namespace one of: {', '.join(own)}; or use another token.")


def _moved(repo: str) -> BadRequest:
    return BadRequest(f"Somebody else is changing {repo} on the Hub.", "Wait a moment, and publish again.")
