"""Latents: noise drawn per picture, recipes that fit in a link, and the ways between two of them.

A latent is a recipe, never a tensor: `seed:7`, `test:12 + 1.5*pc:1`, `0.25*seed:7 + 0.75*seed:9`, `seed:7 + seed:9@3-5`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from torch import Tensor

from playground.errors import BadLatent, PlaygroundError
from playground.knobs import MAX_SEED, whole_number

MAX_TERMS = 24
SOURCES = ("seed", "test", "png", "near", "origin")
GIVEN = ("test", "png")
DIRECTIONS = ("dim", "pc", "sefa", "class")
MAX_NAME = 24

Span = tuple[int, int]
"""First and last layer, counted from 0, coarse to fine."""

# -- noise --------------------------------------------------------------------------------------------------------------


class Noise:
    """Random numbers that depend on a picture's own seed alone, never on its batch: one CPU generator a picture.

    The stream `latent` of seed s is `torch.randn(shape, generator=torch.Generator().manual_seed(s))`; other streams are
    independent of it and of each other.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = tuple(seeds)

    def __len__(self) -> int:
        return len(self.seeds)

    def normal(self, shape: Sequence[int], stream: str = "latent") -> Tensor:
        """Standard normal numbers, float32 (B, *shape)."""
        return self._filled(torch.randn, shape, stream)

    def uniform(self, shape: Sequence[int], stream: str) -> Tensor:
        """Uniform numbers in [0, 1), float32 (B, *shape)."""
        return self._filled(torch.rand, shape, stream)

    def slice(self, start: int, stop: int) -> Noise:
        """The noise of pictures start..stop-1."""
        return Noise(self.seeds[start:stop])

    def _filled(self, draw: Callable[..., Tensor], shape: Sequence[int], stream: str) -> Tensor:
        """What `draw` draws of each seed; one generator is told them in turn."""
        numbers, generator = torch.empty(len(self), *shape), torch.Generator()
        for own, seed in zip(numbers.unbind(), self.seeds, strict=True):
            draw(tuple(shape), generator=generator.manual_seed(_seed_of(seed, stream)), out=own)
        return numbers


def _seed_of(seed: int, stream: str) -> int:
    """The seed of a stream of a picture's numbers."""
    if stream == "latent":
        return seed
    return int.from_bytes(hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=7).digest(), "big")


# -- recipes ------------------------------------------------------------------------------------------------------------

_TERM = re.compile(
    r"(?:(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\*)?(?P<kind>[a-z]+)(?::(?P<value>[^+*@~\s]+))?"
    r"(?:@(?P<layers>[^~\s]*))?(?:~(?P<name>\S*))?"
)
_SPAN = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?", re.ASCII)
_NAME = re.compile(rf"[\w-]{{1,{MAX_NAME}}}")
_REMEDY = "Write for example seed:7, or test:12 + 1.5*pc:1."


@dataclass(frozen=True)
class Term:
    """`weight*kind:value@layers~name`. A source (seed, test, png, near, origin) is a point; a direction is an offset from it.

    `layers` are those of a network that it means, None for all; `name` is what a person calls it, "" for nothing.
    """

    weight: float
    kind: str
    value: str
    layers: Span | None = None
    name: str = ""

    def __str__(self) -> str:
        name = f"{self.kind}:{self.value}" if self.value else self.kind
        if self.layers is not None:
            low, high = self.layers
            name += f"@{low}" if low == high else f"@{low}-{high}"
        name += f"~{self.name}" if self.name else ""
        return name if self.weight == 1 and self.kind in SOURCES else f"{self.weight:.6g}*{name}"

    @property
    def is_source(self) -> bool:
        return self.kind in SOURCES

    def covers(self, layer: int) -> bool:
        """Whether that layer is among those it names."""
        return self.layers is not None and self.layers[0] <= layer <= self.layers[1]


@dataclass(frozen=True)
class Latent:
    """A point of a latent space as a person can write it: weighted sources plus offsets along named directions.

    Sources: `seed:N` (drawn as the family's knobs say), `test:N` (a test picture, encoded), `png:…` (a small picture as
    text, encoded), `near:x,y` (a place of the neighbour map), `origin` (the middle of the codes). Directions: `dim:N` (an
    axis), `pc:N` and `sefa:N` (principal directions of the latents, and of the layers that read them, in standard deviations),
    `class:N` (towards the mean of class N). Several sources are mixed by their weights, by slerp where the space is Gaussian.

    Where each layer of a network takes a latent of its own, `@3-5` names layers: of a source, which then replaces what the others
    mix to in those; of a direction, which then moves only those. `~sleeves` at the end is a name that a person gave.
    """

    terms: tuple[Term, ...]

    @classmethod
    def parse(cls, text: str) -> Latent:
        """Reads a recipe. Raises `BadLatent` naming the part that cannot be read."""
        if not isinstance(text, str) or not text.strip():
            raise BadLatent("An empty latent recipe says nothing.", _REMEDY)
        if len(text) > 20_000:
            raise BadLatent("That latent recipe is longer than 20,000 characters.", _REMEDY)
        parts = [part.strip() for part in re.split(r"\s\+\s", text.strip())]
        if len(parts) > MAX_TERMS:
            raise BadLatent(f"A latent recipe of {len(parts)} terms is too long.", f"Use at most {MAX_TERMS}.")
        terms = tuple(_term(part) for part in parts)
        if not any(term.is_source for term in terms):
            terms = (Term(1.0, "origin", ""), *terms)
        latent = cls(terms)
        for mixed in (latent.base, *(latent.at(low) for low, _ in latent.pieces)):
            if all(term.weight == 0 for term in mixed):
                raise BadLatent("All sources of that latent recipe have weight 0.", _REMEDY)
            if abs(sum(term.weight for term in mixed)) < 1e-6:  # mixing divides by it
                raise BadLatent("The weights of the sources of that latent recipe add up to 0.", _REMEDY)
        return latent

    @classmethod
    def seed(cls, seed: int) -> Latent:
        """`seed:N`; `seed_recipe` writes it at once."""
        return cls((Term(1.0, "seed", str(seed)),))

    def __str__(self) -> str:
        return " + ".join(map(str, self.terms))

    @property
    def sources(self) -> tuple[Term, ...]:
        return tuple(term for term in self.terms if term.is_source)

    @property
    def offsets(self) -> tuple[Term, ...]:
        return tuple(term for term in self.terms if not term.is_source)

    @property
    def is_picture(self) -> bool:
        """Whether it is a given picture and nothing more."""
        return len(self.terms) == 1 and self.terms[0].kind in GIVEN and self.terms[0].layers is None

    @property
    def base(self) -> tuple[Term, ...]:
        """What is mixed for the layers that no source names: the sources without layers, else the origin."""
        return tuple(term for term in self.sources if term.layers is None) or (Term(1.0, "origin", ""),)

    def at(self, layer: int) -> tuple[Term, ...]:
        """The sources that are mixed for one layer."""
        return tuple(term for term in self.sources if term.covers(layer)) or self.base

    @property
    def pieces(self) -> tuple[Span, ...]:
        """The stretches of layers that have sources of their own, each with the same ones throughout."""
        return _pieces(self.sources)

    @property
    def noise_seed(self) -> int:
        """The seed of all randomness after the latent (such as pixel noise): that of its first `seed:`, else 0."""
        return next((int(term.value) for term in self.terms if term.kind == "seed"), 0)

    def plus(self, weight: float, kind: str, value: str, layers: Span | None = None, name: str = "") -> Latent:
        """The same point moved along a direction; the recipe as before when the weight is 0."""
        return self if weight == 0 else Latent((*self.terms, Term(weight, kind, value, layers, name)))

    @classmethod
    def mix(cls, ends: Sequence[Latent], weights: Sequence[float]) -> Latent:
        """The weighted mixture of several recipes as one recipe; ends of weight 0 vanish."""
        kept = [(end, weight) for end, weight in zip(ends, weights, strict=True) if abs(weight) > 1e-9]
        terms: list[Term] = []
        for end, weight in kept:
            terms += _shares(end.base, weight, None)
            terms += [dataclasses.replace(term, weight=_rounded(weight * term.weight)) for term in end.offsets]
        for low, high in _pieces([term for end, _ in kept for term in end.sources]):
            for end, weight in kept:
                terms += _shares(end.at(low), weight, (low, high))
        return cls(tuple(terms))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _validate_latent, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )


def seed_recipe(seed: int) -> str:
    """What `Latent.seed` says in words: every picture of a sheet is told its own."""
    return f"seed:{seed}"


def _validate_latent(value: object) -> Latent:
    if isinstance(value, Latent):
        return value
    try:
        return Latent.parse(value)  # type: ignore[arg-type]
    except PlaygroundError as error:
        raise ValueError(str(error)) from error


def _pieces(sources: Sequence[Term]) -> tuple[Span, ...]:
    spans = [term.layers for term in sources if term.layers is not None]
    edges = sorted({low for low, _ in spans} | {high + 1 for _, high in spans})
    return tuple((low, end - 1) for low, end in pairwise(edges) if any(first <= low <= last for first, last in spans))


def _shares(sources: Sequence[Term], weight: float, layers: Span | None) -> list[Term]:
    """The same sources with weights that add up to `weight`, for those layers."""
    total = sum(term.weight for term in sources)
    return [dataclasses.replace(term, weight=_rounded(weight * term.weight / total), layers=layers) for term in sources]


def _rounded(weight: float) -> float:
    return float(f"{weight:.6g}")


def _term(text: str) -> Term:
    found = _TERM.fullmatch(text)
    if found is None:
        raise BadLatent(f"{text[:40]!r} is not part of a latent recipe.", _REMEDY)
    kind, value, weight = found["kind"], found["value"] or "", float(found["weight"] or 1.0)
    if kind not in SOURCES + DIRECTIONS:
        raise BadLatent(f"{kind[:40]!r} is neither a source nor a direction.", f"There are {', '.join(SOURCES + DIRECTIONS)}.")
    if not math.isfinite(weight) or abs(weight) > 1000:
        raise BadLatent(f"The weight of {text[:40]!r} is beyond ±1000.", _REMEDY)
    whole = ("seed", "test", *DIRECTIONS)
    if kind in whole and whole_number(value, 0, MAX_SEED) is None:
        raise BadLatent(f"{text[:40]!r} needs a whole number from 0 to {MAX_SEED} after the colon.", _REMEDY)
    if (kind == "origin") == bool(value):
        raise BadLatent(f"{text[:40]!r} is not part of a latent recipe.", _REMEDY)
    if kind == "near":
        near_point(value)
    return Term(weight, kind, str(int(value)) if kind in whole else value, _span(found["layers"]), _name(found["name"]))


def _span(text: str | None) -> Span | None:
    if text is None:
        return None
    found = _SPAN.fullmatch(text)
    low, high = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if low > high:
        raise BadLatent(f"@{text[:40]} names no layers.", "Write one layer as in @3, or the first and the last as in @3-5.")
    return low, high


def _name(text: str | None) -> str:
    """A name that a person gave, or ""."""
    return "" if text is None else direction_name(text)


def direction_name(text: str) -> str:
    """The same text. Raises `BadLatent` when it is no name that a recipe can hold."""
    if _NAME.fullmatch(text) is None:
        raise BadLatent(f"{text[:40]!r} is no name for a direction.", f"Use letters, digits, - and _, at most {MAX_NAME} of them.")
    return text


def near_point(value: str) -> tuple[float, float]:
    """The coordinates of `near:x,y`, each in [-2, 2]. Raises `BadLatent`."""
    try:
        x, y = (float(part) for part in value.split(","))
    except ValueError as error:
        raise BadLatent(f"near:{value[:40]} is not a place on the map.", "Write two numbers, as in near:0.2,-0.4.") from error
    if not (abs(x) <= 2 and abs(y) <= 2):
        raise BadLatent(f"near:{value[:40]} is outside the map.", "Both numbers lie between -2 and 2.")
    return x, y


# -- ways between latents -------------------------------------------------------------------------------------------------

Mix = Literal["slerp", "lerp"]


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """The straight way: (1 - t)·a + t·b. `a`, `b` are (B, *), `t` (B,)."""
    t = _aligned(t, a)
    return (1 - t) * a + t * b


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """The way along the great circle, with the length going evenly from |a| to |b|; one angle for each row.

    `a`, `b` are (B, *), `t` (B,). Source: Shoemake 1985; for latents White, arXiv 1609.04468. Rows that (nearly) point
    the same way, opposite ways, or nowhere go straight.
    """
    flat_a, flat_b = a.flatten(1), b.flatten(1)
    length_a, length_b = flat_a.norm(dim=1), flat_b.norm(dim=1)
    unit_a = flat_a / length_a.clamp(min=1e-12)[:, None]
    unit_b = flat_b / length_b.clamp(min=1e-12)[:, None]
    # Not acos of the dot product: in float32 that is off by 5e-4 for rows that point nearly opposite ways.
    angle = 2 * torch.atan2((unit_a - unit_b).norm(dim=1), (unit_a + unit_b).norm(dim=1))
    sine = torch.sin(angle)
    weight_a, weight_b = torch.sin((1 - t) * angle) / sine, torch.sin(t * angle) / sine
    length = (1 - t) * length_a + t * length_b
    round_way = (weight_a[:, None] * unit_a + weight_b[:, None] * unit_b) * length[:, None]
    straight = (sine < 1e-4) | (length_a == 0) | (length_b == 0)
    ways = torch.where(straight[:, None], lerp(flat_a, flat_b, t), round_way)
    exact = torch.where((t == 0)[:, None], flat_a, torch.where((t == 1)[:, None], flat_b, ways))
    return exact.view_as(a)


def mix(points: Sequence[Tensor], weights: Sequence[float], how: Mix) -> Tensor:
    """One point from several, each (1, *): fold them pairwise, so that two ends give plain slerp or lerp."""
    point, total = points[0], weights[0]
    between = slerp if how == "slerp" else lerp
    for other, weight in zip(points[1:], weights[1:], strict=True):
        total += weight
        share = weight / total if total else 0.0
        point = between(point, other, torch.full((1,), share, device=point.device, dtype=point.dtype))
    return point


def path_weights(num_ends: int, num_frames: int) -> list[tuple[float, ...]]:
    """Weights of the ends for each frame of the way through all of them in turn: `num_frames` rows of `num_ends`."""
    rows = []
    for frame in range(num_frames):
        place = frame / max(1, num_frames - 1) * (num_ends - 1)
        left = min(int(place), num_ends - 2)
        share = place - left
        rows.append(tuple(1 - share if end == left else share if end == left + 1 else 0.0 for end in range(num_ends)))
    return rows


def grid_weights(side: int) -> list[tuple[float, float, float, float]]:
    """Bilinear weights of the four corners (top left, top right, bottom left, bottom right), side² rows, row by row."""
    ticks = [index / max(1, side - 1) for index in range(side)]
    return [((1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y) for y in ticks for x in ticks]


def _aligned(t: Tensor, like: Tensor) -> Tensor:
    return t.reshape(-1, *[1] * (like.dim() - 1)).to(like)
