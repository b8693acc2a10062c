"""What tools of codes say, against numbers computed another way."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from playground.engine import Engine
from playground.families.autoencoder import MAX_NOISE, Autoencoder, AutoencoderParams
from playground.families.vae import VAE
from playground.images import from_uint8
from playground.latent import Noise
from playground.metrics import psnr_db
from playground.request import Request
from playground.result import Result
from playground.settings import Settings
from playground.tasks import TASKS
from playground.tasks.aggregate import aggregate_kl
from playground.tasks.codecs import JPEG, WEBP, Principal, Squeezed, jpeg_payload, nearest
from playground.tasks.marks import coloured, framed, heat
from playground.tasks.oddities import KINDS, auroc, odd_pictures, roc
from playground.tasks.rate import Trade, alike
from playground.training.recipes.autoencoder import AutoencoderRecipe
from tests.tiny import TinyEngine

AE, VAE_CARD = "ae-fashion-28", "vae-fashion-28"


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(Settings(hub="off", device="cpu"))


def ask(engine: Engine, card: str, task: str, **knobs: Any) -> Result:
    return engine.run(Request.build(card, task, cards=engine.cards, **knobs))


# -- codes that can be cut ------------------------------------------------------------------------------------------------


def test_cutting_a_code_is_the_knob_of_its_size() -> None:
    model = Autoencoder.tiny()
    z = torch.randn(3, 4)
    for size in (2, 3, 4):
        *_, step = model.decode(z, AutoencoderParams(code_size=size), Noise([0, 0, 0]))
        assert torch.equal(model.cut(z, size), step.x)
        assert torch.equal(model.cut(z, size), model.cut(torch.where(torch.arange(4) < size, z, 9.0), size)), "the tail must not matter"
    assert model.code_sizes() == (2, 4) and model.code_size(AutoencoderParams(code_size=64)) == 4


def test_a_quantised_code_is_one_byte_a_number() -> None:
    model = Autoencoder.tiny()
    low, high = model.code_range()
    assert torch.equal(low, model.codes.map_code.min(dim=0).values) and torch.equal(high, model.codes.map_code.max(dim=0).values)
    z = low + (high - low) * torch.linspace(0, 1, 5000)[:, None]
    rounded = model.quantise(z)
    assert all(len(rounded[:, column].unique()) == 256 for column in range(z.shape[1]))
    assert ((rounded - z).abs() <= (high - low) / 510 * 1.001).all()
    assert torch.allclose(model.quantise(high[None] + 100), high[None], atol=1e-5), "beyond the range is its end"


def test_the_noise_that_is_named_is_that_of_training() -> None:
    assert AutoencoderRecipe().max_noise == MAX_NOISE == Autoencoder.tiny().noise_learned()


def test_the_fitted_prior_is_drawn_at_temperature_1() -> None:
    model = Autoencoder.tiny()
    z = model.fitted(Noise(range(4000)))
    mixture = model.codes.prior_weight @ model.codes.prior_mean
    assert torch.allclose(z.mean(dim=0), mixture, atol=0.12)
    between = ((model.codes.prior_mean - mixture).square() * model.codes.prior_weight[:, None]).sum(dim=0)
    assert torch.allclose(z.var(dim=0), between + 0.5, rtol=0.12)  # its parts have the covariance 0.5·I


def test_a_card_says_its_beta(tmp_path) -> None:
    model = VAE.tiny()
    assert model.beta == 1.0
    model.read({"beta": 0.25, "family": "vae"})
    assert model.beta == 0.25
    model.read({})
    assert model.beta == 0.25


# -- other codecs ---------------------------------------------------------------------------------------------------------


def test_the_payload_of_a_jpeg_lies_between_its_scan_header_and_its_end() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    sizes = []
    for quality in (1, 30, 95):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
        data = buffer.getvalue()
        scan = data.index(b"\xff\xda")
        assert data.endswith(b"\xff\xd9")
        assert jpeg_payload(data) == len(data[scan + 2 + 8 : -2])  # the header of a scan of one component has 8 bytes
        sizes.append(len(data) - jpeg_payload(data))
    assert len(set(sizes)) == 1, "headers do not depend on the quality"


@pytest.mark.parametrize("codec", [JPEG, WEBP], ids=lambda codec: codec.name)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_codec_trades_bytes_for_quality(codec, channels: int) -> None:
    across = np.linspace(0, 255, 28)
    picture = np.stack([np.add.outer(across, across) / 2] * channels, axis=-1).astype(np.uint8)
    squeezed = codec.squeeze(picture)
    assert [each.num_bytes for each in squeezed] == sorted(each.num_bytes for each in squeezed)
    assert all(each.picture.shape == picture.shape for each in squeezed)
    first, last = (psnr_db(from_uint8(picture[None]), from_uint8(each.picture[None])).item() for each in (squeezed[0], squeezed[-1]))
    assert last > first + 3 and last > 35


def test_the_nearest_size_is_chosen() -> None:
    squeezed = [Squeezed(np.zeros((1, 1, 1), np.uint8), size) for size in (10, 20, 30)]
    assert [nearest(squeezed, target).num_bytes for target in (1, 14, 15, 24, 99)] == [10, 10, 20, 20, 30]


def test_principal_components_are_those_of_the_singular_values() -> None:
    x = from_uint8(TinyEngine().shelf_of("ae-tiny-28").pictures)
    principal = Principal.of(x, 6)
    flat = x.flatten(1).double()
    _, _, right = torch.linalg.svd(flat - flat.mean(dim=0), full_matrices=False)
    assert torch.allclose((principal.axes @ right[:6].T).abs(), torch.eye(6, dtype=torch.float64), atol=1e-6)
    exact = (flat.mean(dim=0) + (flat - flat.mean(dim=0)) @ right[:4].T @ right[:4]).view_as(x).clamp(-1, 1)
    assert psnr_db(exact, principal.through(x, 4)).min() > 40, "only the rounding differs"


def test_compress_is_what_its_labels_say(engine: Engine) -> None:
    """The autoencoder's bytes and dB of a picture, from its network alone."""
    result, model = ask(engine, AE, "compress", picture="test:7", code_size=16), engine.model(AE)
    x = from_uint8(engine.shelf_of(AE).pictures[7:8])
    with torch.inference_mode():
        z = model.network.encode(x)[0]
        codes = model.codes.map_code
        step = (codes.max(dim=0).values - codes.min(dim=0).values) / 255
        level = ((z - codes.min(dim=0).values) / step).round().clamp(0, 255)
        back = model.network.decode((codes.min(dim=0).values + level * step)[None], torch.tensor([16])).clamp(-1, 1)
    assert result.sheet.facts["bytes"] == 16 and result.sheet.facts["raw_bytes"] == 784
    assert result.sheet.facts["psnr"][0] == pytest.approx(psnr_db(x, back).item(), abs=0.05)
    assert result.sheet.labels[1] == f"Autoencoder\n{result.sheet.facts['psnr'][0]:.1f} dB\n16 B · 49×"
    assert f"{result.sheet.facts['psnr'][0]:.1f} dB" in result.sheet.says
    assert result.sheet.facts["code_psnr"][3] == result.sheet.facts["psnr"][0]


def test_on_average_the_code_beats_principal_components(engine: Engine) -> None:
    """What the page claims of this card, on pictures that nobody chose."""
    gains = []
    for index in range(0, 200, 20):
        ours, pca, *_ = ask(engine, AE, "compress", picture=f"test:{index}", code_size=8).sheet.facts["psnr"]
        gains.append(ours - pca)
    assert np.mean(gains) > 1


# -- damage ---------------------------------------------------------------------------------------------------------------


def test_damage_is_what_its_knobs_say() -> None:
    x = torch.zeros(1, 1, 28, 28)
    denoise = TASKS["denoise"]
    noisy = denoise.parse({"noise": 0.2, "hole": "none"}).damaged(x)
    assert noisy.std().item() == pytest.approx(0.2, rel=0.1) and abs(noisy.mean().item()) < 0.03
    specked = denoise.parse({"noise": 0, "salt": 0.3, "hole": "none"}).damaged(x)
    share = (specked != 0).float().mean().item()
    assert share == pytest.approx(0.3, abs=0.06) and set(specked.unique().tolist()) == {-1.0, 0.0, 1.0}
    holed = denoise.parse({"noise": 0, "hole": "box:3,5,4,2"}).damaged(x)
    assert (holed == -1).sum() == 8 and (holed[0, 0, 5:7, 3:7] == -1).all() and (holed == 0).sum() == 784 - 8
    again, other = (denoise.parse({"seed": seed, "hole": "none"}).damaged(x) for seed in (3, 4))
    assert torch.equal(again, denoise.parse({"seed": 3, "hole": "none"}).damaged(x)) and not torch.equal(again, other)


def test_noise_it_met_is_taken_out_and_holes_are_not(engine: Engine) -> None:
    gain, inside = [], []
    for index in range(0, 200, 20):
        facts = ask(engine, AE, "denoise", picture=f"test:{index}", noise=0.4).sheet.facts
        gain.append(facts["psnr_db"] - facts["damaged_psnr_db"])
        facts = ask(engine, AE, "denoise", picture=f"test:{index}", noise=0, hole="box:9,9,10,10").sheet.facts
        inside.append(facts["hole_after_db"])
    assert np.mean(gain) > 4
    assert np.mean(inside) < 15, "the page says that holes are not filled"


# -- what is odd ----------------------------------------------------------------------------------------------------------


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order() -> None:
    rng = torch.Generator().manual_seed(0)
    normal, odd = torch.randn(40, generator=rng).double(), (torch.randn(30, generator=rng) + 0.7).double()
    odd[:5] = normal[:5]  # ties count half
    pairs = [(1.0 if high > low else 0.5 if high == low else 0.0) for high in odd.tolist() for low in normal.tolist()]
    assert auroc(normal, odd) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert auroc(normal, normal.max() + odd.abs() + 1) == 1 and auroc(normal, normal.min() - 1 - odd.abs()) == 0
    curve = roc(normal, odd, torch.linspace(0, 1, 2001).double())
    assert np.trapezoid(curve, dx=1 / 2000) == pytest.approx(auroc(normal, odd), abs=0.03)
    assert (curve.diff() >= 0).all() and curve[0] <= 0.2 and curve[-1] >= 0.9


def test_odd_pictures_are_of_the_data_sets_shape_and_range() -> None:
    shelf = TinyEngine().shelf_of("ae-tiny-28")
    odd, x = odd_pictures(shelf), from_uint8(shelf.pictures)
    assert list(odd) == list(KINDS)
    for kind, pictures in odd.items():
        assert pictures.shape[1:] == x.shape[1:] and pictures.abs().max() <= 1, kind
    assert torch.equal(odd["upside down"][3, 0, 0], x[3, 0, -1]) and torch.equal(odd["inverted"], -x)
    assert (odd["blank"].flatten(1).std(dim=1) == 0).all() and len(odd["blank"].flatten(1)[:, 0].unique()) == 256
    ink = (odd["letters"] > 0).flatten(1).float().mean(dim=1)
    assert len(odd["letters"]) == 62 and ink.min() > 0.01 and ink.max() < 0.5
    assert len({letter.numpy().tobytes() for letter in odd["letters"]}) >= 60


@pytest.mark.parametrize("card", [AE, VAE_CARD])
def test_scores_and_thresholds_of_anomaly(engine: Engine, card: str) -> None:
    result, model = ask(engine, card, "anomaly", picture="test:11", threshold=90), engine.model(card)
    facts, x = result.sheet.facts, from_uint8(engine.shelf_of(card).pictures)
    with torch.inference_mode():
        back = torch.cat([model.through(part, model.Params()).clamp(-1, 1) for part in x.split(100)])
    score = np.sqrt(((x - back).numpy().astype(float) ** 2).mean(axis=(1, 2, 3))) * 127.5
    assert facts["score"] == pytest.approx(score[11], rel=1e-3)
    assert facts["limit"] == pytest.approx(np.percentile(score, 90), rel=1e-3)
    assert sum(facts["counts"]) == len(x) == 2000
    assert f"more than {(score < score[11]).mean():.0%} of 2,000" in result.sheet.says
    odd = odd_pictures(engine.shelf_of(card))["upside down"]
    with torch.inference_mode():
        turned = 127.5 * (odd - model.through(odd, model.Params())).square().flatten(1).mean(dim=1).sqrt()
    assert facts["caught"][0] == pytest.approx((turned.numpy() > np.percentile(score, 90)).mean(), abs=0.01)
    assert facts["auc"][0] == pytest.approx((turned.numpy()[:, None] > score[None]).mean(), abs=0.005)
    inverted, noise = facts["auc"][1], facts["auc"][3]
    assert inverted > 0.99 and noise > 0.99


def test_a_frame_marks_what_is_stopped(engine: Engine) -> None:
    open_gate, shut = (ask(engine, AE, "anomaly", picture="test:11", threshold=value) for value in (100, 0))
    orange = [230, 159, 0]
    assert shut.pictures[0][0, 5].tolist() == orange and open_gate.pictures[0][0, 5].tolist() != orange
    for result in (open_gate, shut):
        marks = [result.pictures[index][0, 5].tolist() == orange for index in (0, 3, 4, 5, 6, 7)]
        assert marks == ["stopped" in result.sheet.labels[index] for index in (0, 3, 4, 5, 6, 7)]


def test_a_second_question_goes_on_where_the_first_was_stopped() -> None:
    engine = TinyEngine()
    request = Request.build("ae-tiny-28", "anomaly", cards=engine.cards)
    stream = engine.stream(request)
    assert next(stream).sheet.progress < 1
    stream.close()
    kept = set(engine._seats["ae-tiny-28"].memory)
    assert any(name.startswith("anomaly/") for name in kept)
    assert engine.run(request).sheet.progress == 1 and kept < set(engine._seats["ae-tiny-28"].memory)
    assert len([*engine.stream(request)]) == 1, "nothing is left to wait for"


# -- holes, posteriors, rates ---------------------------------------------------------------------------------------------


def test_random_codes_are_what_their_rows_say(engine: Engine) -> None:
    result, model = ask(engine, AE, "holes", num_samples=2, seed=9), engine.model(AE)
    assert result.sheet.columns == 2 and result.sheet.group == len(result.pictures) // 2 == 4
    eps = torch.stack([torch.randn(64, generator=torch.Generator().manual_seed(seed)) for seed in (9, 10)])
    with torch.inference_mode():
        plain = model.network.decode(eps, torch.tensor([32, 32])).clamp(-1, 1)
        vae = engine.model(VAE_CARD).network.likelihood(eps[:, :32].contiguous()).mean()
    assert np.abs((plain.numpy() + 1) * 127.5 - result.pictures[:2].transpose(0, 3, 1, 2)).max() <= 1.01
    numbers = torch.stack([torch.randn(32, generator=torch.Generator().manual_seed(seed)) for seed in (9, 10)])
    with torch.inference_mode():
        vae = engine.model(VAE_CARD).network.likelihood(numbers).mean()
    assert np.abs((vae.numpy() + 1) * 127.5 - result.pictures[6:].transpose(0, 3, 1, 2)).max() <= 1.01
    assert result.sheet.cards == (AE, AE, "", "", "", "", VAE_CARD, VAE_CARD)
    distance, spread = result.sheet.facts["mean_distance"], result.sheet.facts["spread"]
    assert distance[0] > 1.3 * distance[2] and spread[0] < 0.8 * spread[2], "a fitted prior is nearer to test pictures, and more various"


def test_distances_are_in_units_of_test_pictures(engine: Engine) -> None:
    facts = ask(engine, AE, "holes", num_samples=2).sheet.facts
    classifier, x = engine.classifier_of(AE), from_uint8(engine.shelf_of(AE).pictures)
    with torch.inference_mode():
        features = torch.cat([classifier.features(part) for part in x.split(250)]).double().numpy()
    gaps = np.sqrt(((features[:40, None] - features[None]) ** 2).sum(axis=-1))
    gaps[np.arange(40), np.arange(40)] = np.inf
    nearest_gap = gaps.min(axis=1)
    ratios = np.array(facts["test_distance"][:40]) / nearest_gap
    assert ratios == pytest.approx(np.full(40, ratios[0]), rel=1e-3)
    assert np.mean(facts["test_distance"]) == pytest.approx(1)


def test_the_matched_gaussian_is_nearer_than_its_parts() -> None:
    rng = torch.Generator().manual_seed(1)
    mu, sigma = torch.randn(50, 3, generator=rng).double(), 0.1 + torch.rand(50, 3, generator=rng).double()
    draws = (mu[:, None] + sigma[:, None] * torch.randn(50, 20_000, 3, generator=rng)).flatten(0, 1)
    covariance = torch.distributions.MultivariateNormal(draws.mean(dim=0), draws.T.cov())
    standard = torch.distributions.MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    assert aggregate_kl(mu, sigma) == pytest.approx(torch.distributions.kl_divergence(covariance, standard).item(), abs=0.01)
    assert aggregate_kl(torch.zeros(9, 4).double(), torch.ones(9, 4).double()) == pytest.approx(0, abs=1e-12)


def test_the_posteriors_on_the_plot_are_those_of_the_network(engine: Engine) -> None:
    facts, model = ask(engine, VAE_CARD, "aggregate", picture="test:4", num_samples=1).sheet.facts, engine.model(VAE_CARD)
    x = from_uint8(engine.shelf_of(VAE_CARD).pictures)
    with torch.inference_mode():
        parts = [model.network.posterior(part) for part in x.split(250)]
    mu, log_var = (torch.cat([part[index] for part in parts]).double().numpy() for index in (0, 1))
    kl = 0.5 * (mu**2 + np.exp(log_var) - 1 - log_var).sum(axis=1)
    assert facts["own_kl"] == pytest.approx(kl[4], rel=1e-3) and facts["mean_kl"] == pytest.approx(kl.mean(), rel=1e-3)
    axes = model.codes.principal[:2].double().numpy()
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    assert facts["centre"] == pytest.approx(axes @ mu[4], abs=1e-3)
    shape = np.linalg.inv(axes @ np.diag(np.exp(log_var[4])) @ axes.T)
    rim = np.array(facts["ellipse"]).T - np.array(facts["centre"])
    assert np.einsum("ni,ij,nj->n", rim, shape, rim) == pytest.approx(np.ones(len(rim)), rel=1e-2), "one Mahalanobis unit from the centre"
    wide = (mu @ axes.T).var(axis=0) + np.exp(log_var).mean(axis=0) @ (axes**2).T
    assert len(facts["points"][0]) == 2000 and np.var(facts["points"], axis=1) == pytest.approx(wide, rel=0.05)


def test_redrawn_codes_keep_mu_and_sigma(engine: Engine) -> None:
    result, model = ask(engine, VAE_CARD, "inside", picture="test:4", num_samples=2, seed=30), engine.model(VAE_CARD)
    with torch.inference_mode():
        mu, log_var = model.network.posterior(from_uint8(engine.shelf_of(VAE_CARD).pictures[4:5]))
        z = mu + (log_var / 2).exp() * Noise(range(30, 46)).normal((32,), "posterior")
        drawn = model.network.likelihood(z).mean()
    assert np.abs((drawn[:2, 0].numpy() + 1) * 127.5 - result.pictures[3:, ..., 0]).max() <= 1.01
    spread = np.sqrt((127.5 * drawn.numpy()).var(axis=0).mean())
    assert result.sheet.facts["spread_levels"] == pytest.approx(spread, rel=1e-3) and f"{spread:.1f} of 255" in result.sheet.says


def test_rate_measures_the_parts_of_the_bound(engine: Engine, monkeypatch) -> None:
    monkeypatch.setattr(engine, "measured", lambda card: {})
    facts = ask(engine, VAE_CARD, "rate", num_samples=1).sheet.facts
    model, x = engine.model(VAE_CARD), from_uint8(engine.shelf_of(VAE_CARD).pictures[:256])
    with torch.inference_mode():
        mu, log_var = model.network.posterior(x)
    rate = 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(dim=1).mean().item()
    large = facts["num_bytes"].index(max(facts["num_bytes"]))
    assert facts["rate"][large] == pytest.approx(rate, rel=1e-4) and facts["n"][large] == 256
    assert facts["beta"] == sorted(facts["beta"])
    bits = (facts["rate"][large] + facts["distortion"][large]) / (784 * math.log(2))
    known = Engine.measured(engine, VAE_CARD)["elbo_bits_per_dim"]
    assert abs(bits - known["value"]) < 4.5 * known["standard_error"] * math.sqrt(known["n"] / 256)


def test_rates_that_evaluate_measured_are_taken_from_there(engine: Engine, monkeypatch) -> None:
    figures = {"rate_nats": {"value": 12.5, "n": 10_000}, "distortion_nats": {"value": 1700.0, "n": 10_000}}
    monkeypatch.setattr(engine, "measured", lambda card: figures)
    result = ask(engine, VAE_CARD, "rate", num_samples=1)
    assert set(result.sheet.facts["rate"]) == {12.5} and set(result.sheet.facts["n"]) == {10_000}
    assert "10,000 test pictures" in result.sheet.says


def test_cards_of_one_network_are_compared() -> None:
    trades = [Trade(str(beta), beta, size, 1.0, 2.0, 9) for beta, size in ((0.25, 5), (1.0, 5), (1.0, 9), (4.0, 5))]
    assert [trade.beta for trade in alike(trades)] == [0.25, 1.0, 4.0]


# -- marks ----------------------------------------------------------------------------------------------------------------


def test_heat_rises_and_frames_stay_at_the_edge() -> None:
    strength = torch.linspace(0, 1, 50).view(1, 1, 50)
    light = heat(strength).astype(int).sum(axis=-1)[0, 0]
    assert (np.diff(light) >= 0).all() and light[0] == 0 and light[-1] == 765
    assert np.array_equal(heat(strength * 3)[..., -1, :], heat(strength)[..., -1, :]), "beyond 1 is white"
    picture = coloured(np.full((1, 6, 6, 1), 7, np.uint8))
    assert picture.shape == (1, 6, 6, 3)
    assert (framed(picture)[0, 1:-1, 1:-1] == 7).all() and (framed(picture) == [230, 159, 0]).all(axis=-1).sum() == 20
    assert (picture == 7).all(), "the picture itself stays"
