"""SEANet as EnCodec and its descendants have it, in layers that stream.

SEANet: Tagliasacchi et al. 2020 (arXiv:2009.02095); with an LSTM: Défossez et al. 2022
(arXiv:2210.13438), section 3.1; without: Défossez et al. 2024 (arXiv:2410.00037), section 3.3.
"""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from echoic.codecs.weight_norm import normed
from echoic.streaming.layers.checks import check_input
from echoic.streaming.layers.conv import ConvState, StreamingConv1d
from echoic.streaming.layers.conv_transpose import StreamingConvTranspose1d
from echoic.streaming.layers.lstm import StreamingLSTM
from echoic.streaming.layers.padding import PAD_MODES, PadMode, extend
from echoic.streaming.layers.parallel import StreamingResidual
from echoic.streaming.layers.pointwise import Pointwise
from echoic.streaming.layers.sequential import StreamingSequential


@dataclass(frozen=True, slots=True)
class SeanetConfig:
    """Settings of an encoder and the decoder that mirrors it; the defaults are EnCodec's at 24 kHz.

    Attributes:
        ratios: strides of the encoder's stages, the first at the rate of the samples.
        channels: before the encoder's first stage; each stage doubles them.
        kernel_size: taps of the first convolution of either.
        last_kernel_size: taps of the last.
        residual_kernel_size: taps of the first convolution of a residual unit; the second has one.
        residual_layers: units of a stage.
        dilation_growth: the n-th unit of a stage has dilation `dilation_growth` ** n, from 0.
        compress: a unit divides its channels by this inside.
        lstm_layers: of the recurrence in the middle; 0 for none.
        conv_shortcut: a unit's input passes through a convolution of one tap on its way.
        causal: no look-ahead, but for what `pad_mode` "reflect" mirrors at the start.
        pad_mode: what lies around the signal and around every layer's features.
        trim_right: share of a transposed convolution's overhang that is cut off at its end, where
            causal; less than 1 is look-ahead.

    Raises:
        ValueError: sizes that do not fit each other.
    """

    ratios: tuple[int, ...] = (2, 4, 5, 8)
    channels: int = 32
    kernel_size: int = 7
    last_kernel_size: int = 7
    residual_kernel_size: int = 3
    residual_layers: int = 1
    dilation_growth: int = 2
    compress: int = 2
    lstm_layers: int = 2
    conv_shortcut: bool = True
    causal: bool = True
    pad_mode: PadMode = "reflect"
    trim_right: float = 1.0

    def __post_init__(self) -> None:
        sizes = ("channels", "kernel_size", "last_kernel_size", "residual_kernel_size", "compress")
        for name in (*sizes, "dilation_growth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        for name in ("residual_layers", "lstm_layers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if not self.ratios or min(self.ratios) < 1:
            raise ValueError(f"ratios are {self.ratios}, expected one or more strides of 1 or more")
        if self.channels % self.compress:
            raise ValueError(
                f"channels is {self.channels}, expected a multiple of compress ({self.compress})"
            )
        if self.pad_mode not in PAD_MODES:
            raise ValueError(f"pad_mode is {self.pad_mode!r}, expected one of {PAD_MODES}")
        if not 0.0 <= self.trim_right <= 1.0:
            raise ValueError(f"trim_right is {self.trim_right}, expected 0 to 1")

    @property
    def hop_length(self) -> int:
        """Samples of a latent."""
        return math.prod(self.ratios)


class SeanetConv(StreamingConv1d):
    """A convolution with EnCodec's padding: T frames become ceil(T / stride).

    The padding is split in two halves, an odd frame to the left, or lies all on the left where
    causal; the end is padded further to a whole stride. A signal too short to be reflected has
    zeros put behind it first.

    Args:
        channels: of the input.
        out: channels of the output.
        kernel: taps.
        stride: input frames per output frame.
        dilation: frames between taps.
        bias: whether a bias is added.
        causal: no look-ahead.
        pad_mode: what the padding holds.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int,
        stride: int = 1,
        *,
        dilation: int = 1,
        bias: bool = True,
        causal: bool,
        pad_mode: PadMode,
    ) -> None:
        total = (kernel - 1) * dilation + 1 - stride
        right = 0 if causal else total // 2
        super().__init__(
            channels,
            out,
            kernel,
            stride=stride,
            dilation=dilation,
            bias=bias,
            padding=(total - right, right),
            pad_mode=pad_mode,
            pad_end=True,
        )

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Convolve a whole signal (B, C, T) to (B, out, ceil(T / stride))."""
        check_input(x, self.in_channels, time_dim=2)
        right = self._right(self.left + x.shape[2])
        missing = max(self.left, right) + 1 - x.shape[2]
        if self.pad_mode != "reflect" or missing <= 0 or x.shape[2] == 0:
            return super().forward(x)
        padded = extend(F.pad(x, (0, missing)), self.left, right, "reflect")
        return self._convolve(padded[:, :, :-missing])

    def finish(self, state: ConvState) -> tuple[ConvState, Tensor]:
        """Return the outputs that reach into the padding at the end, and a fresh state."""
        if state.padded:
            return super().finish(state)
        held = state.held  # all that there was, too little to start with
        fresh = self.initial_state(held.shape[0], device=held.device, dtype=held.dtype)
        return fresh, self(held)


def encoder_layers(config: SeanetConfig, dim: int, *, weight_norm: bool) -> list[nn.Module]:
    """Return the layers from samples (B, 1, T) to latents (B, dim, ceil(T / hop_length))."""
    width = config.channels
    layers = [_conv(config, 1, width, config.kernel_size, norm=weight_norm)]
    for ratio in config.ratios:
        layers += _units(config, width, norm=weight_norm)
        down = _conv(config, width, 2 * width, 2 * ratio, ratio, norm=weight_norm)
        layers += [_elu(width), down]
        width *= 2
    layers += [*_recurrence(config, width), _elu(width)]
    return [*layers, _conv(config, width, dim, config.last_kernel_size, norm=weight_norm)]


def decoder_layers(config: SeanetConfig, dim: int, *, weight_norm: bool) -> list[nn.Module]:
    """Return the layers from latents (B, dim, F) to samples (B, 1, F * hop_length)."""
    width = config.channels * 2 ** len(config.ratios)
    layers = [_conv(config, dim, width, config.kernel_size, norm=weight_norm)]
    layers += _recurrence(config, width)
    for ratio in reversed(config.ratios):
        right = math.ceil(ratio * config.trim_right) if config.causal else ratio // 2
        up = StreamingConvTranspose1d(
            width, width // 2, 2 * ratio, stride=ratio, trim=(ratio - right, right)
        )
        layers += [_elu(width), normed(up, weight_norm)]
        width //= 2
        layers += _units(config, width, norm=weight_norm)
    last = _conv(config, width, 1, config.last_kernel_size, norm=weight_norm)
    return [*layers, _elu(width), last]


def _conv(
    config: SeanetConfig,
    channels: int,
    out: int,
    kernel: int,
    stride: int = 1,
    *,
    dilation: int = 1,
    norm: bool,
) -> nn.Module:
    layer = SeanetConv(
        channels,
        out,
        kernel,
        stride,
        dilation=dilation,
        causal=config.causal,
        pad_mode=config.pad_mode,
    )
    return normed(layer, norm)


def _units(config: SeanetConfig, width: int, *, norm: bool) -> list[nn.Module]:
    narrow, kernel = width // config.compress, config.residual_kernel_size
    units: list[nn.Module] = []
    for place in range(config.residual_layers):
        dilation = config.dilation_growth**place
        branch = StreamingSequential(
            _elu(width),
            _conv(config, width, narrow, kernel, dilation=dilation, norm=norm),
            _elu(narrow),
            _conv(config, narrow, width, 1, norm=norm),
        )
        shortcut = _conv(config, width, width, 1, norm=norm) if config.conv_shortcut else None
        units.append(StreamingResidual(branch, shortcut))
    return units


def _recurrence(config: SeanetConfig, width: int) -> list[nn.Module]:
    if config.lstm_layers == 0:
        return []
    return [StreamingLSTM(width, width, config.lstm_layers, skip=True)]


def _elu(channels: int) -> Pointwise:
    return Pointwise(nn.ELU(), channels)
