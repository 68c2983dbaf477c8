"""EchoCodec's encoder: waveforms to latents, without look-ahead."""

from echoic.codecs.echocodec.blocks import CompressedSpectrum, block, channel_norm
from echoic.codecs.echocodec.config import EchoCodecConfig
from echoic.streaming.layers.conv import StreamingConv1d
from echoic.streaming.layers.parallel import StreamingResidual
from echoic.streaming.layers.pointwise import SwapTime
from echoic.streaming.layers.sequential import StreamingSequential


def make_encoder(config: EchoCodecConfig) -> StreamingSequential:
    """Return the encoder: (B, F * hop_length) -> latents (B, quantizer.dim, F).

    A linear path from the spectra to the latents lies beside the network. With the decoder's it
    codes the strongest partials, phases too, after a hundred training steps; the network alone has
    not learned phases after two thousand.
    """
    width, split, dim = config.width, config.frame_split, config.quantizer.dim
    depth = config.encoder_outer + config.encoder_inner
    shape = (width, config.expansion, config.kernel_size, 1.0 / depth)
    network = StreamingSequential(
        StreamingConv1d(config.spectrum_width, width, 1),
        channel_norm(width),
        *(block(*shape) for _ in range(config.encoder_outer)),
        StreamingConv1d(width, width, 2 * split, stride=split),
        *(block(*shape) for _ in range(config.encoder_inner)),
        channel_norm(width),
        StreamingConv1d(width, dim, 1),
    )
    linear = StreamingConv1d(config.spectrum_width, dim, 2 * split, stride=split)
    return StreamingSequential(
        CompressedSpectrum(config.n_fft, config.spectrum_hop),
        SwapTime(config.spectrum_width, to=2),
        StreamingResidual(network, linear),
    )
