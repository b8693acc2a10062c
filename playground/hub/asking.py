"""What the Hub's client raises, as sentences: what will not pass, and what may."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

from playground.errors import BadWeights, HubUnreachable, PlaygroundError

_PASSING = {408, 429, 500, 502, 503, 504}
_T = TypeVar("_T")


def asking(ask: Callable[[], _T], repo: str, revision: str | None, name: str = "", words: str = "") -> _T:
    """What `ask` answers, which uses the client for `name` of a repo (or for the repo itself).

    Raises `HubUnreachable` for what may pass (silence, a broken transfer, a busy Hub), `BadWeights` for what will not.
    """
    import httpx2  # what the client speaks HTTP with; its errors come through
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    what = f"{name} of {repo}" if name else repo
    try:
        return ask()
    except HfHubHTTPError as error:
        raise refused(error, repo, revision, name) from error
    except HFValidationError as error:
        raise BadWeights(f"{repo[:60]!r} is no name of a repo.", "Write owner/name, as on the repo's page.") from error
    except (httpx2.RequestError, LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError) as error:
        raise unreachable(words or repo) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise BadWeights(f"The disk is full; {what} does not fit.", "Free some space and try again.") from error
        if "Consistency check failed" in str(error) or error.errno is None:  # the client's word for a cut transfer
            raise unreachable(words or repo) from error
        raise BadWeights(f"{what} could not be written ({error.strerror}).", "Check HF_HOME and its permissions.") from error


def refused(error: Exception, repo: str, revision: str | None, name: str = "") -> PlaygroundError:
    """The sentence for an answer that is no file."""
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    what = f"{name} of {repo}" if name else repo
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
        return HubUnreachable(f"The Hub answered {status} for {what}.", "Try again in a minute.")
    return BadWeights(f"The Hub refused {what} (status {status}).", "Check HF_TOKEN and the card's repo.")


def unreachable(words: str) -> HubUnreachable:
    """The sentence for no answer."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return HubUnreachable(f"{words} is not in the cache, and HF_HUB_OFFLINE is set.", "Unset it once to fetch the weights.")
    return HubUnreachable(
        f"The Hub at {constants.ENDPOINT} did not answer, and {words} is not in the cache.",
        "Check the connection, or set HF_ENDPOINT to a mirror, and try again.",
    )
