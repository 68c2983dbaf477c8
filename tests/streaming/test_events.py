"""Events: values, JSON lines, places in time."""

import json
from dataclasses import replace

import pytest

from echoic.streaming.events import Event, EventWord

WORDS = (EventWord("naïve", 0.12349, 0.5, 0.98765), EventWord("idea", 0.5, 1.0, 1))
PARTIAL = Event("partial", "naïve idea", 0.12349, 1.0, WORDS, 1, 1.28, 33.33333)


def test_one_line_in_the_documented_order():
    line = PARTIAL.to_json()
    assert "\n" not in line
    fields = json.loads(line)
    order = "type text start end words stable audio_time compute_ms"
    assert list(fields) == order.split()
    assert fields["text"] == "naïve idea"
    assert fields["words"][0] == {"text": "naïve", "start": 0.123, "end": 0.5, "confidence": 0.988}
    assert (fields["start"], fields["compute_ms"]) == (0.123, 33.333)


def test_json_and_back():
    again = Event.from_dict(json.loads(PARTIAL.to_json()))
    assert again.to_json() == PARTIAL.to_json()
    assert again.words[1] == WORDS[1]
    assert Event.from_dict(PARTIAL.to_dict()).type == "partial"


def test_shifted_moves_every_time():
    moved = PARTIAL.shifted(10.0)
    assert (moved.start, moved.end, moved.audio_time) == (10.12349, 11.0, 11.28)
    assert [(w.start, w.end) for w in moved.words] == [(10.12349, 10.5), (10.5, 11.0)]
    assert (moved.text, moved.stable, moved.compute_ms) == ("naïve idea", 1, 33.33333)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "late"}, "type is 'late'"),
        ({"stable": 3}, "stable is 3: expected 0 to 2"),
        ({"stable": -1}, "stable is -1"),
        ({"type": "final"}, "stable is 1 of 2 words in a final"),
        ({"type": "endpoint"}, "an endpoint has 2 words"),
    ],
)
def test_impossible_events_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(PARTIAL, **change)


def test_other_fields_are_refused():
    with pytest.raises(ValueError, match="an Event has the fields"):
        Event.from_dict({**PARTIAL.to_dict(), "lang": "en"})
    with pytest.raises(ValueError, match="an EventWord has the fields text: expected"):
        EventWord.from_dict({"text": "a"})


def test_numbers_that_are_none_do_not_reach_json():
    with pytest.raises(ValueError, match="Out of range"):
        replace(PARTIAL, start=float("nan")).to_json()
