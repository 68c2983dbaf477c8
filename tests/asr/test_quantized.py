import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from whisper_factory import random_state, write_folder

from echoic.asr.arithmetic import are_bytes
from echoic.asr.quantized import (
    GROUP,
    dequantize,
    is_quantized,
    load_quantized,
    quantize,
    save_quantized,
)
from echoic.asr.whisper.box import box_models
from echoic.asr.whisper.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from echoic.asr.whisper.layout import ENCODER_POSITIONS, expected_shapes


@pytest.mark.parametrize("shape", [(5, 64), (7, 40), (3, 10, 3), (4, 1)])
def test_error_is_at_most_half_a_step(shape: tuple[int, ...]):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.1
    weight[0] *= 100
    values, scale = quantize(weight)
    assert (values.dtype, values.shape, scale.dtype) == (torch.int8, weight.shape, torch.float16)
    error = (dequantize(values, scale) - weight).abs().flatten(1)
    steps = scale.float().repeat_interleave(32, dim=1)[:, : error.shape[1]]
    # A scale rounded down to float16 clips the largest weight by up to 127 / 2048 of a step more.
    assert (error <= steps * 0.57).all()


def test_zeros_stay_zero_and_nonsense_is_refused():
    assert not dequantize(*quantize(torch.zeros(2, 64))).any()
    with pytest.raises(ValueError, match="NaN or infinity"):
        quantize(torch.tensor([[1.0, float("nan")]]))


def test_file_round_trip(tmp_path: Path):
    state = random_state()
    path = tmp_path / "model.safetensors"
    save_quantized(state, path)
    assert is_quantized(path)
    loaded = load_quantized(path)
    assert loaded.keys() == state.keys()
    for name, tensor in state.items():
        assert loaded[name].shape == tensor.shape
        assert (loaded[name] - tensor).norm() < 0.01 * tensor.norm()
    assert torch.equal(loaded[ENCODER_POSITIONS], state[ENCODER_POSITIONS])
    with safe_open(path, framework="pt") as file:
        assert ENCODER_POSITIONS not in file.keys()  # noqa: SIM118
    assert load_quantized(path, torch.float16)[ENCODER_POSITIONS].dtype == torch.float16


def test_whole_rows_are_the_bytes_that_are_multiplied(tmp_path: Path):
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.randn(20, 3 * GROUP, generator=generator) for name in ("row", "groups")}
    path = tmp_path / "model.safetensors"
    save_quantized(state, path, whole_rows=["row"])
    loaded = load_quantized(path)
    assert are_bytes(loaded["row"])
    assert not are_bytes(loaded["groups"])
    for name, tensor in loaded.items():
        assert (tensor - state[name]).norm() < 0.02 * state[name].norm()
    save_quantized(loaded, path, whole_rows=["row"])
    assert torch.equal(load_quantized(path)["row"], loaded["row"])


def test_learned_positions_are_stored(tmp_path: Path):
    state = random_state()
    state[ENCODER_POSITIONS] = state[ENCODER_POSITIONS] + 1e-5
    save_quantized(state, tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
        assert ENCODER_POSITIONS in file.keys()  # noqa: SIM118


def test_a_checkpoint_can_be_saved_quantised_twice(tmp_path: Path):
    write_folder(tmp_path / "a")
    save_checkpoint(load_checkpoint(tmp_path / "a"), tmp_path / "b", quantize=True)
    once = load_checkpoint(tmp_path / "b")
    save_checkpoint(once, tmp_path / "c", quantize=True)
    twice = load_checkpoint(tmp_path / "c")
    assert once.generation == twice.generation
    for name, tensor in once.state.items():
        torch.testing.assert_close(twice.state[name], tensor, rtol=0, atol=2e-3)


def test_damaged_files(tmp_path: Path):
    path = tmp_path / "m.safetensors"
    save_quantized(random_state(), path)
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    scale = "model.encoder.conv1.weight.scale"
    save_file({**tensors, scale: tensors[scale][:1]}, path, metadata=metadata)
    with pytest.raises(CheckpointError, match="no scale for every 32 weights of a row"):
        load_quantized(path)
    newer = {name: text.replace('"version": 1', '"version": 9') for name, text in metadata.items()}
    save_file(tensors, path, metadata=newer)
    with pytest.raises(CheckpointError, match="has version 9 of echoic-int8, expected 1"):
        load_quantized(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="damaged"):
        is_quantized(path)


def test_the_box_holds_tiny_en():
    model = next(m for m in box_models() if m.name == "tiny.en")
    names = {path.name for path in model.folder.iterdir()}
    assert {"LICENSE", "README.md", "model.safetensors", "tokenizer.json"} <= names
    assert "Copyright (c) 2022 OpenAI" in (model.folder / "LICENSE").read_text()
    assert 30e6 < model.num_bytes < 45e6
    assert "English" in model.description
    began = time.perf_counter()
    checkpoint = load_checkpoint("tiny.en")
    assert time.perf_counter() - began < 5  # 0.4 s on an idle core
    assert (checkpoint.config.d_model, checkpoint.config.encoder_layers) == (384, 4)
    assert checkpoint.state.keys() == expected_shapes(checkpoint.config).keys()
    assert all(t.dtype == torch.float32 and t.isfinite().all() for t in checkpoint.state.values())
    assert checkpoint.generation.alignment_heads[-1] == (3, 4)
