"""The tools of diffusion: entering the way anywhere, completing, turning back, and the tables and plots made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from playground.engine import Engine
from playground.errors import BadKnob
from playground.families.diffusion import Diffusion, DiffusionParams
from playground.families.samplers import repaint
from playground.images import from_uint8, to_uint8
from playground.latent import Noise
from playground.masks import Mask
from playground.nets.diffusion import PATHS, Path, lost, renewed
from playground.request import Request
from playground.settings import Settings
from playground.tasks.vary import turnable
from playground.ui.figures import FIGURES
from tests.tiny import TinyEngine

CARD = "diffusion-tiny-28"
DDPM = "ddpm-fashion-28"
SCHEDULERS = ("ddpm", "ddim", "euler", "heun", "dpmsolver++", "unipc")
each_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


@pytest.fixture(scope="module")
def engine() -> TinyEngine:
    return TinyEngine(batch_size=4)


@pytest.fixture(scope="module")
def real() -> Engine:
    return Engine(Settings(hub="off", device="cpu"))


@pytest.fixture(scope="module", params=PATHS)
def model(request: pytest.FixtureRequest) -> Diffusion:
    return Diffusion.tiny(request.param)


def ask(engine: Engine, task: str, card: str = CARD, **knobs: Any) -> Any:
    return engine.run(Request.build(card, task, cards=engine.cards, **{"num_inference_steps": 6, **knobs}))


def decibels(one: Any, other: Any) -> float:
    """PSNR of grey levels, by the book."""
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other.astype(float)) ** 2)))


# -- entering anywhere ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_steps_tell_where_they_stand(model: Diffusion, scheduler: str) -> None:
    params, noise = DiffusionParams(scheduler=scheduler, num_inference_steps=5), Noise([3])
    *steps, _ = model.decode(model.draw(params, noise), params, noise)  # the last guess is cut to [-1, 1]
    times = [step.time for step in steps]
    assert times[0] == pytest.approx(1, abs=2e-3) and times == sorted(times, reverse=True) and times[-1] > 0
    for step in steps:
        signal, sigma = model.schedule(torch.tensor([step.time]))
        torch.testing.assert_close(signal * step.x + sigma * step.eps, step.x_t, atol=2e-3, rtol=0)  # dpmsolver++ rounds its times


@pytest.mark.parametrize("scheduler", ["ddpm", "ddim", "euler", "heun"])
def test_the_rest_of_the_way_from_where_a_sampler_stood_leads_to_its_picture(model: Diffusion, scheduler: str) -> None:
    """Those that remember nothing of the steps before."""
    params, noise = DiffusionParams(scheduler=scheduler, num_inference_steps=6, eta=0.5), Noise([3, 4])
    steps = [*model.decode(model.draw(params, noise), params, noise)]
    for left in (1, 2, 5):
        stood = steps[len(steps) - (2 * left - 1 if scheduler == "heun" else left)]
        assert model.time_left(left, params) == pytest.approx(stood.time)
        rest = [*model.finish(stood.x_t, left, params, noise)]
        assert (rest[0].index, rest[-1].index, rest[-1].total) == (1, len(rest), len(rest))
        torch.testing.assert_close(rest[-1].x, steps[-1].x, atol=1e-4, rtol=0)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_all_steps_left_is_the_whole_way(model: Diffusion, scheduler: str) -> None:
    params, noise = DiffusionParams(scheduler=scheduler, num_inference_steps=5), Noise([3, 4])
    z = model.draw(params, noise)
    *_, whole = model.decode(z, params, noise)
    *_, last = model.finish(z, 5, params, noise)
    assert torch.equal(last.x, whole.x)


@pytest.mark.parametrize("scheduler", ["dpmsolver++", "unipc"])
def test_schedulers_with_a_memory_can_set_out_in_the_middle(real: Engine, scheduler: str) -> None:
    """From a test picture under a little noise all of them come to much the same picture as DDIM."""
    model, x = real.model(DDPM), from_uint8(real.shelf_of(DDPM).pictures[:4])
    eps = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    ends = []
    with torch.inference_mode():
        for name in (scheduler, "ddim"):
            params = DiffusionParams(scheduler=name, label="none")
            signal, sigma = model.schedule(torch.tensor([model.time_left(6, params)]))
            *_, last = model.finish(signal * x + sigma * eps, 6, params, Noise([0] * 4))
            ends.append(to_uint8(last.x))
    assert decibels(*ends) > 27


def test_classes_can_be_told_for_each_picture(model: Diffusion) -> None:
    params, z = DiffusionParams(num_inference_steps=3, label="none"), torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    *_, told = model.finish(z, 2, params, Noise([0] * 3), torch.tensor([0, 2, 3]))
    for index, label in enumerate(("0", "2", "none")):
        *_, alone = model.finish(z[index : index + 1], 2, params.but(label=label), Noise([0]))
        torch.testing.assert_close(told.x[index : index + 1], alone.x, atol=1e-4, rtol=0)


@each_path
def test_noise_lost_on_the_way_down_is_what_the_way_up_adds(path: Path) -> None:
    now, then = path.at(torch.tensor([0.7])), path.at(torch.tensor([0.4]))
    ratio = now.signal / then.signal
    torch.testing.assert_close((ratio * then.sigma) ** 2 + lost(now, then) ** 2, now.sigma**2)
    x_0, eps, drawn = torch.randn(3, 20_000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    for share in (0.0, 0.5, 1.0):  # however much is renewed, the noise at the earlier place has the deviation of that place
        x_t = renewed(now, then, x_0, eps, share, drawn)
        left = (x_t - then.signal * x_0) / then.sigma
        assert left.std().item() == pytest.approx(1, abs=0.02)
        assert ((left * eps).mean().item() > 0.99) == (share == 0)


# -- completing -------------------------------------------------------------------------------------------------------------


class Draws(Noise):
    """Many draws at once, from one generator a stream."""

    def normal(self, shape: Sequence[int], stream: str = "latent") -> Tensor:
        return Noise([0]).normal((len(self), *shape), stream)[0]


@each_path
def test_completions_of_a_bell_curve_have_its_conditional_mean_and_spread(path: Path) -> None:
    """Two pixels, correlated: given one, the other is normal with a mean and a deviation that a formula says."""
    deviation, correlation, known = 0.2, 0.8, 0.25
    cov = deviation**2 * torch.tensor([[1, correlation], [correlation, 1]])

    def exact(x_t: Tensor, time: Tensor) -> Tensor:
        at = path.at(time[:1])
        signal, sigma = at.signal.item(), at.sigma.item()
        x_0 = (signal * cov @ torch.linalg.inv(signal**2 * cov + sigma**2 * torch.eye(2)) @ x_t.flatten(1).T).T.view_as(x_t)
        return at.tangent(x_0, (x_t - signal * x_0) / sigma)

    x, hidden = torch.tensor([known, 0.9]).expand(4000, 1, 1, 2), torch.tensor([[False, True]])
    means = {}
    for rounds in (1, 8):
        *_, last = repaint(path, exact, x, hidden, num_inference_steps=40, num_resamplings=rounds, noise=Draws(range(4000)))
        assert (last.x[..., 0] == known).all()
        means[rounds] = last.x[..., 1].mean().item()
    assert means[8] == pytest.approx(correlation * known, abs=0.02)
    spread = last.x[..., 1].std().item() / (deviation * math.sqrt(1 - correlation**2))
    assert 0.65 < spread < 1.1  # in 40 steps it draws somewhat too narrowly
    assert abs(means[8] - correlation * known) < abs(means[1] - correlation * known)  # the rounds are what makes it fit


@pytest.mark.parametrize("mask", ["right", "box:3,5,9,2", "middle"])
def test_what_is_not_hidden_is_kept_exactly(engine: TinyEngine, mask: str) -> None:
    picture, hidden = engine.shelf_of(CARD).picture(3), Mask.parse(mask).pixels(28).numpy()
    request = Request.build(CARD, "inpaint", cards=engine.cards, picture="test:3", mask=mask, num_samples=3, num_inference_steps=3)
    results = [*engine.stream(request)]
    assert len(results) == 3 * 3  # a preview for each step and round
    for result in results:
        assert np.array_equal(result.pictures[0], picture)
        assert (result.pictures[1][hidden] == 128).all() and np.array_equal(result.pictures[1][~hidden], picture[~hidden])
        assert all(np.array_equal(draw[~hidden], picture[~hidden]) for draw in result.pictures[2:])
    draws = results[-1].pictures[2:].astype(float)[:, hidden]
    facts = results[-1].sheet.facts
    assert facts["hidden_share"] == pytest.approx(hidden.mean()) and facts["changed_outside"] == 0
    assert facts["spread_levels"] == pytest.approx(np.std(draws, axis=0, ddof=1).mean()) and facts["spread_levels"] > 1


def test_nothing_hidden_nothing_made(engine: TinyEngine) -> None:
    result = ask(engine, "inpaint", mask="none", picture="test:3")
    assert all(np.array_equal(picture, engine.shelf_of(CARD).picture(3)) for picture in result.pictures)
    assert "paint on the picture" in result.sheet.says


def test_a_hidden_half_is_completed_to_something_of_its_kind(real: Engine) -> None:
    facts = ask(real, "inpaint", DDPM, picture="test:0", mask="bottom", num_inference_steps=20).sheet.facts
    assert facts["taken_for"] == "Ankle boot" and facts["alike"] >= 1
    told = ask(
        real, "inpaint", DDPM, picture="test:0", mask="all", target="8", guidance_scale=3.0, num_inference_steps=20, num_resamplings=1
    )
    shares = real.classifier_of(DDPM)(from_uint8(told.pictures[2:])).argmax(dim=1)
    assert (shares == 8).sum() >= 3  # told to be bags, with nothing to hold on to


# -- picture to picture -----------------------------------------------------------------------------------------------------


def test_no_strength_is_the_picture_and_full_strength_forgets_it(engine: TinyEngine) -> None:
    still = ask(engine, "variation", picture="test:3", strength=0.0, num_samples=2)
    given = engine.shelf_of(CARD).picture(3)
    assert all(np.array_equal(picture, given) for picture in (still.pictures[0], *still.pictures[2:]))
    assert np.abs(still.pictures[1].astype(int) - given.astype(int)).max() <= 3  # drawn with room for a little noise
    for scheduler in ("ddpm", "heun", "dpmsolver++"):
        plain = ask(engine, "sample", num_samples=2, seed=7, label="none", scheduler=scheduler).pictures
        ends = [
            ask(engine, "variation", picture=f"test:{index}", strength=1.0, num_samples=2, seed=7, scheduler=scheduler) for index in (3, 4)
        ]
        for end in ends:
            assert np.abs(end.pictures[2:].astype(int) - plain.astype(int)).max() <= 1


def test_more_strength_is_farther_from_the_picture(real: Engine) -> None:
    results = [ask(real, "variation", DDPM, strength=strength, num_samples=4, num_inference_steps=10) for strength in (0.2, 0.5, 0.9)]
    picture = real.shelf_of(DDPM).picture(0)
    distances = [result.sheet.facts["to_picture_db"] for result in results]
    assert distances[0] > distances[1] > distances[2]
    assert distances[1] == pytest.approx(np.mean([decibels(picture, draw) for draw in results[1].pictures[2:]]), abs=0.1)
    assert [round(result.sheet.facts["start_time"], 1) for result in results] == [0.2, 0.5, 0.9]


# -- turning back -----------------------------------------------------------------------------------------------------------


def test_a_picture_comes_back_from_its_noise_and_becomes_another_class(real: Engine) -> None:
    result = ask(real, "edit", DDPM, picture="test:0", target="any", depth=1.0, push=3.0, num_inference_steps=20)
    picture, _, again, *edited = result.pictures
    assert decibels(picture, again) == pytest.approx(result.sheet.facts["again_db"], abs=0.5) and decibels(picture, again) > 33
    taken = real.classifier_of(DDPM)(from_uint8(np.stack(edited))).argmax(dim=1).tolist()
    assert sum(label == index for index, label in enumerate(taken)) == result.sheet.facts["reached"] >= 8
    shallow = ask(real, "edit", DDPM, picture="test:0", target="8", depth=0.2, num_inference_steps=20).sheet.facts
    assert shallow["edited_db"][0] > max(result.sheet.facts["edited_db"]) and shallow["taken_for"] == ["Ankle boot"]


def test_a_class_that_is_not_there_gets_a_sentence(engine: TinyEngine) -> None:
    for task in ("edit", "inpaint", "variation"):
        with pytest.raises(BadKnob, match=r"no class 9 here.* 0 to 2"):
            ask(engine, task, target="9")


# -- looking on -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["ddpm", "heun", "unipc"])
def test_the_trajectory_ends_in_the_picture(engine: TinyEngine, scheduler: str) -> None:
    sheet = ask(engine, "trajectory", start="seed:7", scheduler=scheduler).sheet
    plain = ask(engine, "sample", num_samples=1, seed=7, scheduler=scheduler).pictures[0]
    looks = 11 if scheduler == "heun" else 6
    assert (sheet.columns, sheet.group, len(sheet.pictures)) == (looks, 3, 3 * looks)
    guesses = sheet.pictures[looks : 2 * looks]
    assert np.array_equal(guesses[-1], plain)
    assert sheet.facts["to_final_db"][2] == pytest.approx(decibels(guesses[2], plain), abs=0.3)
    assert [index for index, latent in enumerate(sheet.latents) if latent] == [2 * looks - 1]


def test_a_scrubbed_film_needs_one_answer_alone(engine: TinyEngine) -> None:
    shares = [
        result.sheet.progress for result in engine.stream(Request.build(CARD, "trajectory", cards=engine.cards, num_inference_steps=6))
    ]
    assert shares == [pytest.approx(step / 6) for step in range(1, 7)]


@pytest.mark.parametrize(("card", "signal", "sigma"), [(DDPM, math.cos, math.sin), ("rectified-fashion-28", lambda t: 1 - t, lambda t: t)])
def test_the_schedule_is_the_one_of_its_path(real: Engine, card: str, signal: Any, sigma: Any) -> None:
    facts = ask(real, "noising", card, num_frames=5).sheet.facts
    turn = math.pi / 2 if card == DDPM else 1.0
    for time, alpha_bar, noise, log_snr in zip(*(facts[name] for name in ("times", "alpha_bar", "sigma", "log_snr")), strict=True):
        assert alpha_bar == pytest.approx(signal(turn * time) ** 2, abs=0.005) and noise == pytest.approx(sigma(turn * time), abs=0.007)
        if 0.05 < time < 0.95:
            assert log_snr == pytest.approx(math.log(alpha_bar / noise**2), abs=0.01)
    assert facts["guess_db"] == sorted(facts["guess_db"], reverse=True) and facts["guess_db"][1] > 20 > facts["guess_db"][3] > 8


def test_noised_pictures_have_the_mean_and_variance_of_their_time(engine: TinyEngine) -> None:
    picture = engine.shelf_of(CARD).picture(3)[..., 0].astype(float) / 127.5 - 1
    seen = np.stack([ask(engine, "noising", picture="test:3", num_frames=5, seed=seed).pictures[:5, ..., 0] for seed in range(40)])
    for frame, time in enumerate((0.0, 0.25, 0.5, 0.75, 1.0)):
        angle = math.pi / 2 * time
        white = math.cos(angle) + 2 * math.sin(angle)  # what the tool shows as white
        x_t = (seen[:, frame].astype(float) / 127.5 - 1) * white
        inside = np.abs(picture) < 0.3  # where hardly anything is cut off
        assert np.abs(x_t.mean(axis=0) - math.cos(angle) * picture)[inside].mean() < 0.16 * math.sin(angle) + 0.02
        assert x_t.var(axis=0, ddof=1)[inside].mean() == pytest.approx(math.sin(angle) ** 2, rel=0.13, abs=2e-3)


# -- tables -----------------------------------------------------------------------------------------------------------------


def test_cells_of_the_scheduler_table_are_the_pictures_of_their_row_and_column(engine: TinyEngine) -> None:
    sheet = ask(engine, "schedulers", most_steps=10, seed=7).sheet
    assert (sheet.columns, sheet.heads, len(sheet.sides), len(sheet.pictures)) == (3, ("2 steps", "5 steps", "10 steps"), 6, 18)
    for row, column in ((0, 0), (1, 2), (3, 1), (4, 2)):
        steps, scheduler = (2, 5, 10)[column], SCHEDULERS[row]
        alone = ask(engine, "sample", num_samples=1, seed=7, scheduler=scheduler, num_inference_steps=steps).pictures[0]
        assert np.array_equal(sheet.pictures[3 * row + column], alone)
    told = sheet.facts["to_last_db"][sheet.sides[1]]
    assert told == [pytest.approx(decibels(sheet.pictures[3 + column], sheet.pictures[5]), abs=0.01) for column in (0, 1)]
    assert sheet.labels[4].startswith("DDIM, 5 steps: ") and sheet.labels[5] == "DDIM, 10 steps"


def test_the_scheduler_table_fills_cell_by_cell_and_keeps_what_is_done(engine: TinyEngine) -> None:
    stream = engine.stream(Request.build(CARD, "schedulers", cards=engine.cards, most_steps=5))
    seen = [next(stream).pictures.any(axis=(1, 2, 3)) for _ in range(5)]  # 2 steps of DDPM, 2 of DDIM, 1 of Euler
    stream.close()
    assert [int(cells.sum()) for cells in seen] == [1, 1, 2, 2, 3] and engine.in_use() == 0


def test_columns_of_vary_are_what_that_value_of_the_knob_makes(engine: TinyEngine) -> None:
    sheet = ask(engine, "vary", knob="guidance_scale", num_values=3, num_samples=3, seed=7).sheet
    assert sheet.facts["values"] == [1.0, 4.5, 8.0] and sheet.heads == ("1", "4.5", "8") and sheet.sides == ("seed 7", "seed 8", "seed 9")
    for column, value in enumerate(sheet.facts["values"]):
        alone = ask(engine, "sample", num_samples=3, seed=7, guidance_scale=value).pictures
        assert np.array_equal(sheet.pictures.reshape(3, 3, 28, 28, 1)[:, column], alone)
    classifier = engine.classifier_of(CARD)
    features = classifier.features(from_uint8(sheet.pictures[2::3])).detach().double().numpy()
    apart = [np.linalg.norm(one - other) for index, one in enumerate(features) for other in features[:index]]
    assert sheet.facts["variety"][2] == pytest.approx(np.mean(apart), abs=1e-3)


def test_vary_says_when_a_knob_changes_nothing_and_when_there_is_none(engine: TinyEngine) -> None:
    assert "changes nothing" in ask(engine, "vary", knob="eta", scheduler="euler", num_samples=2).sheet.says
    assert "changes nothing" not in ask(engine, "vary", knob="eta", scheduler="ddim", num_samples=2).sheet.says
    with pytest.raises(
        BadKnob, match=r"'scheduler' is no knob that can be turned here\. Choose guidance_scale or eta or num_inference_steps"
    ):
        ask(engine, "vary", knob="scheduler")


@pytest.mark.parametrize(
    ("card", "names"), {"gan-tiny-28": ["truncation_psi", "cutoff"], "ae-tiny-28": ["temperature", "code_size"]}.items()
)
def test_every_family_has_knobs_to_vary(engine: TinyEngine, card: str, names: list[str]) -> None:
    assert [spec.name for spec in turnable(engine.model(card))] == names
    sheet = engine.run(Request.build(card, "vary", cards=engine.cards, num_values=3, num_samples=2)).sheet
    shown = sheet.pictures.reshape(2, 3, 28, 28, 1)
    assert not np.array_equal(shown[:, 0], shown[:, 2])


# -- steps and quality ------------------------------------------------------------------------------------------------------

ROWS = [
    {"value": 50, "classifier_fd": 1.5, "precision": 0.9, "recall": 0.91, "coverage": 0.84, "ms_per_picture": 300.0, "n": 1000},
    {"value": 5, "classifier_fd": 9.25, "precision": 0.8, "recall": 0.81, "coverage": 0.44, "ms_per_picture": 30.0, "n": 1000},
]


def swept(engine: TinyEngine, rows: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch, **knobs: Any) -> Any:
    monkeypatch.setattr(engine, "swept", lambda card: rows)
    return ask(engine, "quality", num_samples=2, **knobs).sheet


def test_quality_shows_what_was_measured_and_marks_the_steps_that_are_set(engine: TinyEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = swept(engine, {"num_inference_steps": ROWS}, monkeypatch, num_inference_steps=5)
    assert sheet.says == "With 5 steps the Fréchet distance is 9.25 at 30 ms a picture. Best was 1.50 with 50. Over 1,000 pictures each."
    assert (sheet.facts["steps"], sheet.facts["classifier_fd"], sheet.facts["now"]) == ([5, 50], [9.25, 1.5], 5)
    assert swept(engine, {"num_inference_steps": ROWS}, monkeypatch).says.startswith("Measured nearest: with 5 steps")
    plot = FIGURES["quality"](sheet.facts, Diffusion.look)
    assert [*plot.data[0].x] == [5, 50] and [*plot.data[0].y] == [9.25, 1.5] and plot.layout.shapes[0].x0 == 5


@pytest.mark.parametrize(("found", "ticks"), [([9.25, 1.5], None), ([42.0, 1.5], "D2")])
def test_an_axis_of_quality_has_ticks_whatever_its_range(found: list[float], ticks: str | None) -> None:
    plot = FIGURES["quality"]({"steps": [1, 50], "classifier_fd": found, "now": 5}, Diffusion.look)
    assert plot.layout.yaxis.dtick == ticks


def test_quality_says_when_nothing_was_measured(engine: TinyEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    for rows in ({}, {"guidance_scale": ROWS}):
        sheet = swept(engine, rows, monkeypatch)
        assert f"evaluate {CARD} --sweep num_inference_steps=" in sheet.says and len(sheet.pictures) == 2
        assert FIGURES["quality"](sheet.facts, Diffusion.look).layout.annotations[-1].text == "not measured yet"
