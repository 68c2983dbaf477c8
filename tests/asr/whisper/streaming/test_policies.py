"""Un-tuned Whisper, streamed: real speech, silence, long speech, and what may never happen."""

import functools
import statistics
from collections.abc import Sequence

import pytest
import torch
from random_whisper import random_whisper
from speech_data import novel, tiny_en
from torch import Tensor

from echoic.asr.metrics import word_error_rate
from echoic.asr.text.normalizers import for_language
from echoic.asr.whisper.streaming.agreement import AgreementConfig, LocalAgreement
from echoic.asr.whisper.streaming.alignatt import AlignAtt, AlignAttConfig
from echoic.asr.whisper.streaming.policy import BufferPolicy
from echoic.streaming.events import Event, EventWord

RATE = 16_000
POLICIES = ["agreement", "alignatt"]
both = pytest.mark.parametrize("policy", POLICIES)


def recogniser(policy: str, chunk_ms: int = 1000) -> BufferPolicy:
    if policy == "agreement":
        return LocalAgreement(tiny_en(), AgreementConfig(chunk_ms=chunk_ms))
    return AlignAtt(tiny_en(), AlignAttConfig(chunk_ms=chunk_ms))


def listen(recognizer: BufferPolicy, sound: Tensor, piece: int = RATE) -> list[Event]:
    state, events = recognizer.initial_state(), []
    for part in sound.split(piece):
        state, new = recognizer.step(state, part[None])
        events += new
    return events + recognizer.finish(state)[1]


def final_words(events: Sequence[Event]) -> list[EventWord]:
    return [word for event in events if event.type == "final" for word in event.words]


def error_rate(reference: str, events: Sequence[Event]) -> float:
    said = " ".join(word.text for word in final_words(events))
    return word_error_rate([reference], [said], for_language("en")).rate


def check_promises(events: Sequence[Event]) -> list[float]:
    """Check that what was called stable stays, in order; return each word's lag in seconds."""
    stable: list[EventWord] = []
    closed, lags = 0, []
    for event in events:
        kept = list(event.words[: event.stable])
        known = stable[closed : closed + len(kept)]
        assert kept[: len(known)] == known
        lags += [event.audio_time - word.end for word in kept[len(known) :]]
        stable[closed + len(known) :] = [*stable[closed + len(known) :], *kept[len(known) :]]
        if event.type == "final":
            closed += len(event.words)
        else:
            assert closed + len(kept) == len(stable)
    assert closed == len(stable)
    times = [time for word in stable for time in (word.start, word.end)]
    assert times == sorted(times)
    assert all(0 < word.confidence <= 1 for word in stable)
    assert [e.audio_time for e in events] == sorted(e.audio_time for e in events)
    return lags


@functools.cache
def speech() -> Tensor:
    pause = torch.zeros(3 * RATE // 10)
    return torch.cat([part for u in novel() for part in (u.wav, pause)])


@functools.cache
def heard(policy: str) -> list[Event]:
    return listen(recogniser(policy), speech())


@both
def test_speech_is_understood_as_well_as_offline(policy: str) -> None:
    """26 s, more than the buffer holds: the boxed model makes no error on them offline either."""
    events = heard(policy)
    assert error_rate(" ".join(u.text for u in novel()), events) <= 0.02
    assert sum(event.type == "final" for event in events) >= 2
    assert events[-1].type == "final"


@both
def test_what_is_stable_stays_and_comes_soon(policy: str) -> None:
    lags = check_promises(heard(policy))
    assert 0 < statistics.median(lags) <= 1.6
    assert sorted(lags)[len(lags) * 9 // 10] <= 3.0
    first = next(event for event in heard(policy) if event.stable)
    assert first.audio_time <= 4.0


@both
def test_words_are_where_they_are_spoken(policy: str) -> None:
    """Each sentence begins with a word that no other has; its place in the sound is known."""
    words = [word for word in final_words(heard(policy)) if word.text in ("Unless", "Had", "He")]
    starts = [sum(len(u.wav) / RATE + 0.3 for u in novel()[:i]) for i in (1, 2, 3, 4)]
    assert [word.text for word in words] == ["He", "Unless", "Had", "He"]
    for word, start in zip(words, starts, strict=True):
        assert abs(word.start - start) < 0.7


@both
def test_short_blocks_make_no_loop(policy: str) -> None:
    sound = torch.cat([novel()[4].wav, torch.zeros(RATE // 2)])
    events = listen(recogniser(policy, chunk_ms=300), sound)
    check_promises(events)
    assert error_rate(novel()[4].text, events) <= 0.13
    assert max(len(event.words) for event in events) <= 12


@both
@pytest.mark.parametrize("level", [0.0, 1e-4, 1e-2])
def test_silence_gives_no_text(policy: str, level: float) -> None:
    sound = level * torch.randn(6 * RATE, generator=torch.Generator().manual_seed(0))
    assert listen(recogniser(policy, chunk_ms=2000), sound) == []


@both
def test_a_long_pause_adds_nothing_and_costs_no_word(policy: str) -> None:
    sound = torch.cat([novel()[4].wav, torch.zeros(14 * RATE), novel()[4].wav])
    events = listen(recogniser(policy, chunk_ms=2000), sound)
    check_promises(events)
    assert error_rate(f"{novel()[4].text} {novel()[4].text}", events) <= 0.07


@both
def test_the_last_word_is_told_though_its_block_is_not_full(policy: str) -> None:
    events = listen(recogniser(policy, chunk_ms=5000), novel()[4].wav)
    assert [event.type for event in events] == ["final"]
    assert error_rate(novel()[4].text, events) <= 0.13
    assert events[0].audio_time == len(novel()[4].wav) / RATE


@both
def test_nothing_heard_nothing_said(policy: str) -> None:
    recognizer = recogniser(policy)
    state = recognizer.initial_state()
    assert recognizer.finish(state)[1] == []
    state, events = recognizer.step(state, torch.zeros(1, 7))
    assert events == []
    assert recognizer.finish(state)[1] == []


@both
def test_a_random_model_cannot_flood_the_listener(policy: str) -> None:
    """It never ends a sentence and repeats itself; what is told stays what a mouth could say."""
    config = {"chunk_ms": 1000, "trim_seconds": 6.0, "max_seconds": 9.0}
    model = random_whisper()
    recognizer = (
        LocalAgreement(model, AgreementConfig(**config))
        if policy == "agreement"
        else AlignAtt(model, AlignAttConfig(**config))
    )
    noise = 0.1 * torch.randn(20 * RATE, generator=torch.Generator().manual_seed(1))
    state, told = recognizer.initial_state(), []
    for part in noise.split(RATE):
        state, events = recognizer.step(state, part[None])
        told += events
        assert state.sound.shape[1] <= 10 * RATE
        assert state.committed.tokens.shape[1] <= 5 + 9 * 11
        assert state.history.shape[1] <= 48
    told += recognizer.finish(state)[1]
    assert told
    check_promises(told)
    tokens = model.tokenizer.encode(" ".join(word.text for word in final_words(told)))
    assert len(tokens) <= 10 * 20


@both
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_the_language_is_found_out_and_then_kept(policy: str, dtype: str) -> None:
    model = random_whisper(multilingual=True, dtype=dtype)
    recognizer = (LocalAgreement if policy == "agreement" else AlignAtt)(model)
    noise = 0.1 * torch.randn(4 * RATE, generator=torch.Generator().manual_seed(1))
    state, _ = recognizer.step(recognizer.initial_state(), noise[None])
    assert state.language in model.generation.lang_to_id
    later, _ = recognizer.step(state, 0.1 * torch.randn(1, RATE))
    assert later.language == state.language
    german = LocalAgreement(model, AgreementConfig(language="german"))
    assert german.initial_state().language == "de"


def test_more_hypotheses_to_agree_take_longer() -> None:
    sound = torch.cat([novel()[4].wav, torch.zeros(RATE)])

    def lag(agreement: int) -> float:
        config = AgreementConfig(chunk_ms=600, agreement=agreement)
        events = listen(LocalAgreement(tiny_en(), config), sound)
        return statistics.median(check_promises(events))

    assert lag(1) < lag(3)


def test_words_are_committed_in_the_end_though_no_two_hypotheses_agree() -> None:
    config = AgreementConfig(agreement=1000, trim_seconds=6.0, max_seconds=8.0)
    sound = speech()[: int(10.7 * RATE)]  # two sentences
    events = listen(LocalAgreement(tiny_en(), config), sound)
    check_promises(events)
    assert sum(event.type == "final" for event in events) >= 2
    assert error_rate(" ".join(u.text for u in novel()[:2]), events) <= 0.1


def test_a_beam_streams_too() -> None:
    events = listen(LocalAgreement(tiny_en(), AgreementConfig(beam_size=2)), novel()[4].wav)
    check_promises(events)
    assert error_rate(novel()[4].text, events) <= 0.13


@pytest.mark.slow
@both
@pytest.mark.parametrize("chunk_ms", [1000, 300])
def test_ten_minutes_without_a_pause(policy: str, chunk_ms: int) -> None:
    """Nothing is lost or said twice at some fifty cuts, and the buffer stays short."""
    rounds = 25 if chunk_ms == 1000 else 5
    sound = torch.cat([u.wav for u in novel()] * rounds)
    events = listen(recogniser(policy, chunk_ms), sound)
    check_promises(events)
    assert error_rate(" ".join(u.text for u in novel() * rounds), events) <= 0.05
    assert sum(event.type == "final" for event in events) >= 2 * rounds


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"chunk_ms": 10}, "chunk_ms"),
        ({"trim_seconds": 3.0}, "trim_seconds"),
        ({"trim_seconds": 26.0}, "max_seconds"),
        ({"history_tokens": 500}, "history_tokens"),
        ({"task": "sing"}, "task"),
        ({"agreement": 0}, "agreement"),
        ({"beam_size": 0}, "beam_size"),
        ({"hold_seconds": -1.0}, "hold_seconds"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        AgreementConfig(**settings)  # pyright: ignore[reportArgumentType]


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(ValueError, match="frame_threshold"):
        AlignAttConfig(frame_threshold=-1)
    with pytest.raises(ValueError, match="English only"):
        AlignAtt(tiny_en(), AlignAttConfig(language="fr"))
    with pytest.raises(ValueError, match="lower max_seconds"):
        AlignAtt(tiny_en(), AlignAttConfig(max_seconds=30.0))
    with pytest.raises(ValueError, match="a state of its own"):
        recogniser("alignatt").initial_state(2)
    with pytest.raises(ValueError, match="mono"):
        recogniser("alignatt").step(recogniser("alignatt").initial_state(), torch.zeros(2, 5))
