"""One command for the codecs of others: it finds what they are, and says what is wrong."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import hifigan_oracle as oracle
import pytest
import torch
from languagecodec_oracle import upstream_state
from small_upstream import SETTINGS, library_folder
from typer.testing import CliRunner, Result

from echoic.codecs.codec import CodecError
from echoic.codecs.import_cli import Kind
from echoic.codecs.registry import load_codec
from echoic.codecs.upstream.importing import KINDS, import_codec, recognise
from echoic.recipes.cli import build_app

LINES = {
    "hificodec": "24000 Hz, 75 frames a second of 4 codes of 32 values, 1.5 kbit/s",
    "languagecodec": "24000 Hz, 75 frames a second of 8 codes of ",
    "distilcodec": "24000 Hz, 93.75 frames a second of 1 codes of 64 values, 0.5625 kbit/s",
    "encodec": "2400 Hz, 400 frames a second of 4 codes of 16 values, 6.4 kbit/s",
    "dac": "16000 Hz, 2666.67 frames a second of 4 codes of 16 values, 42.6667 kbit/s",
    "mimi": "2400 Hz, 200 frames a second of 4 codes of 16 values, 3.2 kbit/s",
}


def publish(kind: str, folder: Path) -> Path:
    """Write a codec as its authors do; return the file or folder to import."""
    folder.mkdir()
    if kind == "hificodec":
        path = folder / "HiFi-Codec-24k-320d"
        torch.save(oracle.hificodec_parts(), path)
    elif kind == "languagecodec":
        path = folder / "published.ckpt"
        torch.save({"state_dict": upstream_state()}, path)
    elif kind == "distilcodec":
        path = folder / "g_00204000"
        torch.save(oracle.distilcodec_parts(), path)
    else:
        pytest.importorskip("transformers")
        library_folder(kind, folder)
        path = folder
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("published")
    return {kind: publish(kind, root / kind) for kind in KINDS}


def typed(*words: object) -> Result:
    line = ["import", "codec", *map(str, words)]
    result = CliRunner().invoke(build_app(line), line)
    assert "Traceback" not in result.output
    return result


def refused(result: Result, code: int) -> str:
    """Return the one line of a command that failed."""
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_the_command_knows_every_kind() -> None:
    assert [kind.value for kind in Kind] == list(KINDS)
    assert set(LINES) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_command(kind: str, published: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "new" / "codec"
    result = typed(published[kind], folder)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{folder}: {kind}, {LINES[kind]}")
    assert result.stdout.count("\n") == 1
    assert ("CC BY-NC-ND" in result.stderr) == (kind == "distilcodec")
    assert result.stderr.count("\n") == (kind == "distilcodec")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    values = json.loads((folder / "config.json").read_text())
    assert values["model"] == kind
    assert f"imported from {published[kind].name}" in values["description"]
    codec = load_codec(folder)
    wav = 0.1 * torch.randn(1, 5000, generator=torch.Generator().manual_seed(0))
    assert codec.decode(codec.encode(wav)).shape == wav.shape


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_found_by_what_is_in_it(kind: str, published: dict[str, Path]) -> None:
    path = published[kind]
    assert recognise(path) == [kind]
    folder = path if path.is_dir() else path.parent
    assert recognise(folder) == [kind]
    if kind in SETTINGS:
        assert recognise(path / "model.safetensors") == [kind]


def test_a_file_of_a_folder_stands_for_it(published: dict[str, Path], tmp_path: Path) -> None:
    done = import_codec(published["mimi"] / "model.safetensors", tmp_path / "ours")
    theirs = load_codec(published["mimi"])
    wav = torch.randn(1, 500, generator=torch.Generator().manual_seed(0))
    assert (done.kind, done.folder) == ("mimi", tmp_path / "ours")
    assert torch.equal(done.codec.encode(wav).codes, theirs.encode(wav).codes)


def test_a_kind_may_be_named(published: dict[str, Path], tmp_path: Path) -> None:
    both = tmp_path / "both"
    both.mkdir()
    for kind in ("hificodec", "distilcodec"):
        shutil.copy(published[kind], both)
    assert recognise(both) == ["hificodec", "distilcodec"]
    line = refused(typed(both, tmp_path / "a"), 1)
    assert "several kinds (hificodec, distilcodec); name the file to import" in line
    result = typed(both, tmp_path / "a", "--kind", "hificodec")
    assert result.exit_code == 0, result.stderr
    assert load_codec(tmp_path / "a").kind == "hificodec"
    line = refused(typed(published["dac"], tmp_path / "b", "--kind", "mimi"), 1)
    assert "its config.json has model_type 'dac', expected 'mimi'" in line
    line = refused(typed(published["dac"], tmp_path / "b", "--kind", "hificodec"), 1)
    assert "no checkpoint of HiFi-Codec" in line
    with pytest.raises(CodecError, match="kind is 'snac', expected one of hificodec, "):
        import_codec(both, tmp_path / "b", "snac")


def test_what_is_no_codec(tmp_path: Path) -> None:
    others = {"notes.txt": b"none", "config.json": b'{"model_type": "whisper"}', "a.pt": b"PK"}
    for name, content in others.items():
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (folder / name).write_bytes(content)
        for src in (folder, folder / name):
            line = refused(typed(src, tmp_path / "out"), 1)
            assert "no codec that is known; expected a checkpoint of HiFi-Codec, Lang" in line
            assert "EnCodec, DAC or Mimi that transformers wrote" in line
    assert not (tmp_path / "out").exists()


def test_what_is_ours_already(published: dict[str, Path], tmp_path: Path) -> None:
    import_codec(published["dac"], tmp_path / "ours")
    line = refused(typed(tmp_path / "ours", tmp_path / "again"), 1)
    assert "in the form of echoic already" in line


def test_wrong_places(published: dict[str, Path], tmp_path: Path) -> None:
    line = refused(typed(tmp_path / "absent\n", tmp_path / "out"), 2)
    assert "no such file or folder" in line
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("kept")
    for dst in (tmp_path / "full", tmp_path / "full" / "a.txt"):
        line = refused(typed(published["dac"], dst), 2)
        assert "exists and is no empty folder; name a new one" in line
    assert (tmp_path / "full" / "a.txt").read_text() == "kept"
    (tmp_path / "empty").mkdir()
    assert typed(published["dac"], tmp_path / "empty").exit_code == 0


def test_damaged_files(published: dict[str, Path], tmp_path: Path) -> None:
    for kind in KINDS:
        src = tmp_path / kind
        path = published[kind]
        shutil.copytree(path if path.is_dir() else path.parent, src)
        weights = src / ("model.safetensors" if path.is_dir() else path.name)
        weights.write_bytes(weights.read_bytes()[:-1000])
        line = refused(typed(src, tmp_path / "out"), 1)
        assert str(weights) in line
        assert "damaged" in line
    assert not (tmp_path / "out").exists()


def test_stereo_is_refused(published: dict[str, Path], tmp_path: Path) -> None:
    src = tmp_path / "src"
    shutil.copytree(published["encodec"], src)
    values = json.loads((src / "config.json").read_text())
    (src / "config.json").write_text(json.dumps(values | {"audio_channels": 2, "normalize": True}))
    line = refused(typed(src, tmp_path / "out"), 1)
    assert "stereo form at 48 kHz" in line


def test_transformers_is_not_needed(published: dict[str, Path], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['transformers'] = None\n"
        "from pathlib import Path\n"
        "from echoic.codecs.upstream.importing import import_codec\n"
        f"print(import_codec(Path({str(published['mimi'])!r}), Path({str(tmp_path / 'm')!r})).kind)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("mimi\n", 0), done.stderr
