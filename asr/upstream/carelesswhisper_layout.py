"""The tensors of a CarelessWhisper checkpoint: their names, shapes and sizes.

Names are OpenAI's, but every attention projection is a `base_layer` with a `lora_layer` beside it.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.upstream.torch_file import attributes
from echoic.asr.whisper.config import WhisperConfig
from echoic.asr.whisper.layout import Shape, expected_shapes

TARGETS = r".*(self_attn|encoder_attn)\.(q_proj|k_proj|v_proj|out_proj)"
"""The adapted modules, by Hugging Face's names: every projection of every attention layer."""

_SIZES = (
    *("n_vocab", "n_mels", "n_audio_state", "n_audio_layer", "n_audio_head", "n_audio_ctx"),
    *("n_text_state", "n_text_layer", "n_text_head", "n_text_ctx"),
)
_HEAD_WIDTH = 64  # of every Whisper
_PARTS = (
    (r"^model\.", ""),
    (r"\.layers\.", ".blocks."),
    (r"\.self_attn_layer_norm\.", ".attn_ln."),
    (r"\.encoder_attn_layer_norm\.", ".cross_attn_ln."),
    (r"\.final_layer_norm\.", ".mlp_ln."),
    (r"^encoder\.layer_norm\.", "encoder.ln_post."),
    (r"^decoder\.layer_norm\.", "decoder.ln."),
    (r"\.self_attn\.", ".attn."),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\.q_proj\.", ".query.base_layer."),
    (r"\.k_proj\.", ".key.base_layer."),
    (r"\.v_proj\.", ".value.base_layer."),
    (r"\.out_proj\.", ".out.base_layer."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
    (r"\.embed_positions\.weight$", ".positional_embedding"),
    (r"\.embed_tokens\.", ".token_embedding."),
)


def upstream_shapes(config: WhisperConfig, rank: int) -> dict[str, Shape]:
    """Return name and shape of every tensor in a file of this size and rank."""
    shapes = {upstream_name(name): shape for name, shape in expected_shapes(config).items()}
    for module in adapted_modules(config):
        width = config.d_model
        shapes[f"{module}.lora_layer.lora_A"] = (width, rank)
        shapes[f"{module}.lora_layer.lora_B"] = (rank, width)
    return shapes


def adapted_modules(config: WhisperConfig) -> dict[str, str]:
    """Return their names of the adapted modules with Hugging Face's."""
    names = [name.removesuffix(".weight") for name in expected_shapes(config)]
    chosen = [name for name in names if re.fullmatch(TARGETS, name)]
    return {
        upstream_name(f"{name}.weight").removesuffix(".base_layer.weight"): name for name in chosen
    }


def upstream_name(name: str) -> str:
    """Return their name of a tensor of the base model, from Hugging Face's."""
    for pattern, replacement in _PARTS:
        name = re.sub(pattern, replacement, name)
    return name


def whisper_config(dims: Any, state: Mapping[str, Any], source: object) -> WhisperConfig:
    """Return the model's sizes by `dims`, or by the tensors of a file without.

    Raises:
        CheckpointError: sizes that no Whisper has.
    """
    sizes = attributes(dims) if dims is not None else _derived_sizes(state, source)
    lacking = [name for name in _SIZES if not isinstance((sizes or {}).get(name), int)]
    if sizes is None or lacking:
        raise CheckpointError(
            f"dims of {source} tells no {', '.join(lacking)}; expected OpenAI's model dimensions"
        )
    if sizes["n_audio_state"] != sizes["n_text_state"]:
        raise CheckpointError(
            f"dims of {source} has n_audio_state {sizes['n_audio_state']} and n_text_state "
            f"{sizes['n_text_state']}; expected the same, as in every Whisper"
        )
    if max(sizes["n_audio_layer"], sizes["n_text_layer"]) > len(state):
        raise CheckpointError(f"dims of {source} has more layers than tensors; fetch it again")
    width = sizes["n_audio_state"]
    return WhisperConfig(
        vocab_size=sizes["n_vocab"],
        num_mel_bins=sizes["n_mels"],
        d_model=width,
        encoder_layers=sizes["n_audio_layer"],
        encoder_attention_heads=sizes["n_audio_head"],
        encoder_ffn_dim=4 * width,
        decoder_layers=sizes["n_text_layer"],
        decoder_attention_heads=sizes["n_text_head"],
        decoder_ffn_dim=4 * width,
        max_source_positions=sizes["n_audio_ctx"],
        max_target_positions=sizes["n_text_ctx"],
    )


def _derived_sizes(state: Mapping[str, Any], source: object) -> dict[str, int]:
    """Sizes by the shapes of a file without `dims`, as training saves it."""

    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        tensor = state.get(name)
        if not isinstance(tensor, Tensor) or tensor.dim() != dimensions:
            raise CheckpointError(f"{source} has neither dims nor a whole {name}; fetch it again")
        return tuple(tensor.shape)

    width, mels, _ = shape("encoder.conv1.weight", 3)
    audio, _ = shape("encoder.positional_embedding", 2)
    text, _ = shape("decoder.positional_embedding", 2)
    vocabulary, text_width = shape("decoder.token_embedding.weight", 2)
    layers = {"encoder": 0, "decoder": 0}
    for name in state:
        if match := re.match(r"(encoder|decoder)\.blocks\.(\d{1,3})\.", name):
            layers[match[1]] = max(layers[match[1]], int(match[2]) + 1)
    found = (vocabulary, mels, width, layers["encoder"], width // _HEAD_WIDTH, audio)
    found += (text_width, layers["decoder"], text_width // _HEAD_WIDTH, text)
    return dict(zip(_SIZES, found, strict=True))


def check_tensors(state: Mapping[str, Any], config: WhisperConfig, source: object) -> int:
    """Compare a whole file with the table; return the rank.

    Raises:
        CheckpointError: tensors are missing, unknown, of another shape, or not of floats.
    """
    first = state.get("encoder.blocks.0.attn.query.lora_layer.lora_A")
    rank = first.shape[-1] if isinstance(first, Tensor) and first.dim() == 2 else 1
    shapes = upstream_shapes(config, rank)
    complaints = []
    for word, names in (
        ("missing", shapes.keys() - state.keys()),
        ("unexpected", state.keys() - shapes.keys()),
    ):
        if names:
            shown = ", ".join(sorted(names)[:3])
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            complaints.append(f"{word} {shown}{more}")
    if complaints:
        raise CheckpointError(
            f"{source} is no CarelessWhisper checkpoint of these sizes: {', '.join(complaints)}; "
            "fetch it again, or pass over unexpected ones by --ignore"
        )
    for name, shape in shapes.items():
        tensor = state[name]
        if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
            found = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise CheckpointError(f"{source}: {name} is {found}, expected {shape}; fetch it again")
        if not tensor.is_floating_point():
            raise CheckpointError(f"{source}: {name} holds {tensor.dtype}; expected floats")
    return rank
