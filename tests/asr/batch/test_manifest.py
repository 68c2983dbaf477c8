import gzip
from pathlib import Path

import pytest

from echoic.asr.batch.errors import UsageError
from echoic.asr.batch.inputs import Finder
from echoic.asr.source import Source

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sources(*lines: str, path: str = "m.jsonl") -> list[Source]:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Finder({".wav"}).find((path,)).sources


def test_the_test_recordings():
    found = Finder({".opus"}).find((str(DATA / "manifest.jsonl"),)).sources
    assert [s.key for s in found][:2] == [
        "sense-and-sensibility-0870",
        "sense-and-sensibility-0880",
    ]
    assert all(Path(s.path).is_file() for s in found)
    assert found[1].fields["text"] == "he was not an ill disposed young man"
    assert all(s.duration is None for s in found)  # no offset: duration only describes


def test_paths_start_at_the_manifest_and_may_be_absolute():
    found = sources('{"audio": "a.wav"}', '{"audio": "/data/b.wav"}', path="sets/m.jsonl")
    assert [s.path for s in found] == ["sets/a.wav", "/data/b.wav"]


def test_nemo_names_the_path_otherwise_and_the_file_json():
    (source,) = sources('{"audio_filepath": "a.wav", "duration": 3.5}', path="train_manifest.json")
    assert (source.path, source.key, source.duration) == ("a.wav", "a", None)


def test_stretches_of_one_recording_have_names_of_their_own():
    found = sources(
        '{"audio": "a.wav", "offset": 0, "duration": 2.5}',
        '{"audio": "a.wav", "offset": 2.5, "duration": 1}',
        '{"audio": "a.wav", "offset": 3.5}',
        '{"audio": "a.wav"}',
    )
    assert [s.key for s in found] == [
        "a_000000000_000002500",
        "a_000002500_000003500",
        "a_000003500_end",
        "a",
    ]
    assert [(s.offset, s.duration) for s in found] == [(0, 2.5), (2.5, 1), (3.5, None), (0, None)]


def test_ids_name_the_outputs_and_other_fields_are_kept():
    (source,) = sources('{"audio": "a.wav", "id": "spk/utt-1", "text": "hi", "snr": 3}')
    assert source.key == source.name == "spk/utt-1"
    assert source.fields == {"id": "spk/utt-1", "text": "hi", "snr": 3}


def test_blank_lines_and_a_byte_order_mark_do_no_harm():
    assert len(sources('\ufeff{"audio": "a.wav"}', "", '{"audio": "b.wav"}')) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{audio: a.wav}", "not JSON"),
        ('"a.wav"', "a str, not an object"),
        ('{"path": "a.wav"}', r"no 'audio' \(nor 'audio_filepath'\) among its fields \['path'\]"),
        ('{"audio": 3}', "'audio' is 3; it must be a path"),
        ('{"audio": ""}', "it must be a path"),
        ('{"audio": "a.wav", "offset": "1"}', "'offset' is '1'; it must be seconds"),
        ('{"audio": "a.wav", "offset": -1}', "'offset' is -1"),
        ('{"audio": "a.wav", "offset": NaN}', "NaN is no JSON value"),
        ('{"audio": "a.wav", "duration": 1e400}', "the number 1e400 is too large"),
        ('{"audio": "a.wav", "offset": 1' + "0" * 99 + "}", "from 0 to a year"),
        ('{"audio": "a.wav", "offset": 1' + "0" * 9999 + "}", "not JSON"),
        ("[" * 99999, "brackets in brackets"),
        ('{"audio": "\\ud800.wav"}', "must be a path"),
        ('{"audio": "a.wav", "id": "\\ud800"}', "cannot name an output file"),
        ('{"audio": "a.wav", "offset": 1, "duration": 0}', "duration is 0"),
        ('{"audio": "a.wav", "offset": true}', "'offset' is True"),
        ('{"audio": "a.wav", "id": "../evil"}', "cannot name an output file"),
        ('{"audio": "a.wav", "id": "/etc/evil"}', "cannot name an output file"),
        ('{"audio": "a.wav", "id": ""}', "cannot name an output file"),
        ('{"audio": "a.wav", "id": ["x"]}', "cannot name an output file"),
    ],
)
def test_errors_name_the_line(line: str, message: str):
    with pytest.raises(UsageError, match=f"^m.jsonl, line 2: .*{message}"):
        sources('{"audio": "ok.wav"}', line)


def test_gzip_may_have_compressed_it():
    Path("m.jsonl.gz").write_bytes(gzip.compress(b'{"audio": "a.wav"}\n'))
    found = Finder({".wav"}).find(("m.jsonl.gz", "*.gz"))
    assert [source.path for source in found.sources] == ["a.wav"]
    Path("m.jsonl.gz").write_bytes(gzip.compress(b'{"audio": "a.wav"}\n')[:-9])
    (problem,) = Finder({".wav"}).find(("m.jsonl.gz",)).problems
    assert "damaged as a gzip file" in problem.message


def test_bytes_that_are_not_utf8_are_named_with_their_line():
    Path("m.jsonl").write_bytes(b'{"audio": "a.wav"}\n{"audio": "caf\xe9.wav"}\n')
    with pytest.raises(UsageError, match=r"m\.jsonl, line 2: not UTF-8 \(byte 14\)"):
        Finder({".wav"}).find(("m.jsonl",))


def test_one_id_for_two_recordings_is_refused_with_both_lines():
    message = r"line 1 and m\.jsonl, line 3 would both be written to 'x'"
    with pytest.raises(UsageError, match=message):
        sources(
            '{"audio": "a.wav", "id": "x"}',
            '{"audio": "b.wav", "id": "y"}',
            '{"audio": "c.wav", "id": "x"}',
        )


def test_an_empty_manifest_alone_is_wrong_usage():
    with pytest.raises(UsageError, match=r"m\.jsonl: the manifest is empty"):
        sources("")
