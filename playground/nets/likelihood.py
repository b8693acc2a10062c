"""How likely is an 8-bit pixel? A discretised mixture of logistics with a spike at black.

Source: Salimans et al., PixelCNN++, arXiv 1701.05517, section 2.1; the spike is ours, because half of all
Fashion-MNIST pixels are exactly 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

HALF_BIN = 1 / 255
"""Half the width of one of the 256 grey levels when they are spread over [-1, 1]."""


class LogisticMixture:
    """p(pixel) = π₀·[pixel = 0] + Σₖ πₖ·∫ over the pixel's bin of Logistic(μₖ, sₖ).

    Built from raw network outputs of shape (B, 3K + 1, H, W): K + 1 logits (the spike first), K means, K log-scales.
    The outermost bins reach to ±∞, so the 256 probabilities sum to one.
    """

    def __init__(self, raw: Tensor) -> None:
        components = (raw.shape[1] - 1) // 3
        logits, mean, log_scale = raw.split([components + 1, components, components], dim=1)
        self.log_weights = logits.log_softmax(dim=1)
        self.mean_of_components = mean
        self.log_scale = log_scale.clamp(-7.0, 3.0)  # wider than e³ is flat, and its bins would have no mass to take the log of

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-probability in nats of grey levels `x`, integers 0..255 of shape (B, 1, H, W); result (B, H, W)."""
        inv_scale = torch.exp(-self.log_scale)
        centred = (x.to(inv_scale.dtype) / 127.5 - 1 - self.mean_of_components) * inv_scale
        half = HALF_BIN * inv_scale
        # log(σ(a) - σ(b)) = log σ(a) + log σ(-b) + log(1 - e^(b-a)), with a, b the upper and lower edge of the bin.
        not_lowest, not_highest = x > 0, x < 255
        log_bin = -F.softplus(-(centred + half)) * not_highest - F.softplus(centred - half) * not_lowest
        log_bin = log_bin + torch.log(-torch.expm1(-2 * half)) * (not_lowest & not_highest)
        spike = torch.where(not_lowest, torch.full_like(centred[:, :1], -1e4), 0.0)
        return torch.logsumexp(self.log_weights + torch.cat([spike, log_bin], dim=1), dim=1)

    def mean(self) -> Tensor:
        """The expected picture, (B, 1, H, W) in [-1, 1].

        Closed form for a logistic clipped to [-1, 1]: E = -1 + ∫ P(X > t) dt over the interval.
        """
        inv_scale = torch.exp(-self.log_scale)
        above = F.softplus((self.mean_of_components + 1) * inv_scale) - F.softplus((self.mean_of_components - 1) * inv_scale)
        expected = (above / inv_scale - 1).clamp(-1, 1)
        weights = self.log_weights.exp()
        return ((weights[:, 1:] * expected).sum(dim=1, keepdim=True) - weights[:, :1]).clamp(-1, 1)

    def sample(self, uniform: Tensor) -> Tensor:
        """One grey level a pixel, (B, 1, H, W) in [-1, 1], from `uniform` noise of shape (B, 2, H, W) in (0, 1)."""
        choose, place = uniform[:, :1], uniform[:, 1:].clamp(1e-6, 1 - 1e-6)
        index = (choose > self.log_weights.exp().cumsum(dim=1)).sum(dim=1, keepdim=True)
        index = index.clamp(max=self.log_scale.shape[1])
        component = (index - 1).clamp(min=0)
        mean = self.mean_of_components.gather(1, component)
        scale = self.log_scale.gather(1, component).exp()
        drawn = (mean + scale * torch.logit(place)).clamp(-1, 1)
        levels = ((drawn + 1) * 127.5).round() / 127.5 - 1
        return torch.where(index == 0, torch.full_like(levels, -1.0), levels)


def kl_to_standard_normal(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, exp(log_var)) ‖ N(0, 1)) per dimension in nats, the shape of `mu` (Kingma & Welling, arXiv 1312.6114, B)."""
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var)


def bits_per_dim(nats: Tensor, dims: int) -> Tensor:
    """Nats per picture to bits per pixel value: nats / (dims · ln 2)."""
    return nats / (dims * math.log(2))
