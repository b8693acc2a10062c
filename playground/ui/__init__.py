"""The page: `build(engine)` makes it, `serve(settings)` opens it. Only this package imports gradio and plotly."""

from __future__ import annotations

import os

# Read by gradio when it is imported: no telemetry, and no summary of all events after each one.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000")
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "200")
os.environ.setdefault("GRADIO_SSR_MODE", "False")
if os.environ.get("SPACE_ID"):  # nobody but the Space's own proxy reaches it, which says who asks; else all were one visitor
    os.environ.setdefault("FORWARDED_ALLOW_IPS", "*")

import gradio as gr

from playground.engine import Engine, why
from playground.errors import PlaygroundError
from playground.families import FAMILIES
from playground.ui.api import add_comparing, add_endpoints
from playground.ui.comparing import compare_tab
from playground.ui.models_tab import models_tab
from playground.ui.panels import PRIVATE
from playground.ui.serving import launch, serve
from playground.ui.stale import add_left
from playground.ui.tabs import Place, family_tab, restorer, turner, welcome
from playground.ui.views import open_picture

__all__ = ["build", "launch", "serve"]

TITLE = "Latent Playground"
TAGLINE = "Move a slider, walk through a latent space, see what a generative model makes of it."


def build(engine: Engine) -> gr.Blocks:
    """The whole page for one engine."""
    cards = [card for card in (engine.cards or {}).values() if card.files]  # the others are not trained yet
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 1800), fill_width=True) as page:
        with gr.Row(elem_classes="lp-top"):
            with gr.Column(scale=5, min_width=180):
                gr.HTML(f'<header class="lp-head"><h1>{TITLE}</h1><p>{TAGLINE}</p></header>', js_on_load=None)
            with gr.Column(scale=1, min_width=120):
                first = next((card.id for card in cards if card.family in FAMILIES), "")
                open_picture(card=first, max_bytes=engine.settings.max_upload_mb * 2**20)
        notice = gr.Markdown("", visible=False, elem_classes="lp-notice", elem_id="notice")
        places: list[Place] = []
        guests = gr.State([])  # ids of the cards that this visit added
        with gr.Tabs(elem_id="families") as tabs:
            for name, family in FAMILIES.items():
                with gr.Tab(f"{family.look.glyph} {family.title}", id=name, elem_id=f"tab-{name}") as tab:
                    of_family = [card for card in cards if card.family == name]
                    try:
                        if not of_family:
                            gr.Markdown(_no_cards(engine, family.title))
                            continue
                        places.append(family_tab(engine, family, of_family, tab, is_first=not places))
                        add_endpoints(engine, family, of_family)
                    except PlaygroundError as error:
                        gr.Markdown(f"**{family.title} is not available.** {why(error)}", elem_classes="lp-notice")
            there = {place.name for place in places}
            if shown := [card for card in cards if card.family in there]:
                with gr.Tab("⊞ Compare", id="compare", elem_id="tab-compare"):
                    questions = compare_tab(engine, shown, guests)
                    add_comparing(engine)
            with gr.Tab("☰ Models", id="models", elem_id="tab-models") as tab:
                library = models_tab(engine, guests, tab)
        add_left()
        if places:
            turn = turner(tabs, questions)
            welcome(engine, places, turn, guests, library)
            restore, outputs = restorer(engine, places, turn, notice, guests)
            page.load(restore, None, outputs, concurrency_limit=None, **PRIVATE)
    page.queue(max_size=None, default_concurrency_limit=4)  # what is kept waits in the engine's line, which has a bound
    return page


def _no_cards(engine: Engine, title: str) -> str:
    reason = engine.problem or f"No card of this family is listed in {engine.settings.weights_dir / 'models.toml'}."
    return f"**There is no {title} here yet.** {reason}"
