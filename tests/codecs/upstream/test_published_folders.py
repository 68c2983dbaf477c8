"""Folders that transformers wrote: what is read from them, what is refused, and in which words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from codec_parts import one_line, sound
from safetensors.torch import load_file, save_file
from small_upstream import SETTINGS, library_folder

from echoic.codecs.codec import Codec, CodecError
from echoic.codecs.registry import load_codec
from echoic.codecs.upstream.encodec import Encodec
from echoic.codecs.upstream.mimi import Mimi
from echoic.codecs.upstream.transformers_codec import TransformersCodec

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each kind; tests copy what they change."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in SETTINGS}
    for kind, folder in folders.items():
        library_folder(kind, folder)
    return folders


def changed(
    src: Path,
    dst: Path,
    *,
    values: Callable[[dict[str, Any]], object] | None = None,
    tensors: Callable[[dict[str, torch.Tensor]], object] | None = None,
) -> Path:
    """Write a copy of a folder with changes."""
    settings = json.loads((src / "config.json").read_text())
    state = load_file(src / "model.safetensors")
    if values is not None:
        values(settings)
    if tensors is not None:
        tensors(state)
    (dst / "config.json").write_text(json.dumps(settings))
    save_file(state, dst / "model.safetensors")
    return dst


def same_codes(codec: Codec, other: Codec) -> bool:
    wav = sound(codec, 1, -30)
    return torch.equal(codec.encode(wav).codes, other.encode(wav).codes)


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_folder_loads_as_what_it_is(kind: str, published: dict[str, Path]) -> None:
    codec = load_codec(published[kind])
    assert codec.kind == kind
    assert isinstance(codec, TransformersCodec)
    assert not codec.training
    assert type(codec).from_pretrained(published[kind]).config == codec.config
    other = Mimi if kind != "mimi" else Encodec
    with pytest.raises(CodecError, match=f"is a {kind}, expected a {other.kind}"):
        other.from_pretrained(published[kind])


@pytest.mark.parametrize("kind", SETTINGS)
def test_defaults_are_left_out_of_older_files(
    kind: str, published: dict[str, Path], tmp_path: Path
) -> None:
    def reduce(values: dict[str, Any]) -> None:
        for name in set(values) - set(SETTINGS[kind]) - {"model_type"}:
            del values[name]

    folder = changed(published[kind], tmp_path, values=reduce)
    assert load_codec(folder).config == load_codec(published[kind]).config


def test_older_names_of_weight_norm(published: dict[str, Path], tmp_path: Path) -> None:
    def rename(state: dict[str, torch.Tensor]) -> None:
        new = {"original0": "weight_g", "original1": "weight_v"}
        for name in [name for name in state if ".parametrizations.weight." in name]:
            stem, end = name.split("parametrizations.weight.")
            state[stem + new[end]] = state.pop(name)

    folder = changed(published["encodec"], tmp_path, tensors=rename)
    assert same_codes(load_codec(folder), load_codec(published["encodec"]))


def test_half_precision_becomes_float32(published: dict[str, Path], tmp_path: Path) -> None:
    def halve(state: dict[str, torch.Tensor]) -> None:
        state.update({name: tensor.half() for name, tensor in state.items()})

    codec = load_codec(changed(published["mimi"], tmp_path, tensors=halve))
    assert {p.dtype for p in codec.parameters()} == {torch.float32}
    assert codec.decode(codec.encode(sound(codec, 1, -3))).isfinite().all()


def test_an_older_place_of_the_rotary_base(published: dict[str, Path], tmp_path: Path) -> None:
    def move(values: dict[str, Any]) -> None:
        values["rope_parameters"] = None
        values["rope_theta"] = 500

    codec = load_codec(changed(published["mimi"], tmp_path, values=move))
    assert codec.config.transformer.rotary_base == 500.0
    assert not same_codes(codec, load_codec(published["mimi"]))


def setting(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda values: values.update({name: value})


CONFIGS = [
    ("encodec", setting("audio_channels", 2), "audio_channels is 2 .*stereo form at 48 kHz"),
    ("encodec", setting("normalize", True), "normalize is True .*expected False"),
    ("encodec", setting("chunk_length_s", 1.0), r"chunk_length_s is 1\.0"),
    ("encodec", setting("norm_type", "time_group_norm"), "norm_type is 'time_group_norm'"),
    ("encodec", setting("pad_mode", "circular"), "pad_mode is 'circular', expected one of const"),
    ("encodec", setting("upsampling_ratios", "3,2"), r"upsampling_ratios is '3,2' .*\(8, 5, 4, 2"),
    ("encodec", setting("upsampling_ratios", [3, "2"]), "upsampling_ratios is "),
    ("encodec", setting("upsampling_ratios", [3, 0]), "ratios are .*strides of 1 or more"),
    ("encodec", setting("num_filters", None), "num_filters is None .*such as 32"),
    ("encodec", setting("num_filters", True), "num_filters is True"),
    ("encodec", setting("sampling_rate", 0), "sample_rate is 0"),
    ("encodec", setting("hidden_size", 9), "books have 8 channels, expected 9"),
    ("encodec", setting("kernel_size", 5), r"encoder\.layers\.0\.conv\.weight has shape .*another"),
    ("encodec", setting("num_residual_layers", 2), "has no .* of another configuration"),
    ("encodec", setting("compress", 3), "channels is 4, expected a multiple of compress"),
    ("dac", setting("downsampling_ratios", [1, 2]), "ratios are .*strides of 2 or more"),
    ("dac", setting("decoder_hidden_size", 18), "decoder_channels is 18, expected a multiple of 4"),
    ("dac", setting("codebook_size", 0), "codebook_size is 0"),
    ("dac", setting("n_codebooks", 3), "quantizer.quantizers.3.codebook.weight.* does not"),
    ("mimi", setting("audio_channels", 2), "audio_channels is 2 .*form that was published"),
    ("mimi", setting("num_key_value_heads", 1), "num_key_value_heads is 1 .*expected 2"),
    ("mimi", setting("use_causal_conv", False), "use_causal_conv is False"),
    ("mimi", setting("hidden_act", "silu"), "hidden_act is 'silu'"),
    ("mimi", setting("head_dim", 4), "head_dim is 4 .*expected 8"),
    ("mimi", setting("rope_parameters", {"rope_type": "yarn"}), "rope_type is 'yarn'"),
    ("mimi", setting("rope_parameters", "default"), "rope_parameters is 'default'"),
    (
        "mimi",
        lambda v: v.update(num_attention_heads=0, num_key_value_heads=0),
        "heads is 0, expected 1 or more",
    ),
    ("mimi", setting("upsample_groups", 5), "dim is 16, expected a multiple of the groups"),
    ("mimi", setting("num_hidden_layers", 1), "layers.1.* which this codec does not"),
    ("mimi", setting("model_type", "whisper"), "model is 'whisper', expected one of"),
]


@pytest.mark.parametrize(("kind", "change", "message"), CONFIGS)
def test_settings_that_are_not_supported(
    kind: str,
    change: Callable[[dict[str, Any]], object],
    message: str,
    published: dict[str, Path],
    tmp_path: Path,
) -> None:
    folder = changed(published[kind], tmp_path, values=change)
    with pytest.raises(CodecError, match=message) as raised:
        load_codec(folder)
    assert str(folder) in str(raised.value)
    assert one_line(raised.value)


def lose(name: str) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda state: state.pop(name)


def fill(name: str, value: float) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda state: state[name].fill_(value)


RVQ = "quantizer.acoustic_residual_vector_quantizer."
TENSORS = [
    ("encodec", lose("encoder.layers.0.conv.bias"), r"has no 'encoder\.layers\.0\.conv\.bias'"),
    ("encodec", lose("quantizer.layers.1.codebook.embed"), r"for N of \[0, 2, 3\].*not whole"),
    ("encodec", fill("quantizer.layers.1.codebook.embed", float("nan")), "NaN or infinite"),
    ("encodec", fill("decoder.layers.0.conv.bias", float("inf")), "layers.0.conv.bias has NaN"),
    ("encodec", lambda s: s.update(extra=torch.ones(1)), "has 'extra', which this codec does not"),
    ("encodec", lambda s: s.clear(), r"for N of \[\]"),
    ("dac", lose("quantizer.quantizers.1.in_proj.bias"), r"has no 'quantizer\.quantizers\.1\.in_"),
    ("dac", fill("quantizer.quantizers.1.codebook.weight", float("nan")), "weight has NaN"),
    (
        "dac",
        lose("encoder.block.1.res_unit2.snake1.alpha"),
        r"has no 'encoder\.block\.1\.res_unit2",
    ),
    ("mimi", lose("downsample.conv.weight"), "no downsample.conv.weight"),
    ("mimi", lose(f"{RVQ}layers.2.codebook.cluster_usage"), "counts .* and sums"),
    ("mimi", lose(f"{RVQ}input_proj.weight"), "has no .*input_proj.weight"),
    ("mimi", lose("decoder_transformer.layers.1.mlp.fc2.weight"), "has no .*mlp.fc2.weight"),
    ("mimi", fill("upsample.conv.weight", float("nan")), "upsample.conv.weight has NaN"),
]


@pytest.mark.parametrize(("kind", "change", "message"), TENSORS)
def test_tensors_that_do_not_fit(
    kind: str,
    change: Callable[[dict[str, torch.Tensor]], object],
    message: str,
    published: dict[str, Path],
    tmp_path: Path,
) -> None:
    folder = changed(published[kind], tmp_path, tensors=change)
    with pytest.raises(CodecError, match=message) as raised:
        load_codec(folder)
    assert str(folder) in str(raised.value)
    assert one_line(raised.value)


def test_a_damaged_file_and_none(published: dict[str, Path], tmp_path: Path) -> None:
    folder = changed(published["dac"], tmp_path)
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for damaged in (whole[:-9], b"", b"\x80\x02}q\x00."):
        path.write_bytes(damaged)
        with pytest.raises(CodecError, match=r"model\.safetensors: damaged") as raised:
            load_codec(folder)
        assert one_line(raised.value)
    path.unlink()
    with pytest.raises(CodecError, match=r"no model\.safetensors"):
        load_codec(folder)


def test_the_base_has_no_form_of_its_own() -> None:
    with pytest.raises(TypeError, match="use one of its subclasses"):
        TransformersCodec.from_published({}, {})
