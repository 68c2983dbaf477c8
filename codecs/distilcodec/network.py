"""DistilCodec's encoder and decoder; all layers look a fixed number of frames ahead."""

from collections import OrderedDict

from torch import nn

from echoic.audio.features.codec_mel import Mel
from echoic.codecs.distilcodec.config import DistilCodecConfig
from echoic.codecs.distilcodec.convnext import block, channel_norm
from echoic.codecs.hifigan import Generator, generator_layers
from echoic.streaming.layers.conv import StreamingConv1d
from echoic.streaming.layers.pointwise import SwapTime
from echoic.streaming.layers.sequential import StreamingSequential


def make_encoder(config: DistilCodecConfig) -> StreamingSequential:
    """Return the encoder: (B, F * hop_length) -> latents (B, quantizer.dim, F)."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["mel"] = Mel(config.mel)
    layers["swap"] = SwapTime(config.mel.num_mels, to=2)
    return StreamingSequential(layers | trunk_layers(config) | _code_layers("down", config))


def make_decoder(config: DistilCodecConfig) -> Generator:
    """Return the decoder: latents (B, quantizer.dim, F) -> (B, F * hop_length)."""
    dim = config.quantizer.dim
    generator = generator_layers(dim, config.generator, weight_norm=config.weight_norm)
    return Generator(_code_layers("up", config) | generator)


def trunk_layers(config: DistilCodecConfig) -> OrderedDict[str, nn.Module]:
    """Return the named layers from mel spectra (B, num_mels, F) to (B, widths[-1], F)."""
    first, kernel = config.widths[0], config.kernel_size
    side, mode = kernel // 2, config.stem_padding
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["stem"] = StreamingConv1d(
        config.mel.num_mels, first, kernel, padding=(side, side), pad_mode=mode
    )
    layers["stem_norm"] = channel_norm(first)
    last = max(1, sum(config.depths) - 1)
    made = 0
    for stage, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
        if stage > 0:
            layers[f"norm{stage}"] = channel_norm(config.widths[stage - 1])
            layers[f"widen{stage}"] = StreamingConv1d(config.widths[stage - 1], width, 1)
        for number in range(depth):
            drop = config.drop_path * made / last
            layers[f"stage{stage}_block{number}"] = block(
                width, kernel, config.expansion, config.layer_scale, drop
            )
            made += 1
    layers["norm"] = channel_norm(config.widths[-1])
    return layers


def _code_layers(name: str, config: DistilCodecConfig) -> OrderedDict[str, nn.Module]:
    """Return a mixing of the channels and a block, one pair on each side of the quantizer."""
    width = config.quantizer.dim
    return OrderedDict(
        {
            name: StreamingConv1d(width, width, 1),
            f"{name}_block": block(width, config.kernel_size, config.expansion, config.layer_scale),
        }
    )
