"""The causal adapter in the box on real speech, and on what is no speech."""

import math
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from speech_data import fifty, novel
from torch import Tensor

from echoic.asr.metrics import word_error_rate
from echoic.asr.text.normalizers import english
from echoic.asr.transcriber import Transcriber
from echoic.asr.whisper.adapter import load_adapter
from echoic.asr.whisper.box import box_adapters
from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.reference_times import ReferenceAligner
from echoic.asr.whisper.streaming.load import load_recognizer
from echoic.streaming.events import Event
from echoic.streaming.gate import GateConfig
from echoic.streaming.recognizer import Recognizer
from echoic.streaming.session import Session, SessionConfig

RATE = 16_000


@cache
def recognizer(chunk_ms: int = 320) -> Recognizer[Any]:
    return load_recognizer("tiny.en", chunk_ms=chunk_ms)


def listen(wav: Tensor, *, chunk_ms: int = 320, gate: bool = True) -> list[Event]:
    config = SessionConfig(gate=GateConfig(enabled=gate))
    session = Session(recognizer(chunk_ms), sample_rate=RATE, config=config)
    events: list[Event] = []
    for part in wav.split(1600, dim=-1):
        events += session.feed(part)
    return events + session.finish()


def text_of(events: list[Event]) -> str:
    return " ".join(event.text for event in events if event.type == "final")


def quiet(seconds: float, level: float = 1e-4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return level * torch.randn(round(seconds * RATE), generator=generator)


def error_rate(texts: list[str], heard: list[str]) -> float:
    return word_error_rate(texts, heard, english()).rate


def test_it_is_small_and_says_what_it_is() -> None:
    (adapter,) = [a for a in box_adapters() if a.name == "tiny.en-causal"]
    assert adapter.base_model == "tiny.en"
    assert adapter.num_bytes < 6e6
    assert adapter.streaming is not None
    assert 16 in adapter.streaming.block_frames
    assert load_adapter(adapter.folder).num_parameters > 1e6
    card = (adapter.folder / "README.md").read_text(encoding="utf-8")
    assert "WER" in card
    assert "echoic stream eval" in card


@pytest.mark.parametrize(("chunk_ms", "most"), [(320, 0.2), (1000, 0.2)])
def test_read_sentences_are_recognised(chunk_ms: int, most: float) -> None:
    speech = novel()
    heard = [text_of(listen(u.wav, chunk_ms=chunk_ms)) for u in speech]
    assert error_rate([u.text for u in speech], heard) <= most


def test_prompts_are_recognised_nearly_as_offline() -> None:
    speech = fifty()[5::4]
    texts = [u.text for u in speech]
    offline = Transcriber.from_pretrained("tiny.en", dtype="float32")
    whole = [offline.transcribe(u.wav, sample_rate=RATE).text for u in speech]
    live = [text_of(listen(u.wav)) for u in speech]
    assert error_rate(texts, live) <= error_rate(texts, whole) + 0.08


def test_words_come_soon_and_partials_keep_their_promises() -> None:
    wav = torch.cat([quiet(1.0), novel()[0].wav, quiet(1.5)])
    events = listen(wav)
    first = next(event for event in events if event.words)
    assert first.audio_time <= 1.0 + 2.0  # the sentence begins late, and a doubtful word waits
    promised: tuple[str, ...] = ()
    for event in events:
        words = tuple(word.text for word in event.words)
        assert words[: len(promised)] == promised or event.type == "endpoint"
        promised = words[: event.stable] if event.type == "partial" else ()
    assert [event.type for event in events][-1] == "endpoint"


def test_word_times_are_those_of_the_offline_alignment() -> None:
    aligner = ReferenceAligner(WhisperModel.from_pretrained("tiny.en", dtype="float32"))
    distances: list[float] = []
    for utterance in novel():
        (final,) = [e for e in listen(utterance.wav) if e.type == "final"]
        spoken = {word.text.lower().strip(" .,!?"): word for word in final.words}
        for word in aligner(utterance.wav, utterance.text):
            ours = spoken.get(word.text.lower().strip(" .,!?"))
            if ours is not None and abs(ours.start - word.start) < 1:
                distances += [abs(ours.start - word.start), abs(ours.end - word.end)]
    assert len(distances) > 60
    assert sorted(distances)[len(distances) // 2] < 0.12


def test_a_long_utterance_moves_between_windows_without_loss() -> None:
    """Two minutes without a pause that ends an utterance, the gate switched off."""
    speech = list(novel()) + list(fifty()[5:])
    speech = [u for u in speech if len(u.wav) > 2 * RATE]
    wav = torch.cat([part for u in speech for part in (u.wav, quiet(0.1))])[: 120 * RATE]
    events = listen(wav, gate=False)
    finals = [event for event in events if event.type == "final"]
    assert len(finals) >= 4
    words = [word for event in finals for word in event.words]
    assert all(a.start <= b.start + 1e-6 for a, b in pairwise(words))
    assert all(a.end <= b.start + 0.05 for a, b in pairwise(f.words[-1] for f in finals))
    heard, total = 0, 0
    texts = []
    for utterance in speech:
        total += len(utterance.wav) + 1600
        if total > 120 * RATE:
            break
        texts.append(utterance.text)
        heard += 1
    assert heard > 10
    # The last utterance is cut; its words count as errors.
    assert error_rate([" ".join(texts)], [text_of(events)]) <= 0.25


@pytest.mark.parametrize(
    "sound",
    [
        pytest.param(torch.zeros(20 * RATE), id="digital silence"),
        pytest.param(quiet(20, 3e-3), id="noise"),
        pytest.param(0.5 + quiet(20), id="direct current"),
        pytest.param(
            sum(
                0.1 * torch.sin(torch.arange(20 * RATE) * 2 * math.pi * f / RATE)
                for f in (220.0, 277.2, 329.6)
            ),
            id="chord",
        ),
    ],
)
def test_no_text_without_speech(sound: Tensor) -> None:
    assert text_of(listen(sound)) == ""


def test_little_text_without_speech_and_without_the_gate() -> None:
    events = listen(quiet(30, 1e-3), gate=False)
    assert len(text_of(events).split()) <= 2


def test_minutes_of_silence_and_then_a_sentence() -> None:
    utterance = novel()[1]
    session = Session(recognizer(), sample_rate=RATE)
    events: list[Event] = []
    for second in range(200):
        events += session.feed(quiet(1.0, 1e-4, seed=second))
    assert events == []
    events += session.feed(utterance.wav)
    events += session.finish()
    assert error_rate([utterance.text], [text_of(events)]) <= 0.35
    assert events[0].audio_time > 200


def test_odd_sound_is_heard_as_the_same_words() -> None:
    utterance = novel()[0]
    plain = text_of(listen(utterance.wav))
    session = Session(recognizer(), sample_rate=RATE)
    events: list[Event] = []
    half = len(utterance.wav) // 2
    for part in utterance.wav[:half].split(777):
        events += session.feed(part[:0])
        events += session.feed(part[:1])
        events += session.feed(part[1:])
    broken = utterance.wav[half:].clone()
    broken[100] = float("nan")
    broken[200] = float("inf")
    events += session.feed(broken)
    events += session.finish()
    assert error_rate([plain], [text_of(events)]) <= 0.1


def test_speech_in_blocks_of_300_ms_makes_no_loops() -> None:
    for utterance in novel()[:3]:
        events = listen(utterance.wav, chunk_ms=300)
        words = english()(text_of(events)).split()
        assert len(words) <= 1.3 * len(utterance.text.split()) + 1
        trigrams = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
        assert len(set(trigrams)) >= 0.8 * len(trigrams)


def test_stopping_in_mid_word_keeps_what_was_said() -> None:
    utterance = novel()[0]
    events = listen(utterance.wav[: 3 * RATE + 4321])
    words = english()(text_of(events)).split()
    said = english()(utterance.text).split()
    assert len(words) >= 4
    assert sum(word in said for word in words) >= len(words) - 2
