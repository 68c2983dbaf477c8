import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from whisper_factory import SMALL, random_state, write_folder

from echoic.asr.whisper.box import BOX
from echoic.asr.whisper.checkpoint import CheckpointError, load_checkpoint
from echoic.asr.whisper.ct2 import read_variables

CODES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def string(text: str) -> bytes:
    raw = text.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw


def model_bin(
    variables: dict[str, np.ndarray],
    version: int = 6,
    spec: str = "WhisperSpec",
    tied: str = "decoder/embeddings/weight",
) -> bytes:
    parts = [struct.pack("<I", version), string(spec), struct.pack("<II", 3, len(variables))]
    for name, array in variables.items():
        head = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        code = CODES[array.dtype.name]
        parts += [string(name), head, struct.pack("<BI", code, array.nbytes), array.tobytes()]
    parts += [struct.pack("<I", 1), string("decoder/projection/weight"), string(tied)]
    return b"".join(parts)


def rounded(weight: np.ndarray, bits: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """CTranslate2's rule: bytes = round(weight * scale), a scale per row; int16 has one for all."""
    if bits == 16:
        scale = np.float32((2**10) / np.abs(weight).max())
        return np.rint(weight * scale).astype(np.int16), np.asarray(scale)
    flat = weight.reshape(len(weight), -1)
    scale = (127 / np.abs(flat).max(axis=1)).astype(np.float32)
    return np.rint(flat * scale[:, None]).astype(np.int8).reshape(weight.shape), scale


def ct2_variables(state: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """The opposite way of what is tested, spelled out."""
    s = {name: tensor.numpy() for name, tensor in state.items()}
    v = {
        "encoder/position_encodings/encodings": s["model.encoder.embed_positions.weight"],
        "decoder/position_encodings/encodings": s["model.decoder.embed_positions.weight"],
        "decoder/embeddings/weight": s["model.decoder.embed_tokens.weight"],
        "encoder/num_heads": np.array(2, dtype=np.int16),
        "decoder/num_heads": np.array(2, dtype=np.int16),
        "decoder/activation": np.array(1, dtype=np.int8),
    }

    def norm(target: str, source: str) -> None:
        v[f"{target}/gamma"], v[f"{target}/beta"] = s[f"{source}.weight"], s[f"{source}.bias"]

    def linear(target: str, *sources: str) -> None:
        v[f"{target}/weight"] = np.concatenate([s[f"{x}.weight"] for x in sources])
        zeros = [np.zeros(len(s[f"{x}.weight"]), dtype=np.float32) for x in sources]
        biases = [s.get(f"{x}.bias", z) for x, z in zip(sources, zeros, strict=True)]
        v[f"{target}/bias"] = np.concatenate(biases)

    linear("encoder/conv1", "model.encoder.conv1")
    linear("encoder/conv2", "model.encoder.conv2")
    for side in ("encoder", "decoder"):
        norm(f"{side}/layer_norm", f"model.{side}.layer_norm")
        for i in range(2):
            t, m = f"{side}/layer_{i}", f"model.{side}.layers.{i}"
            norm(f"{t}/self_attention/layer_norm", f"{m}.self_attn_layer_norm")
            linear(f"{t}/self_attention/linear_0", *(f"{m}.self_attn.{p}_proj" for p in "qkv"))
            linear(f"{t}/self_attention/linear_1", f"{m}.self_attn.out_proj")
            norm(f"{t}/ffn/layer_norm", f"{m}.final_layer_norm")
            linear(f"{t}/ffn/linear_0", f"{m}.fc1")
            linear(f"{t}/ffn/linear_1", f"{m}.fc2")
            if side == "decoder":
                norm(f"{t}/attention/layer_norm", f"{m}.encoder_attn_layer_norm")
                linear(f"{t}/attention/linear_0", f"{m}.encoder_attn.q_proj")
                linear(f"{t}/attention/linear_1", *(f"{m}.encoder_attn.{p}_proj" for p in "kv"))
                linear(f"{t}/attention/linear_2", f"{m}.encoder_attn.out_proj")
    return v


@pytest.fixture
def variables() -> dict[str, np.ndarray]:
    return ct2_variables(random_state())


@pytest.fixture
def folder(tmp_path: Path, variables: dict[str, np.ndarray]) -> Path:
    (tmp_path / "model.bin").write_bytes(model_bin(variables))
    (tmp_path / "config.json").write_text(
        json.dumps({"alignment_heads": [[0, 1]], "suppress_ids": [7], "suppress_ids_begin": [220]})
    )
    shutil.copy(BOX / "tiny.en/tokenizer.json", tmp_path)
    return tmp_path


def refusal(folder: Path, data: bytes) -> str:
    (folder / "model.bin").write_bytes(data)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_floats_come_back_exactly(folder: Path):
    checkpoint = load_checkpoint(folder)
    state = random_state()
    assert checkpoint.config == SMALL
    assert checkpoint.state.keys() == state.keys()
    assert all(torch.equal(checkpoint.state[name], state[name]) for name in state)
    assert checkpoint.generation.alignment_heads == ((0, 1),)
    assert checkpoint.generation.suppress_tokens == (7,)
    assert checkpoint.generation.begin_suppress_tokens == (220,)
    assert checkpoint.generation.prev_sot_token_id == 50360


@pytest.mark.parametrize("bits", [8, 16])
def test_integers_are_divided_by_their_scale(
    folder: Path, variables: dict[str, np.ndarray], bits: int
):
    mixed: dict[str, np.ndarray] = {}
    for name, array in variables.items():
        if name.endswith("/weight"):
            mixed[name], mixed[name + "_scale"] = rounded(array, bits)
        else:
            mixed[name] = array
    (folder / "model.bin").write_bytes(model_bin(mixed))
    state = load_checkpoint(folder).state
    for name, tensor in random_state().items():
        assert (state[name] - tensor).norm() < 0.02 * tensor.norm(), name


@pytest.mark.parametrize(
    "kind", ["float32", "float16", "bfloat16", "int8", "int8_float16", "int16"]
)
def test_reads_what_ctranslate2_writes(tmp_path: Path, kind: str):
    converters = pytest.importorskip("ctranslate2").converters
    pytest.importorskip("transformers")
    source = write_folder(tmp_path / "hf")
    generation = {"alignment_heads": [[1, 0]], "suppress_tokens": [1], "lang_to_id": {}}
    (source / "generation_config.json").write_text(
        json.dumps({**generation, "begin_suppress_tokens": [220], "is_multilingual": False})
    )
    special = {"eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (source / "tokenizer_config.json").write_text(
        json.dumps({**special, "tokenizer_class": "WhisperTokenizerFast"})
    )
    (source / "preprocessor_config.json").write_text(
        json.dumps({"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80})
    )
    converter = converters.TransformersConverter(str(source), copy_files=["tokenizer.json"])
    converter.convert(str(tmp_path / "ct2"), quantization=kind)
    checkpoint = load_checkpoint(tmp_path / "ct2")
    assert checkpoint.config == SMALL
    bound = {"float32": 0.0, "float16": 1e-3, "bfloat16": 4e-3, "int16": 4e-3}.get(kind, 0.02)
    for name, tensor in random_state().items():
        assert (checkpoint.state[name] - tensor).norm() <= bound * tensor.norm(), name


@pytest.mark.parametrize("size", [0, 3, 10, 30, 5000, -1])
def test_truncated_anywhere(folder: Path, variables: dict[str, np.ndarray], size: int):
    message = refusal(folder, model_bin(variables)[:size])
    assert "truncated" in message or "cannot be mapped" in message


def test_damage_and_strangers(folder: Path, variables: dict[str, np.ndarray]):
    assert "binary version 5, only 6 is known" in refusal(folder, model_bin(variables, version=5))
    other = model_bin(variables, spec="TransformerSpec")
    assert "holds a 'TransformerSpec', expected 'WhisperSpec'" in refusal(folder, other)
    assert "4 bytes after its end" in refusal(folder, model_bin(variables) + b"\0\0\0\0")
    untied = model_bin(variables, tied="decoder/other/weight")
    assert "expected the token embedding" in refusal(folder, untied)
    random = np.random.default_rng(0).bytes(10_000)
    assert "binary version" in refusal(folder, random)


def test_variables_that_are_missing_or_unknown(folder: Path, variables: dict[str, np.ndarray]):
    more = {**variables, "decoder/extra": np.zeros(2, dtype=np.float32)}
    assert "unknown variable decoder/extra" in refusal(folder, model_bin(more))
    no_heads = {name: v for name, v in variables.items() if name != "encoder/num_heads"}
    assert "encoder/num_heads" in refusal(folder, model_bin(no_heads))
    less = {name: v for name, v in variables.items() if name != "encoder/conv1/bias"}
    assert "no variable encoder/conv1/bias" in refusal(folder, model_bin(less))
    unscaled = {**variables, "encoder/conv1/weight": rounded(variables["encoder/conv1/weight"])[0]}
    assert "no variable encoder/conv1/weight_scale" in refusal(folder, model_bin(unscaled))
    biased = {**variables, "encoder/layer_0/self_attention/linear_0/bias": np.ones(48, "float32")}
    assert "is not zero for the keys" in refusal(folder, model_bin(biased))


def test_sizes_that_contradict_the_bytes(folder: Path):
    broken = model_bin({"a": np.zeros((2, 3), dtype=np.float32)}).replace(
        struct.pack("<BII", 2, 2, 3), struct.pack("<BII", 2, 2, 4)
    )
    (folder / "model.bin").write_bytes(broken)
    with pytest.raises(CheckpointError, match=r"a has dtype 0, shape \[2, 4\], 24 bytes"):
        read_variables(folder / "model.bin")
