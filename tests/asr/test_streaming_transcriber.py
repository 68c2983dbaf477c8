"""Recordings by a live recogniser: the usual outcomes, made of its finals."""

from pathlib import Path

import numpy as np
import pytest
from energy_words import CONFIDENCE, EnergyWords
from fake_transcriber import FakeTranscriber
from real_command import RECORDINGS, SHORT, Command, encoded, speech

from echoic.asr.options import TranscribeOptions
from echoic.asr.source import Source
from echoic.asr.streaming_transcriber import StreamingTranscriber
from echoic.audio.errors import AudioDecodeError
from echoic.audio.io import load
from echoic.streaming.session import Session

PLAIN = TranscribeOptions()
TIMED = TranscribeOptions(word_timestamps=True)


@pytest.fixture
def twice(tmp_path: Path) -> Path:
    """Speech between pauses: 1 s of silence, 3 s of speech, twice."""
    path = tmp_path / "twice.wav"
    path.write_bytes(encoded("WAV", "PCM_16", np.tile(np.append(np.zeros(16000), speech()), 2)))
    return path


def test_segments_are_the_finals_of_a_session(twice: Path):
    transcript = StreamingTranscriber(EnergyWords(), language="en").transcribe(twice, TIMED)
    session = Session(EnergyWords(), sample_rate=16_000)
    wav = load(twice).wav
    finals = [e for e in session.feed(wav) + session.finish() if e.type == "final"]
    assert len(finals) > 1
    assert [s.text for s in transcript.segments] == [f" {e.text}" for e in finals]
    assert transcript.text == " ".join(e.text for e in finals)
    assert [s.id for s in transcript.segments] == list(range(len(finals)))
    for segment, event in zip(transcript.segments, finals, strict=True):
        assert segment.words is not None
        assert [w.word for w in segment.words] == [f" {w.text}" for w in event.words]
        assert (segment.start, segment.end) == (round(event.start, 3), round(event.end, 3))
        assert all(w.probability == CONFIDENCE for w in segment.words)
    assert transcript.duration == pytest.approx(wav.shape[1] / 16_000, abs=1e-3)
    assert (transcript.language, transcript.language_probability) == ("en", 1.0)


def test_words_only_where_they_were_asked_for():
    transcript = StreamingTranscriber(EnergyWords()).transcribe(SHORT, PLAIN)
    assert all(segment.words is None for segment in transcript.segments)
    assert (transcript.language, transcript.language_probability) == ("und", 0.0)


def test_a_bad_recording_does_not_take_the_others_with_it(tmp_path: Path):
    (tmp_path / "bad.wav").write_text("no sound at all")
    paths = [RECORDINGS[1], tmp_path / "bad.wav", RECORDINGS[4]]
    sources = [Source(p.name, str(p), p.name, offset=0.5 if p.exists() else 0) for p in paths]
    progress: list[float] = []
    outcomes = list(
        StreamingTranscriber(EnergyWords()).transcribe_many(
            sources, PLAIN, batch_size=4, on_progress=progress.append
        )
    )
    assert [outcome.source for outcome in outcomes] == sources
    assert isinstance(outcomes[1].error, AudioDecodeError)
    durations = [o.transcript.duration for o in outcomes if o.transcript is not None]
    assert len(durations) == 2
    assert sum(durations) == pytest.approx(sum(progress), abs=2e-3)


def test_without_the_gate_all_is_one_utterance(twice: Path):
    options = TranscribeOptions(vad=False)
    transcriber = StreamingTranscriber(EnergyWords(floor_db=-300.0))
    whole, gated = (transcriber.transcribe(twice, o).segments for o in (options, PLAIN))
    assert (len(whole), len(gated)) == (1, 2)
    assert whole[0].start == 0.0
    assert gated[0].start > 0.5


@pytest.mark.parametrize(
    "options",
    [
        TranscribeOptions(prompt="x"),
        TranscribeOptions(hotwords="x"),
        TranscribeOptions(task="translate"),
    ],
)
def test_what_a_stream_cannot_follow_is_refused(options: TranscribeOptions):
    with pytest.raises(ValueError, match=r"leave it out|can only transcribe"):
        StreamingTranscriber(EnergyWords()).transcribe_many([], options)


def test_the_command_tells_the_loader_how_to_stream(
    command: Command, monkeypatch: pytest.MonkeyPatch
):
    loaded: list[dict[str, object]] = []

    def load_fake(name: str, **settings: object) -> StreamingTranscriber | FakeTranscriber:
        loaded.append(settings)
        return StreamingTranscriber(EnergyWords())

    monkeypatch.setattr("echoic.asr.cli.load_transcriber", load_fake)
    result = command.type(SHORT, "--streaming", "-f", "srt", "--threads", "1")
    assert result.exit_code == 0
    assert "-->" in result.stdout
    expected: dict[str, object] = {"policy": "causal", "chunk_ms": None}
    expected |= {"language": None, "beam_size": 1, "hotwords": None}
    assert loaded[0] == {"device": "auto", "dtype": "auto", "threads": 1, **expected}
    words = ("--streaming", "--policy", "alignatt", "--chunk-ms", "800", "--language", "en")
    command.type(SHORT, *words)
    assert {**loaded[1]} | {"policy": "alignatt", "chunk_ms": 800.0, "language": "en"} == loaded[1]


@pytest.mark.parametrize("words", [("--policy", "causal"), ("--chunk-ms", "320")])
def test_settings_of_streams_need_a_stream(words: tuple[str, ...], command: Command):
    result = command.type(SHORT, *words)
    assert result.exit_code == 2
    assert result.stderr == ("echoic: --policy and --chunk-ms are for streams; add --streaming\n")


def test_the_model_in_the_box(command: Command, tmp_path: Path):
    command.really_load()
    words = ("--streaming", "--policy", "agreement", "--json", "--word-timestamps", "-q")
    result = command.type(SHORT, *words)
    assert (result.exit_code, result.stderr) == (0, "")
    assert '"language": "en"' in result.stdout
    assert "young man" in result.stdout
    assert '"word": " young"' in result.stdout
