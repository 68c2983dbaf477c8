import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_logs import event, feed

from echoic.asr.latency.log import Feed, StreamLog


def test_work_waits_for_the_sound_and_for_the_work_before_it():
    log = StreamLog(
        4.0, (feed(1.0, compute=0.5), feed(2.0, compute=1.5), feed(3.0, compute=0.25), feed(4.0))
    )
    assert log.wall_times() == [1.5, 3.5, 3.75, 4.0]
    assert log.compute == 2.25


def test_events_of_one_piece_of_sound_are_one_feed():
    events = [
        event("partial", "a", at=1.0, ms=100),
        event("final", "a", at=2.0, ms=200),
        event("endpoint", "", at=2.0, ms=250),
    ]
    log = StreamLog.from_events(events, 2.5)
    assert [(f.audio_time, f.compute, len(f.events)) for f in log.feeds] == [
        (1.0, 0.1, 1),
        (2.0, 0.25, 2),
    ]
    with pytest.raises(ValueError, match="in the order"):
        StreamLog.from_events(events[::-1], 2.5)


def test_work_by_chunk():
    log = StreamLog(1.0, tuple(feed(0.02 * i, compute=1.0) for i in range(1, 51)))
    assert log.compute_by_chunk(0.32) == [16.0, 16.0, 16.0, 2.0]
    assert log.compute_by_chunk(2.0) == [50.0]
    assert StreamLog(0.0, ()).compute_by_chunk(0.1) == []
    with pytest.raises(ValueError, match="more than 0"):
        log.compute_by_chunk(0.0)


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 3)), min_size=1, max_size=30),
    st.floats(0.05, 5),
)
def test_laws_of_the_clock(pieces: list[tuple[float, float]], chunk: float):
    pieces.sort()
    log = StreamLog(100.0, tuple(Feed(at, work) for at, work in pieces))
    walls = log.wall_times()
    for wall, (at, work) in zip(walls, pieces, strict=True):
        assert wall >= at + work
    assert walls == sorted(walls)
    assert sum(log.compute_by_chunk(chunk)) == pytest.approx(log.compute)
    idle = StreamLog(100.0, tuple(Feed(at, 0.0) for at, _ in pieces))
    assert idle.wall_times() == [at for at, _ in pieces]


@pytest.mark.parametrize("values", [(-1.0, 0.0), (0.0, -1.0), (float("nan"), 0.0)])
def test_impossible_feeds(values: tuple[float, float]):
    with pytest.raises(ValueError, match="0 or more"):
        Feed(*values)


def test_impossible_duration():
    with pytest.raises(ValueError, match="duration is -1"):
        StreamLog(-1, ())
