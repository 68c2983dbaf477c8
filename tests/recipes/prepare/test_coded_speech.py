"""A corpus of codes out of a manifest: what can be read is in it, what cannot is told."""

import json
from pathlib import Path

import pytest
import torch
from tiny_codec import saved_codec, tiny_codec

from echoic.audio.io import save
from echoic.codecs.weights import weights_hash
from echoic.recipes.prepare.coded_speech import main
from echoic.tts.text.alphabet import BYTES
from echoic.tts.training.coded import CodedCorpus


def write(folder: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    rows = []
    for number, seconds in enumerate((1.0, 0.5, 0.05)):
        wav = 0.1 * torch.randn(1, int(16_000 * seconds), generator=generator)
        save(folder / f"{number}.wav", wav, 16_000)
        rows.append({"audio": f"{number}.wav", "text": f"Number {number}.", "split": "train"})
    rows[0] |= {"speaker": "one", "id": "first", "split": "dev"}
    rows.append({"audio": "none.wav", "text": "Nothing."})
    rows.append({"audio": "0.wav", "text": "..."})
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_recordings_become_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codec = saved_codec(tmp_path / "codec")
    manifest, out = write(tmp_path), tmp_path / "out"
    code = main([str(manifest), str(out), "--codec", str(codec), "--n-q", "2"])
    told = capsys.readouterr()
    assert code == 1
    assert told.out == f"{out}: 2 recordings, 3 left out\n"
    assert "2.wav: left out: lasts 0.05 s" in told.err
    assert "none.wav: left out" in told.err
    assert "0.wav: left out: its text has no words" in told.err
    corpus = CodedCorpus(out)
    assert corpus.settings.codec_hash == weights_hash(tiny_codec())
    assert corpus.settings.format.num_codebooks == 2
    assert corpus.settings.alphabet == BYTES.to_config()
    assert [line.id for line in corpus.lines] == ["first", "1"]
    assert (corpus.lines[0].speaker, corpus.lines[0].split) == ("one", "dev")
    assert BYTES.decode(corpus.lines[1].ids) == "Number one."
    assert [line.frames for line in corpus.lines] == [50, 25]


def test_only_rows_of_a_split(tmp_path: Path) -> None:
    codec = saved_codec(tmp_path / "codec")
    out = tmp_path / "out"
    arguments = [str(write(tmp_path)), str(out), "--codec", str(codec), "--split", "dev"]
    assert main(arguments) == 0
    assert len(CodedCorpus(out)) == 1
    assert CodedCorpus(out).settings.format.num_codebooks == 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--codec", "nowhere"], "no codec 'nowhere'"),
        (["--n-q", "9"], "9"),
        (["--language", "tlh"], "no text front end for the language 'tlh'"),
        (["--g2p", "magic"], "no G2P 'magic'"),
    ],
)
def test_what_cannot_be_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    codec = saved_codec(tmp_path / "codec")
    arguments = [str(write(tmp_path)), str(tmp_path / "out"), "--codec", str(codec), *more]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out" / "codes.npy").exists()


def test_a_manifest_that_is_not_there_leaves_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codec = saved_codec(tmp_path / "codec")
    missing, out = tmp_path / "none.jsonl", tmp_path / "out"
    assert main([str(missing), str(out), "--codec", str(codec)]) == 1
    told = capsys.readouterr().err
    assert told == f"echoic: {missing}: No such file or directory; check the path\n"
    assert not out.exists()
