"""diffusers' pipelines on pixels: DDPM, DDIM, PNDM, score SDE (VE) and consistency models, each one `UNet2DModel` and a scheduler."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from playground.errors import BadWeights
from playground.families import Model
from playground.families.consistency import Consistency, Noising
from playground.families.pixel_diffusion import ExplodingDenoiser, PixelDiffusion, UNetDenoiser
from playground.formats.base import Files, Format, Found, register
from playground.formats.networks import count_of, fitting, load_weights, modern_name
from playground.formats.schemas import ChainSchema, ConsistencySchema, ExplodingSchema, SchedulerSchema, UNet2DSchema, read_scheduler

CHAINS = ("DDPMPipeline", "DDIMPipeline", "PNDMPipeline")
PIPELINES: dict[str, tuple[type[SchedulerSchema], ...]] = {
    **dict.fromkeys(CHAINS, (ChainSchema,)),
    "ScoreSdeVePipeline": (ExplodingSchema,),
    "ConsistencyModelPipeline": (ConsistencySchema,),
    "": (ChainSchema, ExplodingSchema, ConsistencySchema),
}
"""Which kinds of scheduler each has. A network that lies alone, without a pipeline, may have any."""
NETWORK = "UNet2DModel"
STEM = "diffusion_pytorch_model"
REFUSED = "Such a model is not drawn here."


@dataclass(frozen=True)
class Parts:
    """What a repo was found to be made of, and what it is."""

    title: str
    unet: UNet2DSchema
    scheduler: SchedulerSchema
    config: str
    """Path of the network's configuration."""
    files: tuple[str, ...]

    def sketch(self, where: str) -> nn.Module:
        """The network without its weights, on the meta device. Raises `BadWeights` when its parts do not fit together."""
        channels, side, _ = self.unet.shape
        with fitting(where), torch.device("meta"), torch.no_grad():
            network = self.unet.build().eval()
            labels = torch.zeros(1, dtype=torch.long) if self.unet.num_class_embeds else None
            said = network(torch.zeros(1, channels, side, side), torch.ones(1), class_labels=labels, return_dict=False)[0]
            if said.shape[2:] != (side, side):
                raise ValueError(f"it makes pictures {said.shape[2]} pixels high and {said.shape[3]} wide of {side} by {side}")
        return network


@register
class Pixels(Format):
    """A pipeline's folders `unet` and `scheduler`, or the same files side by side, as they were at first."""

    name: ClassVar[str] = "diffusers-pixels"
    says: ClassVar[str] = (
        "a pipeline of diffusers on pixels (DDPM, DDIM, PNDM, score SDE (VE), consistency model: a UNet2DModel as safetensors)"
    )

    def recognise(self, files: Files) -> Found | None:
        parts = parts_of(files)
        if parts is None:
            return None
        where = f"{parts.config} of {files.where}"
        _, side, _ = parts.unet.shape
        colour = "in colour" if parts.unet.in_channels == 3 else "in grey"
        classes = f", {parts.unet.num_class_embeds:,} classes" if parts.unet.num_class_embeds else ""
        return Found(
            self.name,
            "diffusion",
            f"{parts.title}, {side}×{side} {colour}{classes}",
            parts.files,
            count_of(parts.sketch(where), where),
            defaults=_defaults(parts.scheduler),
        )

    def open(self, folder: Path, family: str, device: torch.device, dtype: torch.dtype) -> Model:
        sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
        parts = parts_of(Files(str(folder), sizes, lambda name: (folder / name).read_bytes()))
        if parts is None:
            raise BadWeights(f"{folder} holds no pipeline on pixels.", "Fetch it again.")
        network = parts.sketch(f"{parts.config} of {folder}")
        if isinstance(parts.scheduler, ExplodingSchema):
            dtype = torch.float32  # beside noise of a thousand, half the digits leave nothing of a picture
        load_weights(network, folder / parts.files[-1], device, dtype, modern_name)
        return _model(parts, network, device, dtype)


def parts_of(files: Files) -> Parts | None:
    """What the repo is made of; None when it is no such pipeline. Raises `BadWeights` when it is one that cannot be used."""
    pipeline = _pipeline(files)
    if pipeline is None:
        return None
    config = "unet/config.json" if "unet/config.json" in files else "config.json"
    settings = "scheduler/scheduler_config.json" if "scheduler/scheduler_config.json" in files else "scheduler_config.json"
    where = f"{config} of {files.where}"
    words = files.words(config)
    if words.get("_class_name") != NETWORK:
        raise BadWeights(f"{where} is of the class {str(words.get('_class_name'))[:60]!r}.", f"What fits is a {NETWORK}.")
    unet = UNet2DSchema.read(words, where)
    scheduler = read_scheduler(files.words(settings), f"{settings} of {files.where}", *PIPELINES[pipeline])
    _check(unet, scheduler, where)
    index = ("model_index.json",) if "model_index.json" in files else ()
    needed = (*index, config, settings, files.weights(config.removesuffix("config.json") + STEM))
    title = pipeline.removesuffix("Pipeline") if pipeline in CHAINS else scheduler.title
    return Parts(title, unet, scheduler, config, needed)


def _pipeline(files: Files) -> str | None:
    """Which of `PIPELINES` it is; "" for a network that lies alone."""
    if "model_index.json" in files:
        name = files.words("model_index.json").get("_class_name")
        return name if isinstance(name, str) and name in PIPELINES and name else None
    return "" if "config.json" in files and files.words("config.json").get("_class_name") == NETWORK else None


def _check(unet: UNet2DSchema, scheduler: SchedulerSchema, where: str) -> None:
    """Raises `BadWeights` for a network that draws no pictures, or none that such a scheduler could ask for."""
    chain, exploding = isinstance(scheduler, ChainSchema), isinstance(scheduler, ExplodingSchema)
    if unet.sample_size is None:
        raise BadWeights(f"{where} does not say how large its pictures are.", "Its owner must give it a sample_size.")
    if unet.in_channels not in (1, 3):
        raise BadWeights(f"{where} works on {unet.in_channels} channels.", "Pictures here are grey or in colour: 1 or 3.")
    if unet.out_channels != unet.in_channels and not (chain and unet.out_channels == 2 * unet.in_channels):
        raise BadWeights(f"{where} takes {unet.in_channels} channels and gives {unet.out_channels}.", REFUSED)
    if (unet.time_embedding_type == "fourier") != exploding:
        raise BadWeights(f"{where} reads times as {unet.time_embedding_type}, which its scheduler does not write.", REFUSED)
    if unet.num_class_embeds is not None and (chain or exploding):
        what = f"{where} must be told one of {unet.num_class_embeds} classes at every step."
        raise BadWeights(what, "Only consistency models of that kind are drawn here.")


def _defaults(scheduler: SchedulerSchema) -> dict[str, Any]:
    """Knobs that suit it."""
    if isinstance(scheduler, ConsistencySchema):
        return {"num_inference_steps": 2}
    return {"num_inference_steps": 20 if isinstance(scheduler, ChainSchema) else 40, "scheduler": "dpmsolver++"}


def _model(parts: Parts, network: nn.Module, device: torch.device, dtype: torch.dtype) -> Model:
    unet, scheduler = parts.unet, parts.scheduler
    if isinstance(scheduler, ConsistencySchema):
        noising = Noising(**scheduler.model_dump())
        return Consistency(network, noising, unet.shape, unet.num_class_embeds or 0, device, dtype)
    if isinstance(scheduler, ExplodingSchema):
        return PixelDiffusion(ExplodingDenoiser(network, scheduler.path(), unet.shape), device, dtype, ())
    assert isinstance(scheduler, ChainSchema)
    return PixelDiffusion(UNetDenoiser(network, scheduler.path(), unet.shape, scheduler.prediction_type), device, dtype, ())
