"""What stands around a model at work: pictures, other models, and what was measured of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from playground.cards import Card
from playground.nets.classifier import Classifier
from playground.shelf import Shelf

if TYPE_CHECKING:
    from playground.tasks.base import Bench


class House(Protocol):
    """What stands around a model at work; the engine is one."""

    @property
    def batch_size(self) -> int:
        """Pictures made in one forward pass."""
        ...

    @property
    def max_work(self) -> int:
        """The most that may be asked at once, in millions: pictures × passes × numbers of a latent."""
        ...

    def siblings(self, card: str) -> Mapping[str, Card]:
        """The generative cards with weights on the same data set, that one among them, in the order of the manifest."""
        ...

    def shelf_of(self, card: str) -> Shelf:
        """The test pictures of its data set."""
        ...

    def training_shelf_of(self, card: str) -> Shelf:
        """Some of the training pictures of its data set."""
        ...

    def classifier_of(self, card: str) -> Classifier:
        """The classifier of its data set, on the CPU."""
        ...

    def is_ours(self, card: str) -> bool:
        """Whether it was trained on pictures that are here, so that there is a classifier for what it makes."""
        ...

    def measured(self, card: str) -> Mapping[str, Any]:
        """The figures in its `metrics.json`; empty when there are none."""
        ...

    def swept(self, card: str) -> Mapping[str, list[Mapping[str, Any]]]:
        """What its `sweeps.json` holds: by knob, one row of figures for each measured value; empty when there is nothing."""
        ...

    def judged(self, card: str) -> Mapping[str, Any]:
        """What its `judged.json` holds: `values`, and the `knobs` they were found with; empty where there is none for these weights."""
        ...

    def lend(self, card: str, knobs: Mapping[str, Any]) -> AbstractContextManager[Bench]:
        """Another card at work on the same request, at its own defaults but for `knobs`; its weights then belong to the answer."""
        ...
