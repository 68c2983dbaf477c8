import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_logs import evenly, event, feed, partials, spoken

from echoic.asr.latency.log import Feed, StreamLog
from echoic.asr.latency.recording import Measurement, Reference, measure
from echoic.asr.latency.summary import Spread, summarise

pytest.importorskip("jiwer")


def example(compute: float = 0.0) -> Measurement:
    words = spoken(("the", 0.5, 0.7), ("cat", 0.7, 1.2), ("sat", 1.2, 1.7))
    log = partials(
        3.0, (1.0, "the"), (1.5, "the bat"), (2.0, "the cat"), (2.5, "the cat mat"), compute=compute
    )
    return measure(log, Reference("the cat sat", words), chunk=0.5)


def test_lags_by_hand():
    found = example()
    assert (found.num_timed, found.num_right) == (3, 2)
    assert found.audio.first_word == 0.5
    assert found.audio.shown == pytest.approx((0.3, 0.8))
    assert found.audio.settled == pytest.approx((0.3, 0.8))
    assert found.audio.promised == pytest.approx((2.3, 1.8))
    assert found.hypothesis == "the cat mat"
    assert found.audio.lagging_settled is not None
    assert found.audio.lagging_settled.al == pytest.approx(((1 - 0) + (2 - 1) + (2.5 - 2)) / 3)
    assert found.end_errors == pytest.approx((0.1 - 0.7, 0.2 - 1.2))
    assert found.start_errors == pytest.approx((0.0 - 0.5, 0.1 - 0.7))


def test_computing_adds_to_the_wall_clock_only():
    found = example(compute=0.2)
    assert found.audio == example().audio
    assert found.wall.shown == pytest.approx((0.5, 1.0))
    assert found.wall.first_word == pytest.approx(0.7)
    assert found.chunk_compute == pytest.approx((0.2,) * 5)
    behind = example(compute=1.0)  # twice as slow as the sound: the fifth feed ends at 6 s
    assert behind.wall.promised == pytest.approx((5.3, 4.8))


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 50), st.floats(0, 1))
def test_lags_do_not_depend_on_where_the_speech_lies(shift: float, compute: float):
    words = evenly("one two three", each=0.4, start=0.3)
    feeds = [
        feed(0.8, event("partial", "one"), compute=compute),
        feed(1.2, event("partial", "one two"), compute=compute),
        feed(1.6, event("final", "one two three"), compute=compute),
    ]
    later = [
        Feed(f.audio_time + shift, f.compute, tuple(e.shifted(shift) for e in f.events))
        for f in feeds
    ]
    moved = tuple(w._replace(start=w.start + shift, end=w.end + shift) for w in words)
    near = measure(StreamLog(1.6, tuple(feeds)), Reference("one two three", words), chunk=0.4)
    far = measure(
        StreamLog(1.6 + shift, tuple(later)), Reference("one two three", moved), chunk=0.4
    )
    for before, after in ((near.audio, far.audio), (near.wall, far.wall)):
        assert after.first_word == pytest.approx(before.first_word)
        assert after.shown == pytest.approx(before.shown)
        assert after.settled == pytest.approx(before.settled)
        assert after.promised == pytest.approx(before.promised)
    assert far.end_errors == pytest.approx(near.end_errors)
    assert all(w >= a for a, w in zip(near.audio.shown, near.wall.shown, strict=True))


def test_without_word_times_only_lags_are_missing():
    log = partials(2.0, (1.0, "a b"))
    found = measure(log, Reference("a b"), chunk=1.0)
    assert found.audio.shown == found.audio.settled == ()
    assert found.audio.first_word is None
    assert found.relative is None
    assert found.audio.lagging_shown is not None
    assert found.audio.lagging_shown.al == pytest.approx((1 + 0) / 2)


def test_pooled():
    silent = measure(
        StreamLog(1800.0, (feed(9.0, event("final", "thank you")),)), Reference(""), chunk=0.5
    )
    missed = measure(
        StreamLog(2.0, (feed(2.0),)), Reference("gone", evenly("gone", start=1.0)), chunk=0.5
    )
    found = summarise([example(0.1), silent, missed])
    assert found.recordings == 3
    assert found.audio_seconds == 1805.0
    assert (found.errors.errors, found.errors.num_words) == (2, 4)
    assert found.insertions_per_hour == 4.0
    assert found.matched == 2 / 4
    assert found.audio_clock.first_word == Spread(1, 0.5, 0.5, 0.5, 0.5)
    assert found.audio_clock.settled.median == pytest.approx(0.55)
    assert found.wall_clock.settled.median == pytest.approx(0.65)
    assert found.churn == 1 / (3 + 2)
    assert found.rtf == pytest.approx(0.5 / 1805)
    assert found.chunk_compute.largest == pytest.approx(0.1)
    assert found.end_bias == pytest.approx(-0.8)
    assert found.end_error.median == pytest.approx(0.8)


def test_json_holds_everything_and_no_nan():
    fields = summarise([example()]).to_dict()
    assert json.loads(json.dumps(fields, allow_nan=False)) == fields
    assert fields["insertions_per_hour"] is None
    assert fields["errors"]["words"] == 3
    assert fields["audio_clock"]["settled"]["count"] == 2
    assert fields["audio_clock"]["lagging_settled"]["al"] == pytest.approx(2.5 / 3, abs=1e-6)


def test_no_recordings():
    found = summarise([])
    assert math.isnan(found.rtf)
    assert math.isnan(found.churn)
    assert found.audio_clock.lagging_shown is None
    assert math.isnan(found.audio_clock.shown.median)
    json.dumps(found.to_dict(), allow_nan=False)
