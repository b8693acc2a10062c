"""The only map from knobs to widgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from playground.knobs import MAX_SEED, KnobSpec
from playground.ui.views import latent_picker, mask_painter

ANY_SEED = f"Math.floor({MAX_SEED + 1} * Math.random())"
"""A seed, drawn in the browser: the way to the server and back would be as long as that of the pictures."""


@dataclass(frozen=True)
class Choices:
    """What widgets need to know of the card beside the knob itself."""

    panel: str
    card: str
    size: int
    directions: Mapping[str, str] = field(default_factory=dict)
    classes: Sequence[str] = ()
    shelf: Mapping[str, Any] = field(default_factory=dict)
    numbers: Sequence[KnobSpec] = ()
    """The family's knobs that are numbers; the first goes without saying."""
    axes: Mapping[str, str] = field(default_factory=dict)
    """What an axis of a sheet may be, with its label."""


def widget(
    spec: KnobSpec, value: Any, default: Any, choices: Choices, visible: bool = True
) -> tuple[gr.components.Component, gr.Button | None]:
    """The widget of one knob, and the button that resets it (sliders, pickers and painters have one of their own)."""
    name = f"{choices.panel}-{spec.name}"
    if spec.widget in ("latent", "latents"):
        return _picker(spec, value, default, choices), None
    if spec.widget == "mask":
        told = {"panel": choices.panel, "card": choices.card, "size": choices.size}
        return mask_painter(str(value), str(default), name=name, label=spec.label, help=spec.help, **told), None
    common: dict[str, Any] = {"value": value, "label": _label(spec), "info": spec.help, "elem_id": name, "visible": visible}
    common["interactive"] = True
    if spec.kind in ("int", "float") and spec.widget != "seed":
        bounds = {"minimum": spec.minimum, "maximum": spec.maximum, "step": spec.step}
        return gr.Slider(**bounds, **common, buttons=["reset"]), None
    reset = gr.Button("↺ Reset", render=False)
    common["buttons"] = [reset]
    if spec.widget == "seed":
        return gr.Number(precision=0, minimum=spec.minimum, maximum=spec.maximum, **common), reset
    if spec.widget == "direction":
        return gr.Dropdown(direction_choices(choices.directions), allow_custom_value=True, **common), reset
    if spec.widget == "knob":
        offered = [(knob.label, "" if index == 0 else knob.name) for index, knob in enumerate(choices.numbers)]
        return gr.Dropdown(offered, **common), reset
    if spec.widget == "axis":
        axes = [("none", ""), *((words, axis) for axis, words in choices.axes.items())]
        return gr.Dropdown(axes, allow_custom_value=True, **common), reset
    if spec.widget == "class":
        offered = [("any", "any"), ("none", "none"), *((name, str(index)) for index, name in enumerate(choices.classes))]
        return gr.Dropdown(offered, **common), reset
    if spec.kind == "choice":
        return gr.Radio([(words, value) for value, words in spec.choices.items()], **common), reset
    if spec.kind == "bool":
        return gr.Checkbox(**common), reset
    return gr.Textbox(**common), reset


def _picker(spec: KnobSpec, value: Any, default: Any, choices: Choices) -> gr.HTML:
    several = spec.widget == "latents"
    least, most = (spec.min_length or 1, spec.max_length or 4) if several else (1, 1)
    return latent_picker(
        to_widget(spec, value),
        to_widget(spec, default),
        name=f"{choices.panel}-{spec.name}",
        panel=choices.panel,
        card=choices.card,
        label=spec.label,
        help=spec.help,
        least=least,
        most=most,
        shelf=choices.shelf,
        size=choices.size,
    )


def direction_choices(directions: Mapping[str, str]) -> list[tuple[str, str]]:
    """Words and value of each direction, for a dropdown."""
    return [(words, value) for value, words in directions.items()]


def _label(spec: KnobSpec) -> str:
    return f"{spec.label} ({spec.unit})" if spec.unit else spec.label


def to_knob(spec: KnobSpec, value: Any) -> Any:
    """What a widget holds, as the knob's value: a picker holds a list even where the knob is one latent."""
    if spec.widget == "latent" and isinstance(value, Sequence) and not isinstance(value, str):
        return value[0] if value else ""
    return value


def to_widget(spec: KnobSpec, value: Any) -> Any:
    """The other way round."""
    return [value] if spec.widget == "latent" else value
