"""The U-Net of diffusion and of rectified flow: diffusers' `UNet2DModel` on small patches, told the time and the class.

Sources: Ronneberger et al., arXiv 1505.04597; Ho et al., arXiv 2006.11239; scale and shift by time Dhariwal & Nichol, arXiv 2105.05233.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class UNetConfig:
    """The shape of a `PatchUNet`; what `config.json` holds."""

    image_size: int = 28
    channels: int = 1
    num_classes: int = 10
    patch: int = 2
    """Side of the squares that become channels: the network works at this fraction of the resolution."""
    widths: tuple[int, ...] = (48, 96)
    """Channels at each resolution, each half of the one before; attention is in the middle."""
    layers_per_block: int = 1
    head_dim: int = 32
    norm_groups: int = 12


class PatchUNet(nn.Module):
    """Noisy pictures, times and classes to what the recipe makes it predict (noise, v or velocity), of the pictures' shape."""

    def __init__(self, config: UNetConfig) -> None:
        from diffusers.models.unets.unet_2d import UNet2DModel  # here, because it imports transformers, which takes a second

        super().__init__()
        self.config = config
        depth = config.channels * config.patch**2
        self.unet = UNet2DModel(
            sample_size=config.image_size // config.patch,
            in_channels=depth,
            out_channels=depth,
            block_out_channels=tuple(config.widths),
            down_block_types=("DownBlock2D",) * len(config.widths),
            up_block_types=("UpBlock2D",) * len(config.widths),
            layers_per_block=config.layers_per_block,
            attention_head_dim=config.head_dim,
            norm_num_groups=config.norm_groups,
            attn_norm_num_groups=config.norm_groups,
            resnet_time_scale_shift="scale_shift",
            num_class_embeds=config.num_classes + 1,  # the last one says "no class"
        )
        nn.init.zeros_(self.unet.conv_out.weight)

    def forward(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        """`x` (B, C, S, S); `time` (B,) on the scale 0..1000; `labels` (B,) int64, `num_classes` meaning none."""
        patches = F.pixel_unshuffle(x, self.config.patch)
        out = self.unet(patches, time, class_labels=labels, return_dict=False)[0]
        return F.pixel_shuffle(out, self.config.patch)
