"""Our own components: the sheet of pictures, the latent picker, the mask painter, the map, and the button that opens a picture.

Each is a `gr.HTML` whose behaviour is in `static/*.js`; Python only says what is in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from playground.families import FAMILIES

STATIC = Path(__file__).parent / "static"
STYLES = ("playground.css", "introduction.css", "compare.css", "quiz.css", "models.css")
SCRIPTS = (
    "playground.js",
    "families.js",
    "opening.js",
    "picker.js",
    "mask.js",
    "map.js",
    "difference.js",
    "compare.js",
    "quiz.js",
    "models.js",
)

_SHEET = """
<figure class="lp-sheet" data-view="{view}">
  <div class="lp-stage"><canvas width="28" height="28" tabindex="0" role="img"
    aria-label="{title}: pictures are on their way"></canvas></div>
  <div class="lp-bar"><i></i></div>
  <div class="lp-film">
    <div class="lp-strip"><canvas width="28" height="28" aria-hidden="true"></canvas></div>
    <div class="lp-scrubber"><button type="button" class="lp-button lp-play">▶ Play</button>
      <input type="range" class="lp-scrub" min="0" max="1" value="0" step="1" aria-label="Frame of {title}"></div>
  </div>
  <p class="lp-answer"></p>
  <figcaption class="lp-caption">…</figcaption>
  <div class="lp-actions">{buttons}</div>
  <details class="lp-code"><summary>Python that makes this</summary><pre class="lp-python" tabindex="0"></pre></details>
</figure>
"""
_SAVES = {
    "png": "PNG",
    "large": "Large PNG",
    "cell": "This picture",
    "webp": "WebP",
    "gif": "GIF",
    "mp4": "MP4",
    "link": "Copy link",
    "python": "Copy as Python",
}
_ANIMATIONS = ("webp", "gif", "mp4")


def _script(call: str, *events: str) -> str:
    """The component's start: our scripts are in <head>, which may load after the component."""
    named = ", ".join(f"() => trigger('{event}')" for event in events)
    return f"const start = () => window.playground?.ready ? playground.{call} : setTimeout(start, 20); start(); /* {named} */"


def sheet_view(*, panel: str, card: str, task: str, title: str, view: str, names: Sequence[str], opening: str) -> gr.HTML:
    """Pictures on a canvas; fires `settle` when its knobs have come to rest, `follow` when another model is chosen, `tune` when by hand.

    `names` are the knobs in the order that live requests and events give them, `opening` is the query string of what it begins with.
    """
    saves = [name for name in _SAVES if view == "film" or name not in _ANIMATIONS]
    buttons = "".join(_button("data-save", name, _SAVES[name]) for name in saves)
    return gr.HTML(
        {},
        html_template=_SHEET.format(view=view, title=title, buttons=buttons),
        js_on_load=_script("mount(element, props, trigger, watch)", "settle", "follow", "tune"),
        elem_id=f"{panel}-sheet",
        panel=panel,
        task=task,
        title=title,
        view=view,
        names=list(names),
        opening=opening,
        card=card,
    )


def family_opener(*, family: str, tasks: Sequence[str], is_built: bool) -> gr.HTML:
    """Nothing to be seen: fires `open` when the family's tasks are to be built, and `open_TASK` when the panel of one is.

    `open` brings `query`, the query string of what to begin with, else `task`, the name of the one to turn to; both may be "". In its
    value `link` is what the page's link asks of this family, "" for nothing; there is none as long as that is not known. With `is_built`
    the tasks are there already, unless the page came with a link.
    """
    call = f"mountFamily('{family}', {str(is_built).lower()}, props, trigger, watch)"  # a component not yet seen loses its own props
    return gr.HTML(
        {},
        html_template="",
        js_on_load=_script(call, "open", *(f"open_{task}" for task in tasks)),
        elem_classes="lp-opener",
        padding=False,
    )


_BOARD = """
<figure class="lp-board" data-rows="{rows}">
  <div class="lp-tools" role="toolbar" aria-label="Ways to look">
    <span role="group" aria-label="Panes">{looks}</span>
    <span class="lp-duo-choice" hidden><label>A <select class="lp-a" aria-label="Pane A"></select></label>
      <label>B <select class="lp-b" aria-label="Pane B"></select></label></span>
    <span role="group" aria-label="Zoom"><button type="button" class="lp-button" data-zoom="out" aria-label="Zoom out">−</button>
      <button type="button" class="lp-button" data-zoom="in" aria-label="Zoom in">+</button>
      <button type="button" class="lp-button" data-zoom="fit">Fit</button></span>
    <button type="button" class="lp-button" data-smooth aria-pressed="false">Smooth</button>
  </div>
  <div class="lp-stage lp-panes" tabindex="0" role="group"
    aria-label="{title}: arrow keys choose a picture in every pane, 1 to 6 a pane, space flips, + and − zoom"></div>
  <div class="lp-bar"><i></i></div>
  <div class="lp-scrubber"><button type="button" class="lp-button lp-play">▶ Play</button>
    <input type="range" class="lp-scrub" min="0" max="1" value="0" step="1" aria-label="Frame of all rows"></div>
  <p class="lp-answer"></p>
  <figcaption class="lp-caption">…</figcaption>
  <div class="lp-actions">{buttons}</div>
  <details class="lp-measured" open><summary>Measured: in this run, then of each card</summary>
    <div class="lp-table" tabindex="0"></div></details>
  <details class="lp-code"><summary>Python that makes this</summary><pre class="lp-python" tabindex="0"></pre></details>
</figure>
"""
_LOOKS = {"side": "Side by side", "wipe": "Wipe", "flip": "Flip", "difference": "Difference"}
_TAKES = {
    "zip": "Zip",
    "sheet": "PNG",
    "cell": "This picture",
    "webp": "WebP",
    "mp4": "MP4",
    "link": "Copy link",
    "python": "Copy as Python",
}


def board_view(*, panel: str, card: str, title: str, rows: bool) -> gr.HTML:
    """Panes side by side on one stage; fires `settle` when its knobs have come to rest, and `stir` when they move on before.

    With `rows` each pane is a strip, and one scrubber moves all of them.
    """
    looks = "".join(_button("data-look", name, words) for name, words in _LOOKS.items() if not rows or name == "side")
    takes = "".join(_button("data-take", name, words) for name, words in _TAKES.items() if rows or name not in _ANIMATIONS)
    return gr.HTML(
        {},
        html_template=_BOARD.format(rows=str(rows).lower(), looks=looks, title=title, buttons=takes),
        js_on_load=_script("mountBoard(element, props, () => trigger('settle'), () => trigger('stir'), watch)", "settle", "stir"),
        elem_id=f"{panel}-board",
        panel=panel,
        title=title,
        rows=rows,
        card=card,
    )


def _button(attribute: str, value: str, words: str) -> str:
    return f'<button type="button" class="lp-button" {attribute}="{value}">{words}</button>'


_PICKER = """
<div class="lp-picker">
  <div class="lp-titled"><p class="lp-label">{label}</p>
    <button type="button" class="lp-button lp-reset" aria-label="Reset {label}">↺ Reset</button></div>
  <p class="lp-help">{help}</p>
  <div class="lp-slots" role="group" aria-label="{label}"></div>
  <div class="lp-row lp-several"><button type="button" class="lp-button lp-add">Add an end</button>
    <button type="button" class="lp-button lp-remove">Take it away</button></div>
  <div class="lp-gallery" tabindex="0" role="group" aria-label="Test pictures, a column a class. Arrow keys choose.">
    <img src="playground/gallery.png?card={card}" alt="Test pictures"><div class="lp-mark" hidden></div></div>
  <div class="lp-row">
    <button type="button" class="lp-button lp-dice">Random seed</button>
    <label class="lp-help">Seed <input class="lp-seed" inputmode="numeric" aria-label="Seed of {label}"></label>
    <button type="button" class="lp-button lp-upload">Upload…</button>
    <button type="button" class="lp-button lp-draw">Draw…</button>
    <input type="file" accept="image/*" hidden aria-label="Picture file">
  </div>
  <dialog aria-label="Draw a picture">
    <p class="lp-label">Draw in light on dark, about as large as the frame</p>
    <canvas width="336" height="336"></canvas>
    <div class="lp-row">
      <label class="lp-help">Shade <input type="color" class="lp-shade" value="#d0d0d0"></label>
      <label class="lp-help">Brush <input type="range" class="lp-brush" min="10" max="96" value="40"></label>
    </div>
    <div class="lp-row"><button type="button" class="lp-button lp-use">Use it</button>
      <button type="button" class="lp-button lp-clear">Clear</button><button type="button" class="lp-button lp-cancel">Cancel</button></div>
  </dialog>
</div>
"""


def latent_picker(
    value: Sequence[str],
    default: Sequence[str],
    *,
    name: str,
    panel: str,
    card: str,
    label: str,
    help: str,
    least: int,
    most: int,
    shelf: Mapping[str, Any],
    size: int,
) -> gr.HTML:
    """Chooses one latent or several. The value is a list of recipes, as `playground.latent.Latent` reads them."""
    return gr.HTML(
        [str(item) for item in value],
        html_template=_PICKER.format(label=label, help=help, card=card),
        js_on_load=_script("mountPicker(element, props, () => trigger('change'), watch)", "change"),
        elem_id=name,
        panel=panel,
        card=card,
        initial=[str(item) for item in default],
        least=least,
        most=most,
        shelf=dict(shelf),
        size=size,
    )


_MASK = """
<div class="lp-mask">
  <div class="lp-titled"><p class="lp-label">{label}</p>
    <button type="button" class="lp-button lp-reset" aria-label="Reset {label}">↺ Reset</button></div>
  <p class="lp-help">{help}</p>
  <canvas width="28" height="28" tabindex="0" role="application"
    aria-label="{label}: paint on the picture. Arrow keys move the brush, space paints."></canvas>
  <div class="lp-row"><button type="button" class="lp-button" data-mark="1">Brush</button>
    <button type="button" class="lp-button" data-mark="0">Eraser</button>
    <label class="lp-help">Size <input type="range" class="lp-brush" min="1" max="12" value="4" step="1"></label></div>
  <div class="lp-row" role="group" aria-label="Ready-made masks">{presets}
    <button type="button" class="lp-button lp-invert">Swap</button></div>
  <p class="lp-help lp-share"></p>
</div>
"""
_PRESETS = {"left": "Left", "right": "Right", "top": "Top", "bottom": "Bottom", "middle": "Middle", "none": "Clear"}


def mask_painter(value: str, default: str, *, name: str, panel: str, card: str, label: str, help: str, size: int) -> gr.HTML:
    """Paints a mask over the picture that the panel's picker holds. The value is a text, as `playground.masks.Mask` reads it."""
    presets = "".join(
        f'<button type="button" class="lp-button" data-preset="{text}" aria-pressed="false">{words}</button>'
        for text, words in _PRESETS.items()
    )
    return gr.HTML(
        value,
        html_template=_MASK.format(label=label, help=help, presets=presets),
        js_on_load=_script("mountMask(element, props, () => trigger('change'), watch)", "change"),
        elem_id=name,
        panel=panel,
        card=card,
        initial=default,
        size=size,
    )


_MAP = """
<div class="lp-map"><canvas width="400" height="400" tabindex="0" role="application" aria-label="Map of the latent space"></canvas>
<div class="lp-tip" hidden><i></i><span></span></div><div class="lp-legend"></div></div>
"""


def map_view(*, panel: str, card: str, classes: Sequence[str], projection: str) -> gr.HTML:
    """Encoded test pictures as dots; the place under the finger is decoded at once. Fires `select` with x and y when let go."""
    return gr.HTML(
        {},
        html_template=_MAP,
        js_on_load=_script("mountMap(element, props, (place) => trigger('select', place))", "select"),
        elem_id=f"{panel}-map",
        panel=panel,
        card=card,
        classes=list(classes),
        projection=projection,
    )


def open_picture(*, card: str, max_bytes: int) -> gr.HTML:
    """The button that opens a picture; the same happens to a file dropped anywhere on the page."""
    return gr.HTML(
        {"card": card, "bytes": max_bytes},
        html_template='<div class="lp-open"><button type="button" class="lp-button" title="A PNG made here restores its page">'
        'Open a picture…</button><input type="file" accept="image/*" hidden aria-label="Picture file"></div>',
        js_on_load=_script("mountOpen(element, props)"),
    )


_MODELS = """
<section class="lp-models" aria-label="Models">
  <div class="lp-models-add">
    <form class="lp-models-ask">
      <label class="lp-label" for="lp-models-name">Add a model</label>
      <p class="lp-help" id="lp-models-asks"></p>
      <input type="text" id="lp-models-name" aria-describedby="lp-models-asks" maxlength="400"
        autocomplete="off" autocapitalize="off" spellcheck="false">
      <button type="submit" class="lp-button lp-look">Look</button>
      <details class="lp-models-fits"><summary>What fits?</summary><ul></ul></details>
    </form>
    <div class="lp-find"></div>
  </div>
  <p class="lp-models-sum"><span class="lp-models-policy"></span> <span class="lp-models-room"></span></p>
  <div class="lp-models-list" tabindex="-1"></div>
  <p class="lp-models-sum">FD: Fréchet distance to the test pictures, as a classifier sees them. Of FD and bits/dim less is better,
    of PSNR more.</p>
  <p class="lp-spoken" role="status"></p>
</section>
"""


def models_view(*, groups: Sequence[Mapping[str, str]], policy: str, asks: str, fits: Sequence[str], name: str = "models") -> gr.HTML:
    """Every model by family, and a box to add one; without `asks`, what may be written into it, there is no box.

    Fires `look`, `fetch`, `stop` and `act` with what they are about (see `models_tab`), and `open` with the id of a card. Answers come
    in its props: `value` (the list), `finding`, `progress` and `said`, each with the ticket that it answers.
    """
    return gr.HTML(
        {},
        html_template=_MODELS,
        js_on_load=_script("mountModels(element, props, trigger, watch)", "look", "fetch", "stop", "act", "open"),
        elem_id=name,
        groups=[dict(group) for group in groups],
        policy=policy,
        asks=asks,
        fits=list(fits),
    )


def head() -> str:
    """The scripts, in one tag."""
    code = "\n".join((STATIC / name).read_text() for name in SCRIPTS)
    return f"<script>{code}\nwindow.playground.ready = true;</script>"


def css() -> str:
    """The style sheet, with each family's colour for its tab and what is inside."""
    colours = "\n".join(f"#tab-{name}-button, #tab-{name} {{ --lp-family: {family.look.colour}; }}" for name, family in FAMILIES.items())
    sheets = "\n".join((STATIC / name).read_text() for name in STYLES)
    return f"{sheets}\n{colours}\n"
