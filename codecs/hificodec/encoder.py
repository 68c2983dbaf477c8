"""HiFi-Codec's encoder: HiFi-GAN's stages the other way round, with group norms over time."""

from typing import cast

import torch
from torch import Tensor, nn

from echoic.codecs.hificodec.config import HiFiCodecConfig
from echoic.codecs.hifigan import conv, residual_block
from echoic.codecs.weight_norm import normed


class NormalizedFusion(nn.Module):
    """Residual blocks side by side, normalised as they are added up: (B, C, T) to (B, C, T).

    The norm of each block is of the sum so far, not of the block: published weights want it so.

    Args:
        channels: C.
        blocks: (kernel, dilations) of each.
        norm_channels: channels of one group of the norms.
        weight_norm: whether convolutions are normalised too.
    """

    def __init__(
        self,
        channels: int,
        blocks: list[tuple[int, tuple[int, ...]]],
        norm_channels: int,
        *,
        weight_norm: bool,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            residual_block(channels, kernel, dilations, "leaky_relu", norm=weight_norm)
            for kernel, dilations in blocks
        )
        self.norms = nn.ModuleList(
            nn.GroupNorm(channels // norm_channels, channels, eps=1e-6) for _ in blocks
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a third of the sum of three blocks, as normalised on the way."""
        total = torch.zeros((), dtype=x.dtype, device=x.device)
        for block, norm in zip(self.blocks, self.norms, strict=True):
            total = norm(total + block(x))
        return total / len(self.blocks)


class HiFiEncoder(nn.Module):
    """Waveforms (B, F * hop_length) to latents (B, quantizer.dim, F).

    Args:
        config: settings.
    """

    def __init__(self, config: HiFiCodecConfig) -> None:
        super().__init__()
        generator, width = config.generator, config.encoder_channels
        self.conv_pre = conv(1, width, 7, weight_norm=config.weight_norm)
        # The generator's lists from their ends, those of the blocks inside a stage too.
        pairs = zip(generator.block_kernels, generator.block_dilations, strict=True)
        blocks = list(pairs)[::-1]
        self.down, self.fuse = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in reversed(list(zip(generator.rates, generator.kernels, strict=True))):
            strided = nn.Conv1d(width, 2 * width, kernel, rate, (kernel - rate) // 2)
            self.down.append(normed(strided, config.weight_norm))
            width *= 2
            self.fuse.append(
                NormalizedFusion(
                    width, blocks, config.norm_channels, weight_norm=config.weight_norm
                )
            )
        self.conv_post = conv(width, width, 3, weight_norm=False)

    def forward(self, wav: Tensor) -> Tensor:
        """Encode whole recordings: every latent depends on all of its recording."""
        x = self.conv_pre(wav[:, None])
        for down, fuse in zip(self.down, self.fuse, strict=True):
            x = fuse(down(nn.functional.leaky_relu(x, 0.1)))
        # Not 0.1 here: published weights were trained with the library's default.
        return cast(Tensor, self.conv_post(nn.functional.leaky_relu(x, 0.01)))
