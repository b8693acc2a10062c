"""What a task is: a question about the latent. It says what it needs of a model, which knobs it has, and how it runs."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from playground.cards import Card
from playground.errors import BadLatent, BadRequest, NotCapable, TooMuch, unknown
from playground.families.base import FAMILIES, Model
from playground.families.capabilities import (
    Compresses,
    Denoises,
    Diffuses,
    Encodes,
    HasCritic,
    HasDensity,
    HasEvidence,
    HasFlowSteps,
    HasLayers,
    HasLikelihood,
    HasMap,
    HasNoiseInputs,
    HasODE,
    HasPosterior,
    HasSpectra,
    LacksPrior,
    Squeezes,
)
from playground.images import Pictures, fitted, from_uint8, to_uint8, unpack
from playground.knobs import Knobs, KnobSpec, Stage
from playground.latent import GIVEN, Latent, Mix, Noise, Span, Term, mix
from playground.nets.classifier import Classifier
from playground.shelf import Shelf
from playground.tasks.house import House

CAPABILITY_WORDS: dict[type, str] = {
    Encodes: "turn a picture into a latent",
    HasPosterior: "say how sure it is of a latent",
    HasEvidence: "bound how likely a picture is by its code",
    Squeezes: "squeeze a picture through a code",
    Compresses: "cut its code at any length",
    Denoises: "take noise out of pictures",
    LacksPrior: "show holes between its codes, because it knows where they lie",
    Diffuses: "take noise away step by step",
    HasLikelihood: "say how likely a picture is",
    HasDensity: "follow the slope of an exact density",
    HasFlowSteps: "undo each of its steps",
    HasODE: "follow a picture along its path",
    HasCritic: "say how real a picture looks to its critic",
    HasLayers: "take a latent of its own in each layer",
    HasNoiseInputs: "add noise beside the latent",
    HasSpectra: "say how much lies in each of its directions",
    HasMap: "draw a map of its codes",
}


@dataclasses.dataclass(frozen=True)
class Sheet:
    """What a task answers: `pictures` (N, H, W, C) in `columns`, with what belongs to each and numbers about them all.

    `latents` holds the recipe behind each picture ("" where there is none), `seeds` the seed of its later noise, `cards` the card
    that made it, with the knobs that `Bench.other` was given ("" for the request's own). `says` is the sentence that tells what is
    seen; `facts` are JSON values. While `progress` < 1 it is a preview: pictures not made yet are black.
    """

    pictures: Pictures
    columns: int
    labels: tuple[str, ...] = ()
    latents: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    progress: float = 1.0
    cards: tuple[str, ...] = ()
    says: str = ""
    named: bool = False
    """Whether a page writes each label under its picture: for sheets whose pictures are of different kinds."""
    group: int = 1
    """In a film: how many rows, one below the other, make up a frame; frame i is the pictures of column i.

    In a grid a page keeps the columns as they are when there is more than one, and where pictures are named, the first label of a
    row is written below the whole row.
    """
    heads: tuple[str, ...] = ()
    """In a grid: what stands above each column; the columns are then kept."""
    sides: tuple[str, ...] = ()
    """In a grid: what stands beside each row; the columns are then kept."""


class Task(Knobs, abc.ABC):
    """Base of all tasks. `needs` are capabilities of the model, `stages` the halves of sampling whose knobs matter here."""

    name: ClassVar[str]
    title: ClassVar[str]
    says: ClassVar[str]
    """One sentence on what is seen."""
    needs: ClassVar[tuple[type, ...]] = ()
    stages: ClassVar[tuple[Stage, ...]] = ("draw", "decode")
    view: ClassVar[Literal["grid", "film", "map", "plot"]] = "grid"
    """How a page shows the answer: all pictures, one frame at a time with a scrubber, beside a map, or lower and with a plot."""
    common: ClassVar[bool] = True
    """Whether every family's tab has it, if only to say why it cannot; else only the families that can."""
    measures: ClassVar[bool] = False
    """Whether it measures by the pictures that a model was trained on: only those trained on pictures that are here can be asked."""
    decodes: ClassVar[bool] = False
    """Whether it only decodes latents, each once, so that it is as fast as the model is with those knobs."""
    without: ClassVar[tuple[str, ...]] = ()
    """Knobs of a family that do not matter here although their stage does: a page does not show them."""

    @abc.abstractmethod
    def run(self, bench: Bench) -> Iterator[Sheet]:
        """Yields previews; the last sheet is the answer."""

    def recipes(self) -> Iterator[Latent]:
        """All latents that it was given."""
        for _, value in self:
            yield from (item for item in (value if isinstance(value, tuple) else [value]) if isinstance(item, Latent))

    @classmethod
    def specs_for(cls, model: Model) -> tuple[KnobSpec, ...]:
        """The knobs that matter to a model: its page and its API show no others."""
        return cls.specs()

    @classmethod
    def beginnings(cls, model: Model) -> dict[str, Any]:
        """Knobs that a model cannot take at their default: where it cannot encode, seeds stand in the place of test pictures."""
        if able(model, Encodes):
            return {}
        points = [spec for spec in cls.specs() if spec.widget in ("latent", "latents", "recipe") and spec.name != "picture"]
        return {spec.name: _seeded(spec.default) for spec in points}

    @classmethod
    def live(cls, model: Model, params: Knobs) -> bool:
        """Whether a model answers fast enough to follow a finger."""
        return model.follows(params) if cls.decodes else model.live

    @classmethod
    def missing(cls, family: type[Model] | Model) -> str | None:
        """What a family lacks for this task, in words; None when it can do it."""
        return next((words for need in cls.needs if (words := lacks(family, need)) is not None), None)

    @classmethod
    def check(cls, family: type[Model] | Model) -> None:
        """Raises `NotCapable` when the family cannot do this task."""
        if (lack := cls.missing(family)) is not None:
            raise NotCapable(f"{family.title} cannot {lack}, so it has no {cls.title}.", "Choose another task or another family.")


def _seeded(recipes: Any) -> Any:
    """A recipe, or several, with the seed N for the test picture N."""
    return [_seeded(each) for each in recipes] if isinstance(recipes, (list, tuple)) else str(recipes).replace("test:", "seed:")


def lacks(family: type[Model] | Model, capability: type) -> str | None:
    """What a family without that capability cannot do, in words; None when it has it."""
    return None if able(family, capability) else CAPABILITY_WORDS[capability]


def able(family: type[Model] | Model, capability: type) -> bool:
    """Whether a family, or a model of it, has all methods of a capability."""
    methods = [name for name in vars(capability) if not name.startswith("_") and callable(getattr(capability, name))]
    return all(hasattr(family, name) for name in methods)


TASKS: dict[str, type[Task]] = {}
_T = TypeVar("_T", bound=type[Task])
_C = TypeVar("_C")
_R = TypeVar("_R")


def register(task: _T) -> _T:
    """Makes a task known by its name."""
    TASKS[task.name] = task
    return task


def find_task(name: str) -> type[Task]:
    """The task of that name. Raises `BadRequest` naming those it may be meant for, or all."""
    if name not in TASKS:
        raise BadRequest(*unknown("task", name, TASKS))
    return TASKS[name]


class Bench:
    """A model at work on one request: turns recipes into latents and latents into pictures, in batches."""

    def __init__(self, card: str, model: Model, params: Knobs, house: House, memory: dict[str, Any] | None = None) -> None:
        """`memory` lives as long as the model is loaded, for what `remembered` keeps."""
        self.card, self.model, self.params, self.house = card, model, params, house
        self.batch_size = house.batch_size
        self.memory: dict[str, Any] = {} if memory is None else memory
        self._points: dict[str, Tensor] = {}

    # -- the house around ---------------------------------------------------------------------------------------------

    @property
    def shelf(self) -> Shelf:
        """The test pictures of the card's data set; read when first asked for. Raises `NotCapable` where they are of another shape."""
        shelf = self.house.shelf_of(self.card)
        if shelf.pictures.shape[1:] != (self.model.image_size, self.model.image_size, self.model.channels):
            what = f"{self.model.title} makes pictures of another size than the test pictures here, so it cannot be measured by them."
            raise NotCapable(what, "Choose another tool or another model.")
        return shelf

    @property
    def training_shelf(self) -> Shelf:
        """Training pictures of the card's data set, the first of them all; read when first asked for."""
        return self.house.training_shelf_of(self.card)

    @property
    def is_ours(self) -> bool:
        """Whether the card was trained on pictures that are here; for any other there is no classifier, so nothing is measured by one."""
        return self.house.is_ours(self.card)

    @functools.cached_property
    def classifier(self) -> Classifier:
        """Tells classes apart; its features are what pictures are compared by."""
        return self.house.classifier_of(self.card)

    def siblings(self) -> Mapping[str, Card]:
        """All generative cards of the data set, this one among them."""
        return self.house.siblings(self.card)

    def able_siblings(self, capability: type) -> Mapping[str, Card]:
        """Those of them whose family can do that."""
        families = {name: family for name, family in FAMILIES.items() if lacks(family, capability) is None}
        return {name: card for name, card in self.siblings().items() if card.family in families}

    def other(self, card: str, **knobs: Any) -> AbstractContextManager[Bench]:
        """Another card at work, at its own defaults but for `knobs`, the same for each card throughout a request.

        What it makes goes under its name: see `Sheet.cards`. Raises `UnknownCard`, `BadKnob` or `BadWeights`.
        """
        return self.house.lend(card, knobs)

    def measured(self, card: str = "") -> Mapping[str, Any]:
        """The figures measured of a card (of this one without a name): name to `value`, `n`, `command`, and so on."""
        return self.house.measured(card or self.card)

    def swept(self, card: str = "") -> Mapping[str, list[Mapping[str, Any]]]:
        """Quality and cost of a card (of this one without a name) as a knob moves: knob to rows of `value`, `classifier_fd`, and so on."""
        return self.house.swept(card or self.card)

    def judged(self) -> NDArray[np.float64]:
        """What is written of how this card, at these knobs, judges the first test pictures, (N,); empty where nothing is."""
        found = self.house.judged(self.card)
        return np.array(found["values"] if found and found["knobs"] == self.params.to_plain() else [], dtype=np.float64)

    def remembered(self, key: str, make: Callable[[], _R]) -> _R:
        """What `make` makes, made once for as long as the model is loaded: for what is slow and asked again and again."""
        if key not in self.memory:
            self.memory[key] = make()
        return cast("_R", self.memory[key])

    def under(self, **knobs: Any) -> Bench:
        """The same model at work with some of the family's knobs set otherwise. Raises `BadKnob`."""
        return Bench(self.card, self.model, self.params.but(**knobs), self.house, self.memory)

    # -- recipes ----------------------------------------------------------------------------------------------------

    def latent(self, recipe: Latent, how: Mix | None = None) -> Tensor:
        """The point that a recipe names, (1, *latent.shape). Raises `BadLatent` or `NotCapable`."""
        z = self._mixed(recipe.base, how)
        for span in recipe.pieces:
            chosen = self._layers(span)
            z = torch.where(chosen, self._mixed(recipe.at(span[0]), how), z)
        for term in recipe.offsets:
            z = z + term.weight * self.direction(term.kind, term.value, term.layers)
        return z

    def check(self, recipe: Latent) -> None:
        """Raises what `latent` would raise of the recipe's pictures, directions and layers; encodes and draws nothing."""
        for span in recipe.pieces:
            self._layers(span)
        for term in recipe.terms:
            if term.kind in GIVEN:
                self._given(term)
        for term in recipe.offsets:
            self.direction(term.kind, term.value, term.layers)

    def latents(self, recipes: Sequence[Latent], how: Mix | None = None) -> Tensor:
        """The points of several recipes, (B, *latent.shape)."""
        return torch.cat([self.latent(recipe, how) for recipe in recipes])

    def direction(self, kind: str, value: str, layers: Span | None = None) -> Tensor:
        """One unit along a named direction, in some layers or in all, (1, *latent.shape).

        Raises `BadRequest` when the model has no such direction, `NotCapable` or `BadLatent` when it has no such layers.
        """
        found = self.model.direction(kind, value) if value.isdecimal() else None
        if found is None:
            offered = list(self.model.directions())
            raise BadRequest(f"This model has no direction {kind}:{value}.", f"It has for example {', '.join(offered[:4])}.")
        return found if layers is None else torch.where(self._layers(layers), found, 0.0)

    def _layers(self, span: Span) -> Tensor:
        """Which rows of a latent are meant, booleans (1, L, 1, …)."""
        count = len(self.able(HasLayers).layer_sides())
        if span[1] >= count:
            raise BadLatent(f"There is no layer {span[1]} here.", f"Layers run from 0 to {count - 1}.")
        places = torch.arange(count, device=self.model.device)
        return ((places >= span[0]) & (places <= span[1])).view(1, count, *[1] * (len(self.model.latent.shape) - 1))

    def _mixed(self, sources: Sequence[Term], how: Mix | None) -> Tensor:
        points = [self._source(term) for term in sources]
        return mix(points, [term.weight for term in sources], how or self.model.latent.mix)

    def picture(self, recipe: Latent) -> Tensor:
        """The picture a recipe stands for, (1, C, H, W) in [-1, 1]: itself when it is one, else the decoded latent."""
        if recipe.is_picture:
            return self._given(recipe.terms[0])
        return self.decode_all(self.latent(recipe), [0])

    def _source(self, term: Term) -> Tensor:
        key = f"{term.kind}:{term.value}"
        if key not in self._points:
            self._points[key] = self._resolve(term)
        return self._points[key]

    def _resolve(self, term: Term) -> Tensor:
        if term.kind == "seed":
            return self.model.draw(self.params, Noise([int(term.value)]))
        if term.kind == "origin":
            return self.model.origin()
        if term.kind == "near":
            x, y = (float(part) for part in term.value.split(","))
            return self.able(HasMap).near(x, y)
        return self.able(Encodes).encode(self._given(term), self.params)

    def _given(self, term: Term) -> Tensor:
        size, channels = self.model.image_size, self.model.channels
        if term.kind == "test":
            array = fitted(self.house.shelf_of(self.card).picture(int(term.value)), size, channels)
        else:
            array = unpack(term.value, size, channels)
        return from_uint8(array[None]).to(self.model.device)

    # -- pictures ---------------------------------------------------------------------------------------------------

    def decode(self, z: Tensor, seeds: Sequence[int]) -> Iterator[tuple[Pictures, float]]:
        """All pictures of `z`, batch after batch: what is there so far (N, H, W, C), and the share done."""
        model, count = self.model, len(z)
        self._bound(z)
        done = np.zeros((count, model.image_size, model.image_size, model.channels), np.uint8)
        for start in range(0, count, self.batch_size):
            stop = min(start + self.batch_size, count)
            for step in model.decode(z[start:stop], self.params, Noise(seeds[start:stop])):
                done[start:stop] = to_uint8(step.x)
                yield done.copy(), (start + (stop - start) * step.index / step.total) / count

    def decode_all(self, z: Tensor, seeds: Sequence[int]) -> Tensor:
        """The finished pictures of `z`, (B, C, H, W) in [-1, 1], on the model's device."""
        self._bound(z)
        parts = []
        for start in range(0, len(z), self.batch_size):
            stop = start + self.batch_size
            *_, last = self.model.decode(z[start:stop], self.params, Noise(seeds[start:stop]))
            parts.append(last.x)
        return torch.cat(parts)

    def _bound(self, z: Tensor) -> None:
        """Raises `TooMuch` for more than one request may ask."""
        passes, most = self.model.passes(self.params), 1_000_000 * self.house.max_work
        each = passes * self.model.latent_size
        if len(z) * each > most:
            what = f"{len(z)} pictures in {passes} passes of the network are more than one request may have here."
            raise TooMuch(what, f"Ask for at most {most // each} pictures, or for fewer steps." if most >= each else "Ask for fewer steps.")

    def able(self, capability: type[_C]) -> _C:
        """The model as something that can do `capability`. Raises `NotCapable`."""
        if not isinstance(self.model, capability):
            words = CAPABILITY_WORDS[capability]
            raise NotCapable(f"{self.model.title} cannot {words}.", "Choose another task or another family.")
        return cast("_C", self.model)
