"""Language-Codec's decoder: Vocos (Siuzdak 2023, arXiv:2306.00814) as layers that stream."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from echoic.audio.features.stft import Istft
from echoic.codecs.fourier_head import FourierHead
from echoic.codecs.languagecodec.config import LanguageCodecConfig
from echoic.streaming.layers.conv import StreamingConv1d
from echoic.streaming.layers.parallel import StreamingResidual
from echoic.streaming.layers.pointwise import Pointwise, SwapTime
from echoic.streaming.layers.sequential import StreamingSequential

_EPSILON = 1e-6
_KERNEL = 7


class ConditionedNorm(nn.Module):
    """Layer norm (B, F, C) whose scale and shift are rows of tables; one row is used.

    Args:
        config: its `width`, `conditions` and `condition`.
    """

    def __init__(self, config: LanguageCodecConfig) -> None:
        super().__init__()
        self.condition = config.condition
        self.scale = nn.Parameter(torch.ones(config.conditions, config.width))
        self.shift = nn.Parameter(torch.zeros(config.conditions, config.width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each frame."""
        scale, shift = self.scale[self.condition], self.shift[self.condition]
        return nn.functional.layer_norm(x, x.shape[-1:], scale, shift, _EPSILON)


class Mixing(nn.Module):
    """What a ConvNeXt block does to each frame (B, F, C): norm, widen, GELU, narrow, scale.

    Args:
        config: its `width` and `hidden`; the scale starts at 1 / `blocks`.
    """

    def __init__(self, config: LanguageCodecConfig) -> None:
        super().__init__()
        self.norm = ConditionedNorm(config)
        self.widen = nn.Linear(config.width, config.hidden)
        self.activation = nn.GELU()
        self.narrow = nn.Linear(config.hidden, config.width)
        self.scale = nn.Parameter(torch.full((config.width,), 1.0 / config.blocks))

    def forward(self, x: Tensor) -> Tensor:
        """Transform each frame."""
        return self.scale * self.narrow(self.activation(self.widen(self.norm(x))))


def make_decoder(config: LanguageCodecConfig) -> StreamingSequential:
    """Return the decoder: latents (B, quantizer.dim, F) -> (B, F * hop_length)."""
    width = config.width
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["embed"] = _conv(config.quantizer.dim, config)
    layers["norm"] = Pointwise(ConditionedNorm(config), width, channels_last=True)
    layers["blocks"] = StreamingSequential(*(_block(config) for _ in range(config.blocks)))
    final = nn.LayerNorm(width, eps=_EPSILON)
    layers["final_norm"] = Pointwise(final, width, channels_last=True)
    layers["swap"] = SwapTime(width, to=1)
    layers["head"] = Pointwise(FourierHead(width, config.n_fft), width, time_dim=1)
    layers["istft"] = Istft(config.n_fft, config.hop_length, padding="same")
    decoder = StreamingSequential(layers)
    decoder.apply(_draw)
    return decoder


def _block(config: LanguageCodecConfig) -> StreamingResidual:
    """Return a ConvNeXt block (Liu et al. 2022)."""
    mixing = Pointwise(Mixing(config), config.width, channels_last=True)
    return StreamingResidual(
        StreamingSequential(_conv(config.width, config, groups=config.width), mixing)
    )


def _conv(channels: int, config: LanguageCodecConfig, groups: int = 1) -> StreamingConv1d:
    side = (_KERNEL // 2, _KERNEL // 2)
    padding = "causal" if config.causal else side
    return StreamingConv1d(channels, config.width, _KERNEL, groups=groups, padding=padding)


def _draw(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
