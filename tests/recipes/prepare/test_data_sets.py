"""Published data sets as they lie on the disk after unpacking become manifests."""

from pathlib import Path

import pytest
from small_corpora import prepare, read_rows, write_text, write_tone

from echoic.recipes.prepare import aishell as aishell_module

Told = list[tuple[str, str, str, str, str]]


def told(manifest: Path) -> Told:
    """Check that all recordings are there; return what the rows say."""
    rows = read_rows(manifest)
    assert all((manifest.parent / row["audio"]).is_file() for row in rows)
    assert {row["duration"] for row in rows} == {0.1}
    return [(r["id"], r["text"], r["lang"], r["speaker"], r["split"]) for r in rows]


def made(*words: object) -> tuple[Told, str]:
    out = words[2]
    assert isinstance(out, Path)
    result = prepare(*words)
    assert (result.exit_code, result.stderr) == (0, "")
    return told(out), result.stdout


def test_ljspeech(tmp_path: Path):
    for name in ("LJ001-0001", "LJ001-0002"):
        write_tone(tmp_path / "wavs" / f"{name}.wav")
    lines = 'LJ001-0001|In "4|In "four\nLJ001-0002|Next\x85 one|\n'
    write_text(tmp_path / "metadata.csv", lines)
    out = tmp_path / "m.jsonl"
    assert made("ljspeech", tmp_path, out)[0] == [
        ("LJ001-0001", 'In "four', "en", "LJ", "train"),
        ("LJ001-0002", "Next one", "en", "LJ", "train"),
    ]
    rows, _ = made("ljspeech", tmp_path, out, "--original", "--overwrite", "--split=dev")
    assert rows[0] == ("LJ001-0001", 'In "4', "en", "LJ", "dev")
    write_text(tmp_path / "metadata.csv", "LJ001-0001\n" + lines.replace("0002", "0003"))
    result = prepare("ljspeech", tmp_path, out, "--overwrite")
    assert result.exit_code == 1
    assert "metadata.csv, line 1: expected NAME|TEXT|NORMALIZED; mend or drop" in result.stderr
    assert "LJ001-0003.wav is not there; unpack the data set again" in result.stderr
    assert len(told(out)) == 1


def test_libritts(tmp_path: Path):
    chapter = tmp_path / "LibriTTS" / "dev-clean" / "84" / "121123"
    for number in range(2):
        write_tone(chapter / f"84_121123_00000{number}_000000.wav")
    write_text(chapter / "84_121123_000000_000000.normalized.txt", "Mister Go.")
    write_text(chapter / "84_121123_000000_000000.original.txt", "Mr. Go.")
    out = tmp_path / "m.jsonl"
    row = ("84_121123_000000_000000", "Mister Go.", "en", "84", "dev-clean")
    rows, said = made("libritts", tmp_path / "LibriTTS" / "dev-clean", out)
    assert rows == [row]
    assert "1 recordings without text passed over" in said
    assert made("libritts", tmp_path, out, "--overwrite")[0] == [row]
    rows, _ = made("libritts", tmp_path, out, "--overwrite", "--original")
    assert rows[0][1] == "Mr. Go."


def test_vctk(tmp_path: Path):
    for mic in (1, 2):
        write_tone(tmp_path / "wav48_silence_trimmed" / "p225" / f"p225_001_mic{mic}.flac")
    write_tone(tmp_path / "wav48_silence_trimmed" / "p315" / "p315_001_mic1.flac")
    write_text(tmp_path / "txt" / "p225" / "p225_001.txt", "Please call Stella.\n")
    row = ("p225_001", "Please call Stella.", "en", "p225", "train")
    rows, said = made("vctk", tmp_path, tmp_path / "m.jsonl")
    assert rows == [row]
    assert said.rstrip().endswith("p315_001_mic1.flac")
    assert made("vctk", tmp_path, tmp_path / "2.jsonl", "--mic", 2) == (
        [row],
        f"{tmp_path / '2.jsonl'}: 1 utterances, 0.00 hours\n",
    )


def test_commonvoice(tmp_path: Path):
    source = tmp_path / "cv-corpus-17.0" / "de"
    head = "client_id\tpath\tsentence_id\tsentence\tlocale\n"
    for number, part in enumerate(("train", "dev", "test", "validated")):
        write_tone(source / "clips" / f"{part}.mp3", 0.1).stat()
        write_text(source / f"{part}.tsv", f'{head}ab{number}\t{part}.mp3\tx\tEr sagte "so\tde\n')
    out = tmp_path / "m.jsonl"
    result = prepare("commonvoice", source, out)
    assert result.exit_code == 0
    rows = read_rows(out)
    assert [(r["id"], r["text"], r["lang"], r["speaker"], r["split"]) for r in rows] == [
        (part, 'Er sagte "so', "de", f"ab{number}", part)
        for number, part in enumerate(("train", "dev", "test"))
    ]
    assert prepare("commonvoice", source, out, "--part", "validated").exit_code == 0
    assert [row["split"] for row in read_rows(out)][3:] == ["validated"]


def test_tables_of_commonvoice_that_are_none(tmp_path: Path):
    out = tmp_path / "m.jsonl"
    said = prepare("commonvoice", tmp_path, out).stderr
    assert "has no train.tsv; name the folder of one language" in said
    write_text(tmp_path / "train.tsv", "a\tb\n")
    assert "train.tsv has no column client_id" in prepare("commonvoice", tmp_path, out).stderr
    (tmp_path / "train.tsv").write_bytes(b"client_id\tpath\tsentence\n1\ta.mp3\t\xff\n")
    assert "unpack it again" in prepare("commonvoice", tmp_path, out).stderr
    write_text(tmp_path / "train.tsv", "client_id\tpath\tsentence\n1\ta.mp3\n")
    said = prepare("commonvoice", tmp_path, out, "--part", "train").stderr
    assert "train.tsv, line 2: expected 3 columns; mend or drop the line" in said


def test_aishell(tmp_path: Path):
    for part, name in [("train", "BAC1"), ("train", "BAC2"), ("dev", "BAC3"), ("test", "BAC4")]:
        write_tone(tmp_path / "wav" / part / f"S{name[-1]}" / f"{name}.wav")
    texts = "BAC1 而 对 楼市\nBAC3 好\nBAC4 不 好\n"
    write_text(tmp_path / "transcript" / "aishell_transcript_v0.8.txt", texts)
    out = tmp_path / "m.jsonl"
    all_rows = [
        ("BAC1", "而对楼市", "zh", "S1", "train"),
        ("BAC3", "好", "zh", "S3", "dev"),
        ("BAC4", "不好", "zh", "S4", "test"),
    ]
    rows, said = made("aishell", tmp_path, out)
    assert rows == all_rows
    assert "1 recordings without text passed over" in said
    rows, _ = made("aishell", tmp_path, out, "--part=dev", "--part=test", "--overwrite")
    assert rows == all_rows[1:]
    assert aishell_module.main([str(tmp_path), "train", str(tmp_path / "old.jsonl")]) == 0
    assert told(tmp_path / "old.jsonl") == all_rows[:1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("aishell", "has no transcript/*.txt; expected the folder data_aishell"),
        ("librispeech", "no *.trans.txt; expected a LibriSpeech subset"),
        ("libritts", "no SPEAKER_CHAPTER_*.wav; expected a LibriTTS subset"),
        ("ljspeech", "has no metadata.csv; expected the folder LJSpeech-1.1"),
        ("vctk", "no *_mic1.flac in wav48_silence_trimmed; expected VCTK-Corpus-0.92"),
    ],
)
def test_a_folder_of_something_else(name: str, message: str, tmp_path: Path):
    result = prepare(name, tmp_path, tmp_path / "m.jsonl")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("echoic: ")
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_synthetic_has_its_own_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert prepare("synthetic", "--help").exit_code == 0
    result = prepare("synthetic", tmp_path, "--text", tmp_path / "no.txt", "--voice", "flite:slt")
    assert result.exit_code == 1
    assert "no.txt" in result.stderr + capsys.readouterr().err
    assert prepare("synthetic", tmp_path).exit_code == 2
