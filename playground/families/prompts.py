"""Words as a text-to-image network reads them: tokens, put through a text encoder, and the ways between two prompts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

REMEMBERED = 32
"""Prompts whose embeddings are kept: 300 KB each, so that a slider between two does not run the encoder again."""

Tokenise = Callable[[str], Sequence[int]]
"""A prompt as the numbers of its tokens, cut or filled up to one length L, at most 77."""


class Prompts:
    """CLIP's text encoder (Radford et al., arXiv 2103.00020): a prompt to one vector for each of its tokens.

    Safe to use from many threads.
    """

    def __init__(self, tokenise: Tokenise, encoder: nn.Module) -> None:
        self.tokenise, self.encoder = tokenise, encoder
        self._lock = threading.Lock()
        self._remembered = lru_cache(maxsize=REMEMBERED)(self._read)

    @classmethod
    def tiny(cls) -> Self:
        """Reads the first eight letters, at random: a vector of eight numbers for each."""
        from transformers.models.clip.configuration_clip import CLIPTextConfig
        from transformers.models.clip.modeling_clip import CLIPTextModel

        sizes = {"vocab_size": 32, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        words: dict[str, Any] = {**sizes, "max_position_embeddings": 8, "bos_token_id": 0, "eos_token_id": 2}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            encoder = CLIPTextModel(CLIPTextConfig(**words)).eval().requires_grad_(False)
        return cls(lambda prompt: [ord(letter) % 32 for letter in f"{prompt:8.8}"], encoder)

    def embed(self, prompt: str) -> Tensor:
        """What the network reads of a prompt, float32 (L, D)."""
        with self._lock:  # a tokenizer must not be asked by two at once
            return self._remembered(prompt)

    def between(self, first: str, second: str, share: float) -> Tensor:
        """A `share` of the way from one prompt to the other, (L, D): token by token along a straight line.

        As Imagic walks between embeddings, Kawar et al., arXiv 2210.09276, equation 3. A network reads them by their products with
        its keys and values, which are linear, and they lie on no sphere, so there is no reason for slerp.
        """
        return self.embed(first) if share == 0 else torch.lerp(self.embed(first), self.embed(second), share)

    def _read(self, prompt: str) -> Tensor:
        place = next(self.encoder.parameters()).device
        with torch.inference_mode(False), torch.no_grad():  # kept for others, who may not be inferring
            tokens = torch.tensor([list(self.tokenise(prompt))], device=place)
            embedding: Tensor = self.encoder(input_ids=tokens, return_dict=True).last_hidden_state[0].float()
        return embedding
