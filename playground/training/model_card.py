"""The words around the figures: a card's README.md, and the table of all cards in the project's README."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from playground.cards import Card, bundled_cards
from playground.families import Model
from playground.training.report import REPORT

TASK = "unconditional-image-generation"
DATASET = {"type": "zalando-datasets/fashion_mnist", "name": "Fashion-MNIST", "split": "test"}
MEANING = {
    "distortion_nats": "distortion of the bound, −E log p(x | z), nats",
    "rate_nats": "rate of the bound, KL(q(z | x) ‖ N(0, I)), nats",
    "elbo_bits_per_dim": "−ELBO of 8-bit pixels at native 28×28, discretised likelihood, bits/dim (lower is better)",
    "bits_per_dim": "−log₂ p(x) per pixel, (255x + u)/256 dequantisation, bits/dim (lower is better)",
    "iwae_64_bits_per_dim": "importance-weighted bound with 64 draws of the latent a picture, bits/dim (lower is better)",
    "ode_bits_per_dim": "−log₂ P by the probability-flow ODE (dopri5, tolerance 1e-5, estimated divergence), bits/dim",
    "variational_bits_per_dim": "variational bound of the whole chain, bits/dim",
    "reconstruction_psnr_db": "reconstruction PSNR, dB",
    "reconstruction_ssim": "reconstruction SSIM",
    "inversion_error": "largest error of a pixel in [−1, 1] after encoding and decoding",
    "classifier_fd": "Fréchet distance to the test pictures in classifier features",
    "classifier_fd_floor": "the same for training pictures: the floor",
    "classifier_kid": "kernel distance (KID) in classifier features",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "sharpness_ratio": "mean squared Laplacian of generated pictures over that of test pictures (1 is as sharp as real)",
    "smallest_class_share": "share of the rarest class among generated pictures, by the classifier",
    "class_imbalance_nats": "KL from even shares of the classes, nats",
    "parameters": "parameters",
    "bytes": "bytes of model.safetensors",
    "gflop_per_picture": "GFLOP to decode one picture",
    "ms_per_picture": "milliseconds to decode one picture, the fastest of 15",
}
"""What each name of `metrics.json` means."""

NO_RESULTS = ("classifier_fd_floor", "parameters", "bytes", "gflop_per_picture", "ms_per_picture")
"""Figures that are no results of the model on the test pictures: the floor, and what it costs."""
TYPES = {"reconstruction_psnr_db": "psnr", "reconstruction_ssim": "ssim", "precision": "improved_precision", "recall": "improved_recall"}
"""What the Hub calls a metric, where that is not our name. Its own `precision` and `recall` are those of a classifier's answers."""
IN_FEATURES = {
    "classifier_fd": "Fréchet distance to the test pictures",
    "classifier_kid": "kernel distance to the test pictures",
    "precision": "precision of generated pictures (arXiv 1904.06991)",
    "recall": "recall of generated pictures (arXiv 1904.06991)",
    "density": "density of generated pictures (arXiv 2002.09797)",
    "coverage": "coverage of generated pictures (arXiv 2002.09797)",
}
"""Results that depend on the features, which on the Hub are thought to be Inception's, in words that can stand alone."""

_TEMPLATE = """{metadata}

# {card.title}

{lead}
Trained from nothing on the 60,000 training pictures of Fashion-MNIST. Paper: {card.paper}

## Use

```python
from playground import Engine, Request

result = Engine().run(Request.build("{card.id}", "sample", num_samples=16, seed=0))
result.save("sheet.png")
```

## Figures

Measured on the weights in this folder (half precision on disk, float32 when run on a CPU) by

```
{figure[command]}
```

on {figure[date]}, {figure[device]}. Generated pictures use the knobs {knobs}.

| Name | What | Value | Pictures |
|---|---|---|---|
{rows}

What the classifier takes {num_samples:,} generated pictures for: {shares}.

## Training

- Command: {commands}
- {training[steps]:,} steps, {training[pictures_seen]:,} pictures seen, {training[minutes]} minutes
- Device: {training[device]}; {training[date]}; torch {training[torch]}
{report}
## Limits

28×28 grey pictures of ten kinds of clothing, and nothing else. {family.limits} Made for teaching and comparing, not for use.

Weights: {card.license}. Data set: Fashion-MNIST, MIT, Xiao, Rasul and Vollgraf 2017 (arXiv 1708.07747).
"""


def write_model_card(
    card: Card,
    model: type[Model],
    folder: Path,
    figures: Mapping[str, Mapping[str, Any]],
    params: Mapping[str, Any],
    class_share: Mapping[str, float],
) -> None:
    """Writes `README.md` beside the weights, in the Hub's form: metadata, figures with their command, training, limits."""
    training = json.loads((folder / "config.json").read_text())["training"]
    report = f"\n![Learning curves, and pictures of seeds 0 to 63]({REPORT})\n" if (folder / REPORT).is_file() else ""
    text = _TEMPLATE.format(
        metadata=metadata(card, figures),
        card=card,
        family=model,
        lead=(inspect.getdoc(model) or "").partition("\n\n")[0],
        figure=next(iter(figures.values())),
        num_samples=max(figure["n"] for figure in figures.values()),
        knobs=", ".join(f"{name} = {value}" for name, value in params.items()),
        rows="\n".join(f"| `{name}` | {MEANING[name]} | {_with_error(figure)} | {figure['n']:,} |" for name, figure in figures.items()),
        report=report,
        commands=", then ".join(f"`{command}`" for command in _commands(training)),
        shares=", ".join(f"{name} {100 * share:.1f} %" for name, share in class_share.items()),
        training=training,
    )
    (folder / "README.md").write_text(text)


def metadata(card: Card, figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The front matter of a model card: YAML between two lines of `---`, with the results for the Hub's `model-index`."""
    told = {
        "license": card.license,
        "library_name": "latent-playground",
        "pipeline_tag": TASK,
        "tags": [card.family, "generative-model", "fashion-mnist"],
        "datasets": [DATASET["type"]],
        "model-index": [{"name": card.id, "results": [{"task": {"type": TASK}, "dataset": DATASET, "metrics": _metrics(figures)}]}],
    }
    return f"---\n{yaml.safe_dump(told, allow_unicode=True, sort_keys=False, width=1000)}---"


def _metrics(figures: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    words = MEANING | {name: f"{meaning}, in features of this project's own classifier" for name, meaning in IN_FEATURES.items()}
    results = {name: figure["value"] for name, figure in figures.items() if name not in NO_RESULTS}
    return [{"type": TYPES.get(name, name), "name": words[name], "value": value} for name, value in results.items()]


def rewrite_metadata(weights_dir: Path) -> None:
    """Writes the front matter of every measured card's README again, from its `metrics.json`; what stands below it stays."""
    for card in bundled_cards(weights_dir).values():
        figures, readme = weights_dir / card.id / "metrics.json", weights_dir / card.id / "README.md"
        if figures.is_file() and readme.is_file():
            _, _, body = readme.read_text().removeprefix("---\n").partition("\n---\n")
            readme.write_text(f"{metadata(card, json.loads(figures.read_text()))}\n{body}")


def _commands(training: Mapping[str, Any]) -> list[str]:
    """The commands that made the weights, first to last."""
    return [*(_commands(training["earlier"]) if "earlier" in training else []), training["command"]]


def _with_error(figure: Mapping[str, Any]) -> str:
    return f"{figure['value']} ± {figure['standard_error']}" if "standard_error" in figure else str(figure["value"])


def figures_table(weights_dir: Path) -> str:
    """A Markdown table of all measured cards, from their `metrics.json`."""
    columns = {
        "Bits/dim ↓": ("bits_per_dim", "iwae_64_bits_per_dim", "ode_bits_per_dim"),
        "PSNR ↑": ("reconstruction_psnr_db",),
        "SSIM ↑": ("reconstruction_ssim",),
        "FD ↓": ("classifier_fd",),
        "floor": ("classifier_fd_floor",),
        "Precision ↑": ("precision",),
        "Recall ↑": ("recall",),
        "Density ↑": ("density",),
        "Coverage ↑": ("coverage",),
        "ms": ("ms_per_picture",),
        "MB": ("bytes",),
    }
    rows = [f"| Card | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for card in bundled_cards(weights_dir).values():
        file = weights_dir / card.id / "metrics.json"
        if file.is_file():
            figures = json.loads(file.read_text())
            cells = [_cell(figures, names) for names in columns.values()]
            rows.append(f"| `{card.id}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def _cell(figures: Mapping[str, Mapping[str, Any]], names: tuple[str, ...]) -> str:
    for name in names:
        if name in figures:
            value = float(figures[name]["value"])
            if name == "bytes":
                return f"{value / 1e6:.1f}"
            return f"{value:.1f}" if name in ("reconstruction_psnr_db", "ms_per_picture") else f"{value:.3f}"
    return "–"
