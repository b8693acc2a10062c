"""The bundled GANs: what they make, what their critics say, and how they differ."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from playground.cards import bundled_cards
from playground.families.gan import GAN, GANParams
from playground.families.loading import load_classifier
from playground.images import from_uint8
from playground.latent import Noise
from playground.metrics import manifold_scores, psnr_db
from playground.settings import Settings
from playground.shelf import Shelf
from tests.test_gan_family import inverted

BALANCED, OUTRUN = "gan-fashion-28", "gan-collapsed-fashion-28"


def bundled(card: str) -> GAN:
    return GAN.load(Settings().weights_dir / card, torch.device("cpu"), torch.float32)


def pictures_of(card: str, count: int = 500) -> Tensor:
    model = bundled(card)
    params = GANParams.parse(bundled_cards()[card].defaults)
    with torch.inference_mode():
        return torch.cat([step.x for step in model.decode(model.draw(params, Noise(range(count))), params, Noise(range(count)))])


@pytest.fixture(scope="module")
def judged() -> dict[str, Tensor]:
    """Features of 500 pictures of each card, and of as many real ones."""
    judge = load_classifier(Settings().weights_dir / "classifier-fashion-28")
    real = from_uint8(Shelf.load(Settings().weights_dir / "pictures-fashion-28").pictures[:500])
    with torch.inference_mode():
        return {"real": judge.features(real), **{card: judge.features(pictures_of(card)) for card in (BALANCED, OUTRUN)}}


def class_shares(features: Tensor) -> Tensor:
    judge = load_classifier(Settings().weights_dir / "classifier-fashion-28")
    return judge.head(features).argmax(dim=1).bincount(minlength=10) / len(features)


def test_the_gan_makes_every_class(judged: dict[str, Tensor]):
    assert (class_shares(judged[BALANCED]) > 0.02).all()


def test_a_gan_out_of_balance_loses_most_of_the_variety(judged: dict[str, Tensor]):
    assert class_shares(judged[OUTRUN]).min() < 0.02
    balanced, outrun = (manifold_scores(judged["real"], judged[card]) for card in (BALANCED, OUTRUN))
    assert outrun["recall"] < 0.5 * balanced["recall"]
    assert outrun["coverage"] < 0.5 * balanced["coverage"]


def test_the_critic_prefers_real_pictures_to_made_ones_and_to_noise():
    model, made = bundled("gan-fashion-28"), pictures_of("gan-fashion-28", 200)
    real = from_uint8(Shelf.load(Settings().weights_dir / "pictures-fashion-28").pictures[:200])
    noise = torch.rand(made.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        of_real, *others = (model.score(x) for x in (real, made, noise))
    for other in others:
        uncertainty = ((of_real.var() + other.var()) / 200).sqrt()
        assert of_real.mean() > other.mean() + 5 * uncertainty


def test_the_bundled_gan_finds_its_own_pictures_again():
    model, made = bundled("gan-fashion-28"), pictures_of("gan-fashion-28", 4)
    *_, guess = model.decode(model.encode(made, GANParams()), GANParams(), Noise(range(4)))
    found = inverted(model, made)[-1]
    assert (psnr_db(made, found.x) > psnr_db(made, guess.x)).all()
    assert psnr_db(made, found.x).mean() > 25


def test_every_bundled_card_of_spectral_normalisation_is_bounded() -> None:
    bounded = 0
    for card in bundled_cards().values():
        if card.family == "gan" and card.files:
            network = GAN.load(Settings().weights_dir / card.id, torch.device("cpu"), torch.float32).network
            layers = [layer for layer in network.critic.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
            largest = [torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() for layer in layers]
            assert network.config.spectral_norm == (max(largest) < 1.001)
            bounded += network.config.spectral_norm
    assert bounded >= 1
