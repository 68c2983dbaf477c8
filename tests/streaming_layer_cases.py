"""The registry of `streaming/layers`: one line for each class and configuration."""

from collections.abc import Callable
from typing import Any

import torch
from streaming_laws import Case, noise
from torch import Tensor, nn

from echoic.streaming.layers.attention import StreamingAttention
from echoic.streaming.layers.conv import StreamingConv1d
from echoic.streaming.layers.conv_transpose import StreamingConvTranspose1d
from echoic.streaming.layers.lstm import StreamingLSTM
from echoic.streaming.layers.overlap_add import OverlapAdd
from echoic.streaming.layers.parallel import StreamingParallel, StreamingResidual
from echoic.streaming.layers.pointwise import Pointwise, SwapTime
from echoic.streaming.layers.sequential import StreamingSequential


def channels(count: int) -> Callable[[int, int, torch.Generator], Tensor]:
    """Return a generator of Gaussian inputs (batch, count, frames)."""

    def inputs(batch: int, frames: int, generator: torch.Generator) -> Tensor:
        return torch.randn(batch, count, frames, generator=generator)

    return inputs


def drawn(make: Callable[[], nn.Module]) -> Callable[[], Any]:
    """Return a maker whose parameters are the same in every process."""

    def seeded() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return make().requires_grad_(False)

    return seeded


def layer(name: str, count: int, make: Callable[[], nn.Module], frames: int = 60) -> Case:
    """Return the case of a layer on (B, C, T)."""
    return Case(name, drawn(make), channels(count), frames)


def conv(kernel: int, stride: int = 1, width: int = 3, **options) -> StreamingConv1d:
    return StreamingConv1d(width, width, kernel, stride=stride, **options)


def up(kernel: int, stride: int, **options) -> StreamingConvTranspose1d:
    return StreamingConvTranspose1d(3, 3, kernel, stride=stride, **options)


def attend(left: int, block: int, **options) -> StreamingAttention:
    return StreamingAttention(8, 2, left_context=left, block_size=block, **options)


def unit(dilation: int, *, ahead: bool = False) -> StreamingResidual:
    """Return the residual unit of a codec: activation, dilated convolution, again, mixing."""
    padding = (dilation, dilation) if ahead else "causal"
    return StreamingResidual(
        StreamingSequential(
            Pointwise(nn.ELU(), 3),
            conv(3, dilation=dilation, padding=padding),
            Pointwise(nn.ELU(), 3),
            conv(1),
        )
    )


def encoder() -> StreamingSequential:
    """Return a small causal codec encoder, as EnCodec's: 8 samples a frame."""
    stages = [m for s in (2, 4) for m in (unit(1), Pointwise(nn.ELU(), 3), conv(2 * s, s))]
    return StreamingSequential(conv(7), *stages, StreamingLSTM(3, 3, skip=True), conv(3))


def vocoder() -> StreamingSequential:
    """Return a small HiFi-GAN: symmetric upsampling and fused residual blocks, with look-ahead."""
    fused = StreamingParallel(*(unit(d, ahead=True) for d in (1, 2)), mean=True)
    return StreamingSequential(
        conv(7, padding=(3, 3)), up(8, 4, trim=(2, 2)), fused, up(4, 2, trim=(1, 1)), conv(5)
    )


def whisper_stem() -> StreamingSequential:
    """Return the two convolutions before Whisper's encoder, and attention behind them."""
    stem = [conv(3, width=8, padding=(1, 1)), Pointwise(nn.GELU(), 8)]
    stem += [conv(3, 2, width=8, padding=(1, 1)), Pointwise(nn.GELU(), 8), SwapTime(8, to=1)]
    return StreamingSequential(*stem, StreamingResidual(attend(6, 4)))


def narrowed(**options) -> StreamingResidual:
    """Return paths of which the shortcut has the look-ahead."""
    return StreamingResidual(conv(4, 2, **options), conv(6, 2, padding=(2, 2)))


def convnext() -> StreamingResidual:
    norm = Pointwise(nn.LayerNorm(3), 3, channels_last=True)
    return StreamingResidual(StreamingSequential(conv(7, groups=3, padding=(3, 3)), norm))


def hann(length: int, hop: int, **options) -> OverlapAdd:
    return OverlapAdd(length, hop, window=torch.hann_window(length), **options)


BOTH, OVER = (1, 1), (6, 7)
LAYER_CASES = [
    layer("conv_causal", 3, lambda: conv(5)),
    layer("conv_dilated", 3, lambda: conv(3, dilation=4, bias=False)),
    layer("conv_ahead", 3, lambda: conv(5, padding=(1, 3))),
    layer("conv_delayed", 3, lambda: conv(3, padding=OVER)),
    layer("conv_depthwise", 3, lambda: conv(7, groups=3, padding=(3, 3))),
    layer("conv_unpadded", 3, lambda: conv(6, 2, padding=(0, 0))),
    layer("conv_strided", 3, lambda: conv(8, 4)),
    layer("conv_whole_frames", 3, lambda: conv(8, 4, pad_end=True)),
    layer("conv_whole_frames_ahead", 3, lambda: conv(7, 3, padding=(2, 2), pad_end=True)),
    layer("conv_skipping", 3, lambda: conv(2, 5, padding=BOTH)),
    layer("conv_single", 3, lambda: conv(1, 3, pad_mode="replicate", padding=(0, 4))),
    layer("conv_replicate", 3, lambda: conv(4, 2, pad_mode="replicate", pad_end=True)),
    layer("conv_replicate_ahead", 3, lambda: conv(3, pad_mode="replicate", padding=OVER)),
    layer("conv_reflect", 3, lambda: conv(7, pad_mode="reflect", padding=(3, 3))),
    layer("conv_reflect_causal", 3, lambda: conv(8, 4, pad_mode="reflect", pad_end=True)),
    layer("conv_reflect_far", 3, lambda: conv(3, 2, pad_mode="reflect", padding=(2, 9))),
    layer("up_causal", 3, lambda: up(8, 4)),
    layer("up_symmetric", 3, lambda: up(16, 8, trim=(4, 4))),
    layer("up_odd", 3, lambda: up(10, 5, trim=(3, 2), bias=False)),
    layer("up_untrimmed", 3, lambda: up(7, 3, trim=(0, 0), groups=3)),
    layer("up_dilated", 3, lambda: up(3, 2, dilation=3, trim=(4, 1))),
    layer("up_disjoint", 3, lambda: up(4, 4)),
    layer("lstm", 3, lambda: StreamingLSTM(3, 5, 2)),
    layer("lstm_skip", 3, lambda: StreamingLSTM(3, 3, skip=True)),
    layer("pointwise", 3, lambda: Pointwise(nn.Linear(3, 4), 3, channels_last=True)),
    layer("residual_causal", 3, lambda: unit(2)),
    layer("residual_ahead", 3, lambda: unit(3, ahead=True)),
    layer("residual_shortcut_ahead", 3, lambda: narrowed()),
    layer("residual_convnext", 3, convnext),
    layer("parallel", 3, lambda: StreamingParallel(conv(9), conv(9, padding=(4, 4)), conv(1))),
    layer("codec_encoder", 3, encoder, 400),
    layer("vocoder", 3, vocoder, 80),
    layer("whisper_stem_attention", 8, whisper_stem, 80),
    Case("attention_causal", drawn(lambda: attend(5, 1)), noise(8, scale=1.0), 40),
    Case("attention_own_frame", drawn(lambda: attend(0, 1)), noise(8, scale=1.0), 40),
    Case("attention_blocks", drawn(lambda: attend(7, 4)), noise(8, scale=1.0), 50),
    Case("attention_own_block", drawn(lambda: attend(0, 4, bias=False)), noise(8, scale=1.0), 50),
    Case("attention_rotary", drawn(lambda: attend(6, 3, rotary_base=1e4)), noise(8, scale=1.0), 50),
    Case("attention_tiles", drawn(lambda: attend(9, 4)), noise(8, scale=1.0), 400),
    Case("lstm_frames", drawn(lambda: StreamingLSTM(4, 3, channels_first=False)), noise(4), 40),
    Case("swap_time", lambda: SwapTime(4, to=2), noise(4), 40),
    Case("overlap_add", lambda: hann(8, 3), noise(8), 40),
    Case("overlap_add_causal", lambda: OverlapAdd(8, 4, trim=(0, 4)), noise(8), 40),
    Case("overlap_add_power", lambda: hann(8, 3, trim=(2, 3), normalize="power"), noise(8), 40),
    Case("overlap_add_window", lambda: hann(9, 3, normalize="window"), noise(9), 40),
]
