"""Texts that join and leave while others are spoken: each is what it is alone."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest
import torch
from small_talker import small_talker
from torch import Tensor

from echoic.streaming.busy import Busy
from echoic.streaming.work import Rounds
from echoic.streaming.workshop import WorkshopConfig
from echoic.tts.lm import ScoresNotFinite
from echoic.tts.speech_scheduler import SpeechScheduler
from echoic.tts.synthesizer import AudioChunk, Delivery, Sentence, Synthesizer
from echoic.tts.text.script import TextError

TEXTS = (
    "The first sentence is here. And a second one follows it. Third!",
    "Hello there, you.",
    "One. [pause 300ms] Two.",
    "A sentence that is long enough for packets to grow.",
)


def joined(chunks: list[AudioChunk]) -> Tensor:
    return torch.cat([chunk.wav for chunk in chunks])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("track", ["before", "beside", "along"])
def test_texts_that_join_and_leave_at_any_turn_are_what_they_are_alone(track: str) -> None:
    synthesizer = Synthesizer(small_talker(track))
    expected = [synthesizer.speak(text, seed=seed) for seed, text in enumerate(TEXTS)]
    rounds, heard, said = Rounds(patience=16), [[] for _ in TEXTS], [[] for _ in TEXTS]

    def work(number: int):
        delivery = Delivery(synthesizer.sample_rate, heard[number].append)
        for part in synthesizer.parts(TEXTS[number]):
            prompt = synthesizer.prompt(None)
            yield from synthesizer.say(part, delivery, prompt, None, number, said[number])

    turns = 0
    while turns <= 3 * len(TEXTS) or len(rounds):
        if turns % 3 == 0 and turns < 3 * len(TEXTS):
            rounds.add(work(turns // 3))
        for _, outcome in rounds.turn():
            assert outcome.error is None
        turns += 1
    for chunks, sentences, speech in zip(heard, said, expected, strict=True):
        torch.testing.assert_close(joined(chunks), speech.wav, atol=1e-5, rtol=1e-4)
        assert sentences == speech.sentences


def test_many_threads_are_served_and_hear_what_they_asked_for() -> None:
    synthesizer = Synthesizer(small_talker("along"))
    expected = [synthesizer.speak(text, seed=seed) for seed, text in enumerate(TEXTS)]
    said: list[list[Sentence]] = [[] for _ in TEXTS]

    def listen(number: int) -> Tensor:
        pieces = TEXTS[number] if number % 2 else iter(TEXTS[number].split(" "))
        text = pieces if isinstance(pieces, str) else (piece + " " for piece in pieces)
        return joined(list(scheduler.speak(text, seed=number, said=said[number])))

    with SpeechScheduler(synthesizer, WorkshopConfig(places=2)) as scheduler:
        with ThreadPoolExecutor(len(TEXTS)) as pool:
            found = list(pool.map(listen, range(len(TEXTS))))
        assert (scheduler.workshop.live, scheduler.workshop.waiting) == (0, 0)
    for wav, sentences, speech in zip(found, said, expected, strict=True):
        torch.testing.assert_close(wav, speech.wav, atol=1e-5, rtol=1e-4)
        assert sentences == speech.sentences


def test_a_listener_who_leaves_costs_nothing_more_and_disturbs_nobody() -> None:
    synthesizer = Synthesizer(small_talker())
    expected = synthesizer.speak(TEXTS[0]).wav
    with SpeechScheduler(synthesizer) as scheduler:
        stays, leaves = scheduler.speak(TEXTS[0]), scheduler.speak("Many words. " * 200)
        chunks = [next(stays)]
        next(leaves)
        leaves.close()  # pyright: ignore[reportAttributeAccessIssue]
        chunks += list(stays)
        until(lambda: not scheduler.workshop.live)
    torch.testing.assert_close(joined(chunks), expected, atol=1e-5, rtol=1e-4)


def test_an_error_ends_one_text_alone() -> None:
    talker = small_talker()
    synthesizer = Synthesizer(talker)
    expected = synthesizer.speak(TEXTS[3]).wav

    def typed() -> Iterator[str]:
        yield "One sentence. "
        yield "And another. "
        raise TextError("the keyboard is gone")

    with SpeechScheduler(synthesizer) as scheduler:
        stream, broken = scheduler.speak(TEXTS[3]), scheduler.speak(typed())
        chunks = [next(stream)]
        with pytest.raises(TextError, match="the keyboard is gone"):
            list(broken)
        with torch.no_grad():
            kept = talker.model.text_embedding.weight[ord("z")].clone()
            talker.model.text_embedding.weight[ord("z")] = torch.nan
        try:
            with pytest.raises(ScoresNotFinite, match="weights are damaged"):
                list(scheduler.speak("Zzz."))
        finally:
            with torch.no_grad():
                talker.model.text_embedding.weight[ord("z")] = kept
        chunks += list(stream)
    torch.testing.assert_close(joined(chunks), expected, atol=1e-5, rtol=1e-4)


def test_there_are_only_so_many_places() -> None:
    def typed() -> Iterator[str]:
        yield "Hello there. "
        yield "And "
        hold.wait(30)

    hold = threading.Event()
    synthesizer = Synthesizer(small_talker())
    with SpeechScheduler(synthesizer, WorkshopConfig(places=1, waiting=1)) as scheduler:
        first, second = scheduler.speak(typed()), scheduler.speak(TEXTS[1])
        assert len(next(first).wav)
        # The one who waits for text keeps nobody from the only place.
        assert len(next(second).wav)
        with pytest.raises(Busy, match="2 pieces of work") as raised:
            next(scheduler.speak("Me, too."))
        assert raised.value.retry_after >= 1
        hold.set()
        list(first)
        list(second)
        assert list(scheduler.speak("")) == []
    with pytest.raises(RuntimeError, match="closed"):
        next(scheduler.speak("Too late."))


def test_closing_cuts_what_is_being_said() -> None:
    scheduler = SpeechScheduler(Synthesizer(small_talker()))
    stream = scheduler.speak("Many words. " * 200)
    next(stream)
    scheduler.close()
    with pytest.raises(CancelledError):
        list(stream)


def test_who_has_sound_in_store_lets_others_go_first() -> None:
    synthesizer = Synthesizer(small_talker())
    config = WorkshopConfig(places=1, leisure=0.05)
    with SpeechScheduler(synthesizer, config, clock=lambda: 0.0) as scheduler:
        long = scheduler.speak("many words and " * 100)
        while next(long).start < 0.05:
            pass
        # The only place is free again before the long text is over.
        assert list(scheduler.speak("Short."))
        assert scheduler.workshop.live == 1
        long.close()  # pyright: ignore[reportAttributeAccessIssue]
