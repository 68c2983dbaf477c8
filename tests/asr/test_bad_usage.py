"""Commands that cannot begin: broken models, options, manifests. Exit code 2 and one line."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import whisper_factory
from real_command import SHORT, Command, only_problem, problems
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from echoic.asr.whisper.box import BOX

RECORDING = json.dumps(str(SHORT))


def tampered(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], object]:
    """Write a small model whose tensors were changed."""

    def write(folder: Path) -> None:
        state = whisper_factory.random_state()
        change(state)
        whisper_factory.write_folder(folder, state)

    return write


def with_file(name: str, content: str | bytes | None) -> Callable[[Path], object]:
    """Write a small model with one file replaced, or without it."""

    def write(folder: Path) -> None:
        path = whisper_factory.write_folder(folder) / name
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def with_config(**changes: object) -> Callable[[Path], object]:
    return with_file("config.json", json.dumps(whisper_factory.SMALL.to_dict() | changes))


def with_bytes(change: Callable[[bytearray], object]) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        path = whisper_factory.write_folder(folder) / "model.safetensors"
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)

    return write


def with_header(header: str) -> Callable[[Path], object]:
    """Copy the boxed model with another header of its eight-bit weights."""

    def write(folder: Path) -> None:
        shutil.copytree(BOX / "tiny.en", folder)
        path = folder / "model.safetensors"
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        save_file(state, path, metadata={"echoic-int8": header})

    return write


NORM = "model.decoder.layer_norm.bias"

# name -> (how it is broken, what the line says)
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty-folder": (lambda folder: folder.mkdir(), "it has no config.json"),
    "flipped-size": (
        with_bytes(lambda data: struct.pack_into("<Q", data, 0, 2**60)),
        "is damaged or no safetensors file",
    ),
    "flipped-header": (
        with_bytes(lambda data: data.__setitem__(20, 255)),
        "is damaged or no safetensors file",
    ),
    "truncated": (with_bytes(lambda data: data.__delitem__(slice(9999, None))), "is damaged"),
    "no-bytes": (with_file("model.safetensors", b""), "is damaged or no safetensors file"),
    "no-weights": (with_file("model.safetensors", None), "has no weights"),
    "wrong-shape": (tampered(lambda s: s.update({NORM: torch.zeros(3)})), "has shape (3,)"),
    "missing": (tampered(lambda s: s.pop(NORM)), f"has no tensor {NORM}"),
    "extra": (tampered(lambda s: s.update(x=torch.zeros(3))), "has an unexpected tensor x"),
    "integers": (tampered(lambda s: s.update({NORM: s[NORM].int()})), "expected floats"),
    "nan": (tampered(lambda s: s[NORM].fill_(torch.nan)), f"{NORM} holds NaN or infinity"),
    "config-broken": (with_file("config.json", "{"), "is not readable JSON"),
    "config-list": (with_file("config.json", "[]"), "holds a list, expected an object"),
    "config-binary": (with_file("config.json", b"\xff\xfe"), "is not readable JSON"),
    "config-missing": (with_file("config.json", None), "it has no config.json"),
    "other-type": (with_config(model_type="wav2vec2"), "model_type is 'wav2vec2'"),
    "text-for-number": (with_config(d_model="big"), "d_model must be a positive integer"),
    "other-size": (with_config(d_model=10**9), "config.json says"),
    "no-tokenizer": (with_file("tokenizer.json", None), "has no tokenizer"),
    "tokenizer-broken": (with_file("tokenizer.json", "{"), "is not readable JSON"),
    "tokenizer-other": (with_file("tokenizer.json", '{"model": {}}'), "not a byte-level BPE"),
    "suppresses-nothing-known": (
        with_file("generation_config.json", '{"suppress_tokens": [99999999]}'),
        "outside the vocabulary",
    ),
    "generation-wrong": (
        with_file("generation_config.json", '{"suppress_tokens": 3}'),
        "holds a value of a wrong kind",
    ),
    "generation-list": (
        with_file("generation_config.json", '{"is_multilingual": 1, "lang_to_id": [1]}'),
        "holds a value of a wrong kind",
    ),
    "int8-header-list": (with_header("[]"), "its header is wrong"),
    "int8-group-0": (
        with_header('{"version": 1, "group": 0}'),
        "its header is wrong: groups of 0 weights",
    ),
    "int8-future": (with_header('{"version": 2}'), "has version 2 of echoic-int8, expected 1"),
    "int8-sinusoids": (
        with_header('{"version": 1, "group": 32, "sinusoids": {"length": 1e99}}'),
        "its header is wrong",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_models(command: Command, tmp_path: Path, name: str):
    make, said = BROKEN[name]
    make(tmp_path / name)
    command.really_load()
    result = command.type(SHORT, "-m", tmp_path / name)
    assert (result.exit_code, result.stdout) == (2, "")
    line = only_problem(result)
    assert str(tmp_path / name) in line
    assert said in line


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("canary",)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.bin"])
def test_code_in_weights_is_never_run(command: Command, tmp_path: Path, name: str):
    folder = whisper_factory.write_folder(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save({NORM: Bomb()}, folder / name)
    command.really_load()
    result = command.type(SHORT, "-m", folder)
    assert result.exit_code == 2
    assert str(folder / name) in only_problem(result)
    assert not Path("canary").exists()
    torch.load(folder / name, weights_only=False)
    assert Path("canary").exists()  # so the bomb was a real one


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tinny.en", "no model 'tinny.en'; in the box: tiny.en"),
        ("./nowhere", "no folder ./nowhere; in the box: tiny.en"),
        ("nobody/knows", "cannot fetch nobody/knows from the Hugging Face Hub"),
        ("small", "cannot fetch openai/whisper-small from the Hugging Face Hub"),
        ("no body/knows?", "'no body/knows?' is no Hugging Face id; in the box: tiny.en"),
        (str(SHORT), f"{SHORT} is a file, expected the folder that holds it; in the box"),
    ],
)
def test_models_that_are_not_there(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, said: str
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    command.really_load()
    result = command.type(SHORT, "-m", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert only_problem(result).startswith(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--language", "xx"], "unknown language 'xx': give a code such as 'en'"),
        (["--language", "french"], "this model knows English only, not french; take a multi"),
        (["-f", "doc"], "format 'doc' is unknown; choose from txt, srt, vtt, tsv, json, all"),
        (["-f", ","], "no format is named; choose from"),
        (["--json", "-f", "srt"], "--json prints JSON lines; add -o DIR"),
        (["--shard", "0/2"], "shard 0/2 does not exist; write 1/2 to 2/2"),
        (["--shard", "3/2"], "shard 3/2 does not exist; write 1/2 to 2/2"),
        (["--shard", "1/²"], "--shard '1/²' is not a part; write it as 2/8"),
        (["--shard", "1/" + "9" * 5000], "is not a part; write it as 2/8"),
        (["--prompt", "caf\udce9"], "--prompt is not UTF-8; type it in a UTF-8 terminal"),
        (["--hotwords", "\ud800"], "--hotwords is not UTF-8; type it in a UTF-8 terminal"),
        (["-o", ""], "the output folder's name is empty; name it with -o DIR"),
        (["--files-from", "no-list"], "--files-from no-list: no such file; check the path"),
        (["*.nix"], "'*.nix' matches no file; check the pattern"),
    ],
)
def test_options_that_make_no_sense(command: Command, words: list[str], said: str):
    result = command.type(SHORT, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in only_problem(result)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "tpu"], "unknown device 'tpu': auto, cpu, cuda"),
        (["--device", "cuda:9"], "device 'cuda:9' is not there"),
        (["--dtype", "float16", "--device", "cpu"], "float16 is for GPUs: on a CPU take"),
    ],
)
def test_machines_that_are_not_there(command: Command, words: list[str], said: str):
    if "cuda:9" in words and torch.cuda.is_available():
        said = "cuda:9"
    command.really_load()
    result = command.type(SHORT, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = problems(result)
    assert said in line


@pytest.mark.parametrize("option", ["--batch-size", "--threads", "--beam-size"])
@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_numbers_that_are_none(command: Command, option: str, value: str):
    result = command.type(SHORT, option, value)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Invalid value for '{option}'" in result.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{audio: a.wav}", "not JSON"),
        (b'{"id": "a"}', "no 'audio' (nor 'audio_filepath')"),
        (b'{"audio": "caf\xe9.wav"}', "not UTF-8 (byte 14); convert the file"),
        (b'{"audio": 3}', "'audio' is 3; it must be a path"),
        (b'["a.wav"]', "a list, not an object; write"),
        (f'{{"audio": {RECORDING}, "offset": 0, "duration": -1}}', "'duration' is -1; it must"),
        (f'{{"audio": {RECORDING}, "duration": NaN}}', "not JSON (NaN is no JSON value); mend"),
        (f'{{"audio": {RECORDING}, "offset": 1e999}}', "the number 1e999 is too large"),
        (f'{{"audio": {RECORDING}, "id": "good", "offset": 1}}', "both be written to 'good'; give"),
        (f'{{"audio": {RECORDING}, "id": "../x"}}', "cannot name an output file; use"),
        (b"[" * 99999, "not JSON (brackets in brackets without end); mend or drop the line"),
    ],
)
def test_manifests_with_a_bad_line(command: Command, line: str | bytes, said: str):
    good = f'{{"audio": {RECORDING}, "id": "good"}}\n'.encode()
    Path("m.jsonl").write_bytes(good + (line if isinstance(line, bytes) else line.encode()))
    result = command.type("m.jsonl", "-o", "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "m.jsonl, line 2" in only_problem(result)
    assert said in only_problem(result)
    assert not Path("out").exists()


def test_a_manifest_with_bad_recordings_is_done_but_for_them(command: Command):
    lines = [
        {"audio": "no-such.wav", "id": "missing"},
        {"audio": str(SHORT), "id": "late", "offset": 99},
        {"audio": str(SHORT), "id": "good"},
    ]
    Path("m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    result = command.type("m.jsonl", "-o", "out", "-f", "txt")
    assert result.exit_code == 1
    late, missing = sorted(problems(result))
    assert "late: has no sound after the offset of 99.0 s; choose an offset" in late
    assert "missing: no such file; check the spelling" in missing
    assert [p.name for p in Path("out").glob("*.txt")] == ["good.txt"]


@pytest.mark.parametrize("content", ["", "\n\n \n"])
def test_an_empty_manifest(command: Command, content: str):
    Path("m.jsonl").write_text(content)
    result = command.type("m.jsonl")
    assert (result.exit_code, result.stderr) == (2, "echoic: m.jsonl: the manifest is empty\n")
