"""Stateless routes beside Gradio's: live frames, downloads and what the canvases need. Every input is checked and bounded."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import anyio
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from playground.compare import Comparison
from playground.engine import Engine, why
from playground.errors import BadKnob, BadRequest, Busy, PlaygroundError, unknown
from playground.families.capabilities import HasMap
from playground.images import animate, encode, fit, open_image, pack, png_text, sheet, snake
from playground.knobs import whole_number
from playground.latent import Latent
from playground.observing import unlogged
from playground.request import Request, read_query
from playground.result import TEXT_KEY
from playground.turns import turn
from playground.ui.answers import about, follows, frame
from playground.ui.board_routes import board_routes
from playground.ui.quizzing import QuizRoutes

FOREVER = {"Cache-Control": "public, max-age=86400"}
BRIEF = {"Cache-Control": "private, max-age=300"}
ANIMATIONS = {"webp": "image/webp", "gif": "image/gif", "mp4": "video/mp4"}
MAX_SCALE = 16
LIVE_AT_ONCE = 4
"""Threads that make live frames; those beyond the device's lanes wait for a forward pass, which they may share."""
CROWDED = "Too many requests at once. Wait a second and go on."
KEPT = ("picture.png", "animation", "compare.zip", "compare.png", "compare-animation")
"""What is asked for by a button and may take long: it has its turn like all that is kept."""


@dataclass
class Rate:
    """At most `per_second` requests a second from one address, with bursts of one second's worth."""

    per_second: int
    visitors: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def allows(self, visitor: str) -> bool:
        """Takes one request off the visitor's allowance, when there is one."""
        now = time.monotonic()
        left, since = self.visitors.pop(visitor, (float(self.per_second), now))
        left = min(self.per_second, left + (now - since) * self.per_second)
        self.visitors[visitor] = (max(0.0, left - 1), now)
        if len(self.visitors) > 10_000:
            self.visitors.popitem(last=False)
        return left >= 1


def address_of(http: HTTPRequest) -> str:
    """Where a request comes from, which tells visitors apart where there is no session."""
    return http.client.host if http.client else ""


class Routes:
    """The routes of one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.rate = Rate(engine.settings.live_per_second)
        self.limiter: anyio.CapacityLimiter | None = None

    def all(self) -> list[Route]:
        """For `launch(app_kwargs={"routes": …})`. Paths are relative to the page."""
        answers: dict[str, Callable[[HTTPRequest], Response]] = {
            "live": self.live,
            "picture.png": self.picture,
            "animation": self.animation,
            "source.png": self.source,
            "gallery.png": self.gallery,
            "shelf.png": self.shelf,
            "map.json": self.map,
            **board_routes(self.engine),
            **QuizRoutes(self.engine).answers(),
        }
        routes = [Route(f"/playground/{name}", self._answering(answer, name in KEPT)) for name, answer in answers.items()]
        routes.append(Route("/playground/open", self.open, methods=["POST"]))
        routes.append(Route("/playground/health", self.health))
        return routes

    def _answering(self, answer: Callable[[HTTPRequest], Response], in_line: bool) -> Callable[[HTTPRequest], Awaitable[Response]]:
        async def respond(http: HTTPRequest) -> Response:
            if not self._may_ask(http):
                return PlainTextResponse(CROWDED, 429)
            if not in_line:
                return await self._in_thread(lambda: _safely(lambda: answer(http)))
            try:
                async with turn(self.engine.line, address_of(http)):
                    return await anyio.to_thread.run_sync(lambda: _safely(lambda: answer(http)))
            except Busy as error:
                return PlainTextResponse(str(error), 503)

        return respond

    def _may_ask(self, http: HTTPRequest) -> bool:
        return self.rate.allows(address_of(http))

    async def _in_thread(self, work: Callable[[], Response]) -> Response:
        if self.limiter is None:
            self.limiter = anyio.CapacityLimiter(LIVE_AT_ONCE)
        asked = time.perf_counter()

        def begun() -> Response:
            waited = time.perf_counter() - asked
            answer = work()
            answer.headers["x-waited"] = f"{1000 * waited:.0f}"  # ms: a page that hears of a crowd asks for one frame at a time
            return answer

        return await anyio.to_thread.run_sync(begun, limiter=self.limiter)

    # -- pictures ---------------------------------------------------------------------------------------------------

    def live(self, http: HTTPRequest) -> Response:
        """One frame of a request, with what the canvas must know in the header `x-sheet`; 204 where frames take too long."""
        request = self._request(http)
        if not follows(self.engine, request):
            return Response(status_code=204)
        with unlogged():
            result = self.engine.run(request)
        body, media_type = frame(result)
        words = quote(json.dumps(about(result)), safe=' {}[]":,')
        return Response(body, media_type=media_type, headers={"x-sheet": words, **BRIEF})

    def picture(self, http: HTTPRequest) -> Response:
        """The PNG of a request with its recipe inside, enlarged by the whole factor `scale`."""
        result = self.engine.run(self._request(http, "scale"))
        return Response(result.png(_scale(http)), media_type="image/png")

    def animation(self, http: HTTPRequest) -> Response:
        """The pictures of a request one after the other, forth and back, as WebP, GIF or MP4."""
        name = http.query_params.get("format", "webp")
        if name not in ANIMATIONS:
            raise BadKnob(*unknown("animation format", name, ANIMATIONS))
        request = self._request(http, "format")
        made = self.engine.run(request).sheet
        body = animate(snake(made.pictures, made.columns), name.upper(), text=request.to_query())
        return Response(body, media_type=ANIMATIONS[name])

    def source(self, http: HTTPRequest) -> Response:
        """What one end of a walk is: the test picture or file itself, or the decoded latent."""
        values = read_query(http.url.query)
        recipe = Latent.parse(values.get("latent", ""))
        request = Request.build(values.get("card", ""), "decode", cards=self.engine.cards, latent=recipe)
        return Response(encode(self.engine.look_up(request, recipe)), media_type="image/png", headers=BRIEF)

    def gallery(self, http: HTTPRequest) -> Response:
        """A few test pictures of each class on one sheet, a column a class."""
        shelf = self._shelf(http)
        return Response(encode(sheet(shelf.pictures[shelf.gallery()], len(shelf.classes))), media_type="image/png", headers=FOREVER)

    def shelf(self, http: HTTPRequest) -> Response:
        """All bundled test pictures on one sheet, 50 a row."""
        return Response(encode(sheet(self._shelf(http).pictures, 50)), media_type="image/png", headers=FOREVER)

    def map(self, http: HTTPRequest) -> Response:
        """Where the test pictures lie on the map, and their classes."""
        card, projection = http.query_params.get("card", ""), http.query_params.get("projection", "")
        request = Request.build(card, "map", cards=self.engine.cards, projection=projection)
        model = self.engine.model(request.card)
        if not isinstance(model, HasMap):
            raise BadRequest("This model has no map.", "Choose another model.")
        points = model.map_points(projection).float().cpu()
        labels = self._shelf(http).labels[: len(points)].tolist()
        return JSONResponse(
            {"x": [round(x, 4) for x in points[:, 0].tolist()], "y": [round(y, 4) for y in points[:, 1].tolist()], "label": labels},
            headers=BRIEF,
        )

    # -- files and health -------------------------------------------------------------------------------------------

    async def open(self, http: HTTPRequest) -> Response:
        """What a dropped file is: a recipe to restore (`query`), a picture to use (`latent`), or a sentence (`error`)."""
        if not self._may_ask(http):
            return JSONResponse({"error": CROWDED}, 429)
        body = await http.body()  # whose size `bodies.Bodies` bounds
        return await self._in_thread(lambda: _safely(lambda: JSONResponse(self._opened(body, http)), as_json=True))

    def _opened(self, data: bytes, http: HTTPRequest) -> dict[str, Any]:
        text = png_text(data).get(TEXT_KEY)
        if text is not None and http.query_params.get("as") != "picture":
            if text.startswith("compare="):
                return {"query": Comparison.from_query(text, cards=self.engine.cards).to_query()}
            return {"query": Request.from_query(text, cards=self.engine.cards).to_query()}
        model = self.engine.model(http.query_params.get("card", ""))
        return {"latent": f"png:{pack(fit(open_image(data), model.image_size, model.channels))}"}

    async def health(self, http: HTTPRequest) -> Response:
        """Answers as soon as the page does."""
        return JSONResponse({"status": "ok", "models_loaded": self.engine.num_loaded(), "running": self.engine.in_use()})

    # -- reading ----------------------------------------------------------------------------------------------------

    def _request(self, http: HTTPRequest, *extra: str) -> Request:
        values = read_query(http.url.query)
        card, task = values.pop("card", ""), values.pop("task", "")
        return Request.build(card, task, cards=self.engine.cards, **{name: value for name, value in values.items() if name not in extra})

    def _shelf(self, http: HTTPRequest) -> Any:
        return self.engine.shelf_of(http.query_params.get("card", ""))


def _scale(http: HTTPRequest) -> int:
    text = http.query_params.get("scale", "1")
    if (scale := whole_number(text, 1, MAX_SCALE)) is None:
        raise BadKnob(f"A picture cannot be enlarged by {text[:20]!r}.", f"Give a whole number from 1 to {MAX_SCALE}.")
    return scale


def _safely(answer: Callable[[], Response], as_json: bool = False) -> Response:
    """A person's mistake becomes its sentence with status 400; anything else a plain one with 500."""
    try:
        return answer()
    except Exception as error:
        status = 400 if isinstance(error, PlaygroundError) else 500
        return JSONResponse({"error": why(error)}, status) if as_json else PlainTextResponse(why(error), status)
