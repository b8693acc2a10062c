"""Pictures in and out: nothing is lost on the way through files, and whatever is handed in ends in a picture or a sentence."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import av
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from playground.errors import BadPicture
from playground.images import (
    MAX_PIXELS,
    Pictures,
    animate,
    encode,
    fit,
    from_uint8,
    open_image,
    pack,
    png_text,
    sheet,
    snake,
    to_uint8,
    unpack,
)

calm = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
"""No clock and no chance: a busy machine must not fail a test."""


def noise(*shape: int, seed: int = 0) -> Pictures:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def file_of(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises many pixels, and holds none."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")


def assert_sentence(error: BadPicture) -> None:
    assert str(error)[0].isupper()
    assert str(error).endswith(".")


# -- tensors and arrays -------------------------------------------------------------------------------------------------


@calm
@given(seed=st.integers(0, 1000), channels=st.sampled_from([1, 3]), height=st.integers(1, 9), width=st.integers(1, 9))
def test_levels_survive_tensors(seed: int, channels: int, height: int, width: int):
    pictures = noise(2, height, width, channels, seed=seed)
    x = from_uint8(pictures)
    assert x.shape == (2, channels, height, width)
    assert x.dtype == torch.float32
    assert np.array_equal(to_uint8(x), pictures)


def test_every_level_survives_and_the_ends_are_exact():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    x = from_uint8(levels)
    assert (x.min().item(), x.max().item()) == (-1.0, 1.0)
    assert np.array_equal(to_uint8(x), levels)
    assert np.array_equal(to_uint8(x + 0.9 / 255), levels)  # less than half a level away
    assert to_uint8(torch.tensor([[[[-7.0, 7.0]]]])).flatten().tolist() == [0, 255]


def test_a_sheet_goes_row_by_row_and_ends_in_black():
    pictures = np.stack([np.full((2, 3, 1), 10 * (index + 1), np.uint8) for index in range(5)])
    whole = sheet(pictures, columns=3)
    assert whole.shape == (4, 9, 1)
    assert whole[::2, ::3, 0].tolist() == [[10, 20, 30], [40, 50, 0]]
    assert np.array_equal(whole[1::2, 2::3, 0], whole[::2, ::3, 0])


# -- PNG files ----------------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=80)
KEYS = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20)


@calm
@given(text=st.dictionaries(KEYS, TEXTS, max_size=3), seed=st.integers(0, 99))
def test_text_survives_a_png(text: dict[str, str], seed: int):
    picture = noise(3, 4, 1, seed=seed)
    data = encode(picture, text=text)
    assert png_text(data) == text
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), picture[..., 0])


def test_text_of_what_is_no_png_is_empty():
    assert png_text(file_of(Image.new("L", (4, 4)), "JPEG")) == {}
    assert png_text(encode(noise(4, 4, 1))) == {}
    with pytest.raises(BadPicture):
        png_text(b"words")


@pytest.mark.parametrize("channels", [1, 3])
def test_enlarging_is_crisp(channels: int):
    picture = noise(3, 5, channels)
    image = Image.open(io.BytesIO(encode(picture, scale=4)))
    assert image.size == (20, 12)
    assert image.mode == ("L" if channels == 1 else "RGB")
    assert np.array_equal(np.asarray(image).reshape(12, 20, channels)[1::4, 2::4], picture)


def test_other_formats_are_written_too():
    assert Image.open(io.BytesIO(encode(noise(8, 8, 3), "JPEG"))).format == "JPEG"
    assert Image.open(io.BytesIO(encode(noise(8, 8, 1), "WEBP"))).format == "WEBP"


@settings(calm, max_examples=40)
@given(seed=st.integers(0, 1000), channels=st.sampled_from([1, 3]), light=st.booleans())
def test_a_small_picture_survives_a_link(seed: int, channels: int, light: bool):
    picture = noise(28, 28, channels, seed=seed)
    if light:
        picture = picture // 4 + 190  # its border is light, and still nothing may be inverted
    text = pack(picture)
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert np.array_equal(unpack(text, 28, channels), picture)


def test_a_picture_of_another_size_in_a_link_is_fitted():
    assert unpack(pack(noise(40, 60, 1)), 28).shape == (28, 28, 1)


@pytest.mark.parametrize("text", ["", "a", "!!!!", "é", "aGVsbG8", pack(noise(28, 28, 1))[:60]])
def test_a_damaged_link_is_refused_in_a_sentence(text: str):
    with pytest.raises(BadPicture) as caught:
        unpack(text, 28)
    assert_sentence(caught.value)


# -- what visitors hand in ----------------------------------------------------------------------------------------------


def read(data: bytes, **options: object) -> Pictures:
    return fit(open_image(data), 28, **options)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"dear sir or madam, this is a text file named picture.png",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF89a",
        b"\xff\xd8\xff\xe0",
        b"\0" * 5000,
        encode(noise(64, 64, 3))[:2000],
        encode(noise(64, 64, 3))[:-40],
        file_of(Image.fromarray(noise(64, 64, 3)), "JPEG")[:1500],
        file_of(Image.fromarray(noise(64, 64, 3)), "WEBP")[:500],
        file_of(Image.fromarray(noise(64, 64)), "GIF")[:900],
        file_of(Image.fromarray(noise(64, 64)), "TIFF")[:900],
        png_header(20, 20),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(data: bytes):
    with pytest.raises(BadPicture) as caught:
        read(data)
    assert_sentence(caught.value)


@settings(calm, max_examples=150)
@given(data=st.data(), format=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"]))
def test_a_damaged_file_is_a_picture_or_a_sentence(data: st.DataObject, format: str):
    whole = bytearray(file_of(Image.fromarray(noise(20, 20, 3)), format))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=6)):
        whole[place] = data.draw(st.integers(0, 255))
    whole = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        assert read(bytes(whole)).shape == (28, 28, 1)
    except BadPicture as error:
        assert_sentence(error)


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (50_000_001, 1), (8000, 6251), (60_000, 60_000)])
def test_too_many_pixels_are_refused_before_they_are_decoded(width: int, height: int):
    assert width * height > MAX_PIXELS
    data = png_header(width, height)
    tracemalloc.start()
    with pytest.raises(BadPicture, match=r"megapixels|too large") as caught:
        read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_sentence(caught.value)
    assert peak < 2_000_000


def test_a_whole_picture_of_a_hundred_megapixels_is_refused():
    black = file_of(Image.new("1", (10_000, 10_000)))  # 12 MB of bits here, and a few kB as a file
    assert len(black) < 100_000
    with pytest.raises(BadPicture, match="100 megapixels"):
        open_image(black)


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("L", (28, 28), level) for level in (40, 80, 120)]
    for format in ("GIF", "WEBP"):
        animation = open_image(file_of(frames[0], format, save_all=True, append_images=frames[1:], lossless=True))
        animation.seek(2)
        assert np.abs(fit(animation, 28).astype(int) - 40).max() <= 1


def test_a_cmyk_jpeg_is_read():
    cyan = file_of(Image.new("CMYK", (40, 40), (255, 0, 0, 0)), "JPEG")
    assert open_image(cyan).mode == "CMYK"
    red, green, blue = read(cyan, channels=3, invert=False).reshape(-1, 3).mean(axis=0)
    assert red < 60 < 130 < min(green, blue)


def test_a_16_bit_picture_keeps_its_greys():
    ramp = np.linspace(0, 65535, 28 * 28).reshape(28, 28)
    data = file_of(Image.fromarray(ramp.astype(np.uint16)))
    assert open_image(data).mode.startswith("I")
    found = read(data, invert=False)[..., 0].astype(float)
    assert np.abs(found - ramp / 257).max() <= 1


@pytest.mark.parametrize(
    "array", [np.full((28, 28), 70_000, np.int32), np.full((28, 28), -5, np.int32), np.full((28, 28), 3e9, np.float32)]
)
def test_levels_beyond_16_bits_are_cut_off(array: np.ndarray):
    found = read(file_of(Image.fromarray(array), "TIFF"), invert=False)
    assert np.unique(found).tolist() == [0 if array.min() < 0 else 255]


def test_one_pixel_is_a_picture():
    assert (read(encode(np.full((1, 1, 1), 77, np.uint8))) == 77).all()


def test_transparent_places_are_black():
    array = np.full((28, 28, 4), 200, np.uint8)
    array[:, :14, 3] = 0
    array[:, 14:, 3] = 255
    found = read(file_of(Image.fromarray(array)), invert=False)[..., 0]
    assert (found[:, :14] == 0).all()
    assert (found[:, 14:] == 200).all()


def test_grey_with_transparency_is_read():
    array = np.full((28, 28, 2), 90, np.uint8)
    array[..., 1] = 255
    array[:3, :, 1] = 0
    found = read(file_of(Image.fromarray(array)), invert=False)[..., 0]
    assert found[0, 0] == 0
    assert found[20, 20] == 90


def test_a_palette_is_read():
    image = Image.new("P", (28, 28), 1)
    image.putpalette([0, 0, 0, 10, 120, 240])
    assert read(file_of(image), channels=3, invert=False)[5, 5].tolist() == [10, 120, 240]
    transparent = file_of(image, transparency=1)
    assert (read(transparent, channels=3, invert=False) == 0).all()


def test_a_bitmap_of_one_bit_is_read():
    image = Image.new("1", (28, 28), 0)
    image.paste(1, (10, 10, 20, 20))
    found = read(file_of(image), invert=False)[..., 0]
    assert (found[12, 12], found[2, 2]) == (255, 0)


def test_a_photo_is_turned_upright():
    array = np.zeros((28, 28, 3), np.uint8)
    array[:10] = 250  # light above
    image = Image.fromarray(array)
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90° clockwise to view
    found = read(file_of(image, "JPEG", exif=exif), invert=False)[..., 0]
    assert found[:, 20:].mean() > 200
    assert found[:, :15].mean() < 20


def test_a_photo_on_white_is_inverted_unless_told_otherwise():
    array = np.full((28, 28, 1), 250, np.uint8)
    array[10:20, 10:20] = 30
    data = encode(array)
    assert np.array_equal(read(data), 255 - array)
    assert np.array_equal(read(data, invert=False), array)
    dark = encode(255 - array)
    assert np.array_equal(read(dark), 255 - array)
    assert np.array_equal(read(dark, invert=True), array)


@pytest.mark.parametrize(("width", "height"), [(100, 20), (20, 100), (500, 500), (300, 40)])
def test_the_middle_square_is_taken(width: int, height: int):
    array = np.zeros((height, width, 1), np.uint8)
    side = min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    array[top : top + side, left : left + side] = 100
    found = read(encode(array), invert=False)
    assert found.shape == (28, 28, 1)
    assert np.abs(found[2:-2, 2:-2].astype(int) - 100).max() <= 40
    assert found[14, 14, 0] == 100


# -- animations ---------------------------------------------------------------------------------------------------------


def steps(count: int, height: int = 10, width: int = 12, channels: int = 1) -> Pictures:
    """Frames that differ from each other, because GIF merges equal neighbours."""
    return np.stack([np.full((height, width, channels), 20 + 30 * index, np.uint8) for index in range(count)])


@pytest.mark.parametrize("format", ["WEBP", "GIF"])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_animation_runs_forth_and_back(format: str, channels: int):
    with Image.open(io.BytesIO(animate(steps(4, channels=channels), format, seconds=1.2, scale=3))) as image:
        assert image.size == (36, 30)
        assert image.n_frames == 6
        assert image.info["loop"] == 0
        levels, times = [], []
        for frame in range(image.n_frames):
            image.seek(frame)
            image.load()
            times.append(image.info["duration"])
            levels.append(np.asarray(image.convert("L"))[5, 5])
    assert np.abs(np.array(levels, int) - [20, 50, 80, 110, 80, 50]).max() <= 1
    assert times == [200] * 6


def test_a_gif_carries_its_recipe():
    with Image.open(io.BytesIO(animate(steps(3), "GIF", text="seed:7"))) as image:
        assert image.info["comment"] == b"seed:7"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_film_has_every_frame_and_even_sides(channels: int):
    data = animate(steps(4, height=9, width=11, channels=channels), "MP4", seconds=1.2, scale=3)
    with av.open(io.BytesIO(data)) as film:
        stream = film.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert (stream.width, stream.height) == (34, 28)
        assert stream.codec_context.name == "h264"
        assert float(stream.average_rate) == pytest.approx(5)
    levels = np.array([frame[10, 10].mean() for frame in frames])
    assert np.abs(levels - [20, 50, 80, 110, 80, 50]).max() <= 6  # 4:2:0 at this quality is not exact


@pytest.mark.parametrize("format", ["WEBP", "GIF", "MP4"])
@pytest.mark.parametrize("count", [1, 2])
def test_very_short_animations_are_written(format: str, count: int):
    data = animate(steps(count), format, scale=2)
    with av.open(io.BytesIO(data)) if format == "MP4" else Image.open(io.BytesIO(data)) as opened:
        frames = sum(1 for _ in opened.decode(video=0)) if format == "MP4" else opened.n_frames
    assert frames == count


def test_a_grid_is_walked_without_jumps() -> None:
    grid = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    assert snake(grid, 3).ravel().tolist() == [0, 1, 2, 5, 4, 3]
    assert snake(grid, 6).ravel().tolist() == list(range(6))
