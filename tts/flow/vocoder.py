"""Spectra to sound: a causal network that ends in an inverse Fourier transform."""

from dataclasses import dataclass, field

from torch import nn

from echoic.audio.features.stft import Istft
from echoic.codecs.echocodec.blocks import block, channel_norm
from echoic.codecs.fourier_head import FourierHead
from echoic.streaming.layers.conv import StreamingConv1d
from echoic.streaming.layers.pointwise import Pointwise, SwapTime
from echoic.streaming.layers.sequential import StreamingSequential
from echoic.tts.flow.config import MelSpace


@dataclass(frozen=True, slots=True)
class VocoderConfig:
    """Settings of a `Vocoder`.

    Attributes:
        mels: what goes in; its transform's size and hop are the vocoder's, too.
        width: channels.
        expansion: widening inside a block.
        kernel_size: spectra that a block looks at, none of them to come.
        blocks: how many.

    Raises:
        ValueError: sizes that nothing has.
    """

    mels: MelSpace = field(default_factory=MelSpace)
    width: int = 256
    expansion: int = 3
    kernel_size: int = 7
    blocks: int = 8

    def __post_init__(self) -> None:
        for name in ("width", "expansion", "kernel_size", "blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")


class Vocoder(StreamingSequential):
    """Waveforms (B, T * hop) from spectra (B, T, M).

    Vocos (Siuzdak 2023, arXiv:2306.00814) with causal convolutions: all that it waits for are the
    next spectra of the transforms' overlap.

    Args:
        config: settings.
    """

    def __init__(self, config: VocoderConfig) -> None:
        mel, width = config.mels.mel, config.width
        shape = (width, config.expansion, config.kernel_size, 1.0 / config.blocks)
        super().__init__(
            SwapTime(mel.num_mels, to=2),
            StreamingConv1d(mel.num_mels, width, config.kernel_size),
            channel_norm(width),
            *(block(*shape) for _ in range(config.blocks)),
            channel_norm(width),
            SwapTime(width, to=1),
            Pointwise(FourierHead(width, mel.n_fft), width, time_dim=1),
            Istft(mel.n_fft, mel.hop_length, padding="same"),
        )
        self.config = config
        self.apply(_draw)


def _draw(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
