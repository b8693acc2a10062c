"""Compress: one picture in as few bytes as the code takes, beside the same bytes of PCA, JPEG and WebP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from playground.families.capabilities import Compresses, Encodes
from playground.images import Pictures, from_uint8, to_uint8
from playground.knobs import Knob
from playground.latent import Latent
from playground.metrics import psnr_db
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.codecs import JPEG, WEBP, Principal, Squeezed, nearest


@register
class Compress(Task):
    """The picture from its quantised code, and from as many bytes of principal components, JPEG and WebP."""

    name: ClassVar[str] = "compress"
    title: ClassVar[str] = "Compress"
    measures: ClassVar[bool] = True
    says: ClassVar[str] = (
        "One picture in equally few bytes, four ways. Turn the code size: each number is one byte. Only the picture's own bytes count: no "
        "weights of the decoder, no principal components (fitted to the 2,000 bundled test pictures), no headers of files."
    )
    needs: ClassVar[tuple[type, ...]] = (Encodes, Compresses)
    stages = ("decode",)
    view = "plot"
    common: ClassVar[bool] = False
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")

    def run(self, bench: Bench) -> Iterator[Sheet]:
        x = bench.picture(self.picture)
        given = to_uint8(x)
        model = bench.able(Compresses)
        sizes, size = model.code_sizes(), model.code_size(bench.params)
        code = model.quantise(bench.able(Encodes).encode(x, bench.params))
        principal = bench.remembered("compress/principal", lambda: Principal.of(from_uint8(bench.shelf.pictures), sizes[-1]))
        files = {codec.name: codec.squeeze(given[0]) for codec in (JPEG, WEBP)}
        ways = {
            "Autoencoder": Squeezed(to_uint8(model.cut(code, size))[0], size),
            "PCA": Squeezed(to_uint8(principal.through(x, size))[0], size),
            **{name: nearest(squeezed, size) for name, squeezed in files.items()},
        }
        curves = {
            "code": [Squeezed(to_uint8(model.cut(code, each))[0], each) for each in sizes],
            "pca": [Squeezed(to_uint8(principal.through(x, each))[0], each) for each in sizes],
            **{name.lower(): squeezed for name, squeezed in files.items()},
        }
        facts: dict[str, Any] = {"bytes": size, "raw_bytes": given[0].size}
        for name, squeezed in curves.items():
            facts |= {f"{name}_bytes": [each.num_bytes for each in squeezed], f"{name}_psnr": _psnr(given, squeezed)}
        facts["psnr"] = _psnr(given, [*ways.values()])
        names = [
            f"{name}\n{psnr:.1f} dB\n{way.num_bytes} B · {_ratio(given, way)}"
            for (name, way), psnr in zip(ways.items(), facts["psnr"], strict=True)
        ]
        pictures = np.concatenate([given, np.stack([way.picture for way in ways.values()])])
        labels = ("what the model saw", *names)
        yield Sheet(
            pictures, 5, labels, (str(self.picture), *[""] * 4), (0,) * 5, facts, says=_says(given, ways, facts["psnr"]), named=True
        )


def _psnr(given: Pictures, squeezed: list[Squeezed]) -> list[float]:
    back = from_uint8(np.stack([each.picture for each in squeezed]))
    return [round(value, 3) for value in psnr_db(from_uint8(given).expand_as(back), back).tolist()]


def _ratio(given: Pictures, way: Squeezed) -> str:
    ratio = given[0].size / way.num_bytes
    return f"{ratio:.0f}×" if ratio >= 10 else f"{ratio:.1f}×"


def _says(given: Pictures, ways: dict[str, Squeezed], psnr: list[float]) -> str:
    (code, *_), (ours, pca, *others) = [*ways.values()], psnr
    words = [
        f"{given[0].size} bytes shrunk to {code.num_bytes} numbers of one byte, {_ratio(given, code)} smaller: {ours:.1f} dB, "
        f"{_than(ours - pca)} PCA with as many."
    ]
    for (name, way), value in zip([*ways.items()][2:], others, strict=True):
        if way.num_bytes > 1.5 * code.num_bytes:
            words.append(f"{name} cannot go below {way.num_bytes} bytes: {value:.1f} dB.")
        else:
            words.append(f"{name} at {way.num_bytes} bytes: {value:.1f} dB.")
    return " ".join(words)


def _than(gain: float) -> str:
    return f"{abs(gain):.1f} dB {'better' if gain >= 0 else 'worse'} than"
