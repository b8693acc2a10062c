"""The GAN as a family, on its tiny model: draws, noise inputs, directions, the critic's slope, and inversion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from playground.families.capabilities import HasCritic, HasLayers, HasSpectra, Inverts
from playground.families.gan import GAN, INVERSION_STEPS, GANParams
from playground.families.landmarks import Landmarks
from playground.images import from_uint8, to_uint8
from playground.latent import Noise
from playground.nets.gan import AdversarialNets
from playground.nets.stylegan import GANConfig
from playground.tasks.noise import deviation
from tests.tiny import TinyEngine


def without_noise() -> GAN:
    """A GAN that was trained without noise inputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = AdversarialNets(GANConfig(latent_dim=4, width=8, critic_width=8, trunk_width=16, mapping_layers=2))
        return GAN(network, Landmarks.tiny(), torch.device("cpu"), torch.float32, ("one", "two", "three"))


def decoded(model: GAN, w: Tensor, seeds: list[int], **knobs: Any) -> np.ndarray:
    params = GANParams(**knobs)
    *_, last = model.decode(w, params, Noise(seeds))
    return to_uint8(last.x).astype(int)


def inverted(model: GAN, x: Tensor) -> list[Any]:
    with torch.inference_mode():  # as the engine does
        return list(model.invert(x, GANParams()))


def error(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().flatten(1).mean(dim=1)


# -- draws and noise ----------------------------------------------------------------------------------------------------


def test_truncation_draws_latents_to_the_average():
    model, noise = GAN.tiny(), Noise([1, 2, 3])
    none, half, full, bold = (model.draw(GANParams(truncation_psi=psi), noise) for psi in (0.0, 0.5, 1.0, 1.5))
    assert torch.equal(none, model.origin().expand(3, 6, 4))
    torch.testing.assert_close(half, (none + full) / 2)
    torch.testing.assert_close(bold - none, 1.5 * (full - none))
    torch.testing.assert_close(full, model.network.generator.mapping(noise.normal((4,)))[:, None].expand(-1, 6, -1))
    cut = model.draw(GANParams(truncation_psi=0.0, cutoff=2), noise)
    torch.testing.assert_close(cut, torch.cat([none[:, :2], full[:, 2:]], dim=1))


def test_each_picture_has_noise_of_its_own_by_its_seed() -> None:
    model = GAN.tiny()
    assert model.noisy and not without_noise().noisy
    w = model.draw(GANParams(), Noise([1])).expand(3, -1, -1)
    pictures = decoded(model, w, [5, 6, 5])
    assert np.array_equal(pictures[0], pictures[2]) and not np.array_equal(pictures[0], pictures[1])
    plain = decoded(model, w, [5, 6, 5], noise="none")
    assert np.array_equal(plain[0], plain[1])
    noise = [Noise([5]).normal(shape, f"noise/{index}") for index, shape in enumerate(model.network.generator.noise_shapes())]
    assert np.array_equal(to_uint8(model.network.generator.synthesis(w[:1], noise))[0], pictures[0])
    assert [spec.name for spec in without_noise().knobs()] == ["truncation_psi", "cutoff"]


def test_one_noise_input_at_a_time() -> None:
    model = GAN.tiny()
    model.network.generator.freckles[2].gain.data.zero_()  # type: ignore[union-attr,operator]
    w = model.draw(GANParams(), Noise([1])).expand(8, -1, -1)
    spreads = [deviation(model.freckled(w, Noise(range(8)), [index])).mean() for index in range(4)]
    assert spreads[2] == 0 and min(spreads[0], spreads[1], spreads[3]) > 0.1
    assert torch.equal(model.freckled(w, Noise(range(8)), range(4)), model.freckled(w, Noise(range(8))))
    thrice = model.freckled(w, Noise(range(8)), strength=3)
    for layer in model.network.generator.freckles:
        layer.gain.data.mul_(3)  # type: ignore[union-attr,operator]
    torch.testing.assert_close(model.freckled(w, Noise(range(8))), thrice)


# -- directions ---------------------------------------------------------------------------------------------------------


def test_sefa_directions_move_what_layers_read_most() -> None:
    """Against the definition: of all unit vectors, the first moves the stacked styles furthest, by the root of its eigenvalue."""
    model = GAN.tiny()
    assert isinstance(model, HasSpectra) and isinstance(model, HasLayers)
    values, spreads = model.spectrum("sefa"), []

    def read(v: Tensor) -> Tensor:
        return torch.cat([conv.style(v[None])[0] - conv.style(torch.zeros(1, 4))[0] for conv in model.network.generator.convolutions])

    for index in range(4):
        offset = model.direction("sefa", str(index + 1))
        assert offset is not None and offset.shape == (1, 6, 4) and torch.equal(offset[0, 0], offset[0, 5])
        unit = offset[0, 0] / offset[0, 0].norm()
        assert unit[unit.abs().argmax()] > 0
        torch.testing.assert_close(read(unit).square().sum(), values[index], rtol=1e-3, atol=1e-4)
        spreads.append(offset[0, 0].norm().item())
    assert (values[:-1] >= values[1:]).all()
    others = torch.nn.functional.normalize(torch.randn(200, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    assert max(read(v).square().sum().item() for v in others) <= values[0].item() * 1.0001
    landmarks = model.landmarks
    drawn = (torch.randn(20_000, 4, generator=torch.Generator().manual_seed(1)) * landmarks.principal_std) @ landmarks.principal
    first = model.direction("sefa", "1")
    assert first is not None
    assert (drawn @ (first[0, 0] / first[0, 0].norm())).std().item() == pytest.approx(spreads[0], rel=0.03)


def test_directions_are_offered_with_what_lies_in_them() -> None:
    model = GAN.tiny()
    words = model.directions()
    assert [*words][:8] == ["pc:1", "pc:2", "pc:3", "pc:4", "sefa:1", "sefa:2", "sefa:3", "sefa:4"]
    assert words["pc:1"] == "Principal direction 1 · 55 % of the variance of w"  # 1.44 of 1.44 + 0.81 + 0.36 + 0.01
    assert words["sefa:2"].endswith(f"eigenvalue {model.spectrum('sefa')[1].item():.2f}")
    assert [name for name in words if name.startswith("dim:")] == ["dim:1", "dim:2", "dim:3", "dim:4"]
    assert model.direction("sefa", "0") is None and model.direction("sefa", "5") is None and model.direction("dim", "5") is None


# -- the critic and inversion -------------------------------------------------------------------------------------------


def test_the_critics_slope_is_that_of_differences() -> None:
    model, x = GAN.tiny(), from_uint8(TinyEngine().shelf("tiny").pictures[:3])
    assert isinstance(model, HasCritic)
    with torch.inference_mode():  # as the engine does
        slope = model.slope(x)
    critic = GAN.tiny().network.double().critic
    given = x.double().requires_grad_()
    (way,) = torch.autograd.grad(critic.layers(given).sum(), given)
    way = way / way.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    with torch.no_grad():
        rise = (critic.layers(x + 1e-4 * way) - critic.layers(x - 1e-4 * way)).squeeze(1) / 2e-4
    torch.testing.assert_close(slope, rise.float(), rtol=0.02, atol=1e-3)


def test_a_search_improves_on_the_encoder_and_finds_a_known_latent():
    model = GAN.tiny()
    assert isinstance(model, Inverts) and isinstance(model, HasCritic)
    w = model.draw(GANParams(), Noise([7, 8]))
    *_, made = model.decode(w, GANParams(), Noise([0, 0]))
    *_, guess = model.decode(model.encode(made.x, GANParams()), GANParams(), Noise([0, 0]))
    steps = inverted(model, made.x)
    assert [step.index for step in steps] == list(range(10, INVERSION_STEPS + 1, 10))
    assert {step.total for step in steps} == {INVERSION_STEPS}
    assert (error(steps[-1].x, made.x) < 0.2 * error(guess.x, made.x)).all()
    *_, again = model.decode(steps[-1].z, GANParams(), Noise([0, 0]))
    torch.testing.assert_close(again.x, steps[-1].x)


def test_a_search_is_the_same_every_time_and_minds_no_neighbour():
    model = GAN.tiny()
    x = model.network(Noise([1, 2]).normal((4,))).detach()
    first, again, alone = inverted(model, x)[-1], inverted(model, x)[-1], inverted(model, x[1:])[-1]
    assert torch.equal(first.z, again.z)
    torch.testing.assert_close(first.x[1:], alone.x, atol=0.01, rtol=0)


def test_an_inversion_goes_to_what_decoding_shows() -> None:
    model = GAN.tiny()
    x = from_uint8(TinyEngine().shelf("tiny").pictures[:1])
    for noise in ("none", "own"):
        with torch.inference_mode():
            last = [*model.invert(x, GANParams(noise=noise))][-1]
        assert last.z.shape == (1, 6, 4) and torch.equal(last.z[:, 0], last.z[:, 5])
        assert last.x is not None and np.array_equal(decoded(model, last.z, [0], noise=noise), to_uint8(last.x))
