"""EnCodec, DAC and Mimi, few channels and short frames: ours, and those of transformers."""

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echoic.codecs.codec import Codec
from echoic.codecs.quantize.config import QuantizerConfig
from echoic.codecs.quantize.quantizer import Quantizer
from echoic.codecs.seanet import SeanetConfig
from echoic.codecs.upstream.dac import Dac, DacConfig
from echoic.codecs.upstream.encodec import Encodec, EncodecConfig
from echoic.codecs.upstream.mimi import LayerScale, Mimi, MimiConfig, TransformerConfig
from echoic.codecs.upstream.quantizers import FactorizedConfig, SplitConfig

# Settings of the library's, by a name of ours; 6 samples a frame, Mimi's 12.
SETTINGS: dict[str, dict[str, Any]] = {
    "encodec": {
        "sampling_rate": 2400,
        "num_filters": 4,
        "upsampling_ratios": [3, 2],
        "hidden_size": 8,
        "codebook_size": 16,
        "target_bandwidths": [1.6, 3.2, 6.4],
    },
    "dac": {
        "encoder_hidden_size": 4,
        "downsampling_ratios": [2, 3],
        "decoder_hidden_size": 16,
        "n_codebooks": 4,
        "codebook_size": 16,
        "codebook_dim": 3,
    },
    "mimi": {
        "sampling_rate": 2400,
        "hidden_size": 16,
        "num_filters": 4,
        "upsampling_ratios": [3, 2],
        "codebook_size": 16,
        "codebook_dim": 8,
        "vector_quantization_hidden_dimension": 8,
        "num_quantizers": 4,
        "upsample_groups": 16,
        "num_hidden_layers": 2,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "sliding_window": 5,
    },
}


def library_model(kind: str, **changes: Any) -> Any:
    """Return a random model of the library's, in evaluation mode, whose books tell sounds apart."""
    import transformers  # after the guard of echoic.audio, which the imports above bring

    config, model = {
        "encodec": (transformers.EncodecConfig, transformers.EncodecModel),
        "dac": (transformers.DacConfig, transformers.DacModel),
        "mimi": (transformers.MimiConfig, transformers.MimiModel),
    }[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = model(config(**SETTINGS[kind] | changes)).eval().requires_grad_(False)
        _spread(made, kind)
    return made


def _spread(model: Any, kind: str) -> None:
    """Draw weights that depend on sound, and books near it: the library's are small, or zero."""
    if kind == "dac":
        for parameter in model.parameters():
            if parameter.dim() == 3 and parameter.shape[2] > 1:
                parameter.mul_(4.0)
            elif parameter.dim() == 3:
                parameter.add_(torch.rand_like(parameter) / 2)
    for name, book in model.named_buffers():
        if name.endswith((".embed", ".embed_sum")):
            book.normal_()
        if name.endswith(".cluster_usage"):
            book.uniform_(0.5, 2.0)
    for name, parameter in model.named_parameters():
        if name.endswith("layer_scale.scale"):
            parameter.uniform_(0.5, 1.0)
        if name.endswith(("_proj.weight", ".fc1.weight", ".fc2.weight")):
            parameter.normal_(std=0.3)
    if kind == "encodec":
        latents = model.encoder(torch.randn(1, 1, 600))[0]
        for place, layer in enumerate(model.quantizer.layers):
            layer.codebook.embed.mul_(latents.std(1))
            if place == 0:
                layer.codebook.embed.add_(latents.mean(1))


def library_folder(kind: str, folder: Path, **changes: Any) -> Any:
    """Write a folder as the library does, and return its model."""
    made = library_model(kind, **changes)
    made.save_pretrained(folder)
    return made


@functools.cache
def small_encodec(*, causal: bool = True) -> Codec:
    """6 samples a frame; shared, so that tests leave it as it is."""
    seanet = SeanetConfig(ratios=(2, 3), channels=4, causal=causal)
    quantizer = QuantizerConfig(8, codebook_size=16, num_layers=3)
    return _drawn(Encodec, EncodecConfig(2400, seanet, quantizer))


@functools.cache
def small_dac() -> Codec:
    """6 samples a frame, of which the last two are missing at the end."""
    return _drawn(Dac, DacConfig(2400, (2, 3), 4, 16, FactorizedConfig(16, 16, 3, 3)))


@functools.cache
def small_mimi() -> Codec:
    """12 samples a frame."""
    seanet = SeanetConfig(
        ratios=(2, 3),
        channels=4,
        last_kernel_size=3,
        lstm_layers=0,
        conv_shortcut=False,
        pad_mode="zeros",
    )
    transformer = TransformerConfig(layers=2, heads=2, hidden=32, left_context=4)
    quantizer = SplitConfig(16, 16, 8, 1, 3)
    return _drawn(Mimi, MimiConfig(2400, seanet, transformer, 2, 16, quantizer))


def _drawn(codec_class: Any, config: Any) -> Codec:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec: Codec = codec_class(config).eval().requires_grad_(False)
        for module in codec.modules():
            if isinstance(module, LayerScale):  # so small that transformers would hardly be heard
                module.scale.uniform_(0.5, 1.0)
        latents = codec.encoder(torch.randn(1, 3000))
        for module in codec.modules():
            if isinstance(module, Quantizer):
                module.codebooks.start(_inside(module, latents), None)
    return codec


def _inside(quantizer: Quantizer, latents: Tensor) -> Tensor:
    rows = latents.transpose(1, 2).flatten(0, 1)
    return rows if quantizer.project_in is None else quantizer.project_in(rows)
