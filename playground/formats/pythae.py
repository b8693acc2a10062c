"""Models of the library pythae whose weights somebody saved as safetensors. Its own `model.pt` and `encoder.pkl` are pickles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from torch import nn

from playground.errors import BadWeights
from playground.families import Model
from playground.families.pythae import Loss, PythaeAutoencoder, PythaeVAE
from playground.formats.base import Files, Format, Found, Schema, register
from playground.formats.networks import count_of, fitting, load_weights
from playground.nets.pythae import DECODERS, ENCODERS, About, Architecture, PythaeNet, Shapes, half_of, told

CONFIG = "model_config.json"
WEIGHTS = "model.safetensors"
MAX_SIDE = 256
VARIATIONAL = {
    "VAEConfig": "VAE",
    "BetaVAEConfig": "β-VAE",
    "BetaTCVAEConfig": "β-TC-VAE",
    "DisentangledBetaVAEConfig": "Disentangled β-VAE",
    "INFOVAE_MMD_Config": "InfoVAE",
    "MSSSIM_VAEConfig": "MS-SSIM VAE",
    "IWAEConfig": "IWAE",
    "MIWAEConfig": "MIWAE",
    "CIWAEConfig": "CIWAE",
    "PIWAEConfig": "PIWAE",
}
"""Names of configurations whose models are an encoder to `mu` and `log_var` and a decoder, and nothing more; and their titles."""
PLAIN = {"AEConfig": "Autoencoder", "WAE_MMD_Config": "WAE", "RAE_L2_Config": "RAE", "RAE_GP_Config": "RAE"}
"""The same where a code has no spread."""
TITLES = {**VARIATIONAL, **PLAIN}
SAVING = (
    "Only safetensors are loaded. Three lines of Python save the same weights so: import torch, safetensors.torch; "
    'state = torch.load("model.pt", weights_only=True)["model_state_dict"]; safetensors.torch.save_file(state, "model.safetensors")'
)


class PythaeSchema(Schema):
    """What `model_config.json` says of the networks; the rest is about training."""

    name: str = Field(max_length=60)
    input_dim: Annotated[tuple[Annotated[int, Field(ge=1, le=3 * MAX_SIDE**2)], ...], Field(min_length=1, max_length=3)]
    latent_dim: int = Field(10, ge=1, le=1024)
    reconstruction_loss: Loss = "mse"

    def about(self, where: str) -> About:
        """Raises `BadWeights` when its data are no square pictures."""
        given = self.input_dim
        sides = (math.isqrt(given[0]),) * 2 if len(given) == 1 else given[-2:]
        channels = given[0] if len(given) == 3 else 1
        if channels not in (1, 3) or math.prod(given) != channels * sides[0] ** 2 or sides[0] != sides[1] or sides[0] > MAX_SIDE:
            what = f"{where} takes data of the shape {given}."
            raise BadWeights(what, f"Only square pictures up to {MAX_SIDE}×{MAX_SIDE} are shown here, grey or in colour: (1, 28, 28).")
        return About((channels, sides[0], sides[0]), self.latent_dim, self.name in VARIATIONAL)


@register
class Pythae(Format):
    """`model_config.json` and `environment.json` as pythae writes them, and the weights as `model.safetensors`."""

    name: ClassVar[str] = "pythae"
    says: ClassVar[str] = f"a VAE or autoencoder of pythae ({CONFIG}) whose weights were saved as {WEIGHTS}"

    def recognise(self, files: Files) -> Found | None:
        if CONFIG not in files:
            return None
        words = files.words(CONFIG)
        if not is_known(words) and "environment.json" not in files:
            return None
        schema, about = read_schema(words, f"{CONFIG} of {files.where}")
        if WEIGHTS not in files:
            here = "holds its weights as model.pt, a pickle, which can run code" if "model.pt" in files else f"has no {WEIGHTS}"
            raise BadWeights(f"{files.where} {here}.", SAVING)
        family = PythaeVAE.family if about.variational else PythaeAutoencoder.family
        channels, side, _ = about.shape
        title = f"{TITLES[schema.name]}, {side}×{side} in {'colour' if channels == 3 else 'grey'}, {about.latent_dim} numbers"
        parameters = files.sizes[WEIGHTS] // 4  # what they are is told by the weights alone, which pythae saves as float32
        return Found(self.name, family, title, (CONFIG, WEIGHTS), parameters, defaults={"temperature": 1.0})

    def open(self, folder: Path, family: str, device: torch.device, dtype: torch.dtype) -> Model:
        sizes = {path.name: path.stat().st_size for path in folder.glob("*") if path.is_file()}
        files = Files(str(folder), sizes, lambda name: (folder / name).read_bytes())
        schema, about = read_schema(files.words(CONFIG), f"{CONFIG} of {folder}")
        network = tell(shapes_of(folder / WEIGHTS), about, str(folder / WEIGHTS))
        load_weights(network, folder / WEIGHTS, device, dtype)
        if about.variational:
            return PythaeVAE(network, about, device, dtype, schema.reconstruction_loss)
        return PythaeAutoencoder(network, about, device, dtype)


def is_known(words: Mapping[str, object]) -> bool:
    """Whether a configuration is of a kind that is read here."""
    return isinstance(name := words.get("name"), str) and name in TITLES


def read_schema(words: Mapping[str, object], where: str) -> tuple[PythaeSchema, About]:
    """What the configuration says. Raises `BadWeights` for a kind that has other networks, and for what is out of bounds."""
    if not is_known(words):
        kinds = ", ".join(name.removesuffix("Config").removesuffix("_") for name in TITLES)
        raise BadWeights(f"{where} is of the kind {str(words.get('name'))[:60]!r}.", f"Kinds that fit: {kinds}.")
    schema = PythaeSchema.read(words, where)
    return schema, schema.about(where)


def shapes_of(path: Path) -> Shapes:
    """The shapes of all weights, from the file's header. Raises `BadWeights` when it is missing or damaged."""
    try:
        with safe_open(path, "pt") as weights:
            return {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118, it is no mapping
    except (OSError, ValueError, SafetensorError) as error:
        raise BadWeights(f"{path} is damaged ({error}).", "Fetch it again, or ask its owner to mend it.") from error


def tell(shapes: Shapes, about: About, where: str) -> PythaeNet:
    """The networks that have weights of those shapes, on the meta device. Raises `BadWeights` when they are unknown."""
    network = PythaeNet(_half("encoder", ENCODERS, shapes, about, where), _half("decoder", DECODERS, shapes, about, where))
    count_of(network, where)
    return network


def _half(name: str, architectures: tuple[Architecture, ...], shapes: Shapes, about: About, where: str) -> nn.Module:
    with fitting(where):
        found = told(architectures, about, half_of(shapes, f"{name}."))
    if found is None:
        known = "It knows pythae's default, the ConvNets and ResNets of its benchmarks, and a few of the papers that it reproduced."
        raise BadWeights(f"The {name} in {where} is none that this page knows.", f"{known} One of one's own is a pickle in pythae.")
    return found
