import io
import json
from dataclasses import replace
from typing import Any

import pytest
from fake_transcriber import transcript_of
from hypothesis import given, settings
from hypothesis import strategies as st

from echoic.asr.batch.errors import UsageError
from echoic.asr.batch.subtitles import Layout, format_time
from echoic.asr.batch.writers import (
    FORMATS,
    as_dict,
    json_error,
    json_line,
    parse_formats,
    render,
)
from echoic.asr.source import Source
from echoic.asr.transcript import Segment, Transcript, Word

PLAIN = Layout()
TWO = transcript_of("Hello there.", "It's\tme --> you")


def late(transcript: Transcript, seconds: float) -> Transcript:
    def move(s: Segment) -> Segment:
        words = s.words and tuple(
            replace(w, start=w.start + seconds, end=w.end + seconds) for w in s.words
        )
        return replace(s, start=s.start + seconds, end=s.end + seconds, words=words)

    return replace(transcript, segments=tuple(move(s) for s in transcript.segments))


def test_txt():
    assert render(TWO, "txt", PLAIN) == "Hello there.\nIt's\tme --> you\n"


def test_srt():
    assert render(TWO, "srt", PLAIN) == (
        "1\n00:00:00,000 --> 00:00:12,000\nHello there.\n\n"
        "2\n00:00:12,000 --> 00:00:27,000\nIt's\tme -> you\n\n"
    )


def test_vtt_shows_hours_only_where_there_are_any():
    assert render(late(TWO, 3590.0005), "vtt", PLAIN) == (
        "WEBVTT\n\n"
        "59:50.000 --> 01:00:02.000\nHello there.\n\n"
        "01:00:02.000 --> 01:00:17.000\nIt's\tme -> you\n\n"
    )


def test_tsv():
    assert render(late(TWO, 0.1234), "tsv", PLAIN) == (
        "start\tend\ttext\n123\t12123\tHello there.\n12123\t27123\tIt's me --> you\n"
    )


def test_json():
    written = render(transcript_of("ça va", words=True), "json", PLAIN)
    assert written.endswith("}\n")
    assert written.count("\n") == 1
    assert "ça" in written
    assert json.loads(written) == {
        "text": "ça va",
        "language": "en",
        "language_probability": 1.0,
        "duration": 5.0,
        "segments": [
            {
                "id": 0,
                "start": 0.0,
                "end": 5.0,
                "text": " ça va",
                "tokens": [0, 1],
                "temperature": 0.0,
                "avg_logprob": -0.25,
                "compression_ratio": 1.5,
                "no_speech_prob": 0.125,
                "words": [
                    {"word": " ça", "start": 0.0, "end": 2.0, "probability": 0.5},
                    {"word": " va", "start": 3.0, "end": 5.0, "probability": 0.5},
                ],
            }
        ],
    }


def test_json_stays_json_when_a_score_is_not_finite():
    segment = replace(transcript_of("a").segments[0], avg_logprob=float("-inf"))
    written = render(replace(TWO, segments=(segment,)), "json", PLAIN)
    parsed = json.loads(written, parse_constant=lambda name: pytest.fail(name))
    assert parsed["segments"][0]["avg_logprob"] is None


def test_silence_gives_valid_empty_files():
    silence = Transcript("en", 1.0, 3.0, ())
    assert {name: render(silence, name, PLAIN) for name in ("txt", "srt", "vtt", "tsv")} == {
        "txt": "",
        "srt": "",
        "vtt": "WEBVTT\n\n",
        "tsv": "start\tend\ttext\n",
    }
    assert json.loads(render(silence, "json", PLAIN))["segments"] == []


def test_text_with_line_breaks_stays_one_line_and_one_cue():
    broken = transcript_of("one\n\ntwo")
    assert render(broken, "txt", PLAIN) == "one  two\n"
    assert render(broken, "srt", PLAIN).count("\n\n") == 1
    assert len(render(broken, "tsv", PLAIN).splitlines()) == 2


def test_lines_of_a_width():
    text = render(transcript_of("aaa bbb ccc ddd", words=True), "srt", Layout(max_line_width=7))
    assert text == "1\n00:00:00,000 --> 00:00:15,000\naaa bbb\nccc ddd\n\n"


def test_cues_of_a_count_run_across_segments():
    transcript = transcript_of("a b", "c d", "e", words=True)
    text = render(transcript, "vtt", Layout(max_line_width=3, max_line_count=1))
    assert text == (
        "WEBVTT\n\n00:00.000 --> 00:03.000\na b\n\n"
        "00:03.000 --> 00:06.000\nc d\n\n00:06.000 --> 00:07.000\ne\n\n"
    )


def test_a_long_pause_ends_a_cue():
    words = (Word(0.0, 1.0, " a", 1.0), Word(1.0, 2.0, " b", 1.0), Word(4.5, 5.0, " c", 1.0))
    segment = replace(transcript_of("a b c").segments[0], words=words)
    text = render(replace(TWO, segments=(segment,)), "srt", Layout(40, 2))
    assert (
        text == "1\n00:00:00,000 --> 00:00:02,000\na b\n\n2\n00:00:04,500 --> 00:00:05,000\nc\n\n"
    )


def test_highlighted_words():
    text = render(transcript_of("hey you", words=True), "srt", Layout(highlight_words=True))
    assert text == (
        "1\n00:00:00,000 --> 00:00:03,000\n<u>hey</u> you\n\n"
        "2\n00:00:03,000 --> 00:00:04,000\nhey you\n\n"
        "3\n00:00:04,000 --> 00:00:07,000\nhey <u>you</u>\n\n"
    )


def test_a_segment_whose_words_were_not_timed_is_still_shown():
    timed = transcript_of("one two", "three", words=True)
    segments = (timed.segments[0], replace(timed.segments[1], words=()))
    text = render(replace(timed, segments=segments), "srt", Layout(max_line_width=20))
    assert "one two" in text
    assert "00:00:07,000 --> 00:00:12,000\nthree\n" in text


def test_a_segment_whose_words_were_not_timed_stays_apart_from_the_word_before():
    timed = transcript_of("a b", "c d", words=True)
    untimed = replace(timed.segments[1], words=())
    text = render(replace(timed, segments=(timed.segments[0], untimed)), "srt", Layout(40, 2))
    assert "a b c d\n" in text


def test_arrows_in_timed_words_are_harmless():
    text = render(transcript_of("a --> b", words=True), "vtt", Layout(max_line_width=30))
    assert text.count("-->") == 1
    assert "a -> b" in text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "00:00.000"), (59.9996, "01:00.000"), (3599.9996, "01:00:00.000"), (-0.01, "00:00.000")],
)
def test_times_round_into_the_next_unit(seconds: float, expected: str):
    assert format_time(seconds, always_hours=False, point=".") == expected


def test_formats():
    assert parse_formats("srt, txt") == ("txt", "srt")
    assert parse_formats("ALL") == FORMATS
    for wrong in ("doc", "txt,docx", "", ","):
        with pytest.raises(UsageError, match="choose from txt, srt, vtt, tsv, json, all"):
            parse_formats(wrong)


def test_a_layout_of_nothing_is_refused():
    with pytest.raises(ValueError, match="max_line_width is 0; it must be 1 or more"):
        Layout(max_line_width=0)


def test_json_lines_carry_the_manifest_and_survive_odd_names():
    fields = {"id": 7, "text": "reference"}
    source = Source("7", "caf\udce9.wav", "7", 1.5, None, fields)
    line = json.loads(json_line(source, TWO))
    assert (line["audio"], line["id"], line["offset"]) == ("caf\udce9.wav", 7, 1.5)
    assert (line["text"], line["manifest"]["text"]) == (TWO.text, "reference")
    assert "tokens" not in line["segments"][0]
    assert json.loads(json_error(Source("a", "a.wav", "a.wav"), "is broken")) == {
        "audio": "a.wav",
        "error": "is broken",
    }


WORD_TEXT = st.text(alphabet="ab.,é漢", min_size=1, max_size=12)


@st.composite
def timed_transcripts(draw: st.DrawFn) -> Transcript:
    segments: list[Segment] = []
    now = draw(st.floats(0, 4000))
    for i in range(draw(st.integers(1, 5))):
        words: list[Word] = []
        for text in draw(st.lists(WORD_TEXT, min_size=1, max_size=8)):
            now += draw(st.sampled_from([0.0, 0.0, 0.25, 3.5]))
            words.append(Word(now, now + 0.3, " " + text, 0.5))
            now += 0.3
        text = "".join(word.word for word in words)
        base = transcript_of("x").segments[0]
        segments.append(
            replace(base, id=i, start=words[0].start, end=now, text=text, words=tuple(words))
        )
    return Transcript("en", 1.0, now, tuple(segments))


LAYOUTS = st.builds(
    Layout, st.none() | st.integers(1, 42), st.none() | st.integers(1, 3), st.booleans()
)


@settings(max_examples=60, deadline=None)
@given(timed_transcripts(), LAYOUTS, st.booleans())
def test_same_files_as_openai_whisper(transcript: Transcript, layout: Layout, words: bool):
    utils = pytest.importorskip("whisper.utils")
    result = as_plain(transcript, words=words)
    if not words:
        segments = tuple(replace(s, words=None) for s in transcript.segments)
        transcript, layout = replace(transcript, segments=segments), Layout()
    for name in ("txt", "srt", "vtt", "tsv"):
        theirs = io.StringIO()
        utils.get_writer(name, ".").write_result(
            result,
            theirs,
            {
                "max_line_width": layout.max_line_width,
                "max_line_count": layout.max_line_count,
                "highlight_words": layout.highlight_words,
            },
        )
        assert render(transcript, name, layout) == theirs.getvalue(), name


def as_plain(transcript: Transcript, *, words: bool) -> dict[str, Any]:
    """Return whisper's own result object with unrounded times."""
    result = as_dict(transcript, tokens=True)
    for plain, segment in zip(result["segments"], transcript.segments, strict=True):
        plain |= {"start": segment.start, "end": segment.end}
        plain.pop("words", None)
        if words:
            plain["words"] = [
                {"word": w.word, "start": w.start, "end": w.end} for w in segment.words or ()
            ]
    return result
