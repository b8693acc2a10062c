"""What a run looked like: its learning curves, and pictures that the exported weights draw."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from playground.families import Model
from playground.images import Pictures, sheet, to_uint8
from playground.knobs import Knobs
from playground.latent import Noise
from playground.training.trainer import LOG, read_log

REPORT = "training.png"
UNPLOTTED = ("step", "minutes", "pictures_per_second")
MAX_CURVES = 6
SHEET = 64
BLUE = (0, 114, 178)
GREYS, BLUES = 24, 8
"""Shades in the report, which takes a third of the bytes of all colours: it is grey but for the curves."""
LEAST_INCHES = 4.8
"""Height of the report: that of 64 pictures that can be looked at."""


def write_report(run: Path, folder: Path, model: Model | None, params: Knobs | None) -> None:
    """Writes `training.png` into the card's folder: curves of `log.jsonl` by minute, and 64 pictures of seeds 0 to 63, if it draws any."""
    from matplotlib.figure import Figure

    curves = read_curves(run)
    minutes = curves.pop("minutes")
    rows = math.ceil(len(curves) / 2) or 1
    figure = Figure(figsize=(11 if model else 7, max(1.2 + 1.7 * rows, LEAST_INCHES if model else 0)), layout="constrained")
    left, *right = figure.subfigures(1, 2 if model else 1, squeeze=False)[0]
    for index, (name, values) in enumerate(curves.items()):
        axes = left.add_subplot(rows, 2, index + 1)
        axes.plot(minutes, values, color=_shade(1), linewidth=0.3, alpha=0.4)
        axes.plot(minutes, smooth(values), color=_shade(1), linewidth=1.2)
        axes.set_ylim(*np.percentile(values, [0.5, 98]) + 1e-9 * np.array([-1, 1]))
        axes.set_title(name, fontsize=9, loc="left")
        axes.tick_params(labelsize=8)
    left.supxlabel("minutes of training", fontsize=9)
    if model is not None and params is not None:
        axes = right[0].add_subplot()
        axes.imshow(samples(model, params), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_axis_off()
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=80)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(palette=_palette(), dither=Image.Dither.NONE).save(folder / REPORT, optimize=True)


def _shade(share: float) -> tuple[float, ...]:
    """So much of the curves' blue on white, each part in [0, 1]."""
    return tuple(1 - share * (1 - part / 255) for part in BLUE)


def _palette() -> Image.Image:
    """The report's colours: greys from black to white, and blues."""
    greys = [(level, level, level) for level in np.linspace(0, 1, GREYS)]
    blues = [_shade(share) for share in np.linspace(1 / BLUES, 1, BLUES)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([round(255 * float(part)) for colour in (*greys, *blues) for part in colour])
    return palette


def read_curves(run: Path) -> dict[str, NDArray[np.float64]]:
    """`minutes`, and up to six logged figures that change, each (N,); a line that lacks one of them is left out."""
    lines = list(read_log(run)) if (run / LOG).is_file() else []
    names = [name for name in lines[-1] if name not in UNPLOTTED and len({line.get(name) for line in lines}) > 1] if lines else []
    names = names[:MAX_CURVES]
    lines = [line for line in lines if all(name in line for name in names)]
    return {name: np.array([line[name] for line in lines]) for name in ("minutes", *names)}


def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exponential average over about a thirtieth of the curve, (N,)."""
    decay, out = 1 - 1 / max(1, len(values) // 30), values.astype(float).copy()
    for index in range(1, len(out)):
        out[index] = decay * out[index - 1] + (1 - decay) * values[index]
    return out


@torch.inference_mode()
def samples(model: Model, params: Knobs) -> Pictures:
    """The pictures of seeds 0 to 63 on one sheet of eight columns, uint8 (H, W)."""
    noise = Noise(range(SHEET))
    *_, last = model.decode(model.draw(params, noise), params, noise)
    return sheet(to_uint8(last.x), 8)[..., 0]
