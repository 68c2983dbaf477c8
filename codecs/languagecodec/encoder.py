"""Language-Codec's encoder: EnCodec's SEANet with look-ahead, as layers that stream.

SEANet: Tagliasacchi et al. 2020 (arXiv:2009.02095); with an LSTM: Défossez et al. 2022
(arXiv:2210.13438), section 3.1.
"""

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from echoic.codecs.languagecodec.config import LanguageCodecConfig
from echoic.codecs.weight_norm import normed
from echoic.streaming.layers.checks import check_input
from echoic.streaming.layers.conv import ConvState, StreamingConv1d
from echoic.streaming.layers.lstm import StreamingLSTM
from echoic.streaming.layers.padding import extend
from echoic.streaming.layers.parallel import StreamingResidual
from echoic.streaming.layers.pointwise import Pointwise
from echoic.streaming.layers.sequential import StreamingSequential


class SeanetConv(StreamingConv1d):
    """A convolution with EnCodec's padding: T frames become ceil(T / stride).

    The padding is split in two halves, an odd frame to the left, and the end is padded further to a
    whole stride. A signal too short to be reflected has zeros put behind it first.

    Args:
        channels: of the input.
        out: channels of the output.
        kernel: taps.
        stride: input frames per output frame.
        config: its `pad_mode` and `causal`.
    """

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, *, config: LanguageCodecConfig
    ) -> None:
        total = kernel - stride
        right = 0 if config.causal else total // 2
        super().__init__(
            channels,
            out,
            kernel,
            stride=stride,
            padding=(total - right, right),
            pad_mode=config.pad_mode,
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


class SeanetEncoder(StreamingSequential):
    """Waveforms (B, T) to latents (B, quantizer.dim, ceil(T / hop_length)).

    Reflected padding lies around the true start and end of a recording, at every layer: rows of a
    batch must have one length.

    Args:
        config: settings.
    """

    def __init__(self, config: LanguageCodecConfig) -> None:
        def conv(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Module:
            layer = SeanetConv(channels, out, kernel, stride, config=config)
            return normed(layer, config.weight_norm)

        def unit(channels: int) -> StreamingResidual:
            narrow = channels // 2
            branch = [elu(channels), conv(channels, narrow, 3)]
            branch += [elu(narrow), conv(narrow, channels, 1)]
            return StreamingResidual(StreamingSequential(*branch), conv(channels, channels, 1))

        elu, width = partial(_pointwise, nn.ELU), config.encoder_channels
        layers: list[nn.Module] = [conv(1, width, 7)]
        for ratio in config.ratios:
            layers += [unit(width), elu(width), conv(width, 2 * width, 2 * ratio, ratio)]
            width *= 2
        layers += [StreamingLSTM(width, width, config.lstm_layers, skip=True), elu(width)]
        super().__init__(*layers, conv(width, config.quantizer.dim, 7))
        self.input_time_dim = 1

    def forward(self, wav: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Encode whole recordings."""
        return super().forward(wav[:, None])

    def step(self, state: tuple[Any, ...], x: Tensor) -> tuple[tuple[Any, ...], Tensor]:
        """Take samples (B, T), T >= 0, and return the latents that are complete."""
        return super().step(state, x[:, None])


def _pointwise(module: type[nn.Module], channels: int) -> Pointwise:
    return Pointwise(module(), channels)
