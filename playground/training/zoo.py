"""`python -m playground train --all`: every card within one budget, several at a time.

The classifier is first, because others label pictures with it; those that begin with the weights of others are last.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from playground.errors import TrainingError
from playground.training.trainer import writing

FIRST = "classifier-fashion-28"
"""Others label pictures with it, so it is trained before them."""


@dataclass(frozen=True)
class Zoo:
    """`minutes` of wall clock for all cards of `shares` (card → its share of the work), `jobs` processes at a time.

    `last` are the cards that begin with the weights of another, and so come after all others. `options` go to each card's own
    `train` command; what it prints goes to `runs/<card>/train.log`.
    """

    minutes: float
    jobs: int
    shares: Mapping[str, float]
    options: Sequence[str]
    runs: Path
    last: Collection[str] = ()

    def run(self) -> None:
        """Trains. One card's failure does not stop the others; raises `TrainingError` naming those that failed."""
        failed = []
        for stage in self.stages():
            with ThreadPoolExecutor(self.jobs) as pool:
                failed += [card for lane in pool.map(self._train_lane, stage) for card in lane]
        if failed:
            raise TrainingError(f"Not trained: {', '.join(failed)}.", f"{self.runs}/CARD/train.log says why; the others are done.")

    def stages(self) -> Iterator[list[list[tuple[str, float]]]]:
        """Lanes of (card, minutes), run side by side: the classifier's stage, that of most cards, and that of the last."""
        stage_of = {card: 0 if card == FIRST else 2 if card in self.last else 1 for card in self.shares}
        groups = [{card: share for card, share in self.shares.items() if stage_of[card] == stage} for stage in range(3)]
        stages = [_lanes(group, self.jobs) for group in groups if group]
        longest = [max(sum(share for _, share in lane) for lane in lanes) for lanes in stages]
        for lanes, share in zip(stages, longest, strict=True):
            minutes = self.minutes * share / sum(longest)
            yield [[(card, minutes * own / sum(each for _, each in lane)) for card, own in lane] for lane in lanes]

    def _train_lane(self, lane: Sequence[tuple[str, float]]) -> list[str]:
        return [card for card, minutes in lane if not self._train(card, minutes)]

    def _train(self, card: str, minutes: float) -> bool:
        log = self.runs / card / "train.log"
        with writing(log.parent, keep=True):
            log.parent.mkdir(parents=True, exist_ok=True)
        print(f"{card}: {minutes:.1f} minutes", flush=True)
        command = [sys.executable, "-m", "playground", "train", card, "--minutes", f"{minutes:.2f}", "--runs", str(self.runs)]
        with log.open("w") as out:
            status = subprocess.run([*command, *self.options], stdout=out, stderr=subprocess.STDOUT, check=False).returncode
        print(f"{card}: {'done' if status == 0 else f'failed, see {log}'}", flush=True)
        return status == 0


def _lanes(shares: Mapping[str, float], jobs: int) -> list[list[tuple[str, float]]]:
    """The cards dealt to at most `jobs` lanes, longest first, each to the lane that has least."""
    lanes: list[list[tuple[str, float]]] = [[] for _ in range(min(jobs, len(shares)))]
    for card, share in sorted(shares.items(), key=lambda item: -item[1]):
        min(lanes, key=lambda lane: sum(each for _, each in lane)).append((card, share))
    return lanes
