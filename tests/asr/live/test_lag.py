"""Delays of words, and the line that tells of them."""

import pytest
from live_terminal import endpoint, final, partial

from echoic.asr.live.lag import WordLag
from echoic.asr.live.report import Behind, statistics_line
from echoic.streaming.stats import SessionStats

STATS = SessionStats(
    audio_seconds=7.1,
    compute_seconds=1.5,
    rtf=1.5 / 7.1,
    chunks=22,
    chunk_ms_p50=41.4,
    chunk_ms_p95=62.2,
    chunk_ms_max=70.0,
    first_word_latency=0.614,
    utterances=1,
    replaced_samples=0,
    clipped_samples=0,
    skipped_seconds=0.0,
)


def test_a_word_counts_from_when_it_stood_in_its_place():
    lag = WordLag()  # words end at 0.5, 1.0, 1.5 s
    lag.take(partial("he was", now=1.2, ms=100))  # he: 1.3
    lag.take(partial("he is not", now=1.6))
    lag.take(partial("he was not", now=2.0))  # was: 2.0, again; not: 1.6
    lag.take(final("he was not", now=3.0))
    assert lag.count == 3
    assert lag.mean == pytest.approx(((1.3 - 0.5) + (2.0 - 1.0) + (1.6 - 1.5)) / 3)


def test_words_that_stay_open_keep_their_time_behind_a_final():
    lag = WordLag()
    lag.take(partial("a b c", now=2.0))
    lag.take(final("a b", now=3.0))
    lag.take(final("c", now=4.0))  # its end is 0.5 s here: the first of its event
    assert lag.mean == pytest.approx(((2 - 0.5) + (2 - 1) + (2 - 0.5)) / 3)


def test_a_final_without_a_partial_is_told_by_itself():
    lag = WordLag()
    assert lag.mean is None
    lag.take(final("yes", now=2.0, ms=250))
    lag.take(endpoint())
    assert (lag.count, lag.mean) == (1, pytest.approx(2.25 - 0.5))


def test_the_statistics_in_a_line():
    lag = WordLag()
    lag.take(final("yes", now=1.0))
    assert statistics_line(STATS, lag, behind=0.04, lost=1.5) == (
        "7.1 s of audio in 1.5 s of work (RTF 0.211), first word after 0.61 s, "
        "words 0.50 s after their ends, 22 chunks (p50 41 ms, p95 62 ms), "
        "at most 0.0 s behind, 1.5 s lost"
    )


def test_silence_has_no_delays():
    silent = SessionStats(3.0, 0.3, 0.1, 0, 0.0, 0.0, 0.0, None, 0, 0, 0, 0.0)
    line = statistics_line(silent, WordLag(), behind=None)
    assert line == "3.0 s of audio in 0.3 s of work (RTF 0.100)"


def test_falling_behind_is_told_rarely():
    behind = Behind()
    seconds = [0.1, 1.9, 2.0, 2.1, 3.9, 4.2, 1.0, 0.4, 0.1, 2.5]
    assert [behind.note(s) for s in seconds] == [
        *(None, None, "behind by 2.0 s", None, None, "behind by 4.2 s"),
        *(None, "has caught up", None, "behind by 2.5 s"),
    ]
    assert behind.most == 4.2
