import json
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import soundfile
import torch
from torch import Tensor

from echoic.asr.source import Source
from echoic.asr.stream_eval import Tools, evaluate, simulate
from echoic.asr.stream_report import Failure, Report
from echoic.asr.stream_rows import Row
from echoic.streaming.events import Event, EventWord

pytest.importorskip("jiwer")
pytest.importorskip("whisper_normalizer")

RATE = 16000
SCRIPT = "ant bee cat dog"


class Position(NamedTuple):
    samples: int


class Clockwork:
    """A recogniser for which every 0.5 s of sound are the next word of a script.

    Its work takes time on the clock that the evaluation reads.
    """

    sample_rate = RATE
    lookahead = 160

    def __init__(self, chunk_ms: float, script: str = SCRIPT, work: float = 0.0) -> None:
        self.frame_size = round(chunk_ms * RATE / 1000)
        self.script = script.split()
        self.work = work
        self.now = 0.0

    def initial_state(self, batch_size: int = 1, *, device=None, dtype=torch.float32) -> Position:
        return Position(0)

    def step(self, state: Position, wav: Tensor) -> tuple[Position, list[Event]]:
        after = state.samples + wav.shape[1]
        made: list[Event] = []
        for end in range(self.frame_size, after + 1, self.frame_size):
            if state.samples < end + self.lookahead <= after:
                self.now += self.work
                made.append(self._event("partial", end / RATE))
        return Position(after), made

    def finish(self, state: Position) -> tuple[Position, list[Event]]:
        return state, [self._event("final", state.samples / RATE)]

    def _event(self, kind, seconds: float) -> Event:
        words = tuple(
            EventWord(word, 0.5 * i, 0.5 * i + 0.5, 1.0)
            for i, word in enumerate(self.script)
            if 0.5 * i + 0.5 <= seconds + 1e-6
        )
        text = " ".join(word.text for word in words)
        stable = len(words) if kind == "final" else 0
        return Event(kind, text, 0.0, seconds, words, stable, seconds, 0.0)


class Bare:
    """A recogniser's utterance as a stream, without voice activity."""

    def __init__(self, recognizer) -> None:
        self.recognizer = recognizer
        self.state = recognizer.initial_state()

    def feed(self, wav: Tensor) -> list[Event]:
        self.state, events = self.recognizer.step(self.state, wav[None])
        return events

    def finish(self) -> list[Event]:
        self.state, events = self.recognizer.finish(self.state)
        return events


def half_second_words(text: str) -> tuple[EventWord, ...]:
    return tuple(
        EventWord(word, 0.5 * i, 0.5 * i + 0.5, 1.0) for i, word in enumerate(text.split())
    )


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "two.wav"
    soundfile.write(path, 0.1 * torch.randn(2 * RATE, generator=torch.manual_seed(0)).numpy(), RATE)
    return path


def row(wav: Path, text: str = SCRIPT, *, timed: bool = True) -> Row:
    return Row(wav.stem, str(wav), text, half_second_words(text) if timed else None)


def run(rows: Iterable[Row], chunks=(500.0,), work: float = 0.0, **tools) -> Report:
    made: list[Clockwork] = []

    def make(policy: str, chunk_ms: float) -> Clockwork:
        if chunk_ms == 13:
            raise ValueError("chunk_ms is 13; take a lucky number")
        script = SCRIPT if policy == "good" else "ant be cat dog elk"
        made.append(Clockwork(chunk_ms, script, work))
        return made[-1]

    return evaluate(
        make,
        rows,
        chunks,
        policies=("good", "bad") if tools.pop("both", False) else ("good",),
        model="clockwork",
        tools=Tools(open_stream=Bare, clock=lambda: made[-1].now, **tools),
    )


def test_pieces_are_fed_and_timed(wav: Path):
    machine = Clockwork(500, work=0.125)
    sound = torch.zeros(RATE + 100)
    log = simulate(Bare(machine), sound, feed_seconds=0.1, clock=lambda: machine.now)
    times = [feed.audio_time for feed in log.feeds]
    assert times == pytest.approx([*(0.1 * i for i in range(1, 11)), 1.00625, 1.00625])
    # The look-ahead of 10 ms is there with the next piece; the end has no block behind it.
    spoken = [(round(f.audio_time, 3), f.compute) for f in log.feeds if f.events]
    assert spoken == [(0.6, 0.125), (1.006, 0.0)]
    assert log.duration == 1.00625


def test_a_perfect_recogniser_lags_by_its_chunk_and_lookahead(wav: Path):
    report = run([row(wav)], [500, 1000], feed_seconds=0.01, work=0.25)
    fast, slow = (result.summary for result in report.results)
    assert fast.errors.rate == 0
    assert fast.relative == 0
    # Words end every 0.5 s: 10 ms of look-ahead and, in the last block, none.
    assert fast.audio_clock.settled.median == pytest.approx(0.01)
    assert fast.audio_clock.first_word.median == pytest.approx(0.51)
    assert fast.wall_clock.settled.median == pytest.approx(0.26)
    assert slow.audio_clock.settled.largest == pytest.approx(0.51)
    assert fast.matched == 1
    assert fast.churn == fast.broken == 0
    assert fast.rtf == pytest.approx(3 * 0.25 / 2)
    assert slow.rtf == pytest.approx(1 * 0.25 / 2)
    assert fast.end_bias == 0
    assert [r.chunk_ms for r in report.results] == [500, 1000]


def test_policies_and_the_offline_transcript(wav: Path):
    heard: list[str | None] = []

    def offline(sound: Tensor, language: str | None) -> str:
        heard.append(language)
        return "Ant, BEE, cat, frog!"

    report = run([replace(row(wav), language="en")], both=True, transcribe=offline)
    assert heard == ["en"]  # once for all settings
    assert report.offline is not None
    assert report.offline.rate == 0.25
    good, bad = report.results
    assert (good.policy, bad.policy) == ("good", "bad")
    assert good.to_offline is not None
    assert bad.to_offline is not None
    assert (good.summary.errors.rate, good.to_offline.rate) == (0, 0.25)
    # The fifth word is never reached.
    assert (bad.summary.errors.rate, bad.to_offline.rate) == (0.25, 0.5)
    assert bad.summary.matched == 0.75


def test_words_without_times_are_aligned(wav: Path):
    asked: list[tuple[int, str]] = []

    def align(sound: Tensor, text: str, language: str | None) -> tuple[EventWord, ...]:
        asked.append((len(sound), text))
        return half_second_words(text)

    report = run([row(wav, timed=False), row(wav)], align=align)
    assert asked == [(2 * RATE, SCRIPT)]
    assert report.results[0].summary.timed_words == 8
    without = run([row(wav, timed=False)]).results[0].summary
    assert without.timed_words == 0
    assert math.isnan(without.audio_clock.settled.median)
    assert without.errors.rate == 0


def test_bad_files_and_settings_stop_nothing(wav: Path, tmp_path: Path):
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"not a sound at all")
    rows = [Row("gone", str(tmp_path / "gone.wav"), "a"), Row("noise", str(noise), "a"), row(wav)]
    report = run(rows, [500, 13])
    assert [r.summary.recordings for r in report.results] == [1]
    assert [f.name for f in report.failures] == ["gone", "noise", "good at 13 ms"]
    assert report.failures[0].message.startswith("no such file; check")
    assert report.failures[2].message == "chunk_ms is 13; take a lucky number"
    assert "3 failed" in report.table()


def test_a_recogniser_that_breaks_on_a_recording(wav: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Clockwork, "finish", lambda self, state: 1 / 0)
    report = run([row(wav)])
    assert report.results[0].summary.recordings == 0
    assert "ZeroDivisionError" in report.failures[0].message
    assert report.failures[0].name == "two (good at 500 ms)"
    json.loads(report.to_json())
    assert report.table()


def test_the_first_setting_fails_before_anything_is_read(wav: Path):
    with pytest.raises(ValueError, match="lucky"):
        run(iter([row(wav)]), [13])
    with pytest.raises(ValueError, match="at least one each"):
        run([row(wav)], [])
    with pytest.raises(ValueError, match="at least one sample"):
        Tools(feed_seconds=0.0)


def test_words_on_silence(wav: Path):
    report = run([Row("quiet", str(wav), "")])
    assert report.results[0].summary.insertions_per_hour == pytest.approx(4 * 1800)
    assert math.isnan(report.results[0].summary.errors.rate)


def test_sessions_are_what_is_evaluated(wav: Path):
    """Noise opens no utterance, so the clockwork is never asked."""
    report = evaluate(lambda policy, chunk: Clockwork(chunk), [row(wav)], [500.0])
    assert report.failures == ()
    assert report.results[0].summary.errors.deletions == 4


def test_rows_of_a_manifest():
    def source(**fields: object) -> Source:
        return Source("a", "a.wav", "a", offset=1.5, duration=2.0, fields=fields)

    words = [{"text": "hi", "start": 0, "end": 0.5}, {"word": " you", "start": 0.5, "end": 1}]
    found = Row.from_source(source(text="Hi, you", words=words, lang="english"))
    assert found.words == (EventWord("hi", 0.0, 0.5, 1.0), EventWord("you", 0.5, 1.0, 1.0))
    assert (found.text, found.language, found.offset, found.duration) == ("Hi, you", "en", 1.5, 2)
    assert Row.from_source(source(words=words)).text == "hi you"
    assert Row.from_source(source(text="")).words is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "'text' is None; write what is said there"),
        ({"text": 3}, "'text' is 3"),
        ({"text": "a", "words": "a"}, "'words' is a str"),
        ({"text": "a", "words": [1]}, "'words' holds 1"),
        ({"text": "a", "words": [{"text": "a", "start": -1, "end": 0}]}, "'words' holds {'text'"),
        ({"text": "a", "words": [{"text": "a", "start": 0, "end": True}]}, "'words' holds"),
        ({"text": "a", "words": [{"text": "a", "start": 2, "end": 1}]}, "ends before it starts"),
        (
            {"words": [{"text": c, "start": 0, "end": e} for c, e in (("a", 2), ("b", 1))]},
            "out of order",
        ),
        ({"text": "a", "lang": 5}, "'lang' is 5"),
        ({"text": "a", "lang": "klingon"}, "klingon"),
    ],
)
def test_bad_rows(fields: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        Row.from_source(Source("a", "a.wav", "a", fields=fields))


def test_table_and_json(wav: Path):
    report = run([row(wav)], [500, 1000], transcribe=lambda sound, language: SCRIPT, work=0.25)
    lines = report.table().splitlines()
    assert lines[0] == "clockwork: 1 recordings, 0.0 min"
    assert lines[3].split() == ["offline", "-", "0.0", "0.0-0.0", *"------"]
    assert lines[4].split() == ["good", "500", "0.0", "0.0-0.0", *["0.0"] * 4, "0", "-"]
    latency = next(n for n, line in enumerate(lines) if line.startswith("Seconds from"))
    assert lines[latency + 2].split()[:5] == ["good", "500", "100.0", "audio", "0.52"]
    assert lines[latency + 3].split()[:7] == ["good", "500", "100.0", "+", "work", "0.77", "0.77"]
    fields = json.loads(report.to_json())
    assert list(fields) == ["model", "feed_ms", "offline", "results", "failures"]
    assert fields["feed_ms"] == 20
    first = fields["results"][0]
    assert (first["policy"], first["chunk_ms"], first["to_offline"]) == ("good", 500, 0.0)
    assert first["audio_clock"]["first_word"]["median"] == pytest.approx(0.52)


def test_an_empty_report():
    report = Report("nothing", (), failures=(Failure("a", "gone"),))
    assert report.table() == "nothing: nothing was recognised\n"
    assert json.loads(report.to_json())["failures"] == [{"name": "a", "message": "gone"}]


def test_picture(wav: Path):
    pytest.importorskip("matplotlib")
    from echoic.asr.stream_plot import plot_report

    report = run(
        [row(wav)], [500, 1000], both=True, transcribe=lambda sound, language: SCRIPT, work=0.25
    )
    (ax,) = plot_report(report).axes
    legend = ax.get_legend()
    assert legend is not None
    assert {text.get_text() for text in legend.get_texts()} == {"offline", "good", "bad"}
    marks = [text.get_text() for text in ax.texts]
    assert marks == ["500 ms", "1000 ms"] * 2
    lags = [r.summary.audio_clock.settled.median for r in report.results[:2]]
    assert ax.lines[0].get_xdata() == pytest.approx(lags)
    assert not plot_report(Report("nothing", ())).axes[0].texts
