"""From text to sound: streamed as in one piece, and nothing is left of earlier requests."""

import itertools
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_talker import BOUNDS, small_talker
from torch import Tensor

from echoic.tts.errors import TtsError
from echoic.tts.lm import SamplingConfig, ScoresNotFinite
from echoic.tts.lm.generation import Generation
from echoic.tts.lm.guard import Bounds
from echoic.tts.lm.utterance import Request
from echoic.tts.packets import PacketSchedule, Playback
from echoic.tts.synthesizer import AudioChunk, Sentence, Synthesizer
from echoic.tts.talker import Talker
from echoic.tts.voice import Voice, make_voice

TEXT = "The first sentence is here. And a second one follows it. Third!"


def together(chunks: list[AudioChunk]) -> Tensor:
    return torch.cat([chunk.wav for chunk in chunks])


def voice_of(seconds: float = 2.0, text: str = "It was so.") -> Voice:
    generator = torch.Generator().manual_seed(5)
    return make_voice(small_talker(), 0.1 * torch.randn(int(16_000 * seconds), generator=generator),
                      text, name="noise")  # fmt: skip


@pytest.mark.parametrize("largest", [1, 3, 8, 100])
def test_packets_change_nothing_but_when_sound_leaves(largest: int) -> None:
    whole = Synthesizer(small_talker()).speak(TEXT)
    parts = Synthesizer(small_talker(), PacketSchedule(largest=largest))
    chunks = list(parts.stream(TEXT))
    torch.testing.assert_close(together(chunks), whole.wav, atol=1e-5, rtol=1e-4)
    at = 0
    for chunk in chunks:
        assert chunk.start == pytest.approx(at / 16_000)
        at += len(chunk.wav)


def test_streamed_sound_is_that_of_the_codes_decoded_in_one_piece() -> None:
    talker = small_talker()
    speech = Synthesizer(talker).speak("Hello there, you.")
    (utterance,) = talker.reader().read("Hello there, you.")
    request = Request(
        talker.ids(utterance),
        sampling=talker.settings.sampling,
        rest=talker.settings.rest,
        bounds=BOUNDS,
    )
    generation, frames = Generation(talker.model, [request]), []
    while not generation.done:
        frames += generation.step()
    codes = torch.cat(frames).T[None]
    expected = talker.codec.decode(codes)[0]
    assert len(speech.wav) == len(expected)
    torch.testing.assert_close(speech.wav, expected, atol=1e-5, rtol=1e-4)


def test_the_first_sound_leaves_after_the_first_frames() -> None:
    stream = Synthesizer(small_talker()).stream(TEXT)
    first = next(stream)
    hop = small_talker().codec.hop_length
    assert 0 < len(first.wav) <= 4 * hop
    more = [len(chunk.wav) for chunk in itertools.islice(stream, 2)]
    assert len(first.wav) < more[0] < more[1]  # packets grow
    again = Synthesizer(small_talker())
    assert len(next(again.stream(TEXT)).wav) == len(next(again.stream(TEXT)).wav)


def test_a_packet_leaves_early_when_the_listener_runs_dry() -> None:
    hop = small_talker().codec.hop_length

    def frames_of(seconds_a_look: float) -> list[int]:
        now = itertools.count()
        slow = Synthesizer(small_talker(), clock=lambda: next(now) * seconds_a_look)
        chunks = list(slow.stream("A sentence that is long enough for packets to grow."))
        whole = Synthesizer(small_talker()).speak(
            "A sentence that is long enough for packets to grow."
        )
        torch.testing.assert_close(together(chunks), whole.wav, atol=1e-5, rtol=1e-4)
        return [round(len(chunk.wav) / hop) for chunk in chunks]

    quick, slow = frames_of(0.0), frames_of(1.0)
    assert max(quick) == 8
    assert max(slow[1:-1]) <= 2 < max(quick)
    assert sum(quick) == sum(slow)


def test_what_a_listener_has_in_store() -> None:
    times = iter([0.0, 0.5, 0.5, 3.0, 3.25, 3.25])
    playback = Playback(100, lambda: next(times))
    assert playback.store == 0.0
    playback.send(100)  # at 0
    assert playback.store == 0.5
    playback.send(100)  # at 0.5: enough until 2
    assert playback.store == -1.0
    playback.send(25)  # at 3.25: he plays on from there
    assert playback.store == pytest.approx(0.25)
    with pytest.raises(ValueError, match="margin is -1"):
        PacketSchedule(margin=-1)


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_text_may_come_in_pieces(size: int) -> None:
    synthesizer = Synthesizer(small_talker())
    pieces = [TEXT[i : i + size] for i in range(0, len(TEXT), size)]
    found = list(synthesizer.stream(iter(pieces)))
    assert torch.equal(together(found), synthesizer.speak(TEXT).wav)


def test_a_sentence_is_spoken_before_the_next_one_has_come() -> None:
    asked: list[str] = []

    def typed() -> Iterator[str]:
        for part in ("The first sentence is here. ", "And a ", "second one."):
            asked.append(part)
            yield part

    stream = Synthesizer(small_talker()).stream(typed())
    next(stream)
    assert len(asked) <= 2
    list(stream)
    assert len(asked) == 3


def test_a_seed_says_the_same_and_requests_do_not_know_each_other() -> None:
    synthesizer = Synthesizer(small_talker())
    one = synthesizer.speak(TEXT, seed=3)
    left, right = synthesizer.stream(TEXT, seed=3), synthesizer.stream("Other words.", seed=8)
    first = [next(left)]
    for chunk in right:  # between two chunks of the other
        assert chunk.wav.isfinite().all()
    first += list(left)
    assert torch.equal(together(first), one.wav)
    assert not torch.equal(synthesizer.speak(TEXT, seed=4).wav, one.wav)


def test_sentences_are_told_with_their_times() -> None:
    speech = Synthesizer(small_talker()).speak(TEXT)
    assert [s.text for s in speech.sentences] == [
        "The first sentence is here.",
        "And a second one follows it.",
        "Third!",
    ]
    assert speech.sentences[0].start == 0
    for before, after in itertools.pairwise(speech.sentences):
        assert before.end == after.start
    assert speech.sentences[-1].end == pytest.approx(len(speech.wav) / 16_000)


def test_pauses_are_silence_of_their_length() -> None:
    said: list[Sentence] = []
    chunks = list(
        Synthesizer(small_talker()).stream("One. [pause 300ms] Two [pause 1s] three.", said=said)
    )
    silences = [chunk for chunk in chunks if chunk.sentence < 0]
    assert [len(chunk.wav) / 16_000 for chunk in silences] == [0.3, 1.0]
    assert not any(chunk.wav.any() for chunk in silences)
    assert [s.text for s in said] == ["One.", "Two", "three."]


def test_a_voice_is_gone_on_from(tmp_path: Path) -> None:
    synthesizer, voice = Synthesizer(small_talker()), voice_of()
    spoken = synthesizer.speak(TEXT, voice=voice)
    assert not torch.equal(spoken.wav, synthesizer.speak(TEXT).wav)
    assert spoken.sentences[-1].end == pytest.approx(len(spoken.wav) / 16_000)
    voice.save(tmp_path / "noise.voice")
    again = Voice.load(tmp_path / "noise.voice")
    assert (again.text, again.name, again.codec_hash) == ("It was so.", "noise", voice.codec_hash)
    assert torch.equal(synthesizer.speak(TEXT, voice=again).wav, spoken.wav)


def test_what_the_guard_cuts_is_told(caplog: pytest.LogCaptureFixture) -> None:
    talker = small_talker()
    settings = replace(talker.settings, bounds=Bounds(0.02, 0.02, 0.0))
    strict = Talker(talker.model, talker.codec, talker.alphabet, settings)
    with caplog.at_level(logging.WARNING):
        speech = Synthesizer(strict).speak("Hello there.")
    assert speech.sentences[0].ending == "limit"
    assert "'Hello there.' was cut: it took longer" in caplog.text


@pytest.mark.parametrize("text", ["", "   ", "\n", "...", "🙂"])
def test_text_without_words(text: str) -> None:
    synthesizer = Synthesizer(small_talker())
    with pytest.raises(TtsError, match="nothing to say"):
        synthesizer.speak(text)
    assert list(synthesizer.stream(text)) == []


def test_ten_thousand_characters_are_spoken_sentence_by_sentence() -> None:
    text = "This is one of very many sentences. " * 280
    stream = Synthesizer(small_talker()).stream(text)
    chunks = list(itertools.islice(stream, 30))
    assert chunks[-1].sentence >= 1
    assert len(text) > 10_000


def test_stopping_in_mid_stream_leaves_nothing_behind() -> None:
    synthesizer = Synthesizer(small_talker())
    stream = synthesizer.stream(TEXT)
    next(stream)
    stream.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert torch.equal(synthesizer.speak(TEXT).wav, Synthesizer(small_talker()).speak(TEXT).wav)


def test_damaged_weights() -> None:
    talker = small_talker.__wrapped__()
    with torch.no_grad():
        talker.model.heads[0, 1] = torch.nan
    with pytest.raises(ScoresNotFinite, match="weights are damaged"):
        Synthesizer(talker).speak("Hello.")


def test_greedy_speech_needs_no_seed() -> None:
    greedy = SamplingConfig(0.0, window=0)
    synthesizer = Synthesizer(small_talker())
    one = synthesizer.speak("Hello.", sampling=greedy, seed=1).wav
    assert torch.equal(one, synthesizer.speak("Hello.", sampling=greedy, seed=2).wav)


def test_packets_that_are_none() -> None:
    assert [PacketSchedule().size(n) for n in range(6)] == [1, 2, 4, 8, 8, 8]
    assert PacketSchedule(largest=10**9).size(10**6) == 10**9
    with pytest.raises(ValueError, match="packets of 0 to 8 frames"):
        PacketSchedule(first=0)
