"""The blind quiz on the page: its component, and the two routes that ask and answer. What is asked is in `playground/quiz.py`."""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict

import gradio as gr
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, Response

from playground.engine import Engine
from playground.errors import BadKnob
from playground.images import encode, sheet
from playground.knobs import MAX_SEED, whole_number
from playground.quiz import COLUMNS, Choice, Round
from playground.ui.views import _script

MAX_ROUNDS = 256
"""Rounds kept so that an answer needs no second sampling; at 28×28 one takes 3 KB."""

_QUIZ = """
<section class="lp-quiz" aria-label="Blind quiz" data-state="waiting">
  <p class="lp-quiz-ask">Who made all four pictures?</p>
  <div class="lp-quiz-stage"><canvas width="56" height="56" tabindex="-1" role="img" aria-label="The pictures are on their way"></canvas>
    <div class="lp-quiz-wait"><p role="status"></p><button type="button" class="lp-button lp-quiz-again">Try again</button></div></div>
  <div class="lp-quiz-choices" role="group" aria-label="Who made them?"></div>
  <div class="lp-quiz-end">
    <div class="lp-quiz-says" role="status"><p class="lp-quiz-verdict"></p><p class="lp-quiz-tell"></p></div>
    <p class="lp-quiz-hint">Look at the edges, at the texture, and at the black around.<span> The keys 1 to 6 answer.</span></p>
    <div class="lp-quiz-on"><a class="lp-quiz-made">See how it was made</a>
      <button type="button" class="lp-button lp-quiz-next" aria-keyshortcuts="N" disabled>Next →</button></div>
  </div>
  <details class="lp-quiz-scores"><summary class="lp-quiz-score">Nothing answered yet</summary>
    <div class="lp-quiz-table"></div><button type="button" class="lp-button lp-quiz-clear">Clear scores</button></details>
</section>
"""


def quiz_view(choices: Sequence[Choice], *, name: str = "quiz") -> gr.HTML:
    """The quiz with those `choices` (see `playground.quiz.choices`). It asks its first question when it is first seen."""
    return gr.HTML(
        {},
        html_template=_QUIZ,
        js_on_load=_script("mountQuiz(element, props)"),
        elem_id=name,
        choices=[asdict(choice) for choice in choices],
    )


class QuizRoutes:
    """What the quiz of one engine answers, for `Routes`, which limits how often and turns mistakes into sentences."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.rounds: OrderedDict[int, Round] = OrderedDict()
        self.lock = threading.Lock()

    def answers(self) -> dict[str, Callable[[HTTPRequest], Response]]:
        """By the last part of their paths."""
        return {"quiz.json": self.question, "quiz-answer.json": self.answer}

    def question(self, http: HTTPRequest) -> Response:
        """The pictures of a round as one sheet, and who may have made them; never who did. Raises what `Round.of` raises."""
        asked = self._round(http)
        png = encode(sheet(asked.pictures, COLUMNS))  # without a recipe: it would be the answer
        return JSONResponse(
            {
                "seed": asked.seed,
                "picture": f"data:image/png;base64,{base64.b64encode(png).decode()}",
                "size": asked.pictures.shape[1],
                "columns": COLUMNS,
                "choices": [asdict(choice) for choice in asked.choices],
            }
        )

    def answer(self, http: HTTPRequest) -> Response:
        """Who made the pictures, whether the guess is right, what gives it away, and the link that makes them again ("" for the data).

        Raises `BadRequest` for a guess that is no choice, and what `Round.of` raises.
        """
        asked = self._round(http)
        truth, right = asked.truth, asked.is_right(http.query_params.get("guess", ""))
        query = truth.request.to_query() if truth.request else ""
        return JSONResponse({"maker": truth.maker, "title": asked.title(), "right": right, "tell": truth.tell, "query": query})

    def _round(self, http: HTTPRequest) -> Round:
        seed = _seed(http)
        with self.lock:
            known = self.rounds.get(seed)
        asked = known or Round.of(self.engine, seed)
        with self.lock:
            self.rounds[seed] = asked
            self.rounds.move_to_end(seed)
            if len(self.rounds) > MAX_ROUNDS:
                self.rounds.popitem(last=False)
        return asked


def _seed(http: HTTPRequest) -> int:
    text = http.query_params.get("seed", "")
    if (seed := whole_number(text, 0, MAX_SEED)) is None:
        raise BadKnob(f"There is no round {text[:20]!r}.", f"Give the seed of one, a whole number from 0 to {MAX_SEED}.")
    return seed
