"""Masks: what their texts mean, pixel by pixel, and what cannot be read."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from playground.errors import BadPicture
from playground.masks import HALVES, MAX_TEXT, Mask


@pytest.mark.parametrize(
    ("text", "rows"),
    {
        "none": ("....", "....", "....", "...."),
        "all": ("####", "####", "####", "####"),
        "left": ("##..", "##..", "##..", "##.."),
        "right": ("..##", "..##", "..##", "..##"),
        "top": ("####", "####", "....", "...."),
        "bottom": ("....", "....", "####", "####"),
        "middle": ("....", ".##.", ".##.", "...."),
        "box:1,0,2,3": (".##.", ".##.", ".##.", "...."),
        "box:3,3,9,9": ("....", "....", "....", "...#"),
        "box:7,7,2,2": ("....", "....", "....", "...."),
        "bits:gAE": ("#...", "....", "....", "...#"),  # 0b10000000, 0b00000001: the first pixel and the last
    }.items(),
)
def test_what_a_text_marks(text: str, rows: tuple[str, ...]) -> None:
    marked = Mask.parse(text).pixels(4)
    assert marked.dtype == torch.bool
    assert ["".join("#" if cell else "." for cell in row) for row in marked.tolist()] == list(rows)


def test_halves_of_an_odd_picture_share_every_pixel_once() -> None:
    for one, other in (("left", "right"), ("top", "bottom")):
        assert (Mask(one).pixels(7).int() + Mask(other).pixels(7).int()).eq(1).all()


@settings(deadline=None)
@given(st.integers(1, 30), st.randoms(use_true_random=False))
def test_a_painted_mask_comes_back(size: int, chance) -> None:
    pixels = torch.tensor([[chance.random() < 0.4 for _ in range(size)] for _ in range(size)])
    mask = Mask.of(pixels)
    assert mask.text.isascii() and not set("+/= ") & set(mask.text)  # fit for a link as it is
    assert torch.equal(Mask.parse(str(mask)).pixels(size), pixels)
    assert Mask.parse(f" {mask} ") == mask


def test_bits_are_those_of_packbits() -> None:
    pixels = np.random.default_rng(0).random((28, 28)) < 0.5
    body = base64.urlsafe_b64encode(np.packbits(pixels).tobytes()).decode().rstrip("=")
    assert Mask.of(torch.from_numpy(pixels)).text == f"bits:{body}"
    assert len(body) < 140


@pytest.mark.parametrize(
    "text", ["", "diagonal", "Left ", "box:1,2,3", "box:-1,0,3,3", "box:1,2,3,4,5", "box:a,b,c,d", "bits:", "bits:!!", "bits:A", 5, None]
)
def test_what_is_no_mask_gets_a_sentence(text: object) -> None:
    with pytest.raises(BadPicture, match=r"no mask\. Write left, right"):
        Mask.parse(text)  # type: ignore[arg-type]


def test_a_text_longer_than_any_mask_is_refused() -> None:
    with pytest.raises(BadPicture, match="no mask"):
        Mask.parse("bits:" + "A" * MAX_TEXT)


@pytest.mark.parametrize("size", [2, 5, 27, 29, 56])
def test_a_mask_belongs_to_the_size_it_was_painted_at(size: int) -> None:
    with pytest.raises(BadPicture, match=rf"not painted on {size}×{size} pixels\. Paint it again"):
        Mask.of(torch.ones(28, 28, dtype=torch.bool)).pixels(size)


def test_every_name_is_read_and_said_again() -> None:
    assert [str(Mask.parse(name)) for name in HALVES] == list(HALVES)
