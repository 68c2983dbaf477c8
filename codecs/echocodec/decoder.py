"""EchoCodec's decoder: latents to spectra to waveforms."""

import torch
from torch import Tensor, nn

from echoic.codecs.echocodec.blocks import SPECTRAL_POWER, block, channel_norm
from echoic.codecs.echocodec.config import EchoCodecConfig
from echoic.streaming.layers.conv import StreamingConv1d
from echoic.streaming.layers.conv_transpose import StreamingConvTranspose1d
from echoic.streaming.layers.overlap_add import OverlapAdd
from echoic.streaming.layers.parallel import StreamingResidual
from echoic.streaming.layers.pointwise import Pointwise, SwapTime
from echoic.streaming.layers.sequential import StreamingSequential

# Of a full-scale tone under a Hann window of n samples the magnitude is n / 4; no bin is louder by
# far, and what an untrained network says must not overflow.
_LARGEST_GAIN = 200.0


class ExpandedSpectrum(nn.Module):
    """Frames of samples (B, F, n_fft) from compressed spectra (B, F, 2 * bins).

    Real and imaginary parts come as `CompressedSpectrum` has them, so that what the encoder saw can
    pass in a straight line, phases too; they are expanded, transformed back and left to the window
    of the overlap-add. (Magnitude and angle, as in Vocos, learned several times slower here.)

    Args:
        n_fft: samples of a spectrum.
    """

    def __init__(self, n_fft: int) -> None:
        super().__init__()
        self.n_fft = n_fft

    def forward(self, x: Tensor) -> Tensor:
        """Return frames; float32 whatever the autocast, as the transform needs."""
        real, imag = x.float().chunk(2, dim=-1)
        power = real.square() + imag.square() + 1e-4
        gain = power.pow((1.0 / SPECTRAL_POWER - 1.0) / 2.0).clamp(max=_LARGEST_GAIN)
        bins = torch.complex(real * gain, imag * gain)
        if bins.shape[1] == 0:  # MKL refuses to plan a transform of nothing
            return real.new_zeros(*x.shape[:2], self.n_fft)
        return torch.fft.irfft(bins, n=self.n_fft)


def overlap_add(n_fft: int, hop: int) -> OverlapAdd:
    """Return the sum of windowed frames, each the newest `n_fft` samples of its time.

    It is scaled to be the inverse of `CompressedSpectrum`'s analysis where all frames are there. At
    the end of a signal, those that would still come count as silence: the last n_fft - hop samples
    fade out. (To divide by the windows that are there blows up what little they hold.)
    """
    window = torch.hann_window(n_fft)
    cover = window.square().sum() / hop
    return OverlapAdd(n_fft, hop, window=window / cover, trim=(n_fft - hop, 0))


def make_decoder(config: EchoCodecConfig) -> StreamingSequential:
    """Return the decoder: latents (B, quantizer.dim, F) -> (B, F * hop_length).

    As in the encoder, a linear path lies beside the network.
    """
    width, split, dim = config.width, config.frame_split, config.quantizer.dim
    depth = config.decoder_inner + config.decoder_outer
    shape = (width, config.expansion, config.kernel_size, 1.0 / depth)
    network = StreamingSequential(
        StreamingConv1d(dim, width, 3),
        channel_norm(width),
        *(block(*shape) for _ in range(config.decoder_inner)),
        StreamingConvTranspose1d(width, width, 2 * split, stride=split),
        *(block(*shape) for _ in range(config.decoder_outer)),
        channel_norm(width),
        StreamingConv1d(width, config.spectrum_width, 1),
    )
    linear = StreamingConvTranspose1d(dim, config.spectrum_width, 2 * split, stride=split)
    return StreamingSequential(
        StreamingResidual(network, linear),
        SwapTime(config.spectrum_width, to=1),
        Pointwise(ExpandedSpectrum(config.n_fft), config.spectrum_width, time_dim=1),
        overlap_add(config.n_fft, config.spectrum_hop),
    )
