"""diffusers' networks run lean: the same numbers, slopes, names and weights."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import nn

from playground.nets.lean import MANY_ROWS, LeanResnet, lean, normed


def unet(**more: object) -> UNet2DModel:
    blocks = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    torch.manual_seed(3)
    network = UNet2DModel(16, 2, 2, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, **blocks, **more)
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", ["default", "scale_shift"])
@pytest.mark.parametrize("count", [1, MANY_ROWS + 1])
def test_a_lean_network_says_the_same(kind: str, count: int):
    plain = unet(resnet_time_scale_shift=kind)
    fast = copy.deepcopy(plain)
    lean(fast)
    x, time = torch.randn(count, 2, 16, 16), torch.linspace(0, 999, count)
    given = x.clone()
    with torch.no_grad():
        torch.testing.assert_close(fast(x, time).sample, plain(x, time).sample, atol=1e-5, rtol=1e-4)
    assert torch.equal(x, given)
    assert sum(isinstance(part, LeanResnet) for part in fast.modules()) == sum(isinstance(part, ResnetBlock2D) for part in plain.modules())
    assert fast.state_dict().keys() == plain.state_dict().keys()
    assert type(fast).__name__ == "UNet2DModel"
    assert fast.dtype == torch.float32
    assert fast.double().dtype == torch.float64


def test_a_lean_network_can_be_differentiated():
    plain = unet()
    fast = copy.deepcopy(plain)
    lean(fast)
    x = torch.randn(2, 2, 16, 16, requires_grad=True)
    slopes = [torch.autograd.grad(network(x, 5).sample.sum(), x)[0] for network in (fast, plain)]
    torch.testing.assert_close(*slopes)


def test_blocks_that_do_something_else_are_left_alone():
    network = nn.Sequential(
        ResnetBlock2D(in_channels=8, temb_channels=4, groups=4, up=True),
        ResnetBlock2D(in_channels=8, temb_channels=4, groups=4, non_linearity="gelu"),
    )
    lean(network)
    assert [type(block) for block in network] == [ResnetBlock2D, ResnetBlock2D]


@pytest.mark.parametrize("count", [1, MANY_ROWS])
def test_the_norm_is_the_group_norm(count: int):
    norm = nn.GroupNorm(3, 12)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = 3 + 5 * torch.randn(count, 12, 7, 7)
    scale, shift = torch.randn(2, count, 12, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(normed(x, norm), nn.functional.silu(norm(x)), atol=2e-5, rtol=1e-4)
        told = nn.functional.silu(norm(x) * (1 + scale) + shift)
        torch.testing.assert_close(normed(x, norm, scale, shift), told, atol=2e-5, rtol=1e-4)


def test_a_row_of_a_tile_is_the_same_however_many_tiles_there_are():
    network = unet(resnet_time_scale_shift="scale_shift")
    lean(network)
    x, time = torch.randn(4 * MANY_ROWS, 2, 16, 16), torch.linspace(0, 999, 4 * MANY_ROWS)
    with torch.inference_mode():
        whole = network(x, time).sample
        assert torch.equal(whole[:MANY_ROWS], network(x[:MANY_ROWS], time[:MANY_ROWS]).sample)
