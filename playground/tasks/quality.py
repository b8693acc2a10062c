"""Steps and quality: what more steps buy, as it was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from playground.families.capabilities import Diffuses
from playground.knobs import Knob, Seed
from playground.latent import Noise
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.halfway import seeds_from

KNOB = "num_inference_steps"
MEASURES = ("classifier_fd", "precision", "recall", "coverage", "ms_per_picture")


@register
class Quality(Task):
    """Pictures drawn with the number of steps that is set, under it how good such pictures were when they were measured."""

    name: ClassVar[str] = "quality"
    title: ClassVar[str] = "Quality"
    says: ClassVar[str] = "How many steps are enough? Each point was measured on generated pictures; the line marks the steps that are set."
    needs: ClassVar[tuple[type, ...]] = (Diffuses,)
    view = "plot"
    common: ClassVar[bool] = False
    num_samples: int = Knob(8, label="Pictures", help="How many are drawn with that number of steps.", ge=1, le=24, step=1)
    seed: int = Seed()

    def run(self, bench: Bench) -> Iterator[Sheet]:
        seeds = seeds_from(self.seed, self.num_samples)
        rows = sorted(bench.swept().get(KNOB, []), key=lambda row: row["value"])
        facts = _facts(rows, bench.params.to_plain()[KNOB])
        labels, latents = tuple(f"seed {seed}" for seed in seeds), tuple(f"seed:{seed}" for seed in seeds)
        for pictures, share in bench.decode(bench.model.draw(bench.params, Noise(seeds)), seeds):
            yield Sheet(pictures, min(8, len(seeds)), labels, latents, tuple(seeds), facts, share, says=_words(facts, bench.card))


def _facts(rows: list[Mapping[str, Any]], now: int) -> dict[str, Any]:
    measured = {name: [float(row[name]) for row in rows] for name in MEASURES if rows and all(name in row for row in rows)}
    return {"now": now, "steps": [int(row["value"]) for row in rows], "n": int(rows[0]["n"]) if rows else 0, **measured}


def _words(facts: Mapping[str, Any], card: str) -> str:
    steps = facts["steps"]
    if not steps or "classifier_fd" not in facts:
        return f"Nothing is measured of this model yet: python -m playground evaluate {card} --sweep {KNOB}=1,2,5,10,20,50 does it."
    near = min(range(len(steps)), key=lambda index: abs(steps[index] - facts["now"]))
    best = min(range(len(steps)), key=lambda index: facts["classifier_fd"][index])
    words = [_point(facts, near, "With" if steps[near] == facts["now"] else "Measured nearest: with")]
    words += [] if best == near else [f"Best was {facts['classifier_fd'][best]:.2f} with {steps[best]}."]
    return f"{' '.join(words)} Over {facts['n']:,} pictures each."


def _point(facts: Mapping[str, Any], index: int, begin: str) -> str:
    time = f" at {facts['ms_per_picture'][index]:.0f} ms a picture" if "ms_per_picture" in facts else ""
    plural = "s" if facts["steps"][index] != 1 else ""
    return f"{begin} {facts['steps'][index]} step{plural} the Fréchet distance is {facts['classifier_fd'][index]:.2f}{time}."
