"""A Paraformer whose encoder begins as a Whisper's.

Hours of labelled speech are few where a model starts from nothing; a Whisper's encoder has heard
hundreds of thousands. SAN-M is attention with a memory beside it: with a memory that returns
nothing it is a Whisper's layer, and can learn the rest. Whisper's decoder, which writes token by
token, is left behind; predictor and parallel decoder start anew.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.config import EncoderConfig, FrontendConfig
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.asr.whisper.encoder import Encoder as WhisperEncoder
from echoic.asr.whisper.encoder import EncoderLayer
from echoic.asr.whisper.model import SAMPLE_RATE, WhisperModel

# A frame every 40 ms: the mean of two of Whisper's.
_STACKED, _EVERY = 7, 4
_MEMORY = "attention.memory.conv.weight"


def frontend_of(encoder: WhisperEncoder) -> FrontendConfig:
    """Return the features that a Whisper's encoder hears, seven frames every 40 ms."""
    return FrontendConfig(
        features="log_mel",
        sample_rate=SAMPLE_RATE,
        num_mels=encoder.conv1.in_channels,
        window="hann",
        lfr_m=_STACKED,
        lfr_n=_EVERY,
    )


def encoder_of(
    encoder: WhisperEncoder, kernel_size: int = 11, shift: int = 0, dropout: float = 0.0
) -> EncoderConfig:
    """Return the sizes of a Whisper's encoder, with a memory, see `EncoderConfig`."""
    layers = encoder.blocks()
    return EncoderConfig(
        dim=encoder.conv1.out_channels,
        layers=len(layers),
        heads=layers[0].self_attn.num_heads,
        ffn_dim=layers[0].fc1.out_features,
        kernel_size=kernel_size,
        shift=shift,
        dropout=dropout,
        activation="gelu",
        stem=True,
    )


def start_encoder_from(model: Paraformer, name: str) -> None:
    """Give a model the encoder of a Whisper, by its name in the box, Hugging Face id or folder.

    Raises:
        CheckpointError: no such Whisper, or the model has other features or sizes.
    """
    copy_encoder(WhisperModel.from_checkpoint(load_checkpoint(name)).encoder, model, name)


@torch.no_grad()
def copy_encoder(source: WhisperEncoder, model: Paraformer, name: str = "this Whisper") -> None:
    """Give a model the encoder of a Whisper.

    Args:
        source: in float32, not turned to inference.
        model: whose memories may have any size.
        name: of the Whisper, for errors.

    Raises:
        CheckpointError: the model has other features or sizes.
    """
    config, encoder = model.config, model.encoder
    _compare("frontend", config.frontend, frontend_of(source), name)
    sizes = config.encoder
    needed = encoder_of(source, sizes.kernel_size, sizes.shift, sizes.dropout)
    _compare("encoder", sizes, dataclasses.replace(needed, period=sizes.period), name)
    assert encoder.stem is not None
    for conv, linear in (
        (source.conv1, encoder.stem.first),
        (source.conv2, encoder.stem.second),
    ):
        # What a convolution sees lies frame behind frame.
        _copy(linear, conv.weight.permute(0, 2, 1).flatten(1), conv.bias)
    for layer, block in zip(source.blocks(), encoder.blocks, strict=True):
        block.load_state_dict(
            _block_state(layer, block.state_dict()[_MEMORY], config.encoder.shift)
        )
    encoder.norm.load_state_dict(source.layer_norm.state_dict())


def _compare(section: str, given: FrontendConfig | EncoderConfig, needed: Any, name: str) -> None:
    for key, value in dataclasses.asdict(needed).items():
        found = getattr(given, key)
        if found != value:
            raise CheckpointError(
                f"{section}.{key} is {found!r}, the encoder of {name} needs {value!r}"
            )


def _block_state(layer: EncoderLayer, memory: Tensor, shift: int) -> dict[str, Tensor]:
    """Return the state of a block that does what a Whisper's layer does.

    Args:
        layer: of a Whisper.
        memory: (D, 1, K), the block's filter, for its shape.
        shift: by how many frames it looks back further than ahead.
    """
    attention = layer.self_attn
    q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
    # The memory adds its input to what it finds: minus that input is nothing.
    silent = torch.zeros_like(memory)
    silent[:, :, memory.shape[2] // 2 + shift] = -1.0
    parts: dict[str, nn.Module] = {
        "norm1": layer.self_attn_layer_norm,
        "attention.out": attention.out_proj,
        "norm2": layer.final_layer_norm,
        "feed_forward.inner": layer.fc1,
        "feed_forward.outer": layer.fc2,
    }
    state = {f"{name}.{k}": v for name, part in parts.items() for k, v in part.state_dict().items()}
    return state | {
        "attention.qkv.weight": torch.cat([q.weight, k.weight, v.weight]),
        "attention.qkv.bias": torch.cat([q.bias, torch.zeros_like(q.bias), v.bias]),
        _MEMORY: silent,
    }


def _copy(linear: nn.Linear, weight: Tensor, bias: Tensor | None) -> None:
    linear.weight.copy_(weight)
    assert bias is not None
    linear.bias.copy_(bias)
