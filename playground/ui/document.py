"""The page's document without what only programs need: the named endpoints, whose parameters are components of their own.

The browser's work at the start grows with components times events, and two thirds of Gradio's components here are parameters of
endpoints. The API's own pages (`?view=api`) get the whole document, and so do programs, which read `/config`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from playground.ui.hints import links

_PARTS = re.compile(r"<script>window\.gradio_config = (\{.*?\});</script><script>window\.gradio_api_info = (\{.*?\});</script>", re.DOTALL)
_PARAMETER = "api"
"""What Gradio calls the component that an endpoint's parameter is."""
OPENED = "lp-opened"
"""The element id of the column with the panel that a page opens with."""
_LINK = re.compile(r"(^|&)(card|task|compare)=")


def is_link(query: str) -> bool:
    """Whether a page with this query string is asked for something in particular."""
    return _LINK.search(query) is not None


def slim(html: str) -> str:
    """The document of a page without its named endpoints; one that is not laid out as expected stays as it is."""
    return _rewritten(html, endpoints_of)


def slim_for_link(html: str) -> str:
    """The same for a page that comes with a link: without the panel that it would open with, too."""
    return _rewritten(html, lambda config: endpoints_of(config) | opened_of(config))


def _rewritten(html: str, gone: Callable[[Mapping[str, Any]], set[int]]) -> str:
    found = _PARTS.search(html)
    if found is None:
        return html
    config = json.loads(found[1])
    config, endpoints = without(gone(config), config, json.loads(found[2]))
    if config.get("footer_links"):  # the page's script opens the whole document when the API is asked for
        config["is_slim"] = True
    start, end = html[: found.start()], html[found.end() :]
    if _columns(config):  # after the script that all others wait for
        end = end.replace("</head>", f"{links(config)}</head>", 1)
    return (
        f"{start}<script>window.gradio_config = {_safe(config)};</script><script>window.gradio_api_info = {_safe(endpoints)};</script>{end}"
    )


def endpoints_of(config: Mapping[str, Any]) -> set[int]:
    """The components that are parameters of named endpoints, and no widgets."""
    return {part["id"] for part in config.get("components", ()) if part["type"] == _PARAMETER}


def opened_of(config: Mapping[str, Any]) -> set[int]:
    """The components in the column called `OPENED`."""
    return set(_below(config.get("layout", {}), _columns(config), False))


def _columns(config: Mapping[str, Any]) -> set[int]:
    return {part["id"] for part in config.get("components", ()) if part.get("props", {}).get("elem_id") == OPENED}


def _below(node: Mapping[str, Any], columns: Collection[int], is_inside: bool) -> Iterator[int]:
    for child in node.get("children", ()):
        if is_inside:
            yield child["id"]
        yield from _below(child, columns, is_inside or child["id"] in columns)


def without(gone: AbstractSet[int], config: Mapping[str, Any], endpoints: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Gradio's configuration and its list of endpoints, both without some components and all events that have to do with them."""
    kept = [event for event in config.get("dependencies", ()) if not gone & _parts(event)]
    names = {f"/{event['api_name']}" for event in kept}
    pages = {name: _page(page, gone) for name, page in config.get("page", {}).items()}
    listed = {name: each for name, each in endpoints.get("named_endpoints", {}).items() if name in names}
    parts = [part for part in config.get("components", ()) if part["id"] not in gone]
    layout = _pruned(config.get("layout", {}), gone)
    slimmed = {**config, "components": parts, "dependencies": kept, "layout": layout, "page": pages}
    return slimmed, {**endpoints, "named_endpoints": listed}


def _parts(event: Mapping[str, Any]) -> set[int]:
    return {*event.get("inputs", ()), *event.get("outputs", ()), *(target for target, _ in event.get("targets", ()))}


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
