"""Whatever is given to `echoic transcribe` as a recording: one line about it, the rest is done."""

import os
import shutil
import struct
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from real_command import SHORT, Command, boxed_transcriber, encoded, only_problem, problems, speech

from echoic.asr import cli
from echoic.asr.source import Source
from echoic.audio import ffmpeg, reader

NOBODY = 65534
GOOD_TEXT = "He was not an old-sposed young man.\n"  # sic: the tiny model's hearing


def wav_header(data_bytes: int, rate: int = 16000) -> bytes:
    layout = (b"RIFF", 36, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", data_bytes)
    return struct.pack("<4sI4s4sIHHIIHH4sI", *layout)


def cut(kind: str, subtype: str) -> bytes:
    data = encoded(kind, subtype)
    return data[: len(data) * 2 // 3]


def spoiled(value: float) -> bytes:
    x = speech().copy()
    x[20000] = value
    return encoded("WAV", "FLOAT", x)


# name -> (content, what the line says)
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.wav": (lambda: b"", "is empty"),
    "text.wav": (lambda: b"This is a letter.\n" * 99, "is not sound that can be read"),
    "page.mp3": (lambda: b"<!DOCTYPE html><title>404</title>", "is not sound that can be read"),
    "nan.wav": (lambda: spoiled(np.nan), "holds nan at 1.2500 s"),
    "inf.wav": (lambda: spoiled(-np.inf), "holds -inf at 1.2500 s"),
    "no-samples.wav": (lambda: encoded("WAV", "PCM_16", speech()[:0]), "holds no samples"),
    "header-alone.wav": (lambda: wav_header(2**20), "holds no samples"),
    "half-header.wav": (lambda: wav_header(100)[:20], "is not sound that can be read"),
    "head-of.flac": (lambda: encoded("FLAC", "PCM_16")[:90], "holds no samples"),
    "head-of.opus": (lambda: encoded("OGG", "OPUS")[:60], "is not sound that can be read"),
    "rate-50.wav": (
        lambda: encoded("WAV", "PCM_16", speech(), 50),
        "claims a sample rate of 50 Hz",
    ),
    "cut.m4a": (lambda: b"\0\0\0\x20ftypM4A " + bytes(200), "is not sound that ffmpeg can read"),
    "two\nlines.wav": (lambda: b"", "is empty"),
    "red\x1b[31m.wav": (lambda: b"", "is empty"),
    "caf\udce9.wav": (lambda: b"", "is empty"),
    f"{'n' * 240}.wav": (lambda: b"", "is empty"),
}
SHOWN = {
    "two\nlines.wav": r"two\nlines.wav",
    "red\x1b[31m.wav": r"red\x1b[31m.wav",
    "caf\udce9.wav": "caf\ufffd.wav",
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line_while_the_rest_is_done(command: Command, name: str):
    content, said = REFUSED[name]
    Path(name).write_bytes(content())
    result = command.type(name, SHORT, "-o", "out", "-f", "txt")
    assert result.exit_code == 1
    line = only_problem(result)
    assert line.startswith(f"{SHOWN.get(name, name)}: {said}")
    assert line.count(SHOWN.get(name, name)) == 1
    assert [p.read_text() for p in Path("out").rglob("*.txt")] == [GOOD_TEXT]
    assert "1 done, 1 failed, " in result.stderr.splitlines()[-1]


# name -> (content, what the warning says): what is there is used
CUT: dict[str, tuple[Callable[[], bytes], str]] = {
    "cut.wav": (lambda: cut("WAV", "PCM_16"), "is cut: its header promises"),
    "cut.flac": (lambda: cut("FLAC", "PCM_16"), "is damaged or cut after"),
    "cut.mp3": (lambda: cut("MP3", "MPEG_LAYER_III"), "is cut: its header promises"),
    "ten-hours.wav": (
        lambda: wav_header(36000 * 32000) + encoded("WAV", "PCM_16")[44:],
        "is cut: its header promises 1152000000 bytes",
    ),
}


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("quiet", [[], ["--quiet"]], ids=["", "quiet"])
def test_what_is_there_is_used_with_one_warning(command: Command, name: str, quiet: list[str]):
    content, said = CUT[name]
    Path(name).write_bytes(content())
    result = command.type(name, *quiet)
    assert result.exit_code == 0
    assert only_problem(result).startswith(f"warning: {name}: {said}")
    assert result.stdout.lower().startswith("he was not")


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_cut_ogg_is_just_shorter(command: Command, subtype: str):
    """Ogg promises no length, so nobody can know."""
    Path("cut.ogg").write_bytes(cut("OGG", subtype))
    result = command.type("cut.ogg")
    assert (result.exit_code, problems(result)) == (0, [])
    assert result.stdout.lower().startswith("he was not")


STRANGE: dict[str, tuple[Callable[[], bytes], str]] = {
    "flac.wav": (lambda: encoded("FLAC", "PCM_16"), GOOD_TEXT),
    "wav.mp3": (lambda: encoded("WAV", "PCM_16"), GOOD_TEXT),
    "wav.txt": (lambda: encoded("WAV", "PCM_16"), GOOD_TEXT),
    "no-suffix": (lambda: encoded("WAV", "PCM_16"), GOOD_TEXT),
    "8-channels.wav": (lambda: encoded("WAV", "PCM_16", np.tile(speech()[:, None], 8)), GOOD_TEXT),
    "192-kHz.wav": (lambda: encoded("WAV", "PCM_16", np.repeat(speech(), 12), 192000), GOOD_TEXT),
    "one-sample.wav": (lambda: encoded("WAV", "PCM_16", speech()[:1]), ""),
    "100-Hz.wav": (lambda: encoded("WAV", "PCM_16", speech()[:300], 100), ""),
    "two\nlines.wav": (lambda: encoded("WAV", "PCM_16"), GOOD_TEXT),
    "caf\udce9.wav": (lambda: encoded("WAV", "PCM_16"), GOOD_TEXT),
    f"{'n' * 246}.wav": (lambda: encoded("WAV", "PCM_16"), GOOD_TEXT),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_but_sound(command: Command, name: str):
    content, text = STRANGE[name]
    Path(name).write_bytes(content())
    result = command.type(name, "-o", "out")
    assert (result.exit_code, problems(result)) == (0, [])
    assert [p.read_text() for p in Path("out").glob("*.txt")] == [text]
    assert len(list(Path("out").glob("[!.]*"))) == 5


def test_a_name_too_long_for_its_outputs(command: Command):
    Path("n" * 251 + ".wav").write_bytes(encoded("WAV", "PCM_16"))
    result = command.type("n" * 251 + ".wav", SHORT, "-o", "out", "-f", "json")
    assert result.exit_code == 1
    assert "File name too long; give the recording a shorter name" in only_problem(result)
    assert [p.stem for p in Path("out").rglob("[!.]*.json")] == [SHORT.stem]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing.wav", "nothing.wav: no such file or folder; check the path"),
        ("nowhere/", "nowhere/: no such file or folder; check the path"),
        ("", "'': no such file or folder; check the path"),
        ("broken.wav", "broken.wav: the link leads nowhere; mend or drop it"),
        ("loop.wav", "loop.wav: Too many levels of symbolic links; "),
        ("/dev/null", "/dev/null: is empty; "),
        ("/dev/zero", "/dev/zero: is not sound that can be read"),
        ("x" * 300, "x: no such file or folder; check the path"),
    ],
)
def test_places_where_no_recording_is(command: Command, name: str, said: str):
    os.symlink("no-such-file", "broken.wav")
    os.symlink("loop.wav", "loop.wav")
    result = command.type(name, SHORT, "-o", "out", "-f", "txt")
    assert result.exit_code == 1
    assert said in only_problem(result)
    assert [p.read_text() for p in Path("out").rglob("*.txt")] == [GOOD_TEXT]


@pytest.mark.parametrize("folder", ["empty", "folder.wav"])
def test_a_folder_without_sound(command: Command, folder: str):
    Path(folder).mkdir()
    Path(folder, "notes.txt").write_text("no sound")
    alone = command.type(folder)
    assert alone.exit_code == 2
    assert alone.stderr.startswith(f"echoic: no audio found in {folder} (known suffixes: ")
    beside = command.type(folder, SHORT)
    assert (beside.exit_code, beside.stdout) == (0, GOOD_TEXT)
    assert problems(beside) == alone.stderr.splitlines()


def test_a_folder_with_the_name_of_a_file_is_searched(command: Command):
    Path("folder.wav").mkdir()
    shutil.copy(SHORT, "folder.wav")
    result = command.type("folder.wav")
    assert (result.exit_code, result.stdout) == (0, GOOD_TEXT)


def test_pipes_are_read_once_when_named_and_never_in_folders(command: Command):
    Path("in").mkdir()
    shutil.copy(SHORT, "in")
    os.mkfifo("in/pipe.wav")
    assert command.type("in").stdout == GOOD_TEXT
    assert cli._measure(Source("a", "in/pipe.wav", "a")) is None  # for the progress bar
    for _ in range(2):  # the second time it may hold something else, so it is not skipped
        write = threading.Thread(
            target=Path("in/pipe.wav").write_bytes, args=[encoded("WAV", "PCM_16")], daemon=True
        )
        write.start()
        result = command.type("in/pipe.wav", "-o", "out", "-f", "txt", "--json")
        write.join(10)
        assert result.exit_code == 0
        assert all("done again" in line for line in problems(result))
        assert GOOD_TEXT.strip() in result.stdout


@pytest.fixture
def locked_folder() -> Iterator[Path]:
    """A folder in which this process has no more rights than anybody, even as root."""
    folder = Path(tempfile.mkdtemp(prefix="echoic-test-"))
    folder.chmod(0o777)
    previous = os.geteuid()
    try:
        if previous == 0:
            os.seteuid(NOBODY)
        yield folder
    finally:
        os.seteuid(previous)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o777)
        shutil.rmtree(folder)


def test_recordings_and_folders_that_may_not_be_read(command: Command, locked_folder: Path):
    (locked_folder / "in" / "shut").mkdir(parents=True)
    good, locked = (locked_folder / "in" / name for name in ("good.wav", "locked.wav"))
    for path in (good, locked):
        path.write_bytes(encoded("WAV", "PCM_16"))
    locked.chmod(0)
    (locked_folder / "in" / "shut").chmod(0)
    result = command.type(
        locked_folder / "in", "-o", locked_folder / "out", "-f", "txt", "--recursive"
    )
    assert result.exit_code == 1
    folder, file = problems(result)
    assert file.startswith(f"echoic: {locked}: may not be read by this user; change its perm")
    assert folder.startswith(f"echoic: {locked_folder}/in/shut: the folder cannot be read (Perm")
    assert (locked_folder / "out" / "good.txt").read_text() == GOOD_TEXT


def test_m4a_without_ffmpeg(command: Command, monkeypatch: pytest.MonkeyPatch):
    for module in (ffmpeg, reader):
        monkeypatch.setattr(module, "find_ffmpeg", lambda: None)
    Path("a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(200))
    result = command.type("a.m4a", SHORT)
    assert result.exit_code == 1
    assert only_problem(result).startswith("a.m4a: needs ffmpeg to be decoded; install ffmpeg")
    assert GOOD_TEXT in result.stdout


@pytest.mark.parametrize(
    ("data", "said"), [(b"", "is empty"), (b"garbage" * 99, "is not sound that can be read")]
)
def test_standard_input_that_is_no_sound(command: Command, data: bytes, said: str):
    result = command.type("-", SHORT, stdin=data)
    assert result.exit_code == 1
    assert only_problem(result).startswith(f"stdin: {said}")
    assert GOOD_TEXT in result.stdout


def test_libraries_warnings_are_for_those_who_debug(
    command: Command, monkeypatch: pytest.MonkeyPatch
):
    class Warner:
        def __init__(self) -> None:
            self.real = boxed_transcriber()

        def transcribe_many(self, *arguments: object, **settings: object):
            warnings.warn("an old name", UserWarning, stacklevel=1)
            return self.real.transcribe_many(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr("echoic.asr.cli.load_transcriber", lambda *_, **__: Warner())
    assert problems(command.type(SHORT)) == []
    assert "UserWarning: an old name" in command.type(SHORT, "--debug").stderr
