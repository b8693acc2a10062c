"""What is measured of a model: what it can be asked decides which figures it has.

Sources of the measures: see `playground.metrics`; the importance-weighted bound is Burda, Grosse & Salakhutdinov, arXiv 1509.00519.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from playground import metrics
from playground.families import Model
from playground.families.capabilities import Encodes, HasEvidence, HasLikelihood, HasODE, HasVariationalBound, Inverts
from playground.images import from_uint8, to_uint8
from playground.knobs import Knobs
from playground.latent import Noise
from playground.nets.classifier import Classifier
from playground.nets.likelihood import bits_per_dim
from playground.training.data import FASHION_CLASSES, Split

CHUNK = 250
TIMED_RUNS = 15
COSTLY = 256
"""Pictures for what takes many passes of the network each: searches, long chains."""
ODE_PICTURES = 64
"""Pictures for an equation that is solved to a tolerance: hundreds of passes each, with their gradients."""
IWAE_DRAWS = 64
IWAE_PICTURES = 2000
IWAE_CHUNK = 20


@dataclass(frozen=True)
class Figure:
    """A measured number, on how many pictures, and the standard error of a mean over pictures (None for other kinds)."""

    value: float
    n: int
    error: float | None = None


@dataclass
class Yardstick:
    """What all models are held against: `num_samples` pictures of the test split, and of the training split as the floor."""

    classifier: Classifier
    train: Split
    test: Split
    num_samples: int

    @property
    def num_tested(self) -> int:
        return min(self.num_samples, len(self.test))

    @cached_property
    def real(self) -> Tensor:
        """Features of the test pictures, (N, D)."""
        return self.features(x for _, x in chunks(self.test, self.num_tested, "test features"))

    @cached_property
    def floor(self) -> float:
        """The Fréchet distance between test and training pictures."""
        return metrics.frechet_distance(self.real, self.features(x for _, x in chunks(self.train, self.num_tested, "train features")))

    @cached_property
    def sharpness(self) -> float:
        """The mean squared Laplacian of the test pictures."""
        parts = [metrics.sharpness(x) for _, x in chunks(self.test, self.num_tested, "test edges")]
        return torch.cat(parts).mean().item()

    def features(self, parts: Iterator[Tensor]) -> Tensor:
        """Features (N, D) of pictures (B, C, H, W) in [-1, 1], part by part."""
        return torch.cat([self.classifier.features(x.cpu()) for x in parts])

    def class_share(self, features: Tensor) -> dict[str, float]:
        """The share of each class among pictures with those features."""
        counts = self.classifier.head(features).argmax(dim=1).bincount(minlength=len(FASHION_CLASSES))
        return {name: count.item() / len(features) for name, count in zip(FASHION_CLASSES, counts, strict=True)}


def chunks(split: Split, count: int, words: str, size: int = CHUNK) -> Iterator[tuple[int, Tensor]]:
    """The first `count` pictures in [-1, 1], `size` at a time, each with the index of its first."""
    for start in tqdm(range(0, count, size), desc=words, leave=False):
        yield start, from_levels(split.pictures[start : min(start + size, count)])


def from_levels(levels: Tensor) -> Tensor:
    """uint8 grey levels to [-1, 1]."""
    return levels.float() / 127.5 - 1


def ms_per_picture(model: Model, params: Knobs, seed: int) -> float:
    """Milliseconds to decode one picture on the model's device: the fastest of several runs, because other work only ever adds."""
    z, times = model.draw(params, Noise([seed])), []
    for _ in range(TIMED_RUNS):
        started = time.perf_counter()
        *_, last = model.decode(z, params, Noise([0]))
        last.x.cpu()
        times.append(1000 * (time.perf_counter() - started))
    return min(times)


@dataclass
class Evaluation:
    """One model against the yardstick. `figures()` measures all that it can be asked."""

    model: Model
    params: Knobs
    yardstick: Yardstick
    seed: int
    weights: Path
    class_share: dict[str, float] = field(default_factory=dict)

    def figures(self) -> dict[str, Figure]:
        """Every figure by its name; `class_share` is there afterwards."""
        model, found = self.model, dict[str, Figure]()
        if isinstance(model, HasEvidence):
            found |= self.bounds(model)
        if isinstance(model, HasLikelihood):
            found |= self.bits("bits_per_dim", model.log_prob, self.yardstick.num_tested)
        if isinstance(model, HasODE):
            found |= self.bits("ode_bits_per_dim", model.ode_log_prob, min(ODE_PICTURES, self._costly))
        if isinstance(model, HasVariationalBound):
            found |= self.bits("variational_bits_per_dim", model.variational_bound, self._costly)
        if isinstance(model, Encodes):
            found |= self.reconstruction(model)
        return found | self.generation() | self.cost()

    # -- likelihood -------------------------------------------------------------------------------------------------

    def bits(self, name: str, log_prob: Callable[[Tensor, Noise], Tensor], count: int) -> dict[str, Figure]:
        """Bits per dimension of native 8-bit pixels, the mean of -log₂ P over the first `count` test pictures."""
        parts = [log_prob(x, self._noise(start, len(x))).cpu() for start, x in self._tested(count, name)]
        return {name: self._mean(bits_per_dim(-torch.cat(parts).double(), self._dims))}

    def bounds(self, model: HasEvidence) -> dict[str, Figure]:
        """The evidence bound with one draw of z a picture, its two parts, and the tighter one with 64."""
        parts = [model.evidence(x, self._noise(start, len(x))) for start, x in self._tested(self.yardstick.num_tested, "elbo")]
        distortion, rate = (torch.cat(part).cpu().double() for part in zip(*parts, strict=True))
        split = {"distortion_nats": self._mean(distortion), "rate_nats": self._mean(rate)}

        def weighted(x: Tensor, noise: Noise) -> Tensor:
            return torch.logsumexp(model.log_weights(x, noise, IWAE_DRAWS).double(), dim=0) - math.log(IWAE_DRAWS)

        tighter = self.bits(f"iwae_{IWAE_DRAWS}_bits_per_dim", weighted, min(IWAE_PICTURES, self.yardstick.num_tested))
        return {"elbo_bits_per_dim": self._mean(bits_per_dim(distortion + rate, self._dims)), **split, **tighter}

    # -- pictures ---------------------------------------------------------------------------------------------------

    def reconstruction(self, model: Encodes) -> dict[str, Figure]:
        """PSNR and SSIM of what comes back, and for a model that is exact the largest error of a pixel."""
        cheap = self.model.live and not isinstance(self.model, (Inverts, HasLikelihood))  # an exact one is exact on a few, too
        given, back = [], []
        for _, x in self._tested(self.yardstick.num_tested if cheap else self._costly, "reconstruction"):
            given.append(x.cpu())
            back.append(self._decode(self._latents(model, x), [0] * len(x)).cpu())
        x, y = torch.cat(given), torch.cat(back)
        found = {"reconstruction_psnr_db": self._mean(metrics.psnr_db(x, y)), "reconstruction_ssim": self._mean(metrics.ssim(x, y))}
        if isinstance(self.model, HasLikelihood):
            found["inversion_error"] = Figure((x - y).abs().max().item(), len(x))
        return found

    def _latents(self, model: Encodes, x: Tensor) -> Tensor:
        if isinstance(model, Inverts):
            *_, last = model.invert(x, self.params)
            return last.z
        return model.encode(x, self.params)

    def generation(self) -> dict[str, Figure]:
        """Distances between generated and test pictures in the classifier's features, beside those of training pictures."""
        yardstick, count = self.yardstick, self.yardstick.num_samples
        edges: list[Tensor] = []
        fake = yardstick.features(self._generated(edges))
        self.class_share = yardstick.class_share(fake)
        shares = torch.tensor([*self.class_share.values()])
        found = {
            "classifier_fd": metrics.frechet_distance(yardstick.real, fake),
            "classifier_fd_floor": yardstick.floor,
            "classifier_kid": metrics.kernel_distance(yardstick.real, fake),
            **metrics.manifold_scores(yardstick.real, fake),
            "sharpness_ratio": torch.cat(edges).mean().item() / yardstick.sharpness,
            "smallest_class_share": shares.min().item(),
            "class_imbalance_nats": math.log(len(shares)) - torch.special.entr(shares).sum().item(),
        }
        return {name: Figure(value, count) for name, value in found.items()}

    def _generated(self, edges: list[Tensor]) -> Iterator[Tensor]:
        """Pictures of seed, seed + 1, …, as 8-bit levels, because the real ones are; how sharp they are goes into `edges`."""
        for start in tqdm(range(0, self.yardstick.num_samples, CHUNK), desc="generating", leave=False):
            noise = self._noise(start, min(CHUNK, self.yardstick.num_samples - start))
            x = from_uint8(to_uint8(self._decode(self.model.draw(self.params, noise), list(noise.seeds))))
            edges.append(metrics.sharpness(x))
            yield x

    # -- cost -------------------------------------------------------------------------------------------------------

    def cost(self) -> dict[str, Figure]:
        """Parameters, bytes on disk, GFLOP of one picture, and its milliseconds on this device."""
        z = self.model.draw(self.params, Noise([self.seed]))
        with FlopCounterMode(display=False) as counter:
            self._decode(z, [0])
        found = {
            "parameters": sum(value.numel() for value in load_file(self.weights).values()),
            "bytes": self.weights.stat().st_size,
            "gflop_per_picture": counter.get_total_flops() / 1e9,
            "ms_per_picture": ms_per_picture(self.model, self.params, self.seed),
        }
        return {name: Figure(value, 1) for name, value in found.items()}

    # -- parts ------------------------------------------------------------------------------------------------------

    @property
    def _costly(self) -> int:
        return min(COSTLY, self.yardstick.num_tested)

    @property
    def _dims(self) -> int:
        return self.yardstick.test.pictures[0].numel()

    def _tested(self, count: int, words: str) -> Iterator[tuple[int, Tensor]]:
        size = IWAE_CHUNK if words.startswith("iwae") else CHUNK
        return ((start, x.to(self.model.device)) for start, x in chunks(self.yardstick.test, count, words, size))

    def _noise(self, start: int, count: int) -> Noise:
        return Noise(range(self.seed + start, self.seed + start + count))

    def _mean(self, values: Tensor) -> Figure:
        return Figure(values.mean().item(), len(values), (values.double().std() / len(values) ** 0.5).item())

    def _decode(self, z: Tensor, seeds: list[int]) -> Tensor:
        *_, last = self.model.decode(z, self.params, Noise(seeds))
        return last.x
