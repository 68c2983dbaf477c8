"""EchoCodec's encoder: waveforms to latents, without look-ahead."""

from torch import nn

from echoic.codecs.echocodec.blocks import CompressedSpectrum, block, channel_norm
from echoic.codecs.echocodec.config import EchoCodecConfig
from echoic.streaming.layers.conv import StreamingConv1d
from echoic.streaming.layers.pointwise import Pointwise, SwapTime
from echoic.streaming.layers.sequential import StreamingSequential


def make_encoder(config: EchoCodecConfig) -> StreamingSequential:
    """Return the encoder: (B, F * hop_length) -> latents (B, quantizer.dim, F)."""
    width, split = config.width, config.frame_split
    bins = 2 * (config.n_fft // 2 + 1)
    depth = config.encoder_outer + config.encoder_inner
    shape = (width, config.expansion, config.kernel_size, 1.0 / depth)
    return StreamingSequential(
        CompressedSpectrum(config.n_fft, config.spectrum_hop),
        Pointwise(nn.Linear(bins, width), bins, time_dim=1),
        SwapTime(width, to=2),
        channel_norm(width),
        *(block(*shape) for _ in range(config.encoder_outer)),
        StreamingConv1d(width, width, 2 * split, stride=split),
        *(block(*shape) for _ in range(config.encoder_inner)),
        channel_norm(width),
        StreamingConv1d(width, config.quantizer.dim, 1),
    )
