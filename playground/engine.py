"""The engine: loads models when they are first asked for, keeps those that fit, runs requests, and times what it does."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch

from playground import hub, passes
from playground.cards import JUDGED, Card, Catalogue, bundled_cards, find_card, judged_of
from playground.device import device_words, pick_device, pick_dtype
from playground.errors import BadRequest, BadWeights, NotCapable, PlaygroundError, TooMuch
from playground.families import FAMILIES, Model
from playground.families.loading import load_classifier
from playground.formats import find_format
from playground.graphs import CudaRecorder
from playground.images import Pictures, to_uint8
from playground.latent import Latent
from playground.line import Line
from playground.logs import Log
from playground.meters import Meters
from playground.nets.classifier import Classifier
from playground.observing import observed, watch
from playground.passes import Passes
from playground.recordings import Recordings
from playground.request import Request
from playground.result import Guest, Result, Timing
from playground.settings import Settings
from playground.shelf import Shelf
from playground.tasks import TASKS, Bench, Sheet, Task
from playground.traces import Tracer
from playground.written import is_figure, read_written


@dataclass
class _Seat:
    """A loaded model, the hash of its weights, how many requests are using it, and what tasks remember of it."""

    model: Model
    sha256: str
    users: int = 0
    memory: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def bytes(self) -> int:
        """Of its weights."""
        return self.model.bytes()


@dataclass
class _Visit:
    """One request's view of the engine (a `tasks.House`): whom it borrowed is known afterwards."""

    engine: Engine
    guests: dict[str, Guest] = field(default_factory=dict)

    @property
    def batch_size(self) -> int:
        return self.engine.settings.batch_size

    @property
    def max_work(self) -> int:
        return self.engine.settings.max_work

    def siblings(self, card: str) -> Mapping[str, Card]:
        return self.engine.siblings(card)

    def shelf_of(self, card: str) -> Shelf:
        return self.engine.shelf_of(card)

    def training_shelf_of(self, card: str) -> Shelf:
        return self.engine.training_shelf_of(card)

    def classifier_of(self, card: str) -> Classifier:
        return self.engine.classifier_of(card)

    def is_ours(self, card: str) -> bool:
        return self.engine.is_ours(card)

    def measured(self, card: str) -> Mapping[str, Any]:
        return self.engine.measured(card)

    def swept(self, card: str) -> Mapping[str, list[Mapping[str, Any]]]:
        return self.engine.swept(card)

    def judged(self, card: str) -> Mapping[str, Any]:
        return self.engine.judged(card)

    @contextmanager
    def lend(self, card: str, knobs: Mapping[str, Any]) -> Iterator[Bench]:
        with self.engine._lease(card) as seat:
            params = type(seat.model).Params.parse({**self.engine._cards[card].defaults, **knobs})
            self.guests[card] = Guest(params, seat.sha256)
            yield Bench(card, seat.model, params, self, seat.memory)


@dataclass
class Engine:
    """Runs requests on cards, with no page: `Engine().run(Request.build("vae-fashion-28", "sample", seed=7))`.

    Safe to use from many threads. Models are loaded once and kept within `settings.memory_mb`; the least recently used one
    that nobody is using goes first.
    """

    settings: Settings = field(default_factory=Settings.from_environment)
    cards: Mapping[str, Card] | None = None

    live: ClassVar[bool] = True
    """Whether frames may follow a slider here."""

    problem: BadWeights | None = None
    """Why there are no cards; None when there are."""

    def __post_init__(self) -> None:
        if self.cards is None:
            try:
                self.cards = bundled_cards(self.settings.weights_dir)
            except BadWeights as error:
                self.cards, self.problem = {}, error
        self.cards = Catalogue(self.cards, self._recall)
        self.device = pick_device(self.settings.device)
        self.dtype = pick_dtype(self.device)
        self.meters, self.log = Meters(FAMILIES, TASKS), Log(self.settings.log)
        self.recordings = Recordings((CudaRecorder(), Tracer()), self.settings.recordings)
        run, counted = self.recordings.run, self.meters.passed
        self.passes = Passes(self._lanes(), self.settings.merged_rows, self.settings.merge_ms, run, counted)
        self.line = Line(self.settings.at_once, self.settings.line_length, lambda seconds: self.meters.took("wait", seconds))
        self._seats: OrderedDict[str, _Seat] = OrderedDict()
        self._shelves: dict[str, Shelf] = {}
        self._classifiers: dict[str, Classifier] = {}
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}
        watch(self)

    # -- running ----------------------------------------------------------------------------------------------------

    def run(self, request: Request, visitor: str = "") -> Result:
        """The finished result. Raises a `PlaygroundError` with a sentence when it cannot be."""
        *_, last = self.stream(request, visitor)
        return last

    @observed
    def stream(self, request: Request, visitor: str = "") -> Generator[Result, None, None]:
        """Previews, then the result. Closing it stops the work at the next step and frees the model.

        The device is shared fairly between visitors; `visitor` is any text that tells them apart. Raises a `PlaygroundError`: `TooMuch`
        after `settings.max_seconds`, for one.
        """
        asked = time.perf_counter()
        with self._lease(request.card) as seat, self.passes.visit(visitor) as at_work:
            loaded = time.perf_counter()
            self.admit(type(request.task), request.card, seat.model)
            visit = _Visit(self)
            for made in self._inferring(request.task.run(self._bench(seat, request, visit)), at_work):
                timing = Timing(1000 * (loaded - asked), 1000 * (time.perf_counter() - loaded))
                yield Result(request, made, seat.sha256, device_words(self.device), timing, dict(visit.guests))
                if made.progress < 1:
                    self._limit(loaded)

    def _inferring(self, steps: Iterator[Sheet], visit: passes.Visit) -> Iterator[Sheet]:
        """The same steps, each made without gradients. The mode belongs to a thread, and the next step may run on another."""
        while True:
            with torch.inference_mode(), self.passes.on_behalf(visit):
                made = next(steps, None)
            if made is None:
                return
            yield made

    def _limit(self, began: float) -> None:
        most = self.settings.max_seconds
        if time.perf_counter() - began > most:
            raise TooMuch(f"That took more than {most:g} seconds and was stopped.", "Ask for fewer pictures or steps.")

    def check(self, request: Request) -> None:
        """Raises what running it would raise of its model, its pictures and its directions, without running it."""
        with self._lease(request.card) as seat:
            self.admit(type(request.task), request.card, seat.model)
            bench = self._bench(seat, request, _Visit(self))
            for recipe in request.task.recipes():
                bench.check(recipe)

    def admit(self, task: type[Task], card: str, model: Model) -> None:
        """Raises `NotCapable` for a task that a card, whose model this is, cannot be put to."""
        task.check(model)
        if task.measures:
            self._dataset_of(card)

    def model(self, card: str) -> Model:
        """The loaded model of a card, for questions about it (its directions, its map)."""
        with self._lease(card) as seat:
            return seat.model

    def add(self, card: Card) -> None:
        """Lets a card be found by its id; it is listed to nobody."""
        assert isinstance(self.cards, Catalogue)
        self.cards.add(card)

    def adopt(self, model: str) -> Card:
        """Any model of the Hub (`owner/name`, `owner/name@revision`), a listed card's id, or a folder: looked at, fetched, pinned.

        Its card's id then goes into requests: `Request.build(engine.adopt("owner/name").id, "sample", cards=engine.cards)`. Raises
        `BadWeights` for what does not fit, `HubUnreachable` when the Hub did not answer.
        """
        from playground.library import Library

        return Library(self).bring(model)

    def shelf(self, dataset: str) -> Shelf:
        """The test pictures that belong to a data set. Raises `BadWeights` when their folder is missing or damaged."""
        return self._read_shelf(f"pictures-{dataset}")

    def shelf_of(self, card: str) -> Shelf:
        """The test pictures that belong to a card; those of the first data set here where it was trained on another."""
        return self.shelf(find_card(self._cards, card).dataset or self.datasets()[0])

    def datasets(self) -> list[str]:
        """The data sets with test pictures here."""
        return [name.removeprefix("pictures-") for name in self._cards if name.startswith("pictures-")]

    def training_shelf_of(self, card: str) -> Shelf:
        """Training pictures of a card's data set, a part of them all. Raises `UnknownCard`, `BadWeights` or `NotCapable`."""
        return self._read_shelf(f"training-{self._dataset_of(card)}")

    def siblings(self, card: str) -> Mapping[str, Card]:
        """The generative cards with weights on the same data set as `card`, in the order of the manifest; it alone where it has none."""
        own = find_card(self._cards, card)
        alike = [each for each in self._cards.values() if own.dataset and each.dataset == own.dataset]
        found = {each.id: each for each in alike if each.family in FAMILIES and each.files}
        return found if card in found else {**found, card: own}

    def is_ours(self, card: str) -> bool:
        """Whether a card was trained on pictures that are here."""
        return bool(find_card(self._cards, card).dataset)

    def _dataset_of(self, card: str) -> str:
        entry = find_card(self._cards, card)
        if not entry.dataset:
            what = f"{entry.title} was not trained on the pictures that this page has, so it cannot be measured by them."
            raise NotCapable(what, "Choose another tool or another model.")
        return entry.dataset

    def classifier_of(self, card: str) -> Classifier:
        """The classifier of a card's data set, float32 on the CPU. Raises `UnknownCard`, `BadWeights` or `NotCapable`."""
        name = f"classifier-{self._dataset_of(card)}"
        with self._lock:
            if name not in self._classifiers:
                self._classifiers[name] = load_classifier(self._folder(find_card(self._cards, name)))
            return self._classifiers[name]

    def measured(self, card: str) -> Mapping[str, Any]:
        """What `evaluate` wrote of a card; empty when there is nothing. Figures of a model that somebody added are somebody's words:
        those that are no finite numbers are left out."""
        return {name: figure for name, figure in self._written(card, "metrics.json").items() if is_figure(figure)}

    def swept(self, card: str) -> Mapping[str, list[Mapping[str, Any]]]:
        """What `evaluate --sweep` wrote of a card of ours: knob to rows, by rising value; empty when there is nothing."""
        return self._written(card, "sweeps.json") if card in list(self._cards) else {}

    def judged(self, card: str) -> Mapping[str, Any]:
        """What `evaluate` wrote of how a card of ours judges the first test pictures; empty for other weights or pictures."""
        found = self._written(card, JUDGED) if card in list(self._cards) else {}
        return found if found.get("of") == judged_of(self._cards, card) else {}

    def _written(self, card: str, name: str) -> Mapping[str, Any]:
        return read_written(self._folder(find_card(self._cards, card)) / name)

    def look_up(self, request: Request, recipe: Latent) -> Pictures:
        """The picture a recipe stands for, (H, W, C) uint8: the given one itself, or the decoded latent."""
        with self._lease(request.card) as seat, torch.inference_mode():
            return to_uint8(self._bench(seat, request, _Visit(self)).picture(recipe))[0]

    def is_loaded(self, card: str) -> bool:
        """Whether a card's weights are in memory now."""
        with self._lock:
            return card in self._seats

    def unload(self, card: str) -> None:
        """Lets the weights of a card go. Raises `BadRequest` while somebody is using them."""
        with self._lock:
            if card in self._seats and self._seats[card].users:
                raise BadRequest(f"{find_card(self._cards, card).title} is at work.", "Wait until it is done, or stop it.")
            self._seats.pop(card, None)

    def num_loaded(self) -> int:
        """How many models are loaded now."""
        with self._lock:
            return len(self._seats)

    def resident_bytes(self) -> int:
        """Bytes of weights that are loaded now."""
        with self._lock:
            return sum(seat.bytes for seat in self._seats.values())

    def in_use(self) -> int:
        """How many requests are running now."""
        with self._lock:
            return sum(seat.users for seat in self._seats.values())

    def _read_shelf(self, name: str) -> Shelf:
        with self._lock:
            if name not in self._shelves:
                self._shelves[name] = Shelf.load(self._folder(find_card(self._cards, name)))
            return self._shelves[name]

    def _bench(self, seat: _Seat, request: Request, visit: _Visit) -> Bench:
        return Bench(request.card, seat.model, request.params, visit, seat.memory)

    # -- residency --------------------------------------------------------------------------------------------------

    @property
    def _cards(self) -> Mapping[str, Card]:
        return self.cards or {}

    @contextmanager
    def _lease(self, card_id: str) -> Iterator[_Seat]:
        seat = self._take(card_id)
        try:
            yield seat
        finally:
            with self._lock:
                seat.users -= 1
            self._make_room()

    def _take(self, card_id: str) -> _Seat:
        with self._lock:
            turn = self._loading.setdefault(card_id, threading.Lock())
        with turn:  # one thread loads a card; others that want it wait here rather than load it again
            with self._lock:
                seat = self._seats.get(card_id)
                if seat is not None:
                    self._seats.move_to_end(card_id)
                    seat.users += 1
                    return seat
            with torch.inference_mode(False):  # a card is lent in the midst of a request, and its weights may be differentiated later
                seat = self._load(find_card(self._cards, card_id))
            seat.model.together = self.passes.run
            with self._lock:
                self._seats[card_id] = seat
                seat.users += 1
        self._make_room()
        return seat

    def _load(self, card: Card) -> _Seat:
        model = find_format(card.format).open(self._folder(card), card.family, self.device, self.dtype)
        return _Seat(model, card.weights_sha256)

    def _lanes(self) -> int:
        """How many forward passes the device has room for at once."""
        return max(1, (os.cpu_count() or 1) // self.settings.threads) if self.device.type == "cpu" else 1

    def _recall(self, card_id: str) -> Card | None:
        """A model of the Hub that was fetched before, by its pin."""
        if "/" not in card_id or self.settings.hub == "off":
            return None
        pin = hub.Lock(self.settings.lock_path).find_id(card_id)
        return pin.card() if pin is not None and self.may_fetch(pin.repo) else None

    def may_fetch(self, repo: str) -> bool:
        """Whether the operator lets visitors have this repo."""
        if self.settings.hub == "listed":
            return any(card.repo == repo for card in self._cards.values())
        return self.settings.hub == "any"

    def _folder(self, card: Card) -> Path:
        s = self.settings
        return hub.resolve(card, weights_dir=s.weights_dir, allow_hub=s.hub != "off", timeout=s.hub_timeout, retries=s.hub_retries)

    def _make_room(self) -> None:
        """Lets idle models go, least recently used first, until the rest fits. The newest always stays."""
        with self._lock:
            budget = self.settings.memory_mb * 2**20
            total = sum(seat.bytes for seat in self._seats.values())
            for card_id, seat in list(self._seats.items())[:-1]:
                if total <= budget:
                    break
                if seat.users == 0:
                    total -= seat.bytes
                    del self._seats[card_id]


def why(error: Exception) -> str:
    """The sentence of a person's mistake; a plain one for anything else, so that no page shows a traceback."""
    if isinstance(error, PlaygroundError):
        return str(error)
    return f"Something went wrong here ({type(error).__name__}). Try again; if it stays, report it with what you did."
