"""Parts that are built later: the browser is told of no event of the server with a container among its outputs."""

from __future__ import annotations

import gradio as gr
import pytest
from gradio.blocks import BlockContext

from playground.engine import Engine
from playground.settings import Settings
from playground.ui import build
from tests.browsing import Tab


def test_no_event_of_the_server_has_parts_of_the_page_as_outputs() -> None:
    page = build(Engine(Settings(hub="off", device="cpu")))
    told = page.get_config_file()["dependencies"]
    assert sum(event["id"] in page.fns and page.fns[event["id"]].renderable is not None for event in told) > 5
    outputs = [page.blocks[output] for event in told if event["backend_fn"] for output in event["outputs"]]
    assert not [part for part in outputs if isinstance(part, BlockContext) and not isinstance(part, gr.HTML)]


COUNT = """async () => { // how often the front end copies a value while pictures are made in many steps
    const copy = window.structuredClone;
    let copies = 0, previews = 0;
    window.structuredClone = (...value) => (copies++, copy(...value));
    const panel = playground.panels["diffusion-sample"], show = panel.show.bind(panel);
    const done = new Promise((finished) => {
        panel.show = (bitmap, about) => { show(bitmap, about); previews++; if (about.progress >= 1) finished(); };
    });
    document.querySelector("#diffusion-sample-random").click();
    await done;
    panel.show = show;
    window.structuredClone = copy;
    return copies / (previews + 3); // and for its beginning, its end, and the seed
}"""


@pytest.mark.browser
def test_a_preview_copies_no_tab(tab: Tab) -> None:
    tab.open("sample", "num_samples=4", family="diffusion")
    assert tab.page.evaluate(COUNT) < 1200  # with the tabs it was some 3000
