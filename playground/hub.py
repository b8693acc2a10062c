"""From a card to a folder of verified files: the bundled folder first, then the Hugging Face Hub.

The only file that knows the Hub. Its client is imported when first needed: it reads `HF_ENDPOINT` once, at import, and a page
with bundled weights never needs it.
"""

from __future__ import annotations

import errno
import time
from contextlib import suppress
from pathlib import Path

from playground.cards import Card, file_sha256
from playground.errors import BadWeights, HubUnreachable, PlaygroundError

STALE_SECONDS = 3600.0
BACKOFF_SECONDS = 0.25
_PASSING = {408, 429, 500, 502, 503, 504}
_verified: dict[tuple[str, int, int], str] = {}
"""sha256 of files already read, by path, size and time of change: a second look costs no second read."""


def resolve(card: Card, *, weights_dir: Path, allow_hub: bool = True, timeout: float = 10.0, retries: int = 3) -> Path:
    """The folder that holds all of a card's files, every one with the sha256 that the card says.

    Raises `BadWeights` for files that are damaged or nowhere, `HubUnreachable` when the Hub did not answer.
    """
    if not card.files:
        raise BadWeights(f"{card.id} has no weights yet.", f"Train it: python -m playground train {card.id}.")
    folder = weights_dir / card.id
    missing = [name for name, expected in card.files.items() if not _is_bundled(folder / name, expected, card)]
    if not missing:
        return folder
    if card.repo is None or not allow_hub:
        why = "fetching from the Hub is switched off" if card.repo else "it is not on the Hub"
        raise BadWeights(
            f"The weights of {card.id} are not here: {folder / missing[0]} is missing, and {why}.",
            "Restore the folder (git checkout -- weights), or train the card again.",
        )
    return _Download(card, timeout, retries).run()


def _is_bundled(path: Path, expected: str, card: Card) -> bool:
    if not path.is_file():
        return False
    found = _sha256(path)
    if found != expected:
        remedy = f"Restore it: git checkout -- weights/{card.id}." + (" Or delete it, and it is fetched from the Hub." if card.repo else "")
        raise BadWeights(f"{path} is damaged: its sha256 begins {found[:12]}, not {expected[:12]}.", remedy)
    return True


def _sha256(path: Path) -> str:
    status = path.stat()
    key = (str(path), status.st_size, status.st_mtime_ns)
    if key not in _verified:
        _verified[key] = file_sha256(path)
    return _verified[key]


class _Download:
    """Fetches one card from the Hub, trying again what may pass and saying in a sentence what will not."""

    def __init__(self, card: Card, timeout: float, retries: int) -> None:
        self.card, self.timeout, self.retries = card, timeout, retries

    def run(self) -> Path:
        """The snapshot folder in the Hub's cache, all files verified."""
        self._sweep()
        paths = [self._fetch(name, expected) for name, expected in self.card.files.items()]
        return paths[0].parent

    def _fetch(self, name: str, expected: str) -> Path:
        error: PlaygroundError | None = None
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
            try:
                path = self._download(name)
            except HubUnreachable as unreachable:
                error = unreachable
                continue
            if _sha256(path) == expected:
                return path
            error = self._discard(path, name, expected)
        raise error or HubUnreachable(f"{name} could not be fetched.", "Try again.")

    def _discard(self, path: Path, name: str, expected: str) -> BadWeights:
        """Takes a damaged file out of the cache, so that nothing ever loads it."""
        found = _sha256(path)
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        return BadWeights(
            f"{name} of {self.card.repo} arrived damaged: its sha256 begins {found[:12]}, not {expected[:12]}.",
            "Try again later; if it stays, the files on the Hub are not those of this card.",
        )

    def _download(self, name: str) -> Path:
        """One try with the Hub's own client; a warm cache of a pinned commit asks nobody.

        Raises `HubUnreachable` for what may pass, `BadWeights` for what will not.
        """
        import httpx2  # what the client speaks HTTP with; its errors come through
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        repo, revision = self.card.repo, self.card.revision
        assert repo is not None
        try:
            cached = try_to_load_from_cache(repo, name, revision=revision)
            if isinstance(cached, str):
                return Path(cached)
            # Asked first, with the timeout of this page: the download asks a silent Hub seven times and waits minutes.
            get_hf_file_metadata(hf_hub_url(repo, name, revision=revision), timeout=self.timeout)
            return Path(hf_hub_download(repo, name, revision=revision, etag_timeout=self.timeout))
        except HfHubHTTPError as error:
            raise self._refused(error, name) from error
        except (httpx2.RequestError, LocalEntryNotFoundError, ConnectionError) as error:
            raise self._unreachable() from error
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise BadWeights(f"The disk is full; {name} of {repo} does not fit.", "Free some space and try again.") from error
            if "Consistency check failed" in str(error) or error.errno is None:  # the client's word for a cut transfer
                raise self._unreachable() from error
            raise BadWeights(f"{name} could not be written ({error.strerror}).", "Check HF_HOME and its permissions.") from error

    def _refused(self, error: Exception, name: str) -> PlaygroundError:
        from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

        repo, revision = self.card.repo, self.card.revision
        if isinstance(error, GatedRepoError):
            return BadWeights(f"{repo} asks for consent before its files can be fetched.", "Give it on the repo's page, then set HF_TOKEN.")
        if isinstance(error, RepositoryNotFoundError):
            return BadWeights(f"There is no {repo} on the Hub, or it is private.", "Check the card's repo, or set HF_TOKEN.")
        if isinstance(error, RevisionNotFoundError):
            return BadWeights(f"{repo} has no commit {revision}.", "Check the card's revision.")
        if isinstance(error, EntryNotFoundError):
            return BadWeights(f"{repo} has no file {name} at {str(revision)[:12]}.", "Check the card's files.")
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in _PASSING:
            return HubUnreachable(f"The Hub answered {status} for {name} of {repo}.", "Try again in a minute.")
        return BadWeights(f"The Hub refused {name} of {repo} (status {status}).", "Check HF_TOKEN and the card's repo.")

    def _unreachable(self) -> HubUnreachable:
        from huggingface_hub import constants

        if constants.HF_HUB_OFFLINE:
            return HubUnreachable(f"{self.card.id} is not in the cache, and HF_HUB_OFFLINE is set.", "Unset it once to fetch the weights.")
        return HubUnreachable(
            f"The Hub at {constants.ENDPOINT} did not answer, and {self.card.id} is not in the cache.",
            "Check the connection, or set HF_ENDPOINT to a mirror, and try again.",
        )

    def _sweep(self) -> None:
        """Removes partial files that a killed download left behind an hour or more ago."""
        from huggingface_hub import constants

        blobs = Path(constants.HF_HUB_CACHE) / f"models--{str(self.card.repo).replace('/', '--')}" / "blobs"
        for partial in blobs.glob("*.incomplete"):
            with suppress(OSError):  # another process may finish it just now
                if time.time() - partial.stat().st_mtime > STALE_SECONDS:
                    partial.unlink(missing_ok=True)
