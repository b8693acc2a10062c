"""How a family's tab begins: one line that opens.

In it are the idea, its equation, the data's way through the model, what it is good and bad at, and what it can answer.
"""

from __future__ import annotations

import inspect
from html import escape

import gradio as gr

from playground.engine import Engine
from playground.families import Model
from playground.ui.claims import Words, looking
from playground.ui.diagrams import way_svg
from playground.ui.matrix import matrix_html, models_of

_NOTES = (
    "Figures are those of the cards' own evaluation (<code>metrics.json</code>); pause on a number to see how it was measured. "
    "<em>Fréchet distance</em>, <em>precision</em>, <em>recall</em> and <em>coverage</em> are taken in the features of the "
    "classifier trained on these pictures, so they compare models here and nothing else."
)


def introduction(engine: Engine, family: type[Model], card: str) -> None:
    """Builds it, closed, inside the current column; pictures in it are made by `card`."""
    words = Words.read(family.family) or Words((inspect.getdoc(family) or family.title,))
    with gr.Accordion(f"{words.idea[0]} How it works", open=False, elem_classes="lp-intro"):
        with gr.Row(equal_height=False, elem_classes="lp-idea"):
            with gr.Column(scale=5, min_width=280):
                gr.HTML(f"<p>{' '.join(escape(sentence) for sentence in words.idea[1:])}</p>", padding=False, js_on_load=None)
            with gr.Column(scale=4, min_width=280):
                gr.Markdown(f"$${family.equation}$$", latex_delimiters=[{"left": "$$", "right": "$$", "display": True}])
        if words.way:
            gr.HTML(way_svg(words.way, family=family.family, card=card), padding=False, js_on_load=None)
        table = f"<h2>What can it answer?</h2>{matrix_html(models_of(engine), family.family)}"
        claims = f'{words.html(looking(engine))}<p class="lp-foot">{_NOTES}</p>' if words.good else ""
        gr.HTML(f"{claims}{table}", padding=False, js_on_load=None)
