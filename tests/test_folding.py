"""Networks whose weights are final compute the same in fewer operations."""

from __future__ import annotations

import pytest
import torch

from playground.families.loading import weight_bytes
from playground.nets.conv import Block, DenseBlock
from playground.nets.couplings import Chain, Merged
from playground.nets.folding import fold
from playground.nets.glow import Glow, GlowConfig
from playground.nets.pythae import Up
from playground.nets.realnvp import RealNVP, RealNVPConfig
from playground.nets.stylegan import GANConfig, Generator, Mapping


def awake(network: torch.nn.Module, seed: int) -> torch.nn.Module:
    """The network in double precision, far from where it starts, its weights fixed."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return network.double().eval().requires_grad_(False)


def test_a_folded_glow_is_the_same_map_both_ways():
    flow = awake(Glow(GlowConfig(image_size=8, steps=(2, 2), widths=(8, 8), blocks=1)), seed=1)
    x, z = torch.rand(3, 1, 8, 8, dtype=torch.float64), torch.randn(3, 64, dtype=torch.float64)
    plain = (*flow(x), flow.inverse(z))
    state = {name: value.clone() for name, value in flow.state_dict().items()}
    for _ in range(2):
        fold(flow)
        for before, after in zip(plain, (*flow(x), flow.inverse(z)), strict=True):
            torch.testing.assert_close(after, before, atol=1e-9, rtol=0)
    assert {name: value.tolist() for name, value in flow.state_dict().items()} == {name: value.tolist() for name, value in state.items()}
    levels = [part for part in flow.modules() if isinstance(part, Chain) and any(isinstance(step, Merged) for step in part.folded)]
    assert [len(level.folded) for level in levels] == [5, 4]  # of 2 · 3 steps each, and the prior of the first


def test_a_folded_flow_can_be_differentiated():
    flow = awake(Glow(GlowConfig(image_size=8, steps=(2, 2), widths=(8, 8), blocks=1)), seed=1)
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    (before,) = torch.autograd.grad(flow.log_prob(x).sum(), x)
    with torch.inference_mode():  # as in the midst of a request
        fold(flow)
    (after,) = torch.autograd.grad(flow.log_prob(x).sum(), x)
    torch.testing.assert_close(after, before)


def test_a_folded_generator_makes_the_same_pictures():
    generator = awake(Generator(GANConfig(latent_dim=4, width=8, mapping_layers=2, noise=True)), seed=2)
    z, rng = torch.randn(3, 4, dtype=torch.float64), torch.Generator()
    noise = [each.double() for each in generator.random_noise(3, rng) or []]
    before = generator.synthesis(generator.mapping(z), noise)
    for _ in range(2):
        fold(generator)
        torch.testing.assert_close(generator.synthesis(generator.mapping(z), noise), before)
    w = generator.mapping(z).requires_grad_()
    assert torch.autograd.grad(generator.synthesis(w).sum(), w)[0].abs().max() > 0


@pytest.mark.parametrize("count", [2, 16, 33])
def test_a_row_is_mapped_the_same_bit_for_bit_whatever_its_batch_is(count: int):
    mapping, z = Mapping(64, 4).eval().requires_grad_(False), torch.randn(count, 64)
    together = mapping.each(z)
    assert torch.equal(together, torch.cat([mapping.each(row) for row in z.split(1)]))
    torch.testing.assert_close(together, mapping(z), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("block", [Block(8, 2), DenseBlock(8)])
def test_blocks_in_place_leave_what_went_in_as_it_was(block: torch.nn.Module):
    x = torch.randn(2, 8, 5, 5) if isinstance(block, Block) else torch.randn(2, 8)
    given = x.clone()
    with torch.no_grad():
        fast = block(x)
    assert torch.equal(x, given)
    torch.testing.assert_close(fast, block(x).detach())


def test_bytes_of_a_network_are_those_of_its_weights():
    network = torch.nn.Linear(3, 5)
    assert weight_bytes(network) == 4 * (15 + 5) == weight_bytes(network)
    assert weight_bytes(torch.nn.Linear(3, 5).half()) == 2 * (15 + 5)


@pytest.mark.parametrize("layer", [(3, 2, 1, 0), (3, 2, 1, 1), (4, 1, 2, 0), (5, 2, 2, 1), (4, 2, 1, 0)])
def test_a_transposed_convolution_to_few_channels_is_one(layer: tuple[int, int, int, int]):
    kernel, stride, padding, more = layer
    up, x = Up(6, 3, kernel, stride, padding=padding, output_padding=more), torch.randn(2, 6, 5, 5)
    with torch.no_grad():
        torch.testing.assert_close(up(x), torch.nn.ConvTranspose2d.forward(up, x))
    assert up(x.requires_grad_()).requires_grad


def test_nothing_is_overwritten_where_numbers_are_narrowed_on_the_way():
    network = Glow(GlowConfig(image_size=8, steps=(1, 1), widths=(8, 8), blocks=1)).eval().requires_grad_(False)
    x = torch.rand(2, 1, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = network.log_prob(x)
    assert narrow.dtype == torch.float32
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(network.log_prob(x), narrow)


def test_a_folded_realnvp_is_the_same_map_both_ways():
    flow = awake(RealNVP(RealNVPConfig(image_size=8, couplings=(4, 4), widths=(8, 8), blocks=1)), seed=4)
    x, z = torch.rand(3, 1, 8, 8, dtype=torch.float64), torch.randn(3, 64, dtype=torch.float64)
    plain = (*flow(x), flow.inverse(z))
    fold(flow)
    for before, after in zip(plain, (*flow(x), flow.inverse(z)), strict=True):
        torch.testing.assert_close(after, before, atol=1e-9, rtol=0)
