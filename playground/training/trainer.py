"""One trainer for every recipe: time or step budget, checkpoint and resume, EMA, gradient clipping, cosine schedule."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from tqdm import tqdm

from playground.errors import TrainingError
from playground.training.data import Split
from playground.training.recipes.base import Recipe, Turn

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"
CHECKPOINT_SECONDS = 120.0


@dataclass(frozen=True)
class Budget:
    """When to stop: after `steps` (then a seed decides the weights exactly), or after `minutes` of training."""

    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise TrainingError(f"A budget of {self.steps} steps trains nothing.", "Give --steps a whole number from 1.")
        if self.minutes is not None and not self.minutes > 0:
            raise TrainingError(f"A budget of {self.minutes:g} minutes trains nothing.", "Give --minutes a number above 0.")

    def progress(self, step: int, seconds: float) -> float:
        """The share used, 0..1."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        return min(1.0, seconds / 60 / (self.minutes or 20.0))


class _Move:
    """A turn of a step with its weights and their optimiser."""

    def __init__(self, turn: Turn, recipe: Recipe, network: nn.Module) -> None:
        self.turn, self.parameters = turn, list(turn.parameters(network))
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=True
        )

    def take(self, network: nn.Module) -> None:
        """Lets gradients flow to the weights of this turn alone."""
        mine = {id(parameter) for parameter in self.parameters}
        for parameter in network.parameters():
            parameter.requires_grad_(id(parameter) in mine)


class Trainer:
    """Trains one recipe in one folder. The folder holds `checkpoint.pt`, `log.jsonl`; it can be stopped and run again."""

    def __init__(
        self,
        recipe: Recipe,
        train: Split,
        folder: Path,
        *,
        budget: Budget,
        seed: int = 0,
        device: torch.device | None = None,
        bf16: bool = False,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        """`start` are weights to begin with instead of random ones; a checkpoint in the folder counts more."""
        self.recipe, self.budget, self.seed, self.folder = recipe, budget, seed, folder
        self.device = device or torch.device("cpu")
        self.bf16 = bf16 or self.device.type == "cuda"
        self.train = train.to(self.device)
        self.data_fingerprint = train.fingerprint()
        self.step, self.seconds = 0, 0.0
        self._epoch, self._order = -1, torch.empty(0)
        torch.manual_seed(seed)
        self.network = recipe.network().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if start is not None:
            self._begin_with(start)
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.moves = [_Move(turn, recipe, self.network) for turn in recipe.turns()]
        with writing(folder, keep=True):
            folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint_path.exists():
            self._resume()

    def _begin_with(self, start: Mapping[str, Tensor]) -> None:
        new = {name: value for name, value in self.network.state_dict().items() if name.endswith(self.recipe.neutral)}
        try:
            self.network.load_state_dict({**new, **start})
        except RuntimeError as error:
            raise TrainingError(
                f"The weights of {self.recipe.card} do not fit its recipe ({error}).", "Train it from nothing: leave --further out."
            ) from error

    @property
    def checkpoint_path(self) -> Path:
        return self.folder / CHECKPOINT

    # -- the loop ---------------------------------------------------------------------------------------------------

    def run(self, *, quiet: bool = False) -> nn.Module:
        """Trains until the budget is used; returns the network with averaged weights.

        Raises `TrainingError` when the loss is not a number (the last checkpoint stays) or the disk is full.
        """
        saved = logged = time.monotonic()
        since: list[dict[str, Tensor]] = []
        with tqdm(total=100, unit="%", disable=quiet, bar_format="{desc} {percentage:3.0f}% {postfix}") as bar:
            while (progress := self.budget.progress(self.step, self.seconds)) < 1:
                started = time.monotonic()
                figures = self._step(progress)
                now = time.monotonic()
                self.seconds += now - started
                since.append(figures)
                if self.step % self.recipe.log_every == 0:
                    figures = {name: torch.stack([each[name].float() for each in since]).mean() for name in figures}
                    since.clear()
                    self._log(figures, self.recipe.log_every * self.recipe.batch_size / (now - logged))
                    logged = now
                    bar.n = 100 * progress
                    bar.set_description(f"{self.recipe.card} step {self.step}", refresh=False)
                    bar.set_postfix({name: f"{float(value):.4g}" for name, value in figures.items()})
                if now - saved > CHECKPOINT_SECONDS:
                    self.save()
                    saved = now
        self.save()
        return self.averaged()

    def _step(self, progress: float) -> dict[str, Tensor]:
        figures: dict[str, Tensor] = {}
        for index, move in enumerate(each for each in self.moves for _ in range(each.turn.times)):
            made = self._move(move, index, progress)
            figures |= {f"{move.turn.name}_{name}".lstrip("_") if name in ("loss", "gradient") else name: made[name] for name in made}
        self.step += 1
        self._update_average()
        return figures

    def _move(self, move: _Move, index: int, progress: float) -> dict[str, Tensor]:
        recipe = self.recipe
        for group in move.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(1.0, (self.step + 1) / recipe.warmup_steps) * recipe.schedule(progress)
        move.take(self.network)
        count = self.step * sum(each.turn.times for each in self.moves) + index
        rows = self._batch_index(count)
        rng = torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + count)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss, figures = move.turn.loss(self.network, self.train.pictures[rows], self.train.labels[rows], rng, progress)
        self._check(loss, "loss")
        move.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(move.parameters, recipe.gradient_clip)
        self._check(norm, "gradient")
        move.optimizer.step()
        return {"loss": loss.detach(), **figures, "gradient": norm.detach()}

    def _check(self, value: Tensor, what: str) -> None:
        """Stops before a number that is none can reach the weights."""
        if not math.isfinite(value.item()):
            raise TrainingError(
                f"The {what} of {self.recipe.card} is {value.item()} at step {self.step}.",
                f"The last good weights are in {self.checkpoint_path}; train anew with a smaller --learning-rate.",
            )

    def _batch_index(self, count: int) -> Tensor:
        """The rows of batch `count`: every epoch a new permutation that depends on seed and epoch alone, so a resume continues it."""
        batches = max(1, len(self.train) // self.recipe.batch_size)
        epoch, batch = divmod(count, batches)
        if epoch != self._epoch:
            order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(self.seed * 7919 + epoch))
            self._epoch, self._order = epoch, order.to(self.device)
        return self._order[batch * self.recipe.batch_size : (batch + 1) * self.recipe.batch_size]

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def averaged(self) -> nn.Module:
        """A network with the averaged weights, in evaluation mode."""
        network = self.recipe.network().to(self.device)
        network.load_state_dict(self.average)
        return network.eval()

    # -- disk -------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Writes the checkpoint beside the last one, then replaces it, so that a full disk never costs the good one."""
        part = self.checkpoint_path.with_suffix(".part")
        with writing(part):
            torch.save(self._state(), part)
            part.replace(self.checkpoint_path)

    def _state(self) -> dict[str, object]:
        return {
            "configuration": self.recipe.configuration(),
            "data": self.data_fingerprint,
            "seed": self.seed,
            "step": self.step,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizers": [move.optimizer.state_dict() for move in self.moves],
        }

    def _resume(self) -> None:
        try:
            state = torch.load(self.checkpoint_path, map_location=self.device, weights_only=True)
            if not isinstance(state, dict) or (missing := [name for name in self._state() if name not in state]):
                raise ValueError(f"it lacks {', '.join(missing)}" if isinstance(state, dict) else "it is no checkpoint")
        except Exception as error:  # torch raises many kinds for a damaged file
            raise TrainingError(f"{self.checkpoint_path} cannot be read ({error}).", "Delete it to start from the beginning.") from error
        mine = {"configuration": self.recipe.configuration(), "data": self.data_fingerprint, "seed": self.seed}
        for what, value in mine.items():
            if state[what] != value:
                raise TrainingError(
                    f"{self.checkpoint_path} was made with another {what}: {_difference(state[what], value)}.",
                    "Use the same one to go on, or another --runs folder (or --restart) to begin anew.",
                )
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        for move, saved in zip(self.moves, state["optimizers"], strict=True):
            move.optimizer.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]

    def _log(self, figures: dict[str, Tensor], pictures_per_second: float) -> None:
        line = {
            "step": self.step,
            "minutes": round(self.seconds / 60, 3),
            "pictures_per_second": round(pictures_per_second, 1),
            **{name: round(float(value), 5) for name, value in figures.items()},
        }
        file = self.folder / LOG
        with writing(file, keep=True), file.open("a") as log:
            log.write(json.dumps(line) + "\n")


@contextmanager
def writing(path: Path, keep: bool = False) -> Iterator[None]:
    """A disk that is full or gone is a sentence; what was half written there is taken away, unless it is to `keep`."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # torch says RuntimeError
        if not keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        raise TrainingError(
            f"{path} could not be written ({error}).",
            "Free some disk space and run the same command again; it goes on from the last good checkpoint.",
        ) from error


def _difference(then: object, now: object) -> str:
    if isinstance(then, dict) and isinstance(now, dict):
        keys = [key for key in {*then, *now} if then.get(key) != now.get(key)]
        return ", ".join(f"{key} was {then.get(key)!r} and is {now.get(key)!r}" for key in sorted(keys))
    return f"it was {then!r} and is {now!r}"


def read_log(folder: Path) -> Iterator[dict[str, float]]:
    """The lines of a run's `log.jsonl`, oldest first."""
    with (folder / LOG).open() as log:
        for line in log:
            yield json.loads(line)
