"""Subtitles as they are found: SubRip and WebVTT."""

from pathlib import Path

import pytest
from small_corpora import write_text

from echoic.recipes.prepare.cues import Cue, read_cues

VTT = """WEBVTT - a title

NOTE a comment
of two lines

STYLE
::cue { color: red }

intro
00:01.000 --> 00:02.500 align:start
<v Anna>Fish &amp; <00:01.500>chips

NOTE between

01:00:03.000 --> 01:00:04.000
a < b
"""
SRT = """\ufeff1\r
00:00:01,000 --> 00:00:02,50\r
{\\an8}Hello <i>you</i>\r
12\r
\r
\r
2\r
00:00:03,250 --> 00:00:04,000\r
<font color="red"></font>\r
\r
00:00:04,000 --> 00:00:05,000\r
A &amp; B"""


def test_webvtt(tmp_path: Path):
    found = read_cues(write_text(tmp_path / "a.vtt", VTT))
    assert found == [Cue("Fish & chips", 1.0, 2.5), Cue("a < b", 3603.0, 3604.0)]


def test_subrip(tmp_path: Path):
    path = tmp_path / "a.srt"
    path.write_bytes(SRT.encode())
    assert read_cues(path) == [Cue("Hello you 12", 1.0, 2.5), Cue("A &amp; B", 4.0, 5.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\nHello", "line 1: expected 00:00:01,000 --> 00:00:02,000; mend or drop"),
        ("1\n0:0:1 --> 2\nHello", "line 1: expected"),
        ("\n1\n00:00:02,000 --> 00:00:01,000\na", "line 3: it ends before it begins; mend it"),
        (
            "00:00:01,000 --> 00:00:02,000\na\n2\n00:00:02,000 --> 00:00:03,000\nb",
            "line 4: put a blank line before each cue",
        ),
    ],
)
def test_what_is_no_cue(text: str, message: str, tmp_path: Path):
    path = write_text(tmp_path / "a.srt", text)
    with pytest.raises(ValueError, match=r"a\.srt, ") as error:
        read_cues(path)
    assert message in str(error.value)


def test_not_utf_8(tmp_path: Path):
    (tmp_path / "a.srt").write_bytes(b"1\n\xff")
    with pytest.raises(ValueError, match=r"a\.srt is not UTF-8 \(byte 2\); convert it"):
        read_cues(tmp_path / "a.srt")
