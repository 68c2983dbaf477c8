"""What every codec keeps to on disk: the same codes after a round trip, and errors in one line."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from codec_parts import CODECS, one_line, saved, sound
from safetensors.torch import load_file, save_file

from echoic.codecs.codec import Codec, CodecError
from echoic.codecs.registry import KINDS, load_codec


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> Codec:
    return CODECS[request.param]()


def test_a_saved_codec_is_the_same(codec: Codec, tmp_path: Path) -> None:
    wav, folder = sound(codec, 2, -9), saved(codec, tmp_path / "new" / "folder")
    for loaded in (load_codec(folder), type(codec).from_pretrained(str(folder))):
        assert type(loaded) is type(codec)
        assert not loaded.training
        assert loaded.config == codec.config
        assert torch.equal(loaded.encode(wav).codes, codec.encode(wav).codes)
        assert torch.equal(loaded.decode(loaded.encode(wav)), codec.decode(codec.encode(wav)))


def test_a_codec_can_be_stored_in_half_the_size(codec: Codec, tmp_path: Path) -> None:
    whole, half = saved(codec, tmp_path / "whole"), tmp_path / "half"
    codec.save_pretrained(half, dtype=torch.float16, description="half precision")
    assert json.loads((half / "config.json").read_text())["description"] == "half precision"
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (half, whole)]
    assert sizes[0] < 0.8 * sizes[1]
    loaded = load_codec(half)
    assert {p.dtype for p in loaded.state_dict().values() if p.is_floating_point()} == {
        torch.float32
    }
    wav = sound(codec, 1, -9)
    assert loaded.decode(loaded.encode(wav)).shape == wav.shape


def test_a_folder_of_another_kind(codec: Codec, tmp_path: Path) -> None:
    others = {type(make()) for make in CODECS.values()} - {type(codec)}
    for other in others:
        with pytest.raises(CodecError, match=f"is a {codec.kind}, expected a {other.kind}"):
            other.from_pretrained(saved(codec, tmp_path))


def test_a_config_says_what_the_codec_is(codec: Codec) -> None:
    values = json.loads(json.dumps(asdict(codec.config)))
    assert type(codec).from_config({**values, "model": codec.kind}).config == codec.config


Change = Callable[[dict[str, Any]], object]
CONFIGS: dict[str, tuple[Change, str]] = {
    "unknown": (lambda v: v.update(loudness=3), "unknown setting 'loudness'"),
    "unknown_inside": (lambda v: v["quantizer"].update(beams=3), r"quantizer\.'?beams"),
    "not_fitting": (lambda v: v["quantizer"].update(codebook_size=0), "codebook_size is 0"),
    "missing_inside": (lambda v: v["quantizer"].pop("dim"), "dim"),
    "no_kind": (lambda v: v.pop("model"), "model is None, expected one of"),
    "other_kind": (lambda v: v.update(model="os.system"), "model is 'os.system'"),
    "kind_that_is_no_name": (lambda v: v.update(model=["dac"]), "model is"),
    "other_size": (lambda v: v["quantizer"].update(codebook_size=7), "belong together"),
}


@pytest.mark.parametrize("fault", CONFIGS)
def test_a_wrong_config_is_one_clear_line(codec: Codec, fault: str, tmp_path: Path) -> None:
    change, message = CONFIGS[fault]
    path = saved(codec, tmp_path) / "config.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(CodecError, match=message) as raised:
        load_codec(tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '"echocodec"', "\x00"])
def test_a_config_that_is_no_object(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CodecError, match=r"config\.json") as raised:
        load_codec(tmp_path)
    assert one_line(raised.value)


def _nan(tensors: dict[str, torch.Tensor]) -> None:
    next(t for t in tensors.values() if t.is_floating_point()).view(-1)[0] = float("nan")


def _reshape(tensors: dict[str, torch.Tensor]) -> None:
    name = next(iter(tensors))
    tensors[name] = torch.cat([tensors[name].view(-1)] * 2)


WEIGHTS: dict[str, tuple[Change, str]] = {
    "missing": (lambda t: t.pop(next(iter(t))), "has no '"),
    "unknown": (lambda t: t.update(extra=torch.ones(1)), "has 'extra'"),
    "not_finite": (_nan, "NaN or infinite weights"),
    "shape": (_reshape, "has shape .* expected"),
}


@pytest.mark.parametrize("fault", WEIGHTS)
def test_wrong_weights_are_one_clear_line(codec: Codec, fault: str, tmp_path: Path) -> None:
    change, message = WEIGHTS[fault]
    path = saved(codec, tmp_path) / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    with pytest.raises(CodecError, match=message) as raised:
        load_codec(tmp_path)
    assert one_line(raised.value)


def test_damaged_or_absent_weights(codec: Codec, tmp_path: Path) -> None:
    path = saved(codec, tmp_path) / "model.safetensors"
    whole = path.read_bytes()
    for damaged in (whole[:-7], whole[: len(whole) // 2], b"", b"\x80\x02}q\x00."):
        path.write_bytes(damaged)
        with pytest.raises(CodecError, match="damaged") as raised:
            load_codec(tmp_path)
        assert one_line(raised.value)
    path.unlink()
    with pytest.raises(CodecError, match=r"no model\.safetensors"):
        load_codec(tmp_path)


@pytest.mark.parametrize("name", ["", "no-such-codec", "../echo", "a/b/c", "/nowhere/at/all"])
def test_a_name_that_nothing_has(name: str) -> None:
    with pytest.raises(CodecError, match="no codec") as raised:
        load_codec(name)
    assert "in the box" in str(raised.value)


def test_every_kind_is_held_to_this() -> None:
    own = {kind for kind, (module, _) in KINDS.items() if ".upstream." not in module}
    assert {make().kind for make in CODECS.values()} >= own
