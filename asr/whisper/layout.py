"""Which tensors a Whisper model consists of, under Hugging Face's names, and their shapes."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.whisper.config import WhisperConfig

ENCODER_POSITIONS = "model.encoder.embed_positions.weight"
TOKEN_EMBEDDING = "model.decoder.embed_tokens.weight"
OUTPUT_PROJECTION = "proj_out.weight"

Shape = tuple[int, ...]


def sinusoids(length: int, channels: int) -> Tensor:
    """Return the fixed positions of the encoder, float64 (length, channels): sines, cosines.

    The wavelengths run geometrically from 2π to 20000π frames (Vaswani et al. 2017, 3.5, with the
    two halves side by side as in Whisper). Computed in float64: rounded to half precision they are
    the numbers of OpenAI's published weights, bit for bit.
    """
    step = math.log(10000.0) / max(channels // 2 - 1, 1)
    frequencies = torch.exp(-step * torch.arange(channels // 2, dtype=torch.float64))
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def expected_shapes(config: WhisperConfig) -> dict[str, Shape]:
    """Return name and shape of every tensor of a model, the tied output projection excepted."""
    d = config.d_model
    shapes: dict[str, Shape] = {
        "model.encoder.conv1.weight": (d, config.num_mel_bins, 3),
        "model.encoder.conv1.bias": (d,),
        "model.encoder.conv2.weight": (d, d, 3),
        "model.encoder.conv2.bias": (d,),
        ENCODER_POSITIONS: (config.max_source_positions, d),
        TOKEN_EMBEDDING: (config.vocab_size, d),
        "model.decoder.embed_positions.weight": (config.max_target_positions, d),
    }
    for side, layers, inner in (
        ("encoder", config.encoder_layers, config.encoder_ffn_dim),
        ("decoder", config.decoder_layers, config.decoder_ffn_dim),
    ):
        for i in range(layers):
            shapes |= _layer(f"model.{side}.layers.{i}", d, inner, crossed=side == "decoder")
        shapes |= _norm(f"model.{side}.layer_norm", d)
    return shapes


def check_state(state: Mapping[str, Tensor], config: WhisperConfig, source: str) -> None:
    """Compare a state dict with a config.

    Raises:
        CheckpointError: a tensor is missing, unexpected, of another shape, or not of floats.
    """
    expected = expected_shapes(config)
    for word, names in (
        ("has no", expected.keys() - state.keys()),
        ("has an unexpected", state.keys() - expected.keys()),
    ):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise CheckpointError(f"{source} {word} tensor {min(names)}{more}")
    for name, shape in expected.items():
        tensor = state[name]
        if tuple(tensor.shape) != shape:
            raise CheckpointError(
                f"{source}: {name} has shape {tuple(tensor.shape)}, config.json says {shape}"
            )
        if not tensor.is_floating_point():
            raise CheckpointError(f"{source}: {name} holds {tensor.dtype}, expected floats")


def untie(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Drop the output projection, which is the token embedding once more.

    Raises:
        CheckpointError: the two differ.
    """
    projection = state.get(OUTPUT_PROJECTION)
    if projection is None:
        return state
    embedding = state.get(TOKEN_EMBEDDING)
    if embedding is not None and not torch.equal(projection, embedding):
        raise CheckpointError(
            f"{source}: {OUTPUT_PROJECTION} differs from {TOKEN_EMBEDDING}; "
            "only models that tie them are supported"
        )
    return {name: tensor for name, tensor in state.items() if name != OUTPUT_PROJECTION}


def _norm(name: str, d: int) -> dict[str, Shape]:
    return {f"{name}.weight": (d,), f"{name}.bias": (d,)}


def _linear(name: str, out: int, inside: int, bias: bool = True) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {f"{name}.weight": (out, inside)}
    return shapes | ({f"{name}.bias": (out,)} if bias else {})


def _layer(name: str, d: int, inner: int, crossed: bool) -> dict[str, Shape]:
    shapes = _norm(f"{name}.final_layer_norm", d)
    for attention in ("self_attn", "encoder_attn") if crossed else ("self_attn",):
        shapes |= _norm(f"{name}.{attention}_layer_norm", d)
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _linear(f"{name}.{attention}.{part}", d, d, bias=part != "k_proj")
    return shapes | _linear(f"{name}.fc1", inner, d) | _linear(f"{name}.fc2", d, inner)
