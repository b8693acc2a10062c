"""The named endpoints, through the client that programs use."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image

from playground.cards import bundled_cards
from playground.compare import Comparison
from playground.engine import Engine
from playground.families import FAMILIES
from playground.request import Request
from playground.settings import Settings
from playground.tasks import TASKS

pytestmark = pytest.mark.api
CARD = "vae-fashion-28"


@pytest.fixture(scope="module")
def client(page_url: str) -> Iterator[Client]:
    client = Client(page_url, verbose=False)
    yield client
    client.close()


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(Settings(hub="off", device="cpu"))


def pixels(answer: dict[str, Any]) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(answer["png"].partition(",")[2]))) as image:
        return np.asarray(image)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_answers_as_the_engine_does(client: Client, engine: Engine, task: str) -> None:
    family = (
        "vae"
        if TASKS[task].missing(FAMILIES["vae"]) is None
        else next(name for name, family in FAMILIES.items() if TASKS[task].missing(family) is None)
    )
    answer = client.predict(api_name=f"/{family}_{task}")
    request = Request.from_query(answer["query"])
    result = engine.run(request)
    assert request == Request.build(next(card.id for card in bundled_cards().values() if card.family == family), task)
    with Image.open(io.BytesIO(result.png())) as image:
        assert np.array_equal(pixels(answer), np.asarray(image))
    assert answer["weights_sha256"] == result.weights_sha256
    assert answer["python"] == request.to_python()


def test_the_signature_is_made_from_the_knobs(client: Client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    able = {f"/{name}_{task.name}" for name, family in FAMILIES.items() for task in TASKS.values() if task.missing(family) is None}
    assert set(endpoints) == {*able, "/compare"}
    parameters = {parameter["parameter_name"]: parameter for parameter in endpoints["/vae_sample"]["parameters"]}
    assert list(parameters) == ["card", "num_samples", "seed", "temperature", "prior", "pixels"]
    assert parameters["temperature"]["parameter_default"] == Request.build(CARD, "sample").params.to_plain()["temperature"]
    assert "temperature 0 to 2; prior standard or fitted" in endpoints["/vae_sample"]["description"]


OUT_OF_RANGE = [
    ("sample", {"num_samples": 65}, "from 1 to 64"),
    ("sample", {"num_samples": 0}, "from 1 to 64"),
    ("sample", {"seed": -1}, "from 0 to"),
    ("sample", {"temperature": 2.5}, "from 0 to 2"),
    ("sample", {"prior": "flat"}, "standard, fitted"),
    ("sample", {"card": "nothing"}, "no card called"),
    ("sample", {"card": ["vae-fashion-28"]}, "no card called"),
    ("sample", {"seed": {"a": 1}}, "from 0 to"),
    ("traverse", {"span": 100}, "from 0.25 to 8"),
    ("traverse", {"direction": "sideways:1"}, "no direction"),
    ("traverse", {"direction": "dim:wide"}, "no direction"),
    ("traverse", {"start": "moon"}, "neither a source nor a direction"),
    ("interpolate", {"ends": ["seed:1"]}, "2 to 4"),
    ("reconstruct", {"picture": "test:99999"}, "no test picture"),
    ("map", {"x": 3}, "from -1.2 to 1.2"),
]


@pytest.mark.parametrize(("task", "knobs", "words"), OUT_OF_RANGE)
def test_out_of_range_is_refused_by_a_sentence(client: Client, task: str, knobs: dict[str, Any], words: str) -> None:
    with pytest.raises(AppError) as caught:
        client.predict(**knobs, api_name=f"/vae_{task}")
    assert words in str(caught.value) and "Traceback" not in str(caught.value)


def test_many_at_once_each_get_their_own(client: Client, engine: Engine) -> None:
    def ask(seed: int) -> np.ndarray:
        return pixels(client.predict(num_samples=1, seed=seed, api_name="/vae_sample"))

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, range(12)))
    for seed, answer in enumerate(answers):
        assert np.array_equal(answer, engine.run(Request.build(CARD, "sample", num_samples=1, seed=seed)).pictures[0, ..., 0])


def test_health_and_bad_routes(page_url: str) -> None:
    assert httpx.get(f"{page_url}playground/health").json()["status"] == "ok"
    bad = {
        "live?card=gone&task=sample": "There are: ",
        f"live?card={CARD}&task=sample&seed=x": "whole number",
        f"picture.png?card={CARD}&task=sample&scale=99": "from 1 to 16",
        f"animation?card={CARD}&task=traverse&format=avi": "webp, gif, mp4",
        f"source.png?card={CARD}&latent=test:9999": "no test picture",
        f"map.json?card={CARD}&projection=round": "neighbours, principal",
        "gallery.png?card=gone": "no card called",
        f"live?card={CARD}&task=sample&seed={'9' * 40_000}": "characters",
    }
    for path, words in bad.items():
        answer = httpx.get(f"{page_url}playground/{path}")
        assert answer.status_code == 400 and words in answer.text, path


def test_live_frames_are_the_engines(page_url: str, engine: Engine) -> None:
    request = Request.build(CARD, "sample", num_samples=4, seed=3)
    answer = httpx.get(f"{page_url}playground/live?{request.to_query()}")
    with Image.open(io.BytesIO(answer.content)) as live, Image.open(io.BytesIO(engine.run(request).png())) as kept:
        assert np.array_equal(np.asarray(live), np.asarray(kept))
    assert '"count": 4' in answer.headers["x-sheet"]


@pytest.mark.parametrize(
    ("status", "query"),
    [
        (200, "card=rectified-fashion-28&task=sample&num_samples=1&num_inference_steps=2&guidance_scale=1"),
        (200, "card=rectified-fashion-28&task=sample&num_samples=1&num_inference_steps=1&guidance_scale=2"),
        (204, "card=rectified-fashion-28&task=sample&num_samples=1&num_inference_steps=2&guidance_scale=2"),
        (204, "card=rectified-fashion-28&task=neighbours&num_samples=1&num_inference_steps=1&guidance_scale=1"),
        (204, "card=tarflow-fashion-28&task=sample&num_samples=1"),
    ],
)
def test_frames_are_made_of_few_passes_alone(page_url: str, status: int, query: str) -> None:
    assert httpx.get(f"{page_url}playground/live?{query}").status_code == status


@pytest.mark.parametrize(("name", "start"), [("webp", b"RIFF"), ("gif", b"GIF8"), ("mp4", b"\x00\x00\x00")])
def test_animations(page_url: str, name: str, start: bytes) -> None:
    query = Request.build(CARD, "interpolate", num_frames=5).to_query()
    answer = httpx.get(f"{page_url}playground/animation?format={name}&{query}")
    assert answer.status_code == 200 and answer.content.startswith(start)


def picture_bytes(mode: str = "L", size: tuple[int, int] = (40, 30), format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, format)
    return buffer.getvalue()


def open_file(page_url: str, data: bytes, **query: str) -> httpx.Response:
    return httpx.post(f"{page_url}playground/open", params={"card": CARD, **query}, content=data)


def test_opening_a_picture_of_ours_gives_its_recipe(page_url: str, engine: Engine) -> None:
    result = engine.run(Request.build(CARD, "traverse", direction="dim:3", num_frames=5))
    assert open_file(page_url, result.png()).json() == {"query": result.request.to_query()}
    assert open_file(page_url, result.png(), **{"as": "picture"}).json()["latent"].startswith("png:")


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "P", "I;16", "1", "LA"])
def test_any_picture_becomes_a_latent(page_url: str, mode: str, engine: Engine) -> None:
    format = "TIFF" if mode == "CMYK" else "PNG"
    latent = open_file(page_url, picture_bytes(mode, format=format)).json()["latent"]
    assert engine.run(Request.build(CARD, "reconstruct", picture=latent)).sheet.facts["psnr_db"] > 5


def test_one_pixel_is_a_picture_too(page_url: str) -> None:
    assert "latent" in open_file(page_url, picture_bytes(size=(1, 1))).json()


def test_bad_files_get_a_sentence(page_url: str) -> None:
    for data, words in (
        (b"just text, renamed", "not a picture"),
        (b"", "not a picture"),
        (picture_bytes("1", (10_000, 10_000)), "megapixels"),
        (picture_bytes()[:50], "damaged"),
    ):
        answer = open_file(page_url, data)
        assert answer.status_code == 400 and words in answer.json()["error"]
    huge = open_file(page_url, b"\0" * (11 * 2**20))
    assert huge.status_code == 413 and "10 MiB" in huge.json()["error"]


def test_a_comparison_answers_as_the_engine_does(client: Client, engine: Engine) -> None:
    comparison = Comparison.build("sheet", ["vae-fashion-28", "gan-fashion-28"], x="temperature", x_values="0.4, 1", y="")
    answer = client.predict(comparison.to_query(), api_name="/compare")
    board = comparison.run(engine)
    assert answer["query"] == comparison.to_query() and answer["python"] == comparison.to_python()
    vae, gan = answer["panes"]
    assert vae["weights_sha256"] == board.answers[0].weights_sha256 and "no knob called" in gan["errors"]["0"]
    with Image.open(io.BytesIO(board.answers[0].png())) as image:
        assert np.array_equal(pixels(vae), np.asarray(image))


@pytest.mark.parametrize("link", ["", 7, "compare=why", "compare=seed&pane=card%3Dnobody-fashion-28"])
def test_a_comparison_that_cannot_be_gets_a_sentence(client: Client, link: object) -> None:
    with pytest.raises(AppError, match=r"There is no|names no"):
        client.predict(link, api_name="/compare")
