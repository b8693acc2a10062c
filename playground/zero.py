"""An engine on a ZeroGPU Space, where a GPU is lent for seconds at a time to a process forked for it.

The models are loaded in the page's own process, which has no GPU; each request runs in the fork, which has one and keeps the memory of
the moment it was made. What goes in is pickled and what comes out too, so requests travel as links and results as lines (`wire`). An
error would arrive as the name of its class alone: those of people travel as lines as well.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from typing import Any, ClassVar

from playground.cards import Card, find_card
from playground.engine import Engine
from playground.errors import PlaygroundError
from playground.images import Pictures
from playground.latent import Latent
from playground.observing import observed
from playground.passes import Passes
from playground.request import Request
from playground.result import Result
from playground.settings import Settings
from playground.wire import error_line, from_line, to_line

Work = Callable[[str, Card], Generator[bytes, None, None]]
Decorator = Callable[..., Callable[[Work], Work]]
"""`spaces.GPU`: called with `duration=`, a function of the arguments of what it decorates."""

START_SECONDS = 5.0
"""What a fork takes before it begins: moving the models onto the GPU."""
LEAST_SECONDS, MOST_SECONDS = 10.0, 120.0
"""Of a GPU for one request: who asks for less is served sooner, and a visitor's day has only so many."""
FIRST_GUESS = 0.02
"""Seconds for one pass of one picture, before any was measured."""
CAUTION = 2.0
"""How much longer than the measured time is asked for: who is late is cut off."""


class ZeroEngine(Engine):
    """As `Engine`, with each request's work in a process that `gpu` (`spaces.GPU`) forks for it."""

    live: ClassVar[bool] = False
    """Whether frames follow a slider: not where each would ask for a GPU."""

    def __init__(self, settings: Settings, gpu: Decorator, cards: Mapping[str, Card] | None = None) -> None:
        super().__init__(settings, cards)
        self._home = os.getpid()
        self._rates: dict[tuple[str, str], float] = {}

        def work(query: str, card: Card) -> Generator[bytes, None, None]:
            yield from self._work(query, card)

        self._lent = gpu(duration=self.duration)(work)

    @observed
    def stream(self, request: Request, visitor: str = "") -> Generator[Result, None, None]:
        """See `Engine.stream`."""
        with self._lease(request.card):  # loaded before the fork, and not let go meanwhile
            card = find_card(self._cards, request.card)
            with closing(self._lent(request.to_query(), card)) as lines:
                for line in lines:
                    result = from_line(line, self._cards)
                    if result is not None:
                        if result.sheet.progress >= 1:
                            self._learn(request, result.timing.run_ms / 1000)
                        yield result

    def look_up(self, request: Request, recipe: Latent) -> Pictures:
        """See `Engine.look_up`."""
        return super().look_up(request, recipe) if recipe.is_picture else self.run(request).pictures[0]

    def duration(self, query: str, card: Card) -> int:
        """Whole seconds of a GPU to ask for: passes times pictures times what one took lately, within bounds."""
        try:
            request = Request.from_query(query, cards={**self._cards, card.id: card})
        except PlaygroundError:
            return int(LEAST_SECONDS)
        seconds = START_SECONDS + CAUTION * _amount(request) * self._rates.get((request.card, request.task.name), FIRST_GUESS)
        return round(min(MOST_SECONDS, self.settings.max_seconds, max(LEAST_SECONDS, seconds)))

    def _learn(self, request: Request, seconds: float) -> None:
        self._rates[request.card, request.task.name] = seconds / _amount(request)

    def _work(self, query: str, card: Card) -> Generator[bytes, None, None]:
        """In the fork: the request's results, or a person's mistake, as lines."""
        self._settle_in()
        self.add(card)
        try:
            request = Request.from_query(query, cards={**self._cards, card.id: card})
            for result in Engine.stream.__wrapped__(self, request):  # type: ignore[attr-defined]  # the page's process counts it
                yield to_line(result)
        except PlaygroundError as error:
            yield error_line(error)

    def _settle_in(self) -> None:
        """Once in each fork: a lock that another thread held at that moment is held for ever, so all begin anew."""
        if self._home == os.getpid():
            return
        self._home = os.getpid()
        self._lock, self._loading = threading.Lock(), {}
        self.passes = Passes()
        self.passes.bypassed = True
        for seat in self._seats.values():
            seat.model.together = self.passes.run


def _amount(request: Request) -> int:
    """Passes of the network times pictures, as far as the knobs tell."""
    knobs: dict[str, Any] = {**request.task.to_plain(), **request.params.to_plain()}
    return max(1, int(knobs.get("num_samples", 1))) * max(1, int(knobs.get("num_inference_steps", 1)))
