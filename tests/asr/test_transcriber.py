"""Whole recordings through the recogniser: alone, side by side, and when things go wrong."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from speech_data import novel, tiny_en
from whisper_factory import SMALL, random_state, write_folder

from echoic.asr.options import TranscribeOptions
from echoic.asr.source import Outcome, Source
from echoic.asr.transcriber import Transcriber
from echoic.asr.transcript import Transcript
from echoic.asr.whisper.decoding import EncodedBatch, WindowDecoder
from echoic.asr.whisper.model import WhisperModel
from echoic.audio.errors import AudioDecodeError

GREEDY = TranscribeOptions(temperatures=(0.0,))
RATE = 16_000


@pytest.fixture(scope="module")
def transcriber() -> Transcriber:
    return Transcriber(tiny_en())


@pytest.fixture(scope="module")
def expected(transcriber: Transcriber) -> list[Transcript]:
    return [transcriber.transcribe(u.path, GREEDY) for u in novel()]


def sources() -> list[Source]:
    return [Source(key=u.path.stem, path=str(u.path), name=u.path.name) for u in novel()]


def by_key(outcomes: Iterator[Outcome]) -> dict[str, Outcome]:
    return {outcome.source.key: outcome for outcome in outcomes}


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_batches_do_not_change_the_text(
    transcriber: Transcriber, expected: list[Transcript], batch_size: int
):
    told: list[float] = []
    found = by_key(
        transcriber.transcribe_many(
            sources(), GREEDY, batch_size=batch_size, on_progress=told.append
        )
    )
    for u, one in zip(novel(), expected, strict=True):
        transcript = found[u.path.stem].transcript
        assert transcript is not None
        assert transcript.text == one.text
        assert [s.tokens for s in transcript.segments] == [s.tokens for s in one.segments]
        assert [(s.start, s.end) for s in transcript.segments] == [
            (s.start, s.end) for s in one.segments
        ]
        assert (transcript.language, transcript.duration) == ("en", len(u.wav) / RATE)
    assert sum(told) == pytest.approx(sum(len(u.wav) for u in novel()) / RATE, abs=0.01)
    assert all(seconds >= 0 for seconds in told)


def test_samples_read_like_their_file(transcriber: Transcriber, expected: list[Transcript]):
    wav = novel()[3].wav
    assert transcriber.transcribe(wav, GREEDY, sample_rate=RATE) == expected[3]
    stereo = torch.stack([wav, wav])
    assert transcriber.transcribe(stereo, GREEDY, sample_rate=RATE).text == expected[3].text
    slow = transcriber.transcribe(wav.repeat_interleave(2), GREEDY, sample_rate=2 * RATE)
    assert slow.duration == expected[3].duration
    assert "amiable woman" in slow.text


def test_wrong_requests(transcriber: Transcriber):
    wav = novel()[1].wav
    with pytest.raises(ValueError, match="sample_rate is needed for samples"):
        transcriber.transcribe(wav)
    with pytest.raises(ValueError, match=r"samples have shape \(0,\)"):
        transcriber.transcribe(wav[:0], sample_rate=RATE)
    with pytest.raises(ValueError, match="NaN or infinite"):
        transcriber.transcribe(torch.full((RATE,), torch.nan), sample_rate=RATE)
    with pytest.raises(ValueError, match="knows English only, not french"):
        transcriber.transcribe(wav, TranscribeOptions(language="fr"), sample_rate=RATE)
    for language in ("en", "english"):
        translate = TranscribeOptions(language=language, task="translate")
        with pytest.raises(ValueError, match="knows English only, not translation"):
            transcriber.transcribe(wav, translate, sample_rate=RATE)
    with pytest.raises(ValueError, match="batch_size is 0"):
        transcriber.transcribe(wav, sample_rate=RATE, batch_size=0)
    with pytest.raises(FileNotFoundError):
        transcriber.transcribe("no-such-file.wav")


def test_a_source_that_cannot_be_read_spoils_no_other(
    transcriber: Transcriber, expected: list[Transcript], tmp_path: Path
):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF nothing of the kind")
    bad = [Source(key=p.stem, path=str(p), name=p.name) for p in (broken, tmp_path / "gone.wav")]
    good = sources()
    mixed = [good[0], bad[0], good[1], bad[1], *good[2:]]
    found = by_key(transcriber.transcribe_many(mixed, GREEDY, batch_size=2))
    assert len(found) == 7
    assert isinstance(found["broken"].error, AudioDecodeError)
    assert isinstance(found["gone"].error, FileNotFoundError)
    for source, one in zip(good, expected, strict=True):
        transcript = found[source.key].transcript
        assert transcript is not None
        assert transcript.text == one.text


def test_an_error_in_decoding_fails_its_batch_only(
    transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch
):
    decode = WindowDecoder.decode
    calls: list[int] = []

    def unlucky(self: WindowDecoder, encoded: EncodedBatch, *rest: object) -> object:
        calls.append(len(encoded.seconds))
        if len(calls) == 1:
            raise RuntimeError("out of memory")
        return decode(self, encoded, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(WindowDecoder, "decode", unlucky)
    found = by_key(transcriber.transcribe_many(sources(), GREEDY, batch_size=2))
    failed = [o for o in found.values() if o.error is not None]
    assert len(found) == 5
    assert len(failed) == calls[0] == 2
    assert all("out of memory" in str(o.error) for o in failed)


def test_closing_early_leaves_nothing_open(transcriber: Transcriber):
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("no /proc here")
    before = {os.readlink(p) for p in descriptors.iterdir() if p.exists()}
    outcomes = transcriber.transcribe_many(sources() * 3, GREEDY, batch_size=1)
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    after = {os.readlink(p) for p in descriptors.iterdir() if p.exists()}
    assert not [name for name in after - before if name.endswith(".opus")]


def test_sound_without_speech_gives_no_text(transcriber: Transcriber):
    noise = 0.1 * torch.randn(20 * RATE, generator=torch.Generator().manual_seed(0))
    tone = 0.5 * torch.sin(torch.arange(1600) * 440 * 2 * torch.pi / RATE)
    for wav in (torch.zeros(60 * RATE), noise, tone, torch.zeros(1)):
        found = transcriber.transcribe(wav, sample_rate=RATE)
        assert (found.text, found.segments) == ("", ())
        assert found.duration == round(len(wav) / RATE, 3)


def test_without_vad_nonsense_stays_short(transcriber: Transcriber):
    noise = 0.1 * torch.randn(4 * RATE, generator=torch.Generator().manual_seed(0))
    tone = 0.5 * torch.sin(torch.arange(1600) * 440 * 2 * torch.pi / RATE)
    for wav in (torch.zeros(3 * RATE), noise, tone, torch.zeros(1)):
        found = transcriber.transcribe(wav, replace(GREEDY, vad=False), sample_rate=RATE)
        assert len(found.text) < 80
        assert all(0 <= s.start <= s.end <= found.duration for s in found.segments)


def words_of(transcript: Transcript) -> list[tuple[str, float, float]]:
    words = [w for s in transcript.segments for w in s.words or ()]
    assert "".join(w.word for w in words) == "".join(s.text for s in transcript.segments)
    return [(w.word, w.start, w.end) for w in words]


def test_words_have_times_that_move_with_the_sound(transcriber: Transcriber):
    options = replace(GREEDY, word_timestamps=True)
    shift = 94 * 512  # about 3 s, in whole frames of the detector, so that it cuts alike
    for u in (novel()[1], novel()[3], novel()[4]):
        quiet = torch.zeros(shift)  # before both, or the first window could not begin early
        early = torch.cat([quiet, u.wav])
        here = words_of(transcriber.transcribe(early, options, sample_rate=RATE))
        later = words_of(
            transcriber.transcribe(torch.cat([quiet, early]), options, sample_rate=RATE)
        )
        times = [t for _, start, end in here for t in (start, end)]
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] <= len(early) / RATE + 0.02
        assert [w for w, _, _ in later] == [w for w, _, _ in here]
        for (_, a, b), (_, c, d) in zip(here, later, strict=True):
            assert c == pytest.approx(a + shift / RATE, abs=0.1)
            assert d == pytest.approx(b + shift / RATE, abs=0.1)


def test_a_multilingual_model_finds_out_what_is_spoken(tmp_path: Path):
    config = replace(SMALL, vocab_size=51865, max_source_positions=1500)
    folder = write_folder(tmp_path / "m", random_state(config), config)
    model = WhisperModel.from_pretrained(folder, dtype="float32")
    if not model.generation.lang_to_id:
        pytest.skip("the factory's tokenizer is English-only")
    found = Transcriber(model).transcribe(novel()[1].wav, GREEDY, sample_rate=RATE)
    assert found.language in model.generation.lang_to_id
    assert 0 < found.language_probability <= 1
