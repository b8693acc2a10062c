"""The transformer flow: a normalizing flow that takes its time, and that can clean up after itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from playground.families.base import Step
from playground.families.flow import ARCHITECTURES, Architecture, FlowParams, NormalizingFlow, picture, unit
from playground.knobs import Knobs, KnobSpec
from playground.latent import Noise
from playground.nets.tarflow import TarFlow, TarFlowConfig


class TransformerFlow(NormalizingFlow):
    """A transformer flow is a normalizing flow whose every step reads the picture patch by patch, as a language model reads words.

    Keys and values of the patches that were read are kept, so the next one costs no second look at them. The same network also learnt
    the density of pictures with a little noise. Such a density is smoother and easier to draw from, and its slope says where the
    clean picture lies: by Tweedie's formula, x + σ²·∇log p(x). That is the step called *denoise*.
    """

    limits: ClassVar[str] = (
        "Drawing goes patch after patch and takes far longer than a one-step family; a patch that goes wrong leads those after it "
        "astray. Its latent is as large as the picture, so single dimensions mean little."
    )
    live: ClassVar[bool] = False
    network: TarFlow

    @classmethod
    def tiny(cls) -> Self:
        return cls._tiny(lambda: TarFlow(TarFlowConfig(patch=4, width=16, flows=2, layers=1)))

    def knobs(self) -> tuple[KnobSpec, ...]:
        return self.Params.specs()

    def decode(self, z: Tensor, params: Knobs, noise: Noise) -> Iterator[Step]:
        assert isinstance(params, FlowParams)
        z, total = z.float(), len(self.network.flows) + params.denoise
        for index, y in enumerate(self.network.states(z, self._noisy(z, params), self.together), start=1):
            yield Step(self._picture(y), index, total)
        if params.denoise:
            yield Step(self._picture(self.network.denoised(y)), total, total)

    def passes(self, params: Knobs) -> int:
        assert isinstance(params, FlowParams)
        return len(self.network.flows) * self.network.num_tokens + params.denoise  # token after token, flow after flow

    def encode(self, x: Tensor, params: Knobs) -> Tensor:
        assert isinstance(params, FlowParams)
        y, _ = self.network.logit(unit(x.to(self.device).float()))
        return self.together(self.network.latent, y, self._noisy(y, params))[0]

    def _noisy(self, like: Tensor, params: FlowParams) -> Tensor:
        return torch.full((len(like),), float(params.denoise), device=self.device)

    def _picture(self, y: Tensor) -> Tensor:
        return picture(self.network.logit.inverse(y))


ARCHITECTURES["tarflow"] = Architecture(TarFlow, TarFlowConfig, TransformerFlow)
