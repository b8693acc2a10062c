"""`python -m playground train --all`: every card within one budget, several at a time, the classifier first."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from playground.errors import TrainingError

FIRST = "classifier-fashion-28"
"""Others label pictures with it, so it is trained before them."""


@dataclass(frozen=True)
class Zoo:
    """`minutes` of wall clock for all cards of `shares` (card → its share of the work), `jobs` processes at a time.

    `options` go to each card's own `train` command; what it prints goes to `runs/<card>/train.log`.
    """

    minutes: float
    jobs: int
    shares: Mapping[str, float]
    options: Sequence[str]
    runs: Path

    def run(self) -> None:
        """Trains. One card's failure does not stop the others; raises `TrainingError` naming those that failed."""
        failed = []
        for stage in self.stages():
            with ThreadPoolExecutor(self.jobs) as pool:
                failed += [card for lane in pool.map(self._train_lane, stage) for card in lane]
        if failed:
            raise TrainingError(f"Not trained: {', '.join(failed)}.", f"{self.runs}/CARD/train.log says why; the others are done.")

    def stages(self) -> Iterator[list[list[tuple[str, float]]]]:
        """Lanes of (card, minutes), run side by side: the classifier's stage, then that of all others, longest first."""
        first = {card: share for card, share in self.shares.items() if card == FIRST}
        others = {card: share for card, share in self.shares.items() if card != FIRST}
        lanes = _lanes(others, self.jobs)
        longest = max((sum(share for _, share in lane) for lane in lanes), default=0.0)
        total = sum(first.values()) + longest
        if first:
            yield [[(card, self.minutes * share / total) for card, share in first.items()]]
        rest = self.minutes * longest / total
        yield [[(card, rest * share / sum(each for _, each in lane)) for card, share in lane] for lane in lanes]

    def _train_lane(self, lane: Sequence[tuple[str, float]]) -> list[str]:
        return [card for card, minutes in lane if not self._train(card, minutes)]

    def _train(self, card: str, minutes: float) -> bool:
        log = self.runs / card / "train.log"
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
