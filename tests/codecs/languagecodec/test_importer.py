"""Checkpoints of Language-Codec: which are recognised, what is refused, and in which words."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from languagecodec_oracle import BOOKS, ENCODER, upstream_state
from torch import Tensor

from echoic.codecs.errors import CodecError
from echoic.codecs.languagecodec.importer import import_files, recognise
from echoic.codecs.languagecodec.model import LanguageCodec


def written(state: object, folder: Path, name: str = "published.ckpt", **options) -> Path:
    path = folder / name
    torch.save(state, path, **options)
    return path


def test_a_folder_with_one_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    assert recognise(checkpoint)
    assert recognise(checkpoint.parent)
    import_files(checkpoint.parent, tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["model"] == "languagecodec"
    assert (values["ratios"], values["blocks"], values["sample_rate"]) == ([2, 4, 5, 8], 3, 24_000)


def test_sizes_are_those_of_the_tensors(tmp_path: Path) -> None:
    state = upstream_state(codes=16, blocks=2, ratios=(2, 3), n_fft=36, lstm=1, conditions=1)
    path = written({"state_dict": state}, tmp_path)
    (tmp_path / "run.yaml").write_text("model: {class_path: a.B, init_args: {sample_rate: 16000}}")
    (tmp_path / "other.yaml").write_text("- [")
    import_files(path, tmp_path / "out")
    config = LanguageCodec.from_pretrained(tmp_path / "out").config
    assert (config.quantizer.codebook_size, config.blocks, config.ratios) == (16, 2, (2, 3))
    assert (config.n_fft, config.lstm_layers, config.conditions) == (36, 1, 1)
    assert (config.sample_rate, config.weight_norm) == (16_000, False)


def test_a_bare_state_dict_of_any_age(state: dict[str, Tensor], wav: Tensor, tmp_path: Path):
    new = {
        name.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): value
        for name, value in state.items()
    }
    old = written(state, tmp_path, "old.pt", _use_new_zipfile_serialization=False)
    codes = []
    for path in (old, written(new, tmp_path, "new.pt")):
        assert recognise(path)
        import_files(path, tmp_path / path.stem)
        codes.append(LanguageCodec.from_pretrained(tmp_path / path.stem).encode(wav).codes)
    assert torch.equal(*codes)


def test_what_is_something_else(state: dict[str, Tensor], tmp_path: Path) -> None:
    text = tmp_path / "text.ckpt"
    text.write_bytes(b"PK\x03\x04 no archive, though it starts like one")
    wavtokenizer = written(
        {"state_dict": state | {"backbone.pos_net.0.norm1.weight": torch.ones(3)}}, tmp_path
    )
    others = [text, wavtokenizer, written({"generator": {}}, tmp_path, "g.ckpt"), tmp_path / "none"]
    assert [path for path in [*others, tmp_path] if recognise(path)] == []
    with pytest.raises(CodecError, match="expected one Language-Codec checkpoint, found none"):
        import_files(tmp_path, tmp_path / "out")


def test_several_checkpoints(state: dict[str, Tensor], tmp_path: Path) -> None:
    for name in ("a.ckpt", "b.ckpt"):
        written({"state_dict": state}, tmp_path, name)
    with pytest.raises(CodecError, match=r"found a\.ckpt, b\.ckpt; name the file"):
        import_files(tmp_path, tmp_path / "out")


def test_objects_that_could_run_code(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = written({"state_dict": state, "started": datetime.now(UTC)}, tmp_path)
    assert recognise(path)
    with pytest.raises(CodecError, match=r"holds objects of datetime\.datetime.*run code"):
        import_files(path, tmp_path / "out")


def test_a_truncated_file(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.ckpt"
    path.write_bytes(checkpoint.read_bytes()[:-5000])
    assert recognise(path)
    with pytest.raises(CodecError, match=r"short\.ckpt: damaged"):
        import_files(path, tmp_path / "out")


Change = Callable[[dict[str, Tensor]], object]
FIRST = f"{BOOKS}0._codebook."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("head.out.bias"), "has no 'head.out.bias'"),
        (lambda s: s.pop("head.out.weight"), "no head.out.weight"),
        (lambda s: s.pop(f"{ENCODER}0.conv.conv.weight_v"), "stands without"),
        (lambda s: s.pop(f"{BOOKS}4._codebook.embed"), r"books \[0, 1, 2, 3, 5, 6, 7\]"),
        (lambda s: s[f"{FIRST}inited"].zero_(), "book 0 was never learned"),
        (lambda s: s[f"{FIRST}embed"][3, 4].fill_(0.1), "book 0 .* channels 0 to 3, expected 0"),
        (lambda s: s[f"{BOOKS}1._codebook.embed"].fill_(0.1), "book 1 .* channels 4 to 8"),
        (lambda s: s[f"{BOOKS}2._codebook.embed"].fill_(float("nan")), "book 2 has values"),
        (lambda s: s["head.istft.window"].fill_(1.0), "no Hann window of 1280"),
        (lambda s: s["backbone.embed.bias"].fill_(float("inf")), "NaN or infinite"),
        (lambda s: s.update({"backbone.extra": torch.ones(1)}), "'backbone.extra', which this"),
        (lambda s: s.update({"backbone.embed.bias": torch.ones(3)}), r"shape \(3,\), expected"),
    ],
)
def test_tensors_that_do_not_fit(change: Change, message: str, tmp_path: Path) -> None:
    state = upstream_state()
    change(state)
    path = written({"state_dict": state}, tmp_path)
    with pytest.raises(CodecError, match=f"^[^\n]*{message}[^\n]*$") as raised:
        import_files(path, tmp_path / "out")
    assert str(path) in str(raised.value)
    assert not (tmp_path / "out").exists()
