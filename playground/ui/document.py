"""The page's document without what only programs need: the named endpoints, whose parameters are components of their own.

The browser's work at the start grows with components times events, and two thirds of Gradio's components here are parameters of
endpoints. The API's own pages (`?view=api`) get the whole document, and so do programs, which read `/config`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

_PARTS = re.compile(r"<script>window\.gradio_config = (\{.*?\});</script><script>window\.gradio_api_info = (\{.*?\});</script>", re.DOTALL)
_PARAMETER = "api"
"""What Gradio calls the component that an endpoint's parameter is."""


def slim(html: str) -> str:
    """The document of a page without its named endpoints; one that is not laid out as expected stays as it is."""
    found = _PARTS.search(html)
    if found is None:
        return html
    config, endpoints = without_endpoints(json.loads(found[1]), json.loads(found[2]))
    if config.get("footer_links"):  # the page's script opens the whole document when the API is asked for
        config["is_slim"] = True
    start, end = html[: found.start()], html[found.end() :]
    return (
        f"{start}<script>window.gradio_config = {_safe(config)};</script><script>window.gradio_api_info = {_safe(endpoints)};</script>{end}"
    )


def without_endpoints(config: Mapping[str, Any], endpoints: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Gradio's configuration and its list of endpoints, both without the endpoints whose parameters are no widgets."""
    gone = {part["id"] for part in config.get("components", ()) if part["type"] == _PARAMETER}
    kept = [event for event in config.get("dependencies", ()) if gone.isdisjoint(_parts(event))]
    names = {f"/{event['api_name']}" for event in kept}
    pages = {name: _page(page, gone) for name, page in config.get("page", {}).items()}
    listed = {name: each for name, each in endpoints.get("named_endpoints", {}).items() if name in names}
    parts = [part for part in config.get("components", ()) if part["id"] not in gone]
    layout = _pruned(config.get("layout", {}), gone)
    slimmed = {**config, "components": parts, "dependencies": kept, "layout": layout, "page": pages}
    return slimmed, {**endpoints, "named_endpoints": listed}


def _parts(event: Mapping[str, Any]) -> list[Any]:
    return [*event.get("inputs", ()), *event.get("outputs", ())]


def _page(page: Mapping[str, Any], gone: Collection[int]) -> dict[str, Any]:
    """One of the pages that Gradio has: which components it shows, and how."""
    there = [each for each in page.get("components", ()) if each not in gone]
    return {**page, "components": there, "layout": _pruned(page.get("layout", {}), gone)}


def _pruned(node: Mapping[str, Any], gone: Collection[int]) -> dict[str, Any]:
    if "children" not in node:
        return dict(node)
    return {**node, "children": [_pruned(child, gone) for child in node["children"] if child["id"] not in gone]}


def _safe(value: object) -> str:
    """JSON that may stand inside a script tag."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
