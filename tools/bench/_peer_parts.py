"""Peers' models made of our weights, and files of theirs that both sides open."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from playground.engine import Engine

# -- diffusers ------------------------------------------------------------------------------------------------------------


class Untold(nn.Module):
    """Our U-Net as diffusers' pipelines ask one: a picture and a time, and no class."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network, c = network, network.config
        self.config = SimpleNamespace(sample_size=c.image_size, in_channels=c.channels)

    @property
    def dtype(self) -> torch.dtype:
        """That of the weights."""
        return next(self.network.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def forward(self, sample: Tensor, timestep: Tensor) -> SimpleNamespace:
        labels = torch.full((len(sample),), self.network.config.num_classes, device=sample.device)
        time = torch.full((len(sample),), float(timestep) * 1000 / 999, device=sample.device)
        return SimpleNamespace(sample=self.network(sample, time, labels))


def pipeline_of(engine: Engine, card: str, scheduler: Any) -> Any:
    """diffusers' pipeline around our network, loaded anew as diffusers has it: no layer replaced, channels first."""
    from diffusers import DDIMPipeline, DDPMPipeline

    from playground.families.loading import config_of, load_network
    from playground.nets.unet import PatchUNet, UNetConfig

    folder = engine.settings.weights_dir / card
    network, _ = load_network(folder, lambda words: PatchUNet(config_of(UNetConfig, words)), torch.device("cpu"), torch.float32)
    kind = DDIMPipeline if "DDIM" in type(scheduler).__name__ else DDPMPipeline
    pipeline = kind(Untold(network), scheduler)
    pipeline.scheduler = scheduler  # a DDIMPipeline takes only what it needs of one, and forgets where its steps lie
    return pipeline


def write_ddpm(folder: Path, widths: tuple[int, ...] = (32, 64, 64, 64)) -> None:
    """A repo of a `DDPMPipeline` of the shape of google/ddpm-cifar10-32, with those widths and random weights."""
    from diffusers import DDPMPipeline, DDPMScheduler
    from diffusers.models.unets.unet_2d import UNet2DModel

    torch.manual_seed(0)
    down = ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D")
    up = ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D")
    network = UNet2DModel(32, 3, 3, block_out_channels=widths, down_block_types=down, up_block_types=up, attention_head_dim=None)
    DDPMPipeline(network, DDPMScheduler()).save_pretrained(folder)


# -- flows ----------------------------------------------------------------------------------------------------------------


class Interleaved(nn.Module):
    """A conditioner that says what normflows' affine coupling expects: shift and log-scale of the way to the picture, by turns."""

    def __init__(self, coupling: Any) -> None:
        super().__init__()
        self.coupling = coupling

    def forward(self, kept: Tensor) -> Tensor:
        log_scale, shift = self.coupling.affine(kept)
        return torch.stack([-shift, -log_scale], dim=2).flatten(1, 2)


@dataclass
class NormflowsGlow:
    """normflows' Glow, and the three questions put to it."""

    flow: Any
    shapes: list[tuple[int, int, int]]
    """Of the latents, the last level first."""

    def decoded(self, z: Tensor) -> Tensor:
        """Pictures in [0, 1] of our latents (B, D)."""
        first, last = z.split([self.size(1), self.size(0)], dim=1)
        parts = [part.view(-1, *shape) for part, shape in zip((last, first), self.shapes, strict=True)]
        return self.flow.forward_and_log_det(parts)[0]

    def size(self, index: int) -> int:
        """How many numbers a level's latents are."""
        channels, height, width = self.shapes[index]
        return channels * height * width

    def sampled(self, count: int) -> Tensor:
        """Pictures of noise of its own."""
        with torch.inference_mode():
            return self.flow.sample(count)[0]

    def judged(self, x: Tensor) -> Tensor:
        """The log-density of pictures in [0, 1]."""
        with torch.inference_mode():
            return self.flow.log_prob(x, None)


def normflows_of(card: str, engine: Engine) -> NormflowsGlow:
    """A `MultiscaleFlow` of normflows' couplings, 1×1 convolutions, actnorms, squeezes and merges, with the weights of a Glow of ours."""
    import normflows as nf

    network = _loaded(card, engine)
    scales = network._scales
    flows: list[list[Any]] = []
    for level in reversed(scales.levels):
        flows.append([_as_normflows(nf, step) for step in reversed(level.steps)] + [nf.flows.Squeeze()])
    shapes = [(8, 7, 7), (2, 14, 14)]
    bases = [nf.distributions.DiagGaussian(shape, trainable=False) for shape in shapes]
    flow = nf.MultiscaleFlow(bases, flows, [nf.flows.Merge()], transform=_AsTransform(network.logit), class_cond=False)
    return NormflowsGlow(flow.eval().requires_grad_(False), shapes)


def _as_normflows(nf: Any, step: Any) -> Any:
    """One of our steps as one of normflows', which runs the other way."""
    name = type(step).__name__
    if name == "AffineCoupling":
        return nf.flows.AffineCouplingBlock(Interleaved(step), scale=True, scale_map="exp", split_mode="channel")
    if name == "InvertibleConvolution":
        made = nf.flows.Invertible1x1Conv(len(step.weight), use_lu=False)
        made.W = nn.Parameter(step.weight.clone())
        return made
    made = nf.flows.ActNorm((step.log_scale.shape[1], 1, 1))
    made.s, made.t = nn.Parameter(-step.log_scale.data), nn.Parameter(-step.shift.data)
    made.data_dep_init_done.fill_(1.0)
    return made


class _AsTransform(nn.Module):
    """Our logit as a transform of normflows."""

    def __init__(self, logit: Any) -> None:
        super().__init__()
        self.logit = logit

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = self.logit.inverse(z)
        return x, -self.logit(x)[1]

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, log_det = self.logit(x)
        return y, log_det


def zuko_of(card: str, engine: Engine) -> tuple[Any, Any]:
    """The first level of a RealNVP of ours, as the page runs it, and the same as a `NormalizingFlow` of zuko's."""
    import zuko

    theirs = _loaded(card, engine)._scales.levels[0]
    couplings = [_as_zuko(zuko, step) for step in theirs.steps]
    flow = zuko.distributions.NormalizingFlow(zuko.transforms.ComposedTransform(*couplings), zuko.distributions.DiagNormal(*_normal(784)))
    return engine.model(card).network._scales.levels[0], flow  # type: ignore[attr-defined]


def _normal(size: int) -> tuple[Tensor, Tensor]:
    return torch.zeros(size), torch.ones(size)


def _as_zuko(zuko: Any, step: Any) -> Any:
    from torch.distributions import AffineTransform

    mask = torch.zeros(4, 14, 14, dtype=torch.bool)
    mask[step.order[: step.kept]] = True

    def moved(kept: Tensor) -> Any:
        log_scale, shift = step.affine(kept.view(-1, 2, 14, 14))
        scale = torch.exp(log_scale).flatten(1)
        return zuko.transforms.DependentTransform(AffineTransform(shift.flatten(1) * scale, scale), 1)

    return zuko.transforms.CouplingTransform(moved, mask.flatten())


def _loaded(card: str, engine: Engine) -> Any:
    """A flow's network as it lies in its file: not folded, channels first."""
    from playground.families.flow import _build
    from playground.families.loading import load_network

    return load_network(engine.settings.weights_dir / card, _build, torch.device("cpu"), torch.float32)[0]


# -- pythae ---------------------------------------------------------------------------------------------------------------


def write_pythae(folder: Path, kind: str) -> tuple[Any, Any]:
    """A VAE of pythae with random weights, as files with safetensors; itself, and its sampler."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.nn.benchmarks import mnist
    from pythae.samplers import NormalSampler
    from safetensors.torch import save_file

    torch.manual_seed(0)
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=16)
    encoder = mnist.Encoder_ResNet_VAE_MNIST if kind == "ResNet" else mnist.Encoder_Conv_VAE_MNIST
    decoder = mnist.Decoder_ResNet_AE_MNIST if kind == "ResNet" else mnist.Decoder_Conv_AE_MNIST
    model = VAE(config, encoder(config), decoder(config)).eval()
    model.save(str(folder))
    save_file({name: value.clone() for name, value in model.state_dict().items()}, folder / "model.safetensors")
    return model, NormalSampler(copy.deepcopy(model))
