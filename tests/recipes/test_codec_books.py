"""A codec with more books: a folder that loads, closer to the sound, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from speech_data import novel
from tiny_codec import saved_codec

from echoic.codecs.registry import load_codec
from echoic.recipes.prepare.codec_books import main


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "speech.jsonl"
    rows = [{"audio": str(u.path), "split": "train"} for u in novel()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_longer_codec(tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = saved_codec(tmp_path / "short"), tmp_path / "long"
    words = [str(source), f"{manifest},split=train", str(out), "--layers", "6"]
    assert main([*words, "--vectors", "800", "--dtype", "float32"]) == 0
    assert "6 codes, 1500 bit/s" in capsys.readouterr().out
    short, long = load_codec(source), load_codec(out)
    wav = novel()[0].wav[None]
    codes = long.encode(wav).codes
    assert torch.equal(codes[:, :3], short.encode(wav).codes)
    assert torch.equal(long.decode(codes[:, :3]), short.decode(codes[:, :3]))
    with torch.no_grad():
        latents = long.encoder(wav[:, : codes.shape[2] * 320 - 320])
    left = [
        float((latents - c.quantizer.decode(c.quantizer.encode(latents))).square().mean())
        for c in (short, long)
    ]
    assert left[1] < 0.7 * left[0]


def test_what_cannot_be_done(tmp_path: Path, manifest: Path, capsys) -> None:
    source = str(saved_codec(tmp_path / "short"))
    out = str(tmp_path / "out")
    for words, message in (
        ([source, str(manifest), out, "--layers", "3"], "3 layers, expected more than the 3"),
        ([source, str(tmp_path / "none.jsonl"), out, "--layers", "4"], "none.jsonl"),
        ([str(tmp_path / "nothing"), str(manifest), out, "--layers", "4"], "no codec"),
    ):
        assert main(words) == 1
        assert message in capsys.readouterr().err
    assert not Path(out).exists()
