"""Anomaly: what does not fit through the code is odd. How odd, beside all test pictures, and against things that are no clothes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.families.capabilities import Squeezes
from playground.images import from_uint8, to_uint8
from playground.knobs import Knob
from playground.latent import Latent
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.marks import coloured, framed, heat
from playground.tasks.oddities import KINDS, SHOWN, auroc, odd_pictures, roc
from playground.tasks.shared import in_parts

FULL_HEAT = 128
"""Grey levels of error that are drawn as white."""
BINS = 60
FALSE_ALARMS = torch.linspace(0, 1, 101)


@register
class Anomaly(Task):
    """The picture, what comes back, where they differ, and one of each kind of odd picture; a frame marks what is stopped."""

    name: ClassVar[str] = "anomaly"
    title: ClassVar[str] = "Anomaly"
    measures: ClassVar[bool] = True
    says: ClassVar[str] = (
        "The error of what comes back, as root mean square in grey levels (of 255), is the score: the model learned to bring back clothes, "
        "so the unfamiliar should come back badly. An orange frame means stopped; the heat map shows where it is odd."
    )
    needs: ClassVar[tuple[type, ...]] = (Squeezes,)
    stages = ()
    view = "plot"
    common: ClassVar[bool] = False
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")
    threshold: float = Knob(
        95.0,
        label="Let through",
        unit="%",
        help="Share of the test pictures that pass; a frame marks what errs more.",
        ge=0,
        le=100,
        step=0.5,
    )

    def run(self, bench: Bench) -> Iterator[Sheet]:
        x = bench.picture(self.picture)
        shown = torch.cat([x, *(self._one(kind, x) for kind in KINDS)])
        back = self._through(bench, shown)
        scores = errors(shown, back)
        for known, share in self._known(bench):
            if known is None:
                yield self._sheet(shown, back, scores, None, {}, share, "The test pictures are being scored…")
            else:
                limit = torch.quantile(known["test"], self.threshold / 100).item()
                facts = self._facts(known, scores, limit)
                yield self._sheet(shown, back, scores, limit, facts, 1.0, self._says(known, scores, limit))

    def _one(self, kind: str, x: Tensor) -> Tensor:
        made = KINDS[kind](x)
        return made[SHOWN.get(kind, 0) :][:1]

    def _through(self, bench: Bench, x: Tensor) -> Tensor:
        """What comes back at the family's own defaults: scores must not hang on knobs that are not shown."""
        return bench.able(Squeezes).through(x, type(bench.model).Params())

    def _known(self, bench: Bench) -> Iterator[tuple[dict[str, Tensor] | None, float]]:
        """Scores of all test pictures (`test`) and of each kind; None until they are there, with the share done."""
        odd = bench.remembered("anomaly/odd", lambda: odd_pictures(bench.shelf))
        counts = {"test": len(bench.shelf.pictures), **{kind: len(x) for kind, x in odd.items()}}
        known, before = dict[str, Tensor](), 0
        for kind, count in counts.items():

            def score(start: int, stop: int, kind: str = kind) -> Tensor:
                x = odd[kind][start:stop] if kind in odd else from_uint8(bench.shelf.pictures[start:stop])
                return errors(x, self._through(bench, x))

            for scores, share in in_parts(bench, f"anomaly/{kind}", count, score):
                known[kind] = scores
                done = (before + share * count) / sum(counts.values())
                if done < 1 and len(scores) < count:
                    yield None, done
            before += count
        yield known, 1.0

    def _sheet(
        self, shown: Tensor, back: Tensor, scores: Tensor, limit: float | None, facts: dict[str, Any], share: float, says: str
    ) -> Sheet:
        given, returned, where = coloured(to_uint8(shown)), coloured(to_uint8(back[:1])), _where(shown[:1], back[:1])
        stopped = [limit is not None and score > limit for score in scores.tolist()]
        marked = np.concatenate([framed(given[[i]]) if stop else given[[i]] for i, stop in enumerate(stopped)])
        verdicts = [("…" if limit is None else "stopped" if stop else "passes") for stop in stopped]
        names = [
            f"{name}\nerror {score:.1f}\n{verdict}"
            for name, score, verdict in zip(("this picture", *KINDS), scores.tolist(), verdicts, strict=True)
        ]
        labels = (names[0], "comes back", "where it errs", *names[1:])
        pictures = np.concatenate([marked[:1], returned, where, marked[1:]])
        count = len(pictures)
        return Sheet(pictures, count, labels, ("",) * count, (0,) * count, facts, progress=share, says=says, named=True)

    def _facts(self, known: dict[str, Tensor], scores: Tensor, limit: float) -> dict[str, Any]:
        test, odd = known["test"], {kind: known[kind] for kind in KINDS}
        edges = torch.linspace(0, test.max().item() * 1.05, BINS + 1)
        return {
            "score": scores[0].item(),
            "limit": limit,
            "edges": edges.tolist(),
            "counts": torch.histc(test, BINS, 0, edges[-1].item()).tolist(),
            "false_alarms": FALSE_ALARMS.tolist(),
            "roc": [roc(test, score, FALSE_ALARMS.double()).tolist() for score in odd.values()],
            "auc": [auroc(test, score) for score in odd.values()],
            "caught": [(score > limit).double().mean().item() for score in odd.values()],
            "odd_scores": scores[1:].tolist(),
        }

    def _says(self, known: dict[str, Tensor], scores: Tensor, limit: float) -> str:
        test, score = known["test"], scores[0].item()
        below = (test < score).double().mean().item()
        verdict = "stopped" if score > limit else "let through"
        caught = ", ".join(f"{(known[kind] > limit).double().mean().item():.0%} of {_several(kind)}" for kind in KINDS)
        return (
            f"Error {score:.1f} grey levels, more than {below:.0%} of {len(test):,} test pictures: {verdict}. "
            f"The threshold {limit:.1f} stops {(test > limit).double().mean().item():.1%} of the test pictures, and {caught}."
        )


def errors(x: Tensor, back: Tensor) -> Tensor:
    """Root mean squared difference of each picture in grey levels (0 to 255), float64 (B,) on the CPU; pictures in [-1, 1]."""
    return 127.5 * (x.to(back.device) - back).double().square().flatten(1).mean(dim=1).sqrt().cpu()


def _where(x: Tensor, back: Tensor) -> Any:
    return heat((127.5 * (x.to(back.device) - back)).square().mean(dim=1).sqrt() / FULL_HEAT)


def _several(kind: str) -> str:
    return {"upside down": "those upside down", "inverted": "the inverted", "blank": "the blank"}.get(kind, kind)
