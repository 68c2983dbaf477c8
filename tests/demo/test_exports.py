"""Captions as files."""

import json
import re

import pytest

from echoic.demo.exports import KINDS, export
from echoic.demo.transcript import Captions, Line, Piece
from echoic.streaming.events import EventWord


def line(text: str, start: float) -> Line:
    words = enumerate(text.split())
    return Line(
        tuple(Piece(EventWord(w, start + i / 2, start + (i + 1) / 2, 0.5)) for i, w in words)
    )


LONG = "and mister john dashwood had then leisure to consider how much there might be prudently"
CAPTIONS = Captions(
    closed=(line(LONG, 0.0), line("a --> b", 20.0)),
    current=line("still speaking", 30.0),
    open=line("not final", 40.0).pieces,
)


def test_text_has_a_line_for_each_line():
    assert export(CAPTIONS, "txt") == f"{LONG}\na --> b\nstill speaking\n"


def test_subtitles_are_short_and_never_run_on_into_the_next_line():
    blocks = export(CAPTIONS, "srt").strip().split("\n\n")
    cues = [block.split("\n") for block in blocks]
    assert [cue[0] for cue in cues] == [str(i + 1) for i in range(len(cues))]
    assert all(len(cue) <= 4 and len(row) <= 42 for cue in cues for row in cue[2:])
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}", c[1]) for c in cues)
    assert " ".join(row for cue in cues[:-2] for row in cue[2:]) == LONG
    assert cues[-2][1:] == ["00:00:20,000 --> 00:00:21,500", "a -> b"]
    assert cues[-1][1:] == ["00:00:30,000 --> 00:00:31,000", "still speaking"]


def test_web_subtitles_have_the_same_cues():
    found = export(CAPTIONS, "vtt")
    assert found.startswith("WEBVTT\n\n00:00.000 --> ")
    assert found.count("-->") == export(CAPTIONS, "srt").count("-->")


def test_json_has_the_words_with_their_times():
    page = json.loads(export(CAPTIONS, "json"))
    assert page["text"] == export(CAPTIONS, "txt").rstrip("\n")
    assert [row["start"] for row in page["lines"]] == [0.0, 20.0, 30.0]
    assert page["lines"][2]["words"][1] == {
        "text": "speaking",
        "start": 30.5,
        "end": 31.0,
        "confidence": 0.5,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_before_anything_was_said_files_are_empty_but_right(kind: str):
    empty = {
        "txt": "",
        "srt": "",
        "vtt": "WEBVTT\n\n",
        "json": '{\n  "text": "",\n  "lines": []\n}\n',
    }
    assert export(Captions(), kind) == empty[kind]


def test_other_kinds_are_refused():
    with pytest.raises(ValueError, match=r"kind is 'doc', expected one of txt, srt, vtt, json"):
        export(Captions(), "doc")
