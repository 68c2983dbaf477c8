"""From events to items: text that is never taken back, and what a client may ask for."""

import pytest

from echoic.streaming.events import Event, EventType, EventWord
from echoic.streaming.server.errors import ApiError
from echoic.streaming.server.realtime_items import Item
from echoic.streaming.server.realtime_settings import RealtimeSettings


def event(kind: EventType, text: str, stable: int) -> Event:
    words = tuple(EventWord(w, i, i + 1, 1.0) for i, w in enumerate(text.split()))
    return Event(kind, text, 0.0, 1.0, words, stable)


def test_only_stable_words_are_told_and_joined_they_are_the_finals():
    item = Item(" ")
    deltas = [
        item.add(e)
        for e in (
            event("partial", "he sad", 1),
            event("partial", "he said that", 2),
            event("final", "he said this.", 3),
            event("partial", "And", 0),
            event("final", "And went.", 2),
            Event("endpoint", "", 1.0, 1.0),
        )
    ]
    assert deltas == ["he", " said", " this.", "", " And went.", ""]
    assert item.closed == "".join(deltas) == "he said this. And went."


def test_languages_without_spaces_are_joined_without():
    item = Item("")
    words = (EventWord("你好", 0, 1, 1.0), EventWord("世界", 1, 2, 1.0))
    assert item.add(Event("partial", "你好世界", 0, 2, words, 1)) == "你好"
    assert item.add(Event("final", "你好世界", 0, 2, words, 2)) == "世界"
    assert item.add(Event("final", "你好世界", 2, 4, words, 2)) == "你好世界"


def test_both_spellings_of_a_session_are_read():
    new = {
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "transcription": {"model": "words", "language": "en"},
                "turn_detection": None,
            }
        },
    }
    old = {
        "input_audio_format": "pcm16",
        "input_audio_transcription": {"model": "words", "language": "en"},
        "turn_detection": None,
    }
    assert RealtimeSettings().updated(new) == RealtimeSettings().updated(old)
    assert RealtimeSettings().updated(old) == RealtimeSettings("words", "en", turns=False)
    assert RealtimeSettings(turns=False).updated({"turn_detection": {"type": "server_vad"}}).turns


@pytest.mark.parametrize(
    "session",
    [
        {"type": "realtime"},
        {"audio": 1},
        {"input_audio_format": "g711_ulaw"},
        {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 8000}}}},
        {"input_audio_transcription": {"prompt": "names"}},
        {"input_audio_transcription": {"model": 1}},
        {"turn_detection": {"type": "magic"}},
        "none",
    ],
)
def test_what_is_not_served_is_refused(session: object):
    with pytest.raises(ApiError):
        RealtimeSettings().updated(session)
