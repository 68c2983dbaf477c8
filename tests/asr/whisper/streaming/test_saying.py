"""What is frozen, what is stable, and what a decoder gone wrong can do at most."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from random_whisper import random_whisper
from scripted_whisper import check_promises, finals, listen
from speech_data import novel
from torch import Tensor

from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.causal import CausalWhisper
from echoic.asr.whisper.streaming.config import CausalConfig
from echoic.asr.whisper.streaming.saying import LOOP_TOKENS, TOKENS_AT_ONCE, Text
from echoic.asr.whisper.streaming.search import Tail
from echoic.asr.whisper.streaming.window import Window
from echoic.streaming.events import Event
from echoic.streaming.work import Work

RATE = 16_000
# What is said is frozen a block later, and shown however doubtful it is.
HALF = CausalConfig(Blocks(25), hold_seconds=0.5, show_confidence=0.0)


def ids(text: str) -> list[int]:
    return random_whisper().tokenizer.encode(text)


class Dictated(CausalWhisper):
    """Decodes for real, but each block's tail is the one that is dictated, behind what is frozen.

    Args:
        tails: whole texts, one for each block of half a second; the last stays.
    """

    def __init__(self, tails: Sequence[Sequence[int]], config: CausalConfig = HALF) -> None:
        super().__init__(random_whisper(multilingual=config.language is not None), config)
        self.texts: list[Text] = []
        speaker = self._speaker

        def dictate(text: Text, window: Window) -> Work[Tail]:
            number = min(window.frames // 25, len(tails)) - 1
            said = list(tails[number])[text.frozen.length :]
            fed = [*speaker.prompt, *text.frozen.ids][text.trunk[0].length :]
            self.texts.append(text)
            return speaker._search(
                fed,
                said,
                [0.0] * len(said),
                text.trunk,
                window.sound,
                sealed=text.sealed,
                budget=0,
                trusted=True,
            )

        speaker._searching = dictate


def sound(seconds: float) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 0.01 * torch.randn(round(seconds * RATE), generator=generator)


def stable(events: Sequence[Event]) -> list[list[str]]:
    """The stable words of each partial."""
    partials = [event for event in events if event.type == "partial"]
    return [[word.text for word in event.words[: event.stable]] for event in partials]


def test_a_word_is_stable_once_it_is_held_to_its_end() -> None:
    tails = [ids(" one"), ids(" one"), ids(" one two"), ids(" one two")]
    events = listen(Dictated(tails), sound(2.1))
    check_promises(events)
    assert stable(events) == [[], ["one"], ["one"], ["one", "two"]]
    assert [e.audio_time for e in events] == [0.5, 1.0, 1.5, 2.0, pytest.approx(2.1)]


def test_a_doubtful_word_is_shown_a_block_later_if_it_is_still_there() -> None:
    tails = [ids(" one"), ids(" one two"), ids(" one three"), ids(" one three four")]
    doubtful = replace(HALF, hold_seconds=1.0, show_confidence=0.6)
    events = listen(Dictated(tails, doubtful), sound(2.1))
    check_promises(events)
    assert [event.text for event in events[:3]] == ["one", "one", "one three"]
    assert [event.audio_time for event in events[:3]] == [1.0, 1.5, 2.0]
    assert [w.text for w in finals(events)] == ["one", "three", "four"]
    at_once = listen(Dictated(tails, replace(doubtful, show_confidence=0.0)), sound(2.1))
    texts = [event.text for event in at_once if event.type == "partial"]
    assert texts == ["one", "one two", "one three", "one three four"]


def test_a_word_that_goes_on_is_not_stable() -> None:
    first, rest = ids(" Dash"), ids("wood")
    whole = first + rest
    events = listen(Dictated([first, whole, whole, whole]), sound(2.1))
    check_promises(events)
    # Its first token is frozen at 1.0 s; the second, said then, half a second later.
    assert stable(events) == [[], [], ["Dashwood"]]
    assert [w.text for w in finals(events)] == ["Dashwood"]


def test_a_held_word_is_sealed_and_goes_on_no_more() -> None:
    recognizer = Dictated([ids(" one"), ids(" one"), ids(" one two")])
    listen(recognizer, sound(1.6))
    assert [text.sealed for text in recognizer.texts[:3]] == [True, True, True]
    open_word = Dictated([ids(" Dash"), ids(" Dashwood"), ids(" Dashwood")])
    listen(open_word, sound(1.6))
    assert [text.sealed for text in open_word.texts[:4]] == [True, True, False, True]


def test_an_opening_mark_waits_for_its_word() -> None:
    quote = ids(' "')
    tails = [ids(" so") + quote, ids(" so") + quote, ids(" so") + quote + ids(" yes")]
    events = listen(Dictated([*tails, tails[-1]]), sound(2.1))
    check_promises(events)
    assert stable(events)[1] == ["so"]
    assert [w.text for w in finals(events)] == ["so", '" yes']


def test_characters_in_parts_are_stable_as_a_whole() -> None:
    cat = ids("猫")
    assert len(cat) > 1
    config = replace(HALF, language="ja")
    one, two = ids("犬") + cat[:1], ids("犬") + cat
    events = listen(Dictated([one, two, two, two], config), sound(2.1))
    check_promises(events)
    assert stable(events)[-1] == ["犬", "猫"]
    assert finals(events)[-1].text == "猫"
    rules = Dictated([one], config)._speaker.rules
    assert [bool(rules.joins[i]) for i in cat] == [False] + [True] * (len(cat) - 1)
    assert all(bool(rules.joins[i]) for i in ids(",") + ids("!"))
    assert not any(bool(rules.joins[i]) for i in ids("a") + ids(" a") + ids("5"))


def test_confidences_are_the_mean_of_what_the_letters_are_said_with() -> None:
    recognizer = Dictated([ids(" Dashwood,")])
    kept: list[Tail] = []
    dictate = recognizer._speaker._searching

    def remember(text: Text, window: Window) -> Work[Tail]:
        kept.append((yield from dictate(text, window)))
        return kept[-1]

    recognizer._speaker._searching = remember
    _, events = recognizer.step(recognizer.initial_state(), sound(0.6)[None])
    (word,) = events[-1].words
    assert word.text == "Dashwood,"
    assert word.confidence == pytest.approx(sum(kept[0].probabilities[:2]) / 2, rel=1e-5)


def forced(choose: Callable[[Tensor], None], config: CausalConfig = HALF) -> CausalWhisper:
    """A random model whose scores are what is made of them."""
    recognizer = CausalWhisper(random_whisper(), config)
    rules = recognizer._speaker.rules
    never = rules.never.clone()
    choose(never)
    search = recognizer._speaker._search
    object.__setattr__(search, "rules", rules._replace(never=never))
    return recognizer


def test_a_model_that_loops_is_cut_short_and_recovers() -> None:
    word = ids(" ha")[0]

    def only(never: Tensor) -> None:
        never[:] = -torch.inf
        never[word] = 0.0

    recognizer = forced(only)
    state, events = recognizer.step(recognizer.initial_state(), sound(12)[None])
    check_promises(events + recognizer.finish(state)[1])
    assert state.text.frozen.length <= LOOP_TOKENS
    assert max(len(event.words) for event in events) < LOOP_TOKENS
    search = recognizer._speaker._search
    search.rules.never[word] = -torch.inf
    search.rules.never[ids(" stop")[0]] = 0.0
    state, events = recognizer.step(state, sound(4)[None])
    assert "stop" in {word.text for event in events for word in event.words}


@pytest.mark.parametrize("block", [5, 16, 50])
def test_a_model_that_never_ends_says_no_more_than_anybody_can(block: int) -> None:
    def endless(never: Tensor) -> None:
        never[random_whisper().tokenizer.eot] = -torch.inf

    config = CausalConfig(Blocks(block))
    recognizer = forced(endless, config)
    state = recognizer.initial_state()
    room = recognizer.model.config.max_target_positions - len(recognizer._speaker.prompt)
    longest = 0
    for part in sound(14)[None].split(4000, dim=1):
        state, _ = recognizer.step(state, part)
        said = state.text.frozen.length + state.text.tail.length
        seconds = state.window.frames / 50
        assert said <= min(room, TOKENS_AT_ONCE + 12 * seconds + 1)
        longest = max(longest, said)
    assert longest > 60


def gains(recognizer: CausalWhisper, wav: Tensor) -> list[float]:
    """How much better what is said is, block by block, than what greedy decoding would say."""
    found: list[float] = []
    speaker = recognizer._speaker
    choose = speaker._searching

    def compare(text: Text, window: Window) -> Work[Tail]:
        tail = yield from choose(text, window)
        greedy = yield from speaker._search(
            [*speaker.prompt, *text.frozen.ids][text.trunk[0].length :],
            text.tail.ids,
            text.scores[0].tolist(),
            text.trunk,
            window.sound,
            sealed=text.sealed,
            budget=speaker._budget(text, window),
        )
        found.append(tail.mean_logprob - greedy.mean_logprob)
        return tail

    speaker._searching = compare
    check_promises(listen(recognizer, wav))
    return found


def few_words(never: Tensor) -> None:
    """Leave so few words that the end is soon among the likeliest."""
    never[:] = -torch.inf
    never[ids(" he was not an old man and she it is a young")] = 0.0
    never[random_whisper().tokenizer.eot] = 2.0


@pytest.mark.parametrize("size", [2, 4])
def test_a_beam_is_never_worse_than_greedy_decoding(size: int) -> None:
    """Block by block, from the same frozen text, by the beam's own score."""
    config = CausalConfig(Blocks(16), beam_size=size)
    found = [gain for u in novel()[:3] for gain in gains(forced(few_words, config), u.wav)]
    assert min(found) > -1e-4
    assert max(found) > 0.01


def test_a_beam_of_one_makes_the_events_of_greedy_decoding() -> None:
    wav = novel()[4].wav[: 2 * RATE]
    one = CausalWhisper(random_whisper(), CausalConfig(Blocks(50), beam_size=1))
    plain = CausalWhisper(random_whisper(), CausalConfig(Blocks(50)))
    assert listen(one, wav) == listen(plain, wav) != []
