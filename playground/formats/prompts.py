"""CLIP's text encoder and tokenizer as Stable Diffusion's pipelines keep them: `text_encoder/` and `tokenizer/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import nn

from playground.errors import BadWeights
from playground.families.prompts import Prompts, Tokenise
from playground.formats.base import Files, only
from playground.formats.latent_schemas import MAX_TOKENS, TextSchema, TokenizerSchema
from playground.formats.networks import REFUSED, count_of, fitting, load_weights

CONFIG = "text_encoder/config.json"
VOCABULARY, MERGES = "tokenizer/vocab.json", "tokenizer/merges.txt"
SETTINGS, SPECIAL = "tokenizer/tokenizer_config.json", "tokenizer/special_tokens_map.json"
MAX_BYTES = 2**23
"""Of the largest list of tokens, or of how they merge, that is read."""
REMEDY = "Fetch it again, or ask its owner to mend it."

Vocabulary = TypeAdapter(Annotated[dict[str, Annotated[int, Field(ge=0)]], Field(min_length=3)])


@dataclass(frozen=True)
class TextFound:
    """A text encoder that was recognised in a repo, with its tokenizer."""

    schema: TextSchema
    tokenizer: TokenizerSchema
    weights: str
    files: tuple[str, ...]
    parameters: int

    @property
    def length(self) -> int:
        """How many tokens of a prompt are read."""
        return int(min(MAX_TOKENS, self.tokenizer.model_max_length, self.schema.max_position_embeddings))


def recognise_text(files: Files) -> TextFound:
    """Raises `BadWeights`."""
    where = f"{CONFIG} of {files.where}"
    schema = TextSchema.read(files.words(CONFIG), where)
    for name in (VOCABULARY, MERGES):
        if not 0 < (size := files.sizes.get(name, 0)) <= MAX_BYTES:
            what = f"{files.where} has no {name}." if not size else f"{name} of {files.where} has {size:,} bytes."
            raise BadWeights(what, f"CLIP's tokenizer needs it, with at most {MAX_BYTES:,} bytes.")
    weights = _weights(files)
    needed = only((CONFIG, weights, VOCABULARY, MERGES), files, SETTINGS, SPECIAL)
    tokenizer = TokenizerSchema.read(_settings(files), f"{SETTINGS} of {files.where}")
    return TextFound(schema, tokenizer, weights, needed, count_of(_sketch(schema, where), where))


def _weights(files: Files) -> str:
    try:
        return files.weights("text_encoder/model")
    except BadWeights:
        files.weights("text_encoder/pytorch_model")  # what transformers calls a pickle: refused by its name
        raise


def _settings(files: Files) -> Mapping[str, object]:
    """Of both files, as transformers reads them: the map of special tokens counts, unless the settings list what was added."""
    settings = files.words(SETTINGS) if SETTINGS in files else {}
    if SPECIAL not in files or "added_tokens_decoder" in settings:
        return settings
    return {**settings, **files.words(SPECIAL)}


def _sketch(schema: TextSchema, where: str) -> nn.Module:
    """The encoder without its weights, on the meta device."""
    with fitting(where), torch.device("meta"):
        return schema.build()


def open_prompts(folder: Path, found: TextFound, device: torch.device, dtype: torch.dtype) -> Prompts:
    """The encoder and tokenizer of a folder. Raises `BadWeights` when their files are damaged or do not fit together."""
    encoder = _sketch(found.schema, f"{CONFIG} of {folder}")
    embeddings, places = encoder.get_submodule("embeddings"), torch.arange(found.schema.max_position_embeddings)[None]
    embeddings.register_buffer("position_ids", places, persistent=_tells_places(folder / found.weights))
    load_weights(encoder, folder / found.weights, device, dtype, lambda name: name.removeprefix("text_model."))
    embeddings.register_buffer("position_ids", places, persistent=False)  # what an old file says of them is not believed
    return Prompts(open_tokenizer(folder, found), encoder.to(device))


def _tells_places(path: Path) -> bool:
    """Whether a file holds the numbers 0, 1, 2, … of the places in a sentence, as old ones do."""
    try:
        with safe_open(path, "pt") as file:
            return any(name.endswith("embeddings.position_ids") for name in file.keys())  # noqa: SIM118 (it is no mapping)
    except (OSError, SafetensorError) as error:
        raise BadWeights(f"{path} is damaged ({error}).", REMEDY) from error


def open_tokenizer(folder: Path, found: TextFound) -> Tokenise:
    """Byte-pair encoding with CLIP's rules. Raises `BadWeights` for a vocabulary that does not fit its merges or the encoder."""
    vocabulary, merges = _vocabulary(folder / VOCABULARY, found.schema.vocab_size), _merges(folder / MERGES)
    tokens = found.tokenizer.model_dump(exclude={"model_max_length"})
    for token in (*tokens.values(), *(part for one, other in merges for part in (one, other, one + other))):
        if token not in vocabulary:
            raise BadWeights(f"{folder / VOCABULARY} lacks the token {token[:40]!r}.", REMEDY)
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    tokenizer, length = CLIPTokenizer(vocab=vocabulary, merges=cast("Any", merges), **tokens), found.length

    def tokenise(prompt: str) -> list[int]:
        return list(tokenizer(prompt, padding="max_length", max_length=length, truncation=True).input_ids)

    return tokenise


def _vocabulary(path: Path, size: int) -> dict[str, int]:
    try:
        vocabulary = Vocabulary.validate_json(path.read_bytes())
    except ValidationError as error:
        raise BadWeights(f"{path} is no list of tokens ({error.errors()[0]['msg']}).", REMEDY) from error
    if (largest := max(vocabulary.values())) >= size:
        raise BadWeights(f"{path} numbers a token {largest}, but its encoder knows {size}.", REFUSED)
    return vocabulary


def _merges(path: Path) -> list[tuple[str, str]]:
    """Pairs in the order in which they merge; the first line may tell a version."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise BadWeights(f"{path} is not text ({error.reason}).", REMEDY) from error
    pairs = [tuple(line.split(" ")) for line in lines if line.strip() and not line.startswith("#version")]
    if wrong := next((pair for pair in pairs if len(pair) != 2), None):
        raise BadWeights(f"{path} holds {' '.join(wrong)[:40]!r}, which is no pair of tokens.", REMEDY)
    return [(one, other) for one, other in pairs]
