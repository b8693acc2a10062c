"""Pictures in and out: tensors in [-1, 1], uint8 arrays, PNG files with text, and whatever a visitor hands in."""

from __future__ import annotations

import base64
import binascii
import io
import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from playground.errors import BadPicture

Pictures = NDArray[np.uint8]
"""A stack of pictures, (N, H, W, C) with C = 1 or 3."""

MAX_PIXELS = 50_000_000
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_REMEDY = "Hand in a PNG, JPEG, WebP or GIF of at most 50 megapixels."


def to_uint8(x: Tensor) -> Pictures:
    """(B, C, H, W) in [-1, 1] to (B, H, W, C) in 0..255, rounded to the nearest level."""
    levels = ((x.detach().float().clamp(-1, 1) + 1) * 127.5).round()
    return levels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def from_uint8(pictures: Pictures) -> Tensor:
    """(B, H, W, C) in 0..255 to float32 (B, C, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def sheet(pictures: Pictures, columns: int) -> Pictures:
    """One picture (rows·H, columns·W, C) that holds all of them, row by row; what is missing in the last row is black."""
    count, height, width, channels = pictures.shape
    rows = math.ceil(count / columns)
    full = np.zeros((rows * columns, height, width, channels), np.uint8)
    full[:count] = pictures
    grid = full.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, channels)


def encode(picture: Pictures, format: str = "PNG", *, text: Mapping[str, str] | None = None, scale: int = 1) -> bytes:
    """One (H, W, C) picture as a file. `text` goes into the PNG's text chunks; `scale` enlarges by a whole factor, crisply."""
    image = to_pil(picture)
    if scale > 1:
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    if format == "PNG":
        info = PngInfo()
        for key, value in (text or {}).items():
            info.add_itxt(key, value)
        image.save(buffer, "PNG", pnginfo=info)
    else:
        image.save(buffer, format, quality=92)
    return buffer.getvalue()


PACKED_BYTES = 7_500
"""Of a picture in a link: in base64, 10,000 characters of the 30,000 that a link may have."""


def to_pil(picture: Pictures) -> Image.Image:
    """One (H, W, C) array as a Pillow image, grey or RGB."""
    return Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)


def png_text(data: bytes) -> dict[str, str]:
    """The text chunks of a PNG file; empty when there are none. Raises `BadPicture` when it is no picture."""
    image = open_image(data)
    return {key: str(value) for key, value in getattr(image, "text", {}).items()} if image.format == "PNG" else {}


def open_image(data: bytes) -> Image.Image:
    """Opens what a visitor handed in, without decoding it yet.

    Raises `BadPicture` for what is no picture, or has more than 50 megapixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large and of odd files; both are dealt with here
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
            if image.width * image.height > MAX_PIXELS:
                megapixels = image.width * image.height / 1e6
                raise BadPicture(f"The picture has {megapixels:,.0f} megapixels.", _REMEDY)
            if image.format == "PNG":
                image.load()  # text chunks after the pixels are read only now
    except UnidentifiedImageError as error:
        raise BadPicture("That file is not a picture that can be read here.", _REMEDY) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadPicture(f"That picture is damaged or too large ({error}).", _REMEDY) from error
    return image


def fit(image: Image.Image, size: int, channels: int = 1, *, invert: bool | None = None) -> Pictures:
    """The square crop of any picture that a model sees: (size, size, channels), uint8.

    The first frame, upright, on black where transparent, the middle square, reduced with antialiasing. `invert` swaps
    light and dark; None does so for a model without colour when the border is lighter than the middle grey, as on photographs of
    clothes on white, because the data set's clothes are light on black.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata
            image.seek(0)
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):
            array = np.asarray(image, dtype=np.float64).clip(0, 65535)
            image = Image.fromarray((array / (65535 if array.max() > 255 else 255) * 255).astype(np.uint8))
        flat = Image.new("RGBA", image.size, (0, 0, 0, 255))
        flat.alpha_composite(image.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise BadPicture(f"That picture is damaged ({error}).", _REMEDY) from error
    plain = ImageOps.fit(flat.convert("L" if channels == 1 else "RGB"), (size, size), Image.Resampling.LANCZOS)
    array8 = np.array(plain, dtype=np.uint8).reshape(size, size, channels)
    light_border = np.concatenate([array8[[0, -1]].reshape(-1), array8[:, [0, -1]].reshape(-1)]).mean() > 127
    return 255 - array8 if (light_border and channels == 1 if invert is None else invert) else array8


def fitted(picture: Pictures, size: int, channels: int) -> Pictures:
    """A picture (H, W, C) as a model of another size sees it, (size, size, channels); itself where it is of that shape."""
    if picture.shape == (size, size, channels):
        return picture
    return fit(to_pil(picture), size, channels, invert=False)


def pack(picture: Pictures) -> str:
    """A picture as URL-safe text of at most 10,000 characters: a file in base64 without padding. About 700 characters at 28×28.

    A PNG where that is short enough, else the best WebP that is: smaller, if it must be.
    """
    data = encode(picture)
    image = to_pil(picture)
    while len(data) > PACKED_BYTES:
        for quality in (90, 75, 60):
            buffer = io.BytesIO()
            image.save(buffer, "WEBP", quality=quality)
            data = buffer.getvalue()
            if len(data) <= PACKED_BYTES:
                break
        image = image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS)
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unpack(text: str, size: int, channels: int = 1) -> Pictures:
    """The (size, size, channels) picture that `pack` wrote. Raises `BadPicture` when the text is not one."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise BadPicture("The picture in this link is cut off or damaged.", "Copy the whole link.") from error
    image = open_image(data)
    if image.size == (size, size):
        return fit(image, size, channels, invert=False)
    return fit(image, size, channels)


def snake(pictures: Pictures, columns: int) -> Pictures:
    """The pictures of a sheet in an order without jumps: every other row from right to left."""
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    return np.concatenate([row[::-1] if index % 2 else row for index, row in enumerate(rows)])


def animate(frames: Pictures, format: str, *, seconds: float = 3.0, scale: int = 8, text: str = "") -> bytes:
    """Frames (N, H, W, C) as one animation that runs forth and back: `WEBP`, `GIF` or `MP4`."""
    order = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    images = [_enlarged(frames[index], scale) for index in order]
    milliseconds = max(20, round(1000 * seconds / max(1, len(order))))
    if format == "MP4":
        return _mp4([np.asarray(image.convert("RGB")) for image in images], 1000 / milliseconds)
    buffer = io.BytesIO()
    options = {"lossless": True} if format == "WEBP" else {"comment": text.encode()[:255]} if text else {}
    images[0].save(buffer, format, save_all=True, append_images=images[1:], duration=milliseconds, loop=0, **options)
    return buffer.getvalue()


def _enlarged(picture: Pictures, scale: int) -> Image.Image:
    image = to_pil(picture)
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def _mp4(frames: Sequence[NDArray[np.uint8]], rate: float) -> bytes:
    """H.264 in MP4; sides are even, as 4:2:0 wants."""
    from fractions import Fraction

    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000), options={"crf": "16"})
        height, width = frames[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        for array in frames:
            padded = np.pad(array, ((0, stream.height - height), (0, stream.width - width), (0, 0)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()
