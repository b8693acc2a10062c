"""diffusers' pipelines on latents: LDM, DiT, and Stable Diffusion with one text encoder, each with the autoencoder that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from playground.errors import BadWeights
from playground.families import Model
from playground.families.latent_diffusion import DiTDenoiser, LatentDiffusion, TextDenoiser, TextToImage
from playground.families.pixel_diffusion import UNetDenoiser
from playground.formats.base import Files, Format, Found, register
from playground.formats.codecs import CodecFound, open_codec, recognise_codec
from playground.formats.latent_schemas import DiTSchema, LabelsSchema, TextUNetSchema
from playground.formats.networks import MAX_PARAMETERS, REFUSED, STEM, count_of, fitting, load_weights, modern_name
from playground.formats.prompts import TextFound, open_prompts, recognise_text
from playground.formats.schemas import ChainSchema, UNet2DSchema, read_scheduler

INDEX = "model_index.json"
SCHEDULER = "scheduler/scheduler_config.json"
MAX_SIDE = 1024
ONE_ENCODER = "Text to image fits where one CLIPTextModel reads the prompt: a StableDiffusionPipeline, as stabilityai/sd-turbo is."
"""What to do about text to image that does not fit."""
GUIDED: Mapping[str, Any] = {"num_inference_steps": 20, "scheduler": "dpmsolver++", "guidance_scale": 7.5}
DISTILLED: Mapping[str, Any] = {"num_inference_steps": 1, "scheduler": "euler", "guidance_scale": 1.0}
"""Knobs that suit a text-to-image model, and one that was distilled to few steps."""
PROMPTS = {"prompt": "a photograph of a lighthouse at dawn", "second_prompt": "an oil painting of a lighthouse in a storm"}


@dataclass(frozen=True)
class Kind:
    """A kind of pipeline: what it is called, the folders of its denoiser and its autoencoder, and what the denoiser may be."""

    title: str
    denoiser: str
    codec: str
    networks: tuple[str, ...]
    schema: type[UNet2DSchema] | type[DiTSchema] | type[TextUNetSchema]


KINDS = {
    "LDMPipeline": Kind("Latent diffusion", "unet", "vqvae", ("UNet2DModel",), UNet2DSchema),
    "DiTPipeline": Kind("DiT", "transformer", "vae", ("DiTTransformer2DModel", "Transformer2DModel"), DiTSchema),
    "StableDiffusionPipeline": Kind("Text to image", "unet", "vae", ("UNet2DConditionModel",), TextUNetSchema),
}


@dataclass(frozen=True)
class Parts:
    """What a repo was found to be made of."""

    kind: Kind
    where: str
    """Where its denoiser's configuration lies, for sentences."""
    network: UNet2DSchema | DiTSchema | TextUNetSchema
    weights: str
    codec: CodecFound
    chain: ChainSchema
    few_steps: bool
    """Whether its own scheduler sets out from the last time, as those of models do that were distilled to a step or few."""
    text: TextFound | None
    classes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a latent, (C, S, S)."""
        assert self.network.sample_size is not None
        return (self.network.in_channels, self.network.sample_size, self.network.sample_size)

    @property
    def side(self) -> int:
        """Of a picture, in pixels."""
        return self.shape[-1] * self.codec.factor

    @property
    def files(self) -> tuple[str, ...]:
        """All that is needed."""
        text = self.text.files if self.text is not None else ()
        return (INDEX, SCHEDULER, f"{self.kind.denoiser}/config.json", self.weights, *self.codec.files, *text)

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Knobs that suit it."""
        if self.text is not None:
            return {**(DISTILLED if self.few_steps else GUIDED), **PROMPTS}
        return {"guidance_scale": 4.0} if self.classes else {}

    def sketch(self) -> nn.Module:
        """The denoiser without its weights, on the meta device. Raises `BadWeights` when its parts do not fit together."""
        with fitting(self.where), torch.device("meta"):
            return self.network.build().eval()

    def try_out(self, network: nn.Module) -> None:
        """Asks the sketch for what the model will ask. Raises `BadWeights` when it cannot say noise of a latent's shape."""
        channels, side, _ = self.shape
        with fitting(self.where), torch.device("meta"), torch.no_grad():
            told: dict[str, Any] = {"class_labels": torch.zeros(1, dtype=torch.long)} if self.classes else {}
            if self.text is not None:
                told = {"encoder_hidden_states": torch.zeros(1, self.text.length, self.text.schema.hidden_size)}
            said = network(torch.zeros(1, channels, side, side), timestep=torch.ones(1), return_dict=False, **told)[0]
            if said.shape[1] not in (channels, 2 * channels) or said.shape[2:] != (side, side):
                raise ValueError(f"it is shown {(channels, side, side)} and says {tuple(said.shape[1:])}")


@register
class Latents(Format):
    """A pipeline's folder, with a folder for each of its parts."""

    name: ClassVar[str] = "diffusers-latents"
    says: ClassVar[str] = (
        "a pipeline of diffusers on latents (LDM, DiT, or Stable Diffusion with one CLIP text encoder) as whole safetensors"
    )

    def recognise(self, files: Files) -> Found | None:
        parts = parts_of(files)
        if parts is None:
            return None
        network = parts.sketch()
        count = count_of(network, parts.where) + parts.codec.parameters + (parts.text.parameters if parts.text is not None else 0)
        if count > MAX_PARAMETERS:
            raise BadWeights(f"{files.where} asks for {count:,} parameters in all.", f"At most {MAX_PARAMETERS:,} are loaded here.")
        parts.try_out(network)
        classes = f", {len(parts.classes):,} classes" if parts.classes else ""
        title = f"{parts.kind.title}, {parts.side}×{parts.side}{classes}"
        return Found(self.name, "diffusion", title, parts.files, count, parts.defaults, parts.classes)

    def open(self, folder: Path, family: str, device: torch.device, dtype: torch.dtype) -> Model:
        sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
        parts = parts_of(Files(str(folder), sizes, lambda name: (folder / name).read_bytes()))
        if parts is None:
            raise BadWeights(f"{folder} holds no pipeline on latents.", "Fetch it again.")
        network = parts.sketch()
        if isinstance(parts.network, DiTSchema):
            parts.network.place(network)
        load_weights(network, folder / parts.weights, device, dtype, modern_name)
        codec = open_codec(folder / parts.kind.codec, device, dtype)
        path, prediction = parts.chain.path(bounded=False), parts.chain.prediction_type
        if parts.text is not None:
            prompts = open_prompts(folder, parts.text, device, dtype)
            return TextToImage(TextDenoiser(network, path, parts.shape, prediction), codec, prompts, device, dtype)
        if parts.classes:
            denoiser = DiTDenoiser(network, path, parts.shape, prediction, len(parts.classes))
            return LatentDiffusion(denoiser, codec, device, dtype, parts.classes)
        return LatentDiffusion(UNetDenoiser(network, path, parts.shape, prediction), codec, device, dtype)


# -- what a repo is made of -------------------------------------------------------------------------------------------


def parts_of(files: Files) -> Parts | None:
    """What the repo is made of; None when it is no such pipeline. Raises `BadWeights` when it is one that cannot be used."""
    if INDEX not in files:
        return None
    index = files.words(INDEX)
    kind = _kind(index, files.where)
    if kind is None:
        return None
    config = f"{kind.denoiser}/config.json"
    where = f"{config} of {files.where}"
    words, settings = files.words(config), files.words(SCHEDULER)
    if words.get("_class_name") not in kind.networks:
        raise BadWeights(f"{where} is of the class {str(words.get('_class_name'))[:60]!r}.", f"What fits here is a {kind.networks[0]}.")
    network = kind.schema.read(words, where)
    parts = Parts(
        kind,
        where,
        network,
        weights=files.weights(f"{kind.denoiser}/{STEM}"),
        codec=recognise_codec(files, f"{kind.codec}/"),
        chain=read_scheduler(settings, f"{SCHEDULER} of {files.where}", ChainSchema),
        few_steps=settings.get("timestep_spacing") == "trailing" and settings.get("prediction_type", "epsilon") == "epsilon",
        text=recognise_text(files) if isinstance(network, TextUNetSchema) else None,
        classes=_classes(index, network, files.where),
    )
    _check(parts)
    return parts


def _kind(index: Mapping[str, Any], where: str) -> Kind | None:
    """Raises `BadWeights` for text to image of another kind than ours."""
    name = index.get("_class_name")
    parts = {part: value[1] for part, value in index.items() if isinstance(value, list) and len(value) == 2 and isinstance(value[1], str)}
    encoders = [value for part, value in parts.items() if part.startswith("text_encoder")]
    if encoders and (name != "StableDiffusionPipeline" or encoders != ["CLIPTextModel"]):
        reads = f", whose prompt is read by {' and '.join(encoders)}"[:120]
        raise BadWeights(f"{where} is a {str(name)[:60]}{reads}.", ONE_ENCODER)
    return KINDS.get(name) if isinstance(name, str) else None


def _classes(index: Mapping[str, Any], network: UNet2DSchema | DiTSchema | TextUNetSchema, where: str) -> tuple[str, ...]:
    """Names of the classes that it can be told, the first of those that each has; empty where the repo names none."""
    if not isinstance(network, DiTSchema):
        return ()
    names = LabelsSchema.read(index, f"{INDEX} of {where}").id2label
    return tuple(names.get(label, "").partition(",")[0].strip() for label in range(network.num_embeds_ada_norm))


def _check(parts: Parts) -> None:
    """Raises `BadWeights` when the parts are of different sizes, or its pictures too large."""
    network, text = parts.network, parts.text
    if network.sample_size is None:
        raise BadWeights(f"{parts.where} does not say sample_size.", REFUSED)
    if network.in_channels != parts.codec.channels:
        what = f"{parts.where} works on latents of {network.in_channels} channels, but its autoencoder makes {parts.codec.channels}."
        raise BadWeights(what, REFUSED)
    if parts.side > MAX_SIDE:
        what = f"{parts.where} makes pictures of {parts.side}×{parts.side}."
        raise BadWeights(what, f"The largest drawn here are {MAX_SIDE}×{MAX_SIDE}.")
    if isinstance(network, TextUNetSchema) and text is not None and network.cross_attention_dim != text.schema.hidden_size:
        made = text.schema.hidden_size
        what = f"{parts.where} reads vectors of {network.cross_attention_dim} numbers, but its text encoder makes {made}."
        raise BadWeights(what, REFUSED)
