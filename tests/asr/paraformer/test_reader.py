"""Windows that Paraformer read: segments, times, and wishes that it cannot follow."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from live_signals import speech
from small_paraformer import paraformer

from echoic.asr.options import TranscribeOptions
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.reader import PAUSE_SECONDS, ParaformerReader
from echoic.asr.paraformer.recognition import Recognition
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.source import Source
from echoic.asr.transcriber import Transcriber
from echoic.asr.transcript import Segment, Word
from echoic.asr.windows import Window

RATE = 16_000
TIMED = TranscribeOptions(word_timestamps=True)


def sound(seconds: float, seed: int = 0) -> torch.Tensor:
    return speech(1, round(seconds * RATE), torch.Generator().manual_seed(seed))[0]


def window(seconds: float, seed: int = 0) -> Window:
    wav = sound(seconds, seed)
    return Window(0, wav, len(wav))


def test_a_window_reads_as_the_model_recognises_it_alone():
    model = paraformer()
    windows = [window(3.0), window(1.1, 1), window(2.2, 2)]
    readings = ParaformerReader(model, TIMED).read(windows, [None] * 3)
    for one, reading in zip(windows, readings, strict=True):
        (alone,) = model.recognize(one.wav[None])
        assert alone.words
        assert reading.rest is None
        words = [word for segment in reading.segments for word in segment.words or ()]
        assert [w.word.strip() for w in words] == [w.word for w in alone.words]
        for name in ("start", "end", "probability"):
            times = [getattr(w, name) for w in words]
            assert times == pytest.approx([getattr(w, name) for w in alone.words], abs=1e-4)
        assert "".join(s.text for s in reading.segments).split() == alone.text.split()
        assert all(s.avg_logprob < 0 for s in reading.segments)


class Scripted(Paraformer):
    """Finds given words in any sound."""

    said: tuple[Word, ...] = ()

    def recognize(self, sound: Any, lengths: Any = None, **_: Any) -> list[Recognition]:
        return [Recognition((), "", (), (), self.said, 0.0)] * len(sound)


def scripted(*words: Word, tokens: tuple[str, ...]) -> list[Segment]:
    config = replace(paraformer().config, vocab_size=len(tokens) + 4)
    tokenizer = Tokenizer(["<blank>", "<s>", "</s>", *tokens, "<unk>"])
    model = Scripted(config, tokenizer)
    model.said = words
    (reading,) = ParaformerReader(model, TIMED).read([window(4.0)], [None])
    return list(reading.segments)


def test_a_pause_begins_a_segment_and_a_breath_does_not():
    pause, breath = 1.0 + PAUSE_SECONDS, 2.0 + PAUSE_SECONDS - 0.1
    segments = scripted(
        Word(0.5, 1.0, "one", 0.5),
        Word(pause, 2.0, "two", 1.0),
        Word(breath, 4.0, "three", 1.0),
        tokens=("one", "two", "three"),
    )
    assert [(s.start, s.end, s.text) for s in segments] == [
        (0.5, 1.0, " one"),
        (pause, 4.0, " two three"),
    ]
    assert segments[0].avg_logprob == pytest.approx(-0.6931, abs=1e-4)
    assert segments[1].avg_logprob == 0.0
    assert [w.word for w in segments[1].words or ()] == [" two", " three"]


def test_scripts_without_spaces_are_written_without_spaces():
    words = [Word(i / 10, i / 10 + 0.1, c, 1.0) for i, c in enumerate("你好")]
    (segment,) = scripted(*words, tokens=tuple("你好"))
    assert segment.text == "你好"
    assert [w.word for w in segment.words or ()] == ["你", "好"]


def test_no_word_ends_behind_the_sound():
    said = Word(3.5, 3.9, "one", 1.0), Word(3.9, 4.03, "two", 1.0), Word(4.01, 4.04, "one", 1.0)
    (segment,) = scripted(*said, tokens=("one", "two"))
    assert segment.end == 4.0
    times = [(word.start, word.end) for word in segment.words or ()]
    assert times == [(3.5, 3.9), (3.9, 4.0), (4.0, 4.0)]


def test_nothing_is_nothing():
    assert scripted(tokens=("one",)) == []


def test_word_times_only_where_they_are_asked_for():
    readings = ParaformerReader(paraformer(), TranscribeOptions()).read([window(2.0)], [None])
    assert readings[0].segments
    assert all(segment.words is None for segment in readings[0].segments)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"task": "translate"}, "only write down what is said; translate with Whisper"),
        ({"prompt": "Names: Bo."}, "takes no prompt; name words to expect with --hotwords"),
        ({"beam_size": 3}, "beam_size is 3; this model decodes in one pass"),
        ({"language": "fr"}, "knows English only, not French; take another"),
        ({"language": "klingon"}, "klingon"),
    ],
)
def test_wishes_that_it_cannot_follow(wish: dict[str, Any], message: str):
    model = paraformer(language="en")
    with pytest.raises(ValueError, match=message):
        ParaformerReader(model, TranscribeOptions(**wish))


def test_the_language_is_the_model_s_or_the_user_s():
    read = TranscribeOptions(language="english")
    assert ParaformerReader(paraformer(language="en"), TranscribeOptions()).language == "en"
    assert ParaformerReader(paraformer(language="en"), read).language == "en"
    assert ParaformerReader(paraformer(), read).language == "en"
    assert ParaformerReader(paraformer(), TranscribeOptions()).language is None


def test_recordings_are_cut_as_long_as_the_model_was_taught():
    model = paraformer(max_window_seconds=2.0)
    heard: list[int] = []
    recognize = model.recognize

    def listen(wav: torch.Tensor, lengths: torch.Tensor, **_: Any) -> list[Recognition]:
        heard.extend(lengths.tolist())
        return recognize(wav, lengths)

    model.recognize = listen  # pyright: ignore[reportAttributeAccessIssue]
    options = TranscribeOptions(vad=False)
    transcript = Transcriber(model).transcribe(sound(5.0), options, sample_rate=RATE)
    assert sorted(heard) == [RATE, 2 * RATE, 2 * RATE]
    assert transcript.duration == 5.0
    assert transcript.language == "und"
    assert transcript.segments
    assert transcript.segments[-1].end <= 5.0


@pytest.mark.parametrize("batch_size", [1, 4])
def test_batches_do_not_change_the_text(batch_size: int, tmp_path: Any):
    from echoic.audio.io import save

    sources = []
    for number, seconds in enumerate((0.5, 3.0, 1.7)):
        path = tmp_path / f"{number}.wav"
        save(path, sound(seconds, number)[None], RATE)
        sources.append(Source(path.name, str(path), path.name))
    transcriber = Transcriber(paraformer())
    options = TranscribeOptions(vad=False, word_timestamps=True)
    outcomes = transcriber.transcribe_many(sources, options, batch_size=batch_size)
    for outcome in outcomes:
        alone = transcriber.transcribe(outcome.source.path, options)
        assert outcome.transcript is not None
        assert outcome.transcript.text == alone.text
        assert outcome.transcript.duration == alone.duration
