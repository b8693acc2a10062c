"""The questions that one request a pane answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from playground.compare.base import Grid, Pane, Question, dialled, register
from playground.engine import Engine
from playground.errors import NotCapable
from playground.families import Model
from playground.families.judging import judge_of
from playground.images import from_uint8
from playground.knobs import Knob, Knobs, Seed
from playground.latent import Latent
from playground.request import Request
from playground.result import Result
from playground.tasks import Task
from playground.tasks.interpolate import Interpolate
from playground.tasks.lens import Lens
from playground.tasks.reconstruct import Reconstruct
from playground.tasks.sample import Sample


def _one(pane: Pane, task: Task, params: Knobs | None = None) -> Grid:
    return Grid((Request(pane.card, params or pane.params, task),))


@register
class SameSeed(Question):
    """New pictures of every pane, from the same seeds."""

    name: ClassVar[str] = "seed"
    title: ClassVar[str] = "Same seed"
    says: ClassVar[str] = "New pictures from the same seeds: how do the families differ when each draws what it likes?"
    task: ClassVar[type[Task]] = Sample
    num_samples: int = Knob(12, label="Pictures", help="How many each pane draws.", ge=1, le=64, step=1)
    seed: int = Seed()

    def grid(self, pane: Pane) -> Grid:
        return _one(pane, Sample(num_samples=self.num_samples, seed=self.seed))

    def says_of(self, latents: Sequence[Sequence[int] | None]) -> str:
        """Which panes start from the same noise: those whose latents have one shape."""
        panes: dict[tuple[int, ...], list[str]] = {}
        for place, shape in enumerate(latents, start=1):
            if shape is not None:
                panes.setdefault(tuple(shape), []).append(str(place))
        shared = [" and ".join((", ".join(places[:-1]), places[-1])) for places in panes.values() if len(places) > 1]
        if not shared:
            return "Same seed, own noise: these latents differ in shape, so picture 3 here has nothing to do with picture 3 there."
        if len(panes) == 1:
            return "Same seed, same noise: these latents have one shape, so each picture here starts where its neighbour's does."
        alike = ", panes ".join(shared)
        return f"Same seed: panes {alike} start from the same noise, because their latents have one shape; others draw their own."


@register
class RoundTrip(Question):
    """One picture into every latent and back."""

    name: ClassVar[str] = "trip"
    title: ClassVar[str] = "Round trip"
    says: ClassVar[str] = "One picture into each latent and back. What is lost on the way? Orange is too bright, blue too dark."
    task: ClassVar[type[Task]] = Reconstruct
    per_picture: ClassVar[bool] = False
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")
    num_samples: int = Knob(
        2, label="Draws", help="Draws from the posterior, where a family has one: all that it may have been.", ge=0, le=5, step=1
    )

    def grid(self, pane: Pane) -> Grid:
        return _one(pane, Reconstruct(picture=self.picture, num_samples=self.num_samples))

    def passes(self, model: Model, params: Knobs) -> int:
        return model.passes_back(params) + model.passes(params)

    def tells(self, facts: Mapping[str, Any], results: Sequence[Result]) -> str:
        found = results[0].sheet.facts
        return f"PSNR {found['psnr_db']:.1f} dB · SSIM {found['ssim']:.3f}"


@register
class Gesture(Question):
    """The same way from A to B through every latent space."""

    name: ClassVar[str] = "gesture"
    title: ClassVar[str] = "One gesture"
    says: ClassVar[str] = "The same two pictures, and the way between them through every latent space. Whose steps are even?"
    task: ClassVar[type[Task]] = Interpolate
    rows: ClassVar[bool] = True
    ends: tuple[Latent, ...] = Knob(
        (Latent.parse("test:0"), Latent.parse("test:1")),
        label="From A to B",
        help="Two ends: each a picture, or a seed, which means another picture to each family.",
        widget="latents",
        min_length=2,
        max_length=2,
    )
    mix: Literal["slerp", "lerp"] = Knob(
        "slerp",
        label="Way",
        help="Round keeps the usual distance from the middle; straight cuts through it.",
        choices={"slerp": "round (slerp)", "lerp": "straight (lerp)"},
    )
    num_frames: int = Knob(11, label="Frames", help="Pictures in each row.", ge=3, le=25, step=2)

    def grid(self, pane: Pane) -> Grid:
        return _one(pane, Interpolate(ends=self.ends, mix=self.mix, num_frames=self.num_frames))

    def facts(self, engine: Engine, pane: Pane, results: Sequence[Result]) -> Mapping[str, Any]:
        """How far each step goes in the features of the classifier, and how much longer the way is than the straight one."""
        features = engine.classifier_of(pane.card).features(from_uint8(results[0].pictures))
        steps = (features[1:] - features[:-1]).norm(dim=1)
        straight = (features[-1] - features[0]).norm().item()
        return {
            "steps": [round(step, 3) for step in steps.tolist()],
            "longest_step": round((steps.max() / steps.mean().clamp(min=1e-9)).item(), 2),
            "detour": round(steps.sum().item() / max(straight, 1e-9), 2),
        }

    def tells(self, facts: Mapping[str, Any], results: Sequence[Result]) -> str:
        return f"longest step {facts['longest_step']:.1f}× the mean, {facts['detour']:.1f}× the straight way"


@register
class Dial(Question):
    """Fidelity against diversity, each family by its own knob."""

    name: ClassVar[str] = "dial"
    title: ClassVar[str] = "One dial"
    says: ClassVar[str] = "From faithful to diverse on one dial, turned by each family's own knob: temperature, ψ, guidance."
    task: ClassVar[type[Task]] = Sample
    position: float = Knob(
        50.0,
        label="Diversity",
        help="0 keeps to what each model is surest of, 100 lets it draw all it knows.",
        ge=0,
        le=100,
        step=5,
        unit="%",
    )
    num_samples: int = Knob(12, label="Pictures", help="How many each pane draws.", ge=1, le=64, step=1)
    seed: int = Seed()

    def grid(self, pane: Pane) -> Grid:
        try:
            turned = pane.params.but(**dialled(pane, f"{self.position:g}"))
        except NotCapable as error:
            return Grid((error,))
        return _one(pane, Sample(num_samples=self.num_samples, seed=self.seed), turned)

    def facts(self, engine: Engine, pane: Pane, results: Sequence[Result]) -> Mapping[str, Any]:
        """Where the family's knob stands, and precision and recall measured at each of its stops."""
        dial = pane.family.dial
        assert dial is not None
        if dial.knob not in {spec.name for spec in engine.model(pane.card).knobs()}:
            raise NotCapable("It has no knob between faithful and diverse, so it stays as it is.", "Choose another model.")
        stops = [row for row in engine.swept(pane.card).get(dial.knob, []) if row["value"] in dial.stops]
        measured = {name: [row[name] for row in stops] for name in ("value", "precision", "recall", "n")} if stops else {}
        label = next(spec.label for spec in pane.family.Params.specs() if spec.name == dial.knob)
        return {"knob": dial.knob, "label": label, "now": dial.value(self.position / 100), "stops": measured}

    def tells(self, facts: Mapping[str, Any], results: Sequence[Result]) -> str:
        return f"{facts['label']} {facts['now']:g}"


@register
class Score(Question):
    """What every pane says of one picture."""

    name: ClassVar[str] = "score"
    title: ClassVar[str] = "Score this picture"
    says: ClassVar[str] = (
        "How likely is this picture, asked of each model by what it has: an exact likelihood, a bound, or only a score. Each is ranked "
        "among test pictures."
    )
    task: ClassVar[type[Task]] = Lens
    per_picture: ClassVar[bool] = False
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")

    def grid(self, pane: Pane) -> Grid:
        return _one(pane, Lens(picture=self.picture, judges="own"))

    def passes(self, model: Model, params: Knobs) -> int:
        judge = judge_of(model, params)
        return judge.passes if judge is not None else 0

    def tells(self, facts: Mapping[str, Any], results: Sequence[Result]) -> str:
        found = results[0].sheet.facts
        if not found["words"]:
            return "It has nothing to say of a picture."
        return f"{found['kinds'][0]}: {found['words'][0]} · above {found['rank'][0]:.0f} %"
