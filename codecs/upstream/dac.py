"""DAC, Descript's audio codec (Kumar et al. 2023, arXiv:2306.06546): at 16, 24 and 44.1 kHz."""

import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoic.codecs.hifigan import Generator
from echoic.codecs.mono import MonoEncoder, mono_end
from echoic.codecs.upstream.checkpoint import transfer
from echoic.codecs.upstream.quantizers import FactorizedConfig, FactorizedQuantizer
from echoic.codecs.upstream.transformers_codec import TransformersCodec, setting
from echoic.streaming.layers.conv import StreamingConv1d
from echoic.streaming.layers.conv_transpose import StreamingConvTranspose1d
from echoic.streaming.layers.parallel import StreamingResidual
from echoic.streaming.layers.pointwise import Pointwise
from echoic.streaming.layers.sequential import StreamingSequential

_DILATIONS = (1, 3, 9)


@dataclass(frozen=True, slots=True)
class DacConfig:
    """Settings of `Dac`; the defaults are the published ones at 44.1 kHz.

    Attributes:
        sample_rate: Hz.
        ratios: strides of the encoder's stages, the first at the rate of the samples.
        encoder_channels: before the encoder's first stage; each stage doubles them. The last
            stage's are the channels of the latents, the quantizer's `dim`.
        decoder_channels: before the decoder's first stage; each stage halves them.
        quantizer: settings of the quantizer.

    Raises:
        ValueError: sizes that do not fit each other.
    """

    sample_rate: int = 44_100
    ratios: tuple[int, ...] = (2, 4, 8, 8)
    encoder_channels: int = 64
    decoder_channels: int = 1536
    quantizer: FactorizedConfig = FactorizedConfig(1024)  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        for name in ("sample_rate", "encoder_channels", "decoder_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if not self.ratios or min(self.ratios) < 2:
            raise ValueError(f"ratios are {self.ratios}, expected one or more strides of 2 or more")
        stages = 2 ** len(self.ratios)
        if self.decoder_channels % stages:
            raise ValueError(
                f"decoder_channels is {self.decoder_channels}, expected a multiple of {stages}: "
                "each stage halves them"
            )
        if self.quantizer.dim != self.encoder_channels * stages:
            raise ValueError(
                f"the quantizer's dim is {self.quantizer.dim}, expected "
                f"{self.encoder_channels * stages}: encoder_channels ({self.encoder_channels}) "
                f"doubled in {len(self.ratios)} stages"
            )

    @property
    def hop_length(self) -> int:
        """Samples of a frame."""
        return math.prod(self.ratios)

    @property
    def missing_end(self) -> int:
        """Samples that the decoder makes too few: each odd stride loses one of its frames."""
        missing = 0
        for ratio in reversed(self.ratios):
            missing = missing * ratio + ratio % 2
        return missing


class Dac(TransformersCodec):
    """Convolutions with snakes between them, around books that are searched in 8 dimensions.

    Both sides hear ahead, and stream so much later. The end of a recording is filled up to a whole
    frame. With an odd stride (16 and 24 kHz) the decoder's last samples are missing, 8 of the last
    frame of those published; they are given as zeros.

    Args:
        config: settings.
    """

    kind: ClassVar[str] = "dac"
    config_class: ClassVar[type] = DacConfig

    def __init__(self, config: DacConfig) -> None:
        super().__init__(
            config,
            _make_encoder(config),
            FactorizedQuantizer(config.quantizer),
            _make_decoder(config),
        )

    @classmethod
    def from_published(cls, values: Mapping[str, Any], state: dict[str, Tensor]) -> Self:
        """Build the codec of the library's settings and tensors; see `TransformersCodec`."""
        channels = setting(values, "encoder_hidden_size", 64)
        ratios = setting(values, "downsampling_ratios", (2, 4, 8, 8))
        config = DacConfig(
            sample_rate=setting(values, "sampling_rate", 16_000),
            ratios=ratios,
            encoder_channels=channels,
            decoder_channels=setting(values, "decoder_hidden_size", 1536),
            quantizer=FactorizedConfig(
                channels * 2 ** len(ratios),
                codebook_size=setting(values, "codebook_size", 1024),
                num_layers=setting(values, "n_codebooks", 9),
                codebook_dim=setting(values, "codebook_dim", 8),
            ),
        )
        codec = cls(config)
        for name in state:  # convolutions of one tap are linear layers here
            if name.endswith(("in_proj.weight", "out_proj.weight")):
                state[name] = state[name].flatten(1)
        transfer(codec, state, {_published(name): name for name in codec.state_dict()})
        return codec


class Snake(nn.Module):
    """Add sin(alpha x)^2 / alpha to x (B, C, T), with an alpha for each channel.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return x + sin(alpha x)^2 / alpha."""
        return x + (self.alpha + 1e-9).reciprocal() * (self.alpha * x).sin().square()


class MissingEnd(nn.Module):
    """Put zeros behind the end of (B, 1, T), as many as the layers before it lost.

    Args:
        missing: zeros; none where there is no signal at all.
    """

    frame_size = 1
    lookahead = 0
    input_time_dim = 2
    output_time_dim = 2

    def __init__(self, missing: int) -> None:
        super().__init__()
        self.missing = missing

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 1, T + missing)."""
        return F.pad(x, (0, self.missing)) if x.shape[2] else x

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[Tensor, bool]:
        """Return the state: (B, 1, 0), and whether anything was heard."""
        return torch.empty(batch_size, 1, 0, device=device, dtype=dtype), False

    def step(self, state: tuple[Tensor, bool], x: Tensor) -> tuple[tuple[Tensor, bool], Tensor]:
        """Return what comes in."""
        return (state[0], state[1] or x.shape[2] > 0), x

    def finish(self, state: tuple[Tensor, bool]) -> tuple[tuple[Tensor, bool], Tensor]:
        """Return the zeros, and a fresh state."""
        nothing, heard = state
        return (nothing, False), F.pad(nothing, (0, self.missing)) if heard else nothing


def _make_encoder(config: DacConfig) -> MonoEncoder:
    width = config.encoder_channels
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=_conv(1, width, 7))
    for stage, ratio in enumerate(config.ratios):
        layers |= _units(f"block{stage}", width)
        layers[f"block{stage}_snake1"] = _snake(width)
        side = (ratio + 1) // 2
        layers[f"block{stage}_conv1"] = StreamingConv1d(
            width, 2 * width, 2 * ratio, stride=ratio, padding=(side, side)
        )
        width *= 2
    layers["snake1"] = _snake(width)
    layers["conv2"] = _conv(width, config.quantizer.dim, 3)
    return MonoEncoder(layers)


def _make_decoder(config: DacConfig) -> Generator:
    width = config.decoder_channels
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=_conv(config.quantizer.dim, width, 7))
    for stage, ratio in enumerate(reversed(config.ratios)):
        side = (ratio + 1) // 2
        layers[f"block{stage}_snake1"] = _snake(width)
        layers[f"block{stage}_conv_t1"] = StreamingConvTranspose1d(
            width, width // 2, 2 * ratio, stride=ratio, trim=(side, side)
        )
        width //= 2
        layers |= _units(f"block{stage}", width)
    layers["snake1"] = _snake(width)
    layers["conv2"] = _conv(width, 1, 7)
    layers["tanh"] = Pointwise(nn.Tanh(), 1)
    layers["end"] = MissingEnd(config.missing_end)
    return Generator(layers | mono_end())


def _units(block: str, width: int) -> OrderedDict[str, nn.Module]:
    units: OrderedDict[str, nn.Module] = OrderedDict()
    for place, dilation in enumerate(_DILATIONS, start=1):
        branch: OrderedDict[str, nn.Module] = OrderedDict(
            snake1=_snake(width),
            conv1=_conv(width, width, 7, dilation),
            snake2=_snake(width),
            conv2=_conv(width, width, 1),
        )
        units[f"{block}_unit{place}"] = StreamingResidual(StreamingSequential(branch))
    return units


def _conv(channels: int, out: int, kernel: int, dilation: int = 1) -> StreamingConv1d:
    side = dilation * (kernel - 1) // 2
    return StreamingConv1d(channels, out, kernel, dilation=dilation, padding=(side, side))


def _snake(channels: int) -> Pointwise:
    return Pointwise(Snake(channels), channels)


def _published(name: str) -> str:
    if name.startswith("quantizer."):
        name = name.replace("layers.", "quantizers.").replace("book", "codebook.weight")
        return name.replace("project_in", "in_proj").replace("project_out", "out_proj")
    name = re.sub(r"block(\d+)_unit(\d)\.branch\.", r"block.\1.res_unit\2.", name)
    return re.sub(r"block(\d+)_", r"block.\1.", name).replace(".module.", ".")
