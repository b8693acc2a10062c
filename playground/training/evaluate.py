"""One evaluation for every family: what a model can be asked decides what is measured.

The figures go to `metrics.json` beside the weights; the model card, README and the page read them from there.
"""

from __future__ import annotations

import datetime
import json
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from playground import hub, metrics
from playground.cards import Card, bundled_cards, find_card
from playground.device import device_words, pick_device, pick_dtype
from playground.errors import TrainingError, UnknownCard
from playground.families import FAMILIES, Model
from playground.families.base import Encodes, HasPosterior
from playground.images import from_uint8, to_uint8
from playground.knobs import Knobs
from playground.latent import Noise
from playground.nets.classifier import Classifier, ClassifierConfig
from playground.nets.likelihood import bits_per_dim
from playground.settings import Settings
from playground.training.data import FASHION_CLASSES, Split, load_fashion_mnist
from playground.training.model_card import write_model_card

CLASSIFIER = "classifier-fashion-28"
CHUNK = 250
TIMED_RUNS = 15
FEWEST = 10
"""Fewer pictures have too few neighbours to measure precision and recall by."""


@dataclass
class Evaluation:
    """One model against the test split. `figures()` measures; all shapes are (N, C, H, W) in [-1, 1] unless said."""

    model: Model
    params: Knobs
    classifier: Classifier
    train: Split
    test: Split
    num_samples: int
    seed: int
    weights: Path

    def figures(self) -> dict[str, tuple[float, int]]:
        """Name → (value, number of pictures it was measured on)."""
        found: dict[str, tuple[float, int]] = {}
        if isinstance(self.model, HasPosterior):
            found |= self.elbo(self.model)
        if isinstance(self.model, Encodes):
            found |= self.reconstruction(self.model)
        return found | self.generation() | self.cost()

    def elbo(self, model: HasPosterior) -> dict[str, tuple[float, int]]:
        """The evidence bound of native 8-bit pixels under a discretised likelihood, one draw of z a picture."""
        nats = torch.zeros(())
        for start, x in self._chunks(self.test, "elbo"):
            distortion, rate = model.evidence(x, Noise(range(self.seed + start, self.seed + start + len(x))))
            nats += (distortion + rate).sum().cpu()
        count = self._num_tested
        return {"elbo_bits_per_dim": (bits_per_dim(nats / count, self.test.pictures[0].numel()).item(), count)}

    def reconstruction(self, model: Encodes) -> dict[str, tuple[float, int]]:
        """PSNR and SSIM of decode(encode(x)), averaged over pictures."""
        psnr, ssim = [], []
        for _, x in self._chunks(self.test, "reconstruction"):
            y = self._decode(model.encode(x, self.params), [0] * len(x)).cpu()
            psnr.append(metrics.psnr_db(x.cpu(), y))
            ssim.append(metrics.ssim(x.cpu(), y))
        count = self._num_tested
        means = {"reconstruction_psnr_db": torch.cat(psnr).mean().item(), "reconstruction_ssim": torch.cat(ssim).mean().item()}
        return {name: (value, count) for name, value in means.items()}

    def generation(self) -> dict[str, tuple[float, int]]:
        """Distances between generated and test pictures in the classifier's features, beside those of training pictures."""
        real = self._features(x for _, x in self._chunks(self.test, "test features"))
        floor = self._features(x for _, x in self._chunks(self.train.head(self._num_tested), "train features"))
        fake = self._features(self._generated())
        self.class_share = self._classes(fake)
        found = {
            "classifier_fd": metrics.frechet_distance(real, fake),
            "classifier_fd_floor": metrics.frechet_distance(real, floor),
            "classifier_kid": metrics.kernel_distance(real, fake),
            **metrics.manifold_scores(real, fake),
        }
        return {name: (value, len(fake)) for name, value in found.items()}

    def cost(self) -> dict[str, tuple[float, int]]:
        """Parameters, bytes on disk, GFLOP of one picture, and the median milliseconds of one on this device."""
        model = self.model
        z = model.draw(self.params, Noise([self.seed]))
        with FlopCounterMode(display=False) as counter:
            self._decode(z, [0])
        times = []
        for _ in range(TIMED_RUNS):
            started = time.perf_counter()
            self._decode(z, [0]).cpu()
            times.append(1000 * (time.perf_counter() - started))
        state = load_file(self.weights)
        found = {
            "parameters": sum(value.numel() for value in state.values()),
            "bytes": self.weights.stat().st_size,
            "gflop_per_picture": counter.get_total_flops() / 1e9,
            "ms_per_picture": statistics.median(times),
        }
        return {name: (value, 1) for name, value in found.items()}

    @property
    def _num_tested(self) -> int:
        return min(self.num_samples, len(self.test))

    def _chunks(self, split: Split, words: str) -> Iterator[tuple[int, Tensor]]:
        for start in tqdm(range(0, self._num_tested, CHUNK), desc=words, leave=False):
            levels = split.pictures[start : min(start + CHUNK, self._num_tested)]
            yield start, (levels.float() / 127.5 - 1).to(self.model.device)

    def _generated(self) -> Iterator[Tensor]:
        """Pictures of seed, seed + 1, …, as 8-bit levels, because the real ones are."""
        for start in tqdm(range(0, self.num_samples, CHUNK), desc="generating", leave=False):
            seeds = range(self.seed + start, self.seed + min(start + CHUNK, self.num_samples))
            x = self._decode(self.model.draw(self.params, Noise(seeds)), list(seeds))
            yield from_uint8(to_uint8(x))

    def _decode(self, z: Tensor, seeds: list[int]) -> Tensor:
        *_, last = self.model.decode(z, self.params, Noise(seeds))
        return last.x

    def _features(self, parts: Iterator[Tensor]) -> Tensor:
        return torch.cat([self.classifier.features(x.cpu()) for x in parts])

    def _classes(self, features: Tensor) -> dict[str, float]:
        counts = self.classifier.head(features).argmax(dim=1).bincount(minlength=len(FASHION_CLASSES))
        return {name: round(count.item() / len(features), 4) for name, count in zip(FASHION_CLASSES, counts, strict=True)}


def evaluate_card(
    card_id: str,
    settings: Settings,
    *,
    data: Path,
    num_samples: int = 10_000,
    seed: int = 0,
    device: str = "auto",
    write: bool = True,
    knobs: Mapping[str, str] | None = None,
) -> dict[str, dict[str, Any]]:
    """Measures a card's weights as bundled; writes `metrics.json` and the model card, prints a table, returns the figures.

    `knobs` are the family's, as text; with any of them nothing is written, because a card's figures are those of its defaults.
    Raises `UnknownCard`, `BadWeights` or `TrainingError` (no data set, too few pictures) with a sentence.
    """
    cards = bundled_cards(settings.weights_dir)
    card = find_card(cards, card_id)
    if card.family not in FAMILIES:
        raise UnknownCard(
            f"{card_id} is no generative model.", f"Cards to evaluate: {', '.join(c.id for c in cards.values() if c.family in FAMILIES)}."
        )
    if num_samples < FEWEST:
        raise TrainingError(f"{num_samples} pictures are too few to measure.", f"Give --num-samples a whole number from {FEWEST}.")
    where = pick_device(device)
    folder = _folder(card, settings)
    family = FAMILIES[card.family]
    params = family.Params.parse({**card.defaults, **(knobs or {})})
    evaluation = Evaluation(
        model=family.load(folder, where, pick_dtype(where)),
        params=params,
        classifier=load_classifier(_folder(find_card(cards, CLASSIFIER), settings)),
        train=load_fashion_mnist("train", data),
        test=load_fashion_mnist("test", data),
        num_samples=num_samples,
        seed=seed,
        weights=folder / "model.safetensors",
    )
    with torch.inference_mode():
        measured = evaluation.figures()
    command = f"python -m playground evaluate {card_id} --num-samples {num_samples} --seed {seed}"
    common = {"seed": seed, "command": command, "date": datetime.date.today().isoformat(), "device": device_words(where)}
    figures = {name: {"value": _rounded(value), "n": n, **common} for name, (value, n) in measured.items()}
    _print(card, figures, evaluation.class_share)
    if write and not knobs:
        target = settings.weights_dir / card_id
        part = target / "metrics.json.part"
        part.write_text(json.dumps(figures, indent=2) + "\n")
        part.replace(target / "metrics.json")
        write_model_card(card, target, figures, params.to_plain(), evaluation.class_share)
    return figures


def load_classifier(folder: Path) -> Classifier:
    """The bundled classifier, float32 on the CPU."""
    config = json.loads((folder / "config.json").read_text())
    known = ClassifierConfig.__dataclass_fields__
    classifier = Classifier(ClassifierConfig(**{name: value for name, value in config.items() if name in known}))
    classifier.load_state_dict(load_file(folder / "model.safetensors"))
    return classifier.float().eval().requires_grad_(False)


def _folder(card: Card, settings: Settings) -> Path:
    return hub.resolve(
        card, weights_dir=settings.weights_dir, allow_hub=settings.hub == "on", timeout=settings.hub_timeout, retries=settings.hub_retries
    )


def _rounded(value: float) -> float | int:
    return value if isinstance(value, int) else float(f"{value:.5g}")


def _print(card: Card, figures: dict[str, dict[str, Any]], class_share: dict[str, float]) -> None:
    print(f"{card.title} ({card.id})")
    for name, figure in figures.items():
        print(f"  {name:26} {figure['value']:>12}   n = {figure['n']}")
    print("  share of each class:", ", ".join(f"{name} {100 * share:.1f} %" for name, share in class_share.items()))
    absent = [name for name, share in class_share.items() if share < 0.01]
    print(f"  classes below 1 %: {', '.join(absent) or 'none'}")
