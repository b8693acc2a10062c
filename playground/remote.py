"""An engine elsewhere: models run on another machine or on a cluster, and the page goes on when that is gone.

What the page asks of a model (its knobs, directions, classes) is answered here, from the same card; whatever makes pictures goes there.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Generator, Iterator

import httpx

from playground.cards import find_card
from playground.engine import Engine
from playground.errors import BadAnswer, BadWeights, EngineLost
from playground.images import Pictures
from playground.latent import Latent
from playground.observing import observed
from playground.request import Request
from playground.result import Result
from playground.settings import Settings
from playground.wire import from_line

TRIES = 4
"""How often a request is sent while nothing of an answer has come."""
BACKOFF = 0.2
"""Seconds before the second try; twice as long before each further one."""
SILENCE = 30.0
"""Seconds without a word after which the other end counts as gone: one that lives says so every few seconds."""
MODEL_HEADER = "serve_multiplexed_model_id"
"""By this a cluster finds a replica that has the model loaded."""


class RemoteEngine(Engine):
    """As `Engine`, with its work done at `settings.engine`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.model_copy(update={"device": "cpu"}))
        headers = {"Authorization": f"Bearer {settings.engine_token}"} if settings.engine_token else {}
        timeout = httpx.Timeout(SILENCE, connect=settings.hub_timeout)
        self._client = httpx.Client(base_url=settings.engine, headers=headers, timeout=timeout)

    @observed
    def stream(self, request: Request, visitor: str = "") -> Generator[Result, None, None]:
        """See `Engine.stream`. Until the first answer it is tried several times; raises `EngineLost` when that does not help."""
        delay = BACKOFF
        for left in reversed(range(TRIES)):
            begun = False
            try:
                for result in self._asked(request, visitor):
                    begun = True
                    yield result
                return
            except (httpx.TransportError, httpx.HTTPStatusError, EngineLost) as error:
                if begun:
                    raise EngineLost("The engine was lost in the midst of this.", "Ask again.") from error
                if not left:
                    raise EngineLost("The engine that makes the pictures does not answer.", "Try again in a minute.") from error
            time.sleep(delay * random.uniform(0.5, 1.0))
            delay *= 2

    def _asked(self, request: Request, visitor: str) -> Iterator[Result]:
        last: Result | None = None
        body = {"request": request.to_query(), "visitor": hashlib.sha256(visitor.encode()).hexdigest()[:16] if visitor else ""}
        with self._client.stream("POST", "stream", json=body, headers={MODEL_HEADER: request.card}) as answer:
            if answer.status_code in (401, 403):
                raise BadAnswer("The engine does not know this page.", "Set PLAYGROUND_ENGINE_TOKEN to what it expects.")
            if not 400 <= answer.status_code < 500:  # a mistake of the request's comes as a line
                answer.raise_for_status()
            for line in answer.iter_lines():
                if (result := from_line(line, self._cards)) is not None:
                    last = self._checked(result, request)
                    yield last
        if last is None or last.sheet.progress < 1:
            raise EngineLost("The engine's answer broke off.", "Ask again.")

    def _checked(self, result: Result, request: Request) -> Result:
        """The same result. Raises `BadAnswer` or `BadWeights` when it is not what was asked for, or by other weights than the card's."""
        if result.request != request:
            raise BadAnswer("The engine answered something else.", "Use the same version here and there.")
        for card in (request.card, *result.guests):
            ran = result.weights_sha256 if card == request.card else result.guests[card].weights_sha256
            if ran != find_card(self._cards, card).weights_sha256:
                title = find_card(self._cards, card).title
                raise BadWeights(f"The engine has other weights of {title} than this page describes.", "Give both the same `weights/`.")
        return result

    def look_up(self, request: Request, recipe: Latent) -> Pictures:
        """See `Engine.look_up`."""
        return super().look_up(request, recipe) if recipe.is_picture else self.run(request).pictures[0]


def engine_of(settings: Settings) -> Engine:
    """The engine that the settings ask for: here, or elsewhere."""
    return RemoteEngine(settings) if settings.engine else Engine(settings)
