"""HiFi-GAN's generator (Kong et al. 2020, section 2.2), built from layers that stream."""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast, get_args

from torch import nn

from echoic.codecs.weight_norm import normed
from echoic.streaming.layers.conv import StreamingConv1d
from echoic.streaming.layers.conv_transpose import StreamingConvTranspose1d
from echoic.streaming.layers.parallel import StreamingParallel, StreamingResidual
from echoic.streaming.layers.pointwise import Pointwise, SwapTime
from echoic.streaming.layers.sequential import StreamingSequential
from echoic.streaming.module import Streaming, output_size

Activation = Literal["leaky_relu", "silu"]
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": partial(nn.LeakyReLU, 0.1),
    "silu": nn.SiLU,
}


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Settings of a generator; the defaults are HiFi-Codec's, 320 samples a frame.

    Attributes:
        rates: upsampling of each stage.
        kernels: taps of each stage's transposed convolution: its rate and an even number more.
        channels: before the first stage; each stage halves them.
        block_kernels: taps of the residual blocks side by side in a stage; odd.
        block_dilations: of the units of each of these blocks.
        outer_kernel: taps of the first and the last convolution; odd.
        activation: "leaky_relu" (slope 0.1) or "silu".

    Raises:
        ValueError: sizes that do not fit each other.
    """

    rates: tuple[int, ...] = (8, 5, 4, 2)
    kernels: tuple[int, ...] = (16, 11, 8, 4)
    channels: int = 512
    block_kernels: tuple[int, ...] = (3, 7, 11)
    block_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5),) * 3
    outer_kernel: int = 7
    activation: Activation = "leaky_relu"

    def __post_init__(self) -> None:
        if not self.rates or len(self.rates) != len(self.kernels):
            raise ValueError(
                f"{len(self.rates)} rates and {len(self.kernels)} kernels, expected one of each "
                "for every stage"
            )
        for rate, kernel in zip(self.rates, self.kernels, strict=True):
            if rate < 1 or kernel < rate or (kernel - rate) % 2:
                raise ValueError(
                    f"a kernel of {kernel} at a rate of {rate}, expected {rate}, {rate + 2}, ...: "
                    "frames must keep their place"
                )
        if self.channels < 1 or self.channels % 2 ** len(self.rates):
            raise ValueError(
                f"channels is {self.channels}, expected a multiple of {2 ** len(self.rates)}: "
                "each stage halves them"
            )
        self._check_blocks()

    def _check_blocks(self) -> None:
        if not self.block_kernels or len(self.block_kernels) != len(self.block_dilations):
            raise ValueError(
                f"{len(self.block_kernels)} block_kernels and {len(self.block_dilations)} "
                "block_dilations, expected as many of the one as of the other, and a block at least"
            )
        for kernel in (*self.block_kernels, self.outer_kernel):
            if kernel < 1 or kernel % 2 == 0:
                raise ValueError(f"a kernel of {kernel}, expected an odd number")
        if any(d < 1 for dilations in self.block_dilations for d in dilations):
            raise ValueError(f"block_dilations are {self.block_dilations}, expected 1 or more")
        if self.activation not in get_args(Activation):
            names = ", ".join(get_args(Activation))
            raise ValueError(f"activation is {self.activation!r}, expected one of {names}")

    @property
    def hop_length(self) -> int:
        """Samples of a frame."""
        return math.prod(self.rates)


class Generator(StreamingSequential):
    """Layers that end in samples, one after the other, with the look-ahead of their whole.

    Look-ahead in samples of the last stages is a small part of a frame. A chain of layers rounds
    each one's up to whole frames; here the input is counted that the first frame's outputs need,
    back from the last layer to the first.
    """

    def __init__(self, layers: OrderedDict[str, nn.Module]) -> None:
        super().__init__(layers)
        needed = self.output_size
        for layer in reversed(list(self)):
            needed = _inputs(layer, needed)
        self.lookahead = needed - self.frame_size


def _inputs(layer: nn.Module, outputs: int) -> int:
    """Return how many input frames a layer needs for its first `outputs`."""
    if isinstance(layer, StreamingConvTranspose1d):
        return -(-(outputs + layer.left) // layer.output_size)
    streaming = cast(Streaming[Any, Any, Any], layer)
    return -(-outputs // output_size(streaming)) * streaming.frame_size + streaming.lookahead


def conv(
    channels: int, out: int, kernel: int, *, dilation: int = 1, weight_norm: bool
) -> StreamingConv1d:
    """Return a convolution that keeps the length: an odd kernel in the middle of zeros."""
    side = dilation * (kernel - 1) // 2
    layer = StreamingConv1d(channels, out, kernel, dilation=dilation, padding=(side, side))
    return normed(layer, weight_norm)


def residual_block(
    channels: int, kernel: int, dilations: tuple[int, ...], activation: Activation, *, norm: bool
) -> StreamingSequential:
    """Return a residual block: a unit for each dilation, two convolutions in each.

    Args:
        channels: C of (B, C, T).
        kernel: taps.
        dilations: of the first convolution of each unit; the second has none.
        activation: before each convolution.
        norm: whether weights are normalised.
    """
    acting = partial(Pointwise, channels=channels)
    return StreamingSequential(
        *(
            StreamingResidual(
                StreamingSequential(
                    acting(_ACTIVATIONS[activation]()),
                    conv(channels, channels, kernel, dilation=dilation, weight_norm=norm),
                    acting(_ACTIVATIONS[activation]()),
                    conv(channels, channels, kernel, weight_norm=norm),
                )
            )
            for dilation in dilations
        )
    )


def generator_layers(
    dim: int, config: GeneratorConfig, *, weight_norm: bool
) -> OrderedDict[str, nn.Module]:
    """Return the named layers that turn latents (B, dim, F) into samples (B, F * hop_length)."""
    act = _ACTIVATIONS[config.activation]
    width = config.channels
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv_pre"] = conv(dim, width, config.outer_kernel, weight_norm=weight_norm)
    for i, (rate, kernel) in enumerate(zip(config.rates, config.kernels, strict=True)):
        side = (kernel - rate) // 2
        up = StreamingConvTranspose1d(width, width // 2, kernel, stride=rate, trim=(side, side))
        layers[f"act{i}"] = Pointwise(act(), width)
        layers[f"up{i}"] = normed(up, weight_norm)
        width //= 2
        blocks = zip(config.block_kernels, config.block_dilations, strict=True)
        paths = [
            residual_block(width, k, d, config.activation, norm=weight_norm) for k, d in blocks
        ]
        layers[f"fuse{i}"] = StreamingParallel(*paths, mean=True)
    layers["act"] = Pointwise(act(), width)
    layers["conv_post"] = conv(width, 1, config.outer_kernel, weight_norm=weight_norm)
    layers["tanh"] = Pointwise(nn.Tanh(), 1)
    layers["swap"] = SwapTime(1, to=1)
    layers["mono"] = Pointwise(nn.Flatten(1), 1, time_dim=1)
    return layers
