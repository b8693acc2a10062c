"""What an encoder makes of a data set, in the few arrays that `codes.safetensors` holds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from playground.training.data import Split

MAP_PICTURES = 2000
PRIOR_COMPONENTS = 20


def summarise_codes(mu: Tensor, drawn: Tensor, labels: Tensor, map_code: Tensor) -> dict[str, Tensor]:
    """Directions, a fitted prior and a map, in half precision.

    `mu` (N, D): codes of the training pictures; `drawn` (N, D): one draw of each posterior, or the codes again where there is
    none; `labels` (N,) of ten classes; `map_code` (M, D): codes of the first test pictures.
    Gives all of `summarise_landmarks`, with D principal directions; `prior_weight` (K,), `prior_mean` (K, D), `prior_factor`
    (K, D, D): a Gaussian mixture on `drawn`, factors with factor·factorᵀ = covariance; `map_code` and `map_layout` (M, 2) in
    [-1, 1]: where t-SNE puts them.
    """
    from sklearn.manifold import TSNE
    from sklearn.mixture import GaussianMixture

    prior = GaussianMixture(PRIOR_COMPONENTS, covariance_type="full", max_iter=60, random_state=0, reg_covar=1e-4)
    prior.fit(drawn.numpy()[:: max(1, len(mu) // 30_000)])
    layout = TSNE(perplexity=40, init="pca", random_state=0).fit_transform(map_code.numpy())
    arrays = {
        "prior_weight": torch.from_numpy(prior.weights_),
        "prior_mean": torch.from_numpy(prior.means_),
        "prior_factor": torch.linalg.cholesky(torch.from_numpy(prior.covariances_)),
        "map_code": map_code,
        "map_layout": torch.from_numpy(layout / np.abs(layout).max()),
    }
    halves = {name: value.half().contiguous() for name, value in arrays.items()}
    return summarise_landmarks(mu, labels, rank=mu.shape[1]) | halves


def summarise_landmarks(codes: Tensor, labels: Tensor, rank: int) -> dict[str, Tensor]:
    """Where things lie among `codes` (N, D) of ten classes `labels` (N,), in half precision.

    Gives `mean` (D,); `principal` (rank, D), unit rows by falling variance, `principal_std` (rank,); `class_mean` (10, D), the
    mean of all for a class that never occurs.
    """
    mean = codes.mean(dim=0)
    variance, columns = torch.linalg.eigh((codes - mean).double().T.cov())
    arrays = {
        "mean": mean,
        "principal": columns.flip(1).T[:rank],
        "principal_std": variance.flip(0)[:rank].clamp(min=0).sqrt(),
        "class_mean": torch.stack([_mean(codes[labels == label], mean) for label in range(10)]),
    }
    return {name: value.half().contiguous() for name, value in arrays.items()}


def _mean(rows: Tensor, otherwise: Tensor) -> Tensor:
    return rows.mean(dim=0) if len(rows) else otherwise


@torch.no_grad()
def encode_all(encode: Callable[[Tensor], Tensor], split: Split, device: torch.device, batch: int = 500) -> Tensor:
    """`encode` of every picture in [-1, 1], float32 on the CPU, (N, *)."""
    return torch.cat([encode(part.to(device) / 127.5 - 1).float().cpu() for part in split.pictures.split(batch)])
