"""How likely a diffusion model finds a picture: along the probability-flow equation, and by the bound of its chain.

Sources: Song et al., arXiv 2011.13456, section 4.3 and appendix D.2; Ho et al., arXiv 2006.11239, equation 5, in the form of Kingma et
al., arXiv 2107.00630, equations 11-14.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from playground.families.samplers import Predict
from playground.nets.diffusion import Path

TOLERANCE = 1e-5
CHAIN = 10_000
"""Steps of the chain whose bound is taken; with 1,000 it is looser by 0.07 bits/dim, with more it stays as it is."""


def ode_log_density(path: Path, predict: Predict, x: Tensor, probe: Tensor | None = None, tolerance: float = TOLERANCE) -> Tensor:
    """log p(x) in nats (B,) of points (B, C, H, W), carried along dx = u dplace to where the density is N(0, I).

    The divergence of u is estimated with the signs `probe`, of the shape of `x` (Hutchinson 1990), or is exact without them.
    Solver: Dormand & Prince's 5(4) pair with `tolerance`, relative and absolute.
    """
    from scipy.integrate import solve_ivp  # with the training extras only

    speed = (path.place(torch.ones(1)) - path.place(torch.zeros(1))).item()

    def slope(time: float, state: NDArray[np.float64]) -> NDArray[np.float64]:
        at = torch.from_numpy(state[: x.numel()]).to(x).view_as(x)
        u, divergence = heading(predict, at, torch.full((len(x),), float(time)).to(x), probe)
        return speed * torch.cat([u.flatten(), divergence]).double().cpu().numpy()

    start = np.concatenate([x.flatten().double().cpu().numpy(), np.zeros(len(x))])
    solved = solve_ivp(slope, (path.first, 1.0), start, method="RK45", rtol=tolerance, atol=tolerance)
    end = torch.from_numpy(solved.y[:, -1]).to(x)
    return normal_log_density(end[: x.numel()].view_as(x)) + end[x.numel() :]


def heading(predict: Predict, x: Tensor, time: Tensor, probe: Tensor | None) -> tuple[Tensor, Tensor]:
    """u (B, C, H, W) and its divergence (B,): eᵀ (∂u/∂x) e for the probe e, or the trace itself, one dimension after another."""
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().requires_grad_()  # what was made in inference mode cannot be differentiated
        u = predict(x, time.clone())
        directions = [probe.clone()] if probe is not None else list(torch.eye(x[0].numel()).to(x).view(-1, 1, *x.shape[1:]))
        slopes = (torch.autograd.grad(u, x, e.expand_as(x), retain_graph=True)[0] * e for e in directions)
        return u.detach(), torch.stack([slope.flatten(1).sum(dim=1) for slope in slopes]).sum(dim=0)


def normal_log_density(x: Tensor) -> Tensor:
    """log N(x; 0, I), (B,)."""
    return -0.5 * (x.square() + math.log(2 * math.pi)).flatten(1).sum(dim=1)


def chain_bound(path: Path, predict: Predict, x: Tensor, eps: Tensor, places: Tensor) -> Tensor:
    """An unbiased estimate of the chain's lower bound on log P of 8-bit pictures (B, C, H, W) in [-1, 1], nats (B,).

    The chain has `CHAIN` steps, each of which costs the same share of signal over noise. Of its terms, those that the even numbers
    `places` (N, B) in [0, 1) point at are looked at; `eps` (N + 1, B, C, H, W) is the noise for each, and for what is left at the end.
    """
    edges = path.even_times(CHAIN).to(x)
    terms = torch.stack([_term(path, predict, x, noise, edges, place) for noise, place in zip(eps[1:], places, strict=True)])
    return _rounding(path, x, eps[0], edges[0]) - CHAIN * terms.mean(dim=0) - _prior(path, x, edges[-1])


def _term(path: Path, predict: Predict, x: Tensor, eps: Tensor, edges: Tensor, place: Tensor) -> Tensor:
    """One step's KL, ½ (SNR(s) - SNR(t)) |x - x̂(x_t)|²."""
    step = (CHAIN * place).long().clamp(max=CHAIN - 1)
    before, mixture = path.at(edges[step]), path.at(edges[step + 1])
    x_t = mixture.noised(x, eps)
    x_0 = mixture.picture(x_t, predict(x_t, edges[step + 1])).clamp(-1, 1)
    snr = [(each.signal / each.sigma).square().flatten() for each in (before, mixture)]
    return 0.5 * (snr[0] - snr[1]) * (x - x_0).square().flatten(1).sum(dim=1)


def _prior(path: Path, x: Tensor, last: Tensor) -> Tensor:
    """KL of what noise has left of the picture to N(0, I)."""
    end = path.at(last.view(1))
    return 0.5 * ((end.signal * x).square() + end.sigma**2 - 1 - 2 * end.sigma.log()).flatten(1).sum(dim=1)


def _rounding(path: Path, x: Tensor, eps: Tensor, first: Tensor) -> Tensor:
    """log P of the grey levels, given the picture with the least noise: each level as likely as its distance says."""
    start = path.at(first.view(1))
    levels = torch.arange(256, device=x.device) / 127.5 - 1
    seen = x + start.sigma / start.signal * eps
    logits = -0.5 * ((seen[..., None] - levels) * (start.signal / start.sigma)[..., None]).square()
    which = ((x + 1) * 127.5).round().long()
    return logits.log_softmax(dim=-1).gather(-1, which[..., None]).flatten(1).sum(dim=1)
