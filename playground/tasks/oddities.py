"""Pictures that are none of the data set's: turned, inverted, blank, noise, letters. What should stand out is tried on them."""

from __future__ import annotations

import string
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from playground.images import from_uint8
from playground.latent import Noise
from playground.shelf import Shelf

NUM_ODD = 256
"""Pictures of a kind; there are fewer letters."""


def flipped(x: Tensor) -> Tensor:
    """Pictures (B, C, H, W) upside down."""
    return x.flip(-2)


def inverted(x: Tensor) -> Tensor:
    """Pictures in [-1, 1] with light and dark swapped."""
    return -x


def blank(like: Tensor) -> Tensor:
    """All grey levels, one a picture, from black to white, (256, C, H, W)."""
    levels = torch.linspace(-1, 1, 256, device=like.device)
    return levels.view(-1, 1, 1, 1).expand(-1, *like.shape[1:]).contiguous()


def noise(like: Tensor) -> Tensor:
    """Uniform noise, (256, C, H, W)."""
    return 2 * Noise(range(NUM_ODD)).uniform(like.shape[1:], "oddity").to(like.device) - 1


def letters(like: Tensor) -> Tensor:
    """Letters and digits, white on black, as tall as three quarters of the picture, (62, C, H, W); Pillow's own font."""
    size, channels = like.shape[-1], like.shape[1]
    font = ImageFont.load_default(size=round(0.9 * size))
    pages = []
    for letter in string.ascii_letters + string.digits:
        page = Image.new("L", (size, size))
        ImageDraw.Draw(page).text((size / 2, size / 2), letter, fill=255, font=font, anchor="mm")
        pages.append(np.asarray(page))
    return from_uint8(np.stack(pages)[..., None].repeat(channels, axis=-1)).to(like.device)


Make = Callable[[Tensor], Tensor]
KINDS: dict[str, Make] = {"upside down": flipped, "inverted": inverted, "blank": blank, "noise": noise, "letters": letters}
"""Each kind by its name: made of shelf pictures, or of their shape."""
SHOWN = {"blank": 128, "noise": 0, "letters": string.ascii_letters.index("A")}
"""Which of a kind stands for it, where it is no altered picture."""


def odd_pictures(shelf: Shelf) -> dict[str, Tensor]:
    """Up to 256 pictures of each kind, (N, C, H, W) in [-1, 1]."""
    x = from_uint8(shelf.pictures[:NUM_ODD])
    return {name: make(x) for name, make in KINDS.items()}


def auroc(normal: Tensor, odd: Tensor) -> float:
    """The chance that an odd one scores higher than a normal one, ties by halves: the area under the ROC curve (Hanley & McNeil 1982)."""
    order = normal.sort().values
    below, up_to = torch.searchsorted(order, odd), torch.searchsorted(order, odd, right=True)
    return ((below + up_to).double() / (2 * len(normal))).mean().item()


def roc(normal: Tensor, odd: Tensor, false_alarms: Tensor) -> Tensor:
    """The share of odd ones above the threshold that lets a share `false_alarms` (K,) of the normal ones above it, (K,)."""
    thresholds = torch.quantile(normal, 1 - false_alarms)
    return (odd[None] > thresholds[:, None]).double().mean(dim=1)
