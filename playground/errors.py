"""Every error a person can meet, as one tree. Each sentence says what was wrong and what to do next.

PlaygroundError
├── BadRequest            what was asked for cannot be
│   ├── BadKnob           a knob that is unknown, out of range or not a number
│   ├── BadLatent         a latent recipe that cannot be read
│   ├── BadLink           a link or PNG text that is not a request
│   ├── UnknownCard       no card of that name
│   ├── NotCapable        this family cannot answer this question
│   └── TooMuch           more pictures, pixels, steps or seconds than one request may have
├── Busy                  too many people want something at once
├── EngineLost            the remote engine does not answer, or broke off
├── BadAnswer             the remote engine answered what cannot be read
├── BadPicture            a file that is not a usable picture
├── BadWeights            files that are missing, damaged, or not safetensors
├── HubUnreachable        the Hub did not answer, and there is no local copy
├── FetchStopped          a download that somebody stopped
└── TrainingError         a data set that is missing or damaged, a loss that is not a number
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

CLOSE = 0.8
"""How alike two names are (0 to 1) of which one may be meant by the other."""


class PlaygroundError(Exception):
    """Base of the tree. `str(error)` is a full sentence fit for the page: what was wrong, then the remedy."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} {remedy}")
        self.what = what
        self.remedy = remedy


class BadRequest(PlaygroundError):
    """What was asked for cannot be."""


class BadKnob(BadRequest):
    """A knob that is unknown, out of range or of the wrong type."""


class BadLatent(BadRequest):
    """A latent recipe that cannot be read."""


class BadLink(BadRequest):
    """A link or PNG text that is not a request."""


class UnknownCard(BadRequest):
    """No card of that name."""


class NotCapable(BadRequest):
    """This family cannot answer this question."""


class TooMuch(BadRequest):
    """More pictures, pixels, steps or seconds than one request may have."""


class Busy(PlaygroundError):
    """Too many people want something at once."""


class EngineLost(PlaygroundError):
    """The remote engine does not answer, or broke off."""


class BadAnswer(PlaygroundError):
    """The remote engine answered what cannot be read, or something else than was asked for."""


class BadPicture(PlaygroundError):
    """A file that is not a usable picture."""


class BadWeights(PlaygroundError):
    """Weights that are missing, damaged, or not safetensors."""


class HubUnreachable(PlaygroundError):
    """The Hub did not answer, and there is no local copy."""


class FetchStopped(PlaygroundError):
    """A download that somebody stopped."""


class TrainingError(PlaygroundError):
    """A data set that is missing or damaged, or a training run that cannot go on."""


def unknown(what: str, name: object, known: Iterable[str]) -> tuple[str, str]:
    """What was wrong with a name that is none of those known, and the remedy: the names that are close to it, else all there are."""
    names = [*known]
    close = get_close_matches(str(name), names, cutoff=CLOSE)
    remedy = f"Did you mean {' or '.join(close)}?" if close else f"There are: {', '.join(names) or 'none'}."
    return f"There is no {what} called {str(name)[:40]!r}.", remedy
