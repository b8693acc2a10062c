"""What a browser fetches to open the page: the document without programs' endpoints, compressed, and files that are cached."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import brotli
import httpx
import pytest
from gradio.brotli_middleware import BrotliMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from playground.ui import hints
from playground.ui.compression import A_DAY, KEPT_BYTES, LEAST_BYTES, NAMED_FOREVER, Compressed
from playground.ui.document import OPENED, endpoints_of, is_link, opened_of, slim, slim_for_link, without
from tests import loops

CONFIG: dict[str, Any] = {
    "components": [{"id": 1, "type": "slider"}, {"id": 2, "type": "api"}, {"id": 3, "type": "html"}],
    "dependencies": [
        {"id": 0, "api_name": "keep", "inputs": [1], "outputs": [3]},
        {"id": 1, "api_name": "vae_sample", "inputs": [2], "outputs": [3]},
    ],
    "layout": {"id": 9, "children": [{"id": 1}, {"id": 8, "children": [{"id": 2}, {"id": 3}]}]},
    "page": {"": {"components": [1, 2, 3], "layout": {"id": 9, "children": [{"id": 2}, {"id": 1}]}}},
    "footer_links": ["api"],
    "title": "</script>",
}
ENDPOINTS = {"named_endpoints": {"/keep": {}, "/vae_sample": {}}, "unnamed_endpoints": {}}
SCRIPTS = "<script>window.gradio_config = {};</script><script>window.gradio_api_info = {};</script>"


def document(config: Any = CONFIG) -> str:
    words = [json.dumps(each).replace("<", "\\u003c") for each in (config, ENDPOINTS)]
    return f"<html><head>{SCRIPTS.replace('{}', '%s') % tuple(words)}</head><body>\u00e9{'.' * 900}</body></html>"


class Served:
    """A small app behind the middleware, which counts what it is asked."""

    def __init__(self, *, is_public: bool = False, cookies: bool = True) -> None:
        self.asked: list[str] = []
        self.cookies = cookies
        self.type = "text/javascript"
        self.text = "x" * 5000
        paths = ("/assets/{name}", "/static/{name}", "/theme.css", "/gradio_api/info")
        routes = [Route(path, self.file) for path in paths]
        self.app: ASGIApp = Compressed(Starlette(routes=[*routes, Route("/", self.document)]), is_public)

    async def file(self, http: Request) -> Response:
        self.asked.append(f"{http.url.path} {http.headers.get('accept-encoding', '')}".strip())
        status = 404 if "missing" in http.url.path else 200
        return PlainTextResponse(self.text, status, media_type=self.type, headers={"etag": '"tag"'})

    async def document(self, http: Request) -> Response:
        self.asked.append("/")
        answer = HTMLResponse(document())
        if self.cookies:
            answer.set_cookie("visit", str(len(self.asked)))
        return answer

    def get(self, path: str, **headers: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://page") as client:
                return await client.get(
                    path, headers={"accept-encoding": "", **{key.replace("_", "-"): value for key, value in headers.items()}}
                )

        return loops.run(ask())

    def raw(self, path: str, encoding: str) -> tuple[httpx.Response, bytes]:
        """An answer, and its body as it was sent."""

        async def ask() -> tuple[httpx.Response, bytes]:
            client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://page")
            async with client, client.stream("GET", path, headers={"accept-encoding": encoding}) as answer:
                return answer, b"".join([part async for part in answer.aiter_raw()])

        return loops.run(ask())


@pytest.fixture
def served() -> Served:
    return Served()


def test_parameters_of_endpoints_leave_the_document_with_their_events() -> None:
    config, endpoints = without(endpoints_of(CONFIG), CONFIG, ENDPOINTS)
    assert [part["id"] for part in config["components"]] == [1, 3]
    assert [event["api_name"] for event in config["dependencies"]] == ["keep"]
    assert config["layout"] == {"id": 9, "children": [{"id": 1}, {"id": 8, "children": [{"id": 3}]}]}
    assert config["page"][""] == {"components": [1, 3], "layout": {"id": 9, "children": [{"id": 1}]}}
    assert list(endpoints["named_endpoints"]) == ["/keep"]
    assert len(CONFIG["components"]) == 3, "what the server holds stays whole"


def test_a_page_with_a_link_comes_without_the_panel_that_it_would_open_with() -> None:
    opened = {
        "components": [{"id": 1, "type": "html"}, {"id": 2, "type": "column", "props": {"elem_id": OPENED}}]
        + [{"id": each, "type": "slider"} for each in (3, 4, 5)],
        "dependencies": [
            {"id": 0, "api_name": "of_it", "inputs": [], "outputs": [], "targets": [[4, "change"]]},
            {"id": 1, "api_name": "other", "inputs": [5], "outputs": [1], "targets": [[1, "open"]]},
        ],
        "layout": {"id": 9, "children": [{"id": 1}, {"id": 2, "children": [{"id": 3, "children": [{"id": 4}]}]}, {"id": 5}]},
    }
    assert opened_of(opened) == {3, 4}
    bare = slim_for_link(document(opened))
    assert '"id":2' in bare and '"id":5' in bare and '"id":3' not in bare and '"id":4' not in bare
    assert "other" in bare and "of_it" not in bare
    assert "of_it" in slim(document(opened))


@pytest.mark.parametrize(
    ("query", "told"),
    [("card=a&task=b", True), ("x=1&compare=seed", True), ("", False), ("__theme=dark", False), ("discard=1", False)],
)
def test_what_a_link_is(query: str, told: bool) -> None:
    assert is_link(query) is told


def test_a_document_laid_out_otherwise_stays_as_it_is() -> None:
    assert slim("<html>anything</html>") == "<html>anything</html>"


def test_a_text_cannot_leave_its_script() -> None:
    html = slim(document())
    assert html.count("</script>") == 2 and '"is_slim":true' in html and "\u00e9..." in html and html.endswith("</body></html>")


@pytest.mark.parametrize("offer", ["br", "gzip", ""])
def test_a_small_file_stays_whole_where_gradio_compresses_it_outside(served: Served, offer: str) -> None:
    served.text = "a { color: red }" * 30
    served.app = BrotliMiddleware(served.app)
    assert 400 <= len(served.text) < LEAST_BYTES, "Gradio compresses it, and this page does not"
    answers = [served.get("/assets/Index-1.css", accept_encoding=offer) for _ in range(3)]
    assert [answer.text for answer in answers] == 3 * [served.text]
    assert len(served.asked) == 1


@pytest.mark.parametrize(("offer", "opened"), [("gzip, br;q=0.9", brotli.decompress), ("gzip", gzip.decompress), ("", bytes)])
def test_files_are_compressed_once_and_cached(served: Served, offer: str, opened: Any) -> None:
    first, body = served.raw("/assets/index-1.js", offer)
    again, same = served.raw("/assets/index-1.js", offer)
    assert opened(body).decode() == served.text and body == same
    assert served.asked == ["/assets/index-1.js"], "asked once, and for no compression of somebody else's"
    assert first.headers["cache-control"] == again.headers["cache-control"] == NAMED_FOREVER
    assert first.headers["vary"] == "Accept-Encoding" and int(first.headers["content-length"]) == len(body)
    assert served.get("/static/a.js").headers["cache-control"] == served.get("/theme.css?v=1").headers["cache-control"] == A_DAY


def test_what_the_browser_has_already_is_not_sent_again(served: Served) -> None:
    answer = served.get("/assets/index-1.js", accept_encoding="br", if_none_match='"tag"')
    assert answer.status_code == 304 and not answer.content and answer.headers["cache-control"] == NAMED_FOREVER


def test_pictures_are_not_compressed_again_and_what_is_missing_is_not_kept(served: Served) -> None:
    served.type = "image/png"
    answer, body = served.raw("/assets/a.png", "br")
    assert "content-encoding" not in answer.headers and body == served.text.encode()
    assert served.get("/assets/missing.js").status_code == 404
    assert "cache-control" not in served.get("/assets/missing.js").headers
    assert served.asked.count("/assets/missing.js") == 2


def test_everything_else_passes_through(served: Served) -> None:
    assert "cache-control" not in served.get("/gradio_api/info", accept_encoding="br").headers
    served.get("/assets/a.js", range="bytes=0-9")
    assert "/assets/a.js" in served.asked[-1]


def test_the_document_is_slim_and_each_visit_keeps_its_own_cookie(served: Served) -> None:
    first, body = served.raw("/", "br")
    second, same = served.raw("/?card=vae-fashion-28", "br")
    assert "vae_sample" not in brotli.decompress(body).decode() and body == same
    assert first.headers["content-encoding"] == "br" and first.headers["cache-control"] == "no-cache"
    assert "visit=1" in first.headers["set-cookie"] and "visit=2" in second.headers["set-cookie"]
    assert int(second.headers["content-length"]) == len(same)
    assert "vae_sample" in served.get("/?view=api").text, "the list of endpoints needs all of them"


def test_a_public_document_is_made_once_for_everybody_who_comes_by_the_same_address() -> None:
    served = Served(is_public=True, cookies=False)
    first, again = served.get("/"), served.get("/?__theme=dark")
    assert len(served.asked) == 1 and again.text == first.text and again.headers["cache-control"] == "no-cache"
    for headers in ({"host": "elsewhere"}, {"x_forwarded_proto": "https"}, {"x_forwarded_host": "elsewhere"}):
        served.get("/", **headers)
        served.get("/", **headers)
    assert len(served.asked) == 4, "an address has its own: the document says where it is"
    served.get("/?deep_link=somebody")
    served.get("/?deep_link=somebody")
    assert len(served.asked) == 6, "what somebody kept is in it"
    unchanged = served.get("/", if_none_match=first.headers["etag"])
    assert unchanged.status_code == 304 and not unchanged.content


def test_a_document_that_is_somebodys_own_is_nobody_elses() -> None:
    private = Served(cookies=False)
    assert private.get("/").text == private.get("/").text and len(private.asked) == 2, "who is signed in may be in it"
    served = Served(is_public=True)
    assert "visit=1" in served.get("/").headers["set-cookie"] and "visit=2" in served.get("/").headers["set-cookie"]


def test_what_is_kept_has_a_bound(served: Served) -> None:
    served.type, served.text = "image/png", "x" * (KEPT_BYTES // 3)
    for index in range(5):
        served.get(f"/assets/{index}.png")
    kept = served.app
    assert sum(len(answer.body) for answer in kept._kept.values()) <= KEPT_BYTES
    served.get("/assets/4.png")
    served.get("/assets/0.png")
    assert len(served.asked) == 6, "the last is still there, the first was forgotten"


def test_a_document_asks_at_once_for_what_its_panel_takes() -> None:
    panel = {"id": 3, "type": "html", "props": {"props": {"opening": "card=a&seed=1"}}}
    column = {"id": 2, "type": "column", "props": {"elem_id": OPENED}}
    layout = {"id": 9, "children": [{"id": 2, "children": [{"id": 3}]}]}
    mine = {"components": [column, panel], "layout": layout, "dependencies": [], "theme_hash": "0f"}
    assert hints.files(), "of the Gradio that is pinned"
    plain, linked, other = slim(document(mine)), slim_for_link(document(mine)), slim(document())
    picture = '<link rel="preload" as="fetch" crossorigin href="playground/live?card=a&amp;seed=1">'
    theme = '<link rel="preload" as="style" href="theme.css?v=0f">'
    assert picture in plain and theme in plain and theme in linked
    assert plain.count('rel="modulepreload"') + plain.count('as="style" crossorigin') == len(hints.files())
    assert linked.count('rel="modulepreload"') > 20 and linked.count('rel="preload"') == 1, "what a link opens with is not known"
    assert "<link" not in other, "no page of ours"


def test_files_that_gradio_does_not_have_are_not_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = hints.files()[0]
    (tmp_path / "hints.txt").write_text(f"Index-of-another-version.js\n{name}\n")
    monkeypatch.setattr(hints, "FILES", tmp_path / "hints.txt")
    assert hints.files.__wrapped__() == (name,)
