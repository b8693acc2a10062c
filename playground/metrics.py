"""How good are pictures? Per-picture errors, and distances between sets of features. Knows no families or models.

torchmetrics and prdc do the measuring; they are imported when first needed, because a page that never measures should not
wait for them.
"""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
import torch
from torch import Tensor

MAX_PSNR_DB = 100.0


def psnr_db(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each picture, (B,), for pictures (B, C, H, W) in [-1, 1]; at most 100 dB."""
    mse = (x.float() - y.float()).square().flatten(1).mean(dim=1) / 4
    return (-10 * torch.log10(mse.clamp(min=10 ** (-MAX_PSNR_DB / 10)))).cpu()


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of each picture, (B,), at most 1, for pictures (B, C, H, W) in [-1, 1].

    Source: Wang et al. 2004, Gaussian window of 11 pixels, σ = 1.5; on [0, 1], because its luminance term wants black to be 0.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    from_black = [(picture.float() + 1) / 2 for picture in (y, x)]
    value = structural_similarity_index_measure(*from_black, data_range=(0.0, 1.0), reduction="none")
    return value.cpu()


def sharpness(x: Tensor) -> Tensor:
    """The mean squared Laplacian of each picture, (B,), for pictures (B, C, H, W) in [-1, 1]: large where edges are hard.

    Four neighbours, edge pixels repeated (Pech-Pacheco et al. 2000 measure focus by it).
    """
    around = torch.nn.functional.pad(x.float(), (1, 1, 1, 1), mode="replicate")
    neighbours = around[..., 1:-1, :-2] + around[..., 1:-1, 2:] + around[..., :-2, 1:-1] + around[..., 2:, 1:-1]
    return (neighbours - 4 * x.float()).square().flatten(1).mean(dim=1).cpu()


def warm_up() -> None:
    """Imports what `ssim` needs, seconds of work, before the first visitor asks for it."""
    ssim(torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16))


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features, (N, D) each.

    Source: Heusel et al., arXiv 1706.08500. In float64 and by the symmetric form, so that it never turns complex:
    |μa - μb|² + tr Ca + tr Cb - 2 tr (Ca^½ Cb Ca^½)^½.
    """
    from scipy.linalg import eigh

    first, second = (np.asarray(features, dtype=np.float64) for features in (a, b))
    mean_gap = first.mean(axis=0) - second.mean(axis=0)
    cov_a, cov_b = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    values, vectors = eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    cross = np.sqrt(eigh(root @ cov_b @ root, eigvals_only=True).clip(min=0)).sum()
    return float(mean_gap @ mean_gap + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def kernel_distance(real: Tensor, fake: Tensor, subset: int = 1000, subsets: int = 100) -> float:
    """Squared maximum mean discrepancy with a cubic kernel (KID), averaged over subsets; features (N, D).

    Source: Bińkowski et al., arXiv 1801.01401. torchmetrics' own, with the identity as extractor.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    class Identity(torch.nn.Module):
        num_features = real.shape[1]

        def forward(self, x: Tensor) -> Tensor:
            return x

    size = min(subset, len(real), len(fake))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it keeps all features in memory: these are small
        kid = KernelInceptionDistance(feature=Identity(), subsets=subsets, subset_size=size)
    kid.update(real.float(), real=True)
    kid.update(fake.float(), real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # which subsets are drawn
        return float(kid.compute()[0])


def manifold_scores(real: Tensor, fake: Tensor, nearest: int = 5) -> dict[str, float]:
    """`precision`, `recall`, `density`, `coverage` of fake features (N, D) against real ones.

    Sources: Kynkäänniemi et al., arXiv 1904.06991; Naeem et al., arXiv 2002.09797; the prdc package.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):  # it prints how many there are
        scores = compute_prdc(real_features=real.numpy(), fake_features=fake.numpy(), nearest_k=nearest)
    return {name: float(value) for name, value in scores.items()}
