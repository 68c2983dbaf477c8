"""The causal policy: what it promises, at the seams of windows and at the ends of the sound."""

import functools
import random
from pathlib import Path

import pytest
import torch
from random_whisper import random_whisper
from scripted_whisper import Scripted, Spoken, check_promises, finals, listen
from speech_data import novel, tiny_en
from streaming_laws import comparable
from torch import Tensor

from echoic.asr.metrics import word_error_rate
from echoic.asr.text.normalizers import for_language
from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.causal import CausalWhisper
from echoic.asr.whisper.streaming.config import CausalConfig
from echoic.streaming import state as states
from echoic.streaming.events import Event

RATE = 16_000
WORDS = (
    "hello,",
    "there",
    "world.",
    "it's",
    "o'clock",
    "3.5",
    "Dashwood;",
    "amiable",
    "sensibility",
)
CONFIGS = [
    CausalConfig(Blocks(16, first=30), max_window_seconds=12.0, keep_seconds=4.0),
    CausalConfig(Blocks(50), max_window_seconds=9.0, keep_seconds=3.0, hold_seconds=0.4),
    CausalConfig(Blocks(5, first=40), max_window_seconds=6.0, keep_seconds=1.0, hold_seconds=0.8),
    CausalConfig(Blocks(25, left_context=200), max_window_seconds=29.5, keep_seconds=20.0),
]


def noise(seconds: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.01 * torch.randn(round(seconds * RATE), generator=generator)


@functools.cache
def script(seconds: float, seed: int, longest_pause: float = 2.0) -> tuple[Spoken, ...]:
    """Words with pauses between them, now and then a long one; each is told by a number."""
    rng, at, words = random.Random(seed), 0.4, []
    while at < seconds - 1:
        end = at + rng.uniform(0.22, 0.6)
        words.append(Spoken(f" {rng.choice(WORDS)}{len(words)}", at, end))
        at = end + rng.choice([0.0, 0.0, 0.05, 0.3, rng.uniform(0, longest_pause)])
    return tuple(words)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.blocks.size}-{c.keep_seconds:g}")
@pytest.mark.parametrize("pause", [0.4, 7.0])
def test_no_word_is_lost_or_said_twice_where_windows_meet(
    config: CausalConfig, pause: float
) -> None:
    words = script(70, int(pause), pause)
    recognizer = Scripted(words, config)
    events = listen(recognizer, noise(71))
    check_promises(events)
    said = finals(events)
    assert [word.text for word in said] == [word.text.strip() for word in words]
    assert len(recognizer.windows) > 70 / config.max_window_seconds
    gaps = [abs(a.start - b.start) for a, b in zip(said, words, strict=True)]
    assert sorted(gaps)[len(gaps) * 9 // 10] < 0.1


def test_what_is_mended_while_a_window_is_left_is_said_once() -> None:
    words = script(60, 5, 0.3)

    class Unsure(Scripted):
        """Spells every word wrong at first."""

    recognizer = Unsure(words, CONFIGS[0])
    speaker = recognizer._speaker
    certain = speaker._searching

    def unsure(text, window):
        tail = yield from certain(text, window)
        new = len(tail.tokens) - text.tail.length
        wrong = [(i + 1) % 50_000 for i in tail.tokens[len(tail.tokens) - max(new, 0) :]]
        return tail._replace(tokens=[*tail.tokens[: len(tail.tokens) - len(wrong)], *wrong])

    speaker._searching = unsure
    events = listen(recognizer, noise(62))
    check_promises(events)
    assert [word.text for word in finals(events)] == [word.text.strip() for word in words]
    shown = {word.text for event in events for word in event.words}
    assert len(shown) > len(words)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: str(c.blocks.size))
def test_the_last_word_is_said_although_the_sound_ends_with_it(config: CausalConfig) -> None:
    for samples in (40_000, 41_357, 48_001):
        seconds = samples / RATE
        words = [Spoken(" first", 0.5, 1.0), Spoken(" last.", seconds - 0.4, seconds - 0.01)]
        events = listen(Scripted(words, config), noise(seconds)[:samples])
        check_promises(events)
        assert [word.text for word in finals(events)] == ["first", "last."]
        assert events[-1].type == "final"
        assert events[-1].end <= events[-1].audio_time <= seconds + 1e-9


def test_nothing_heard_nothing_said() -> None:
    recognizer = Scripted([Spoken(" word", 0.1, 0.3)], CONFIGS[0])
    assert recognizer.finish(recognizer.initial_state())[1] == []
    state, events = recognizer.step(recognizer.initial_state(), torch.zeros(1, 0))
    assert events == []
    assert recognizer.finish(state)[1] == []


def test_sound_without_words_makes_no_event() -> None:
    for samples in (1, 100, 15 * RATE):
        assert listen(Scripted([], CONFIGS[0]), torch.zeros(samples)) == []


def test_speech_after_silence_longer_than_a_window_is_heard() -> None:
    words = [Spoken(" late", 33.0, 33.4)]
    assert [
        w.text for w in finals(listen(Scripted(words, CONFIGS[0]), torch.zeros(35 * RATE)))
    ] == ["late"]


def test_a_finished_state_begins_anew() -> None:
    words = [Spoken(" word", 0.5, 1.0)]
    recognizer = Scripted(words, CONFIGS[0])
    state, _ = recognizer.step(recognizer.initial_state(), noise(2.0)[None])
    state, first = recognizer.finish(state)
    state, again = recognizer.step(state, noise(2.0)[None])
    again += recognizer.finish(state)[1]
    assert [w.text for w in finals(first)] == [w.text for w in finals(again)] == ["word"]


def test_the_state_is_no_larger_after_many_windows() -> None:
    recognizer = Scripted(script(60, 9), CONFIGS[0])
    state, sizes = recognizer.initial_state(), []
    for part in noise(60)[None].split(RATE // 4, dim=1):
        state, _ = recognizer.step(state, part)
        tensors = states.leaves(state).values()
        sizes.append(sum(x.untyped_storage().nbytes() for x in tensors if isinstance(x, Tensor)))
    assert max(sizes) <= 1.1 * max(sizes[:60])
    assert min(sizes[60:]) < 0.6 * max(sizes)


def words_of(events: list[Event]) -> str:
    return " ".join(word.text for word in finals(events))


def test_words_of_unspaced_languages_are_joined_without_spaces() -> None:
    spoken = ["吾", "輩", "は", "猫", "で", "ある", "。", " Hello", "猫"]
    words = [Spoken(word, 0.5 + 0.4 * i, 0.9 + 0.4 * i) for i, word in enumerate(spoken)]
    config = CausalConfig(Blocks(16), language="ja")
    events = listen(Scripted(words, config, multilingual=True), noise(5))
    check_promises(events)
    text = "".join(event.text for event in events if event.type == "final")
    assert text == "吾輩はで".replace("で", "猫である。 Hello猫")
    partial = [event for event in events if event.type == "partial"][3]
    assert " " not in partial.text
    spaced = CausalConfig(Blocks(16), language="de")
    assert listen(Scripted(words[7:], spaced, multilingual=True), noise(5))[-1].text == "Hello猫"


def test_the_prompt_holds_the_language_of_multilingual_models() -> None:
    many = random_whisper(multilingual=True)
    tokenizer = many.tokenizer
    for asked, code in ((None, "en"), ("ja", "ja"), ("German", "de")):
        recognizer = CausalWhisper(many, CausalConfig(language=asked))
        assert recognizer._speaker.prompt == tokenizer.prompt(code)
        assert len(recognizer._speaker.prompt) == 4
    alone = CausalWhisper(random_whisper(), CausalConfig(language="en"))
    assert alone._speaker.prompt == tokenizer.prompt(None)
    with pytest.raises(ValueError, match="'de', but this model knows English only"):
        CausalWhisper(random_whisper(), CausalConfig(language="de"))
    with pytest.raises(ValueError, match="klingon"):
        CausalWhisper(many, CausalConfig(language="klingon"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": "all"}, 'keep is \'all\', expected "likeliest" or "not_falling"'),
        ({"beam_size": 0}, "beam_size is 0"),
        ({"hold_seconds": -1.0}, "hold_seconds is -1.0: expected 0 or more"),
        ({"keep_seconds": 0.5}, "keep_seconds is 0.5: expected 1 or more"),
        ({"keep_seconds": float("nan")}, "keep_seconds is nan"),
        ({"blocks": Blocks(500)}, "blocks of 10 s leave no room"),
        ({"keep_seconds": 25.0}, "max_window_seconds is 25.0: expected 26.24 to 29.68"),
        ({"max_window_seconds": 29.9}, "expected 6.24 to 29.68"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CausalConfig(**changes)  # pyright: ignore[reportArgumentType]


def test_sound_of_another_shape_is_refused() -> None:
    recognizer = Scripted([], CONFIGS[0])
    for shape in ((2, 100), (100,), (1, 1, 100)):
        with pytest.raises(ValueError, match="expected \\(1, T\\): mix it to mono"):
            recognizer.step(recognizer.initial_state(), torch.zeros(shape))
    with pytest.raises(ValueError, match="2 streams, expected 1"):
        recognizer.initial_state(2)


@functools.cache
def untrained() -> tuple[Tensor, str, list[Event]]:
    """The box model, not trained to stream, in blocks of a second and windows of ten."""
    pause = torch.zeros(RATE // 4)
    sound = torch.cat([part for u in novel()[:4] for part in (u.wav, pause)])
    config = CausalConfig(Blocks(50), max_window_seconds=10.0, keep_seconds=4.0)
    text = " ".join(u.text for u in novel()[:4])
    return sound, text, listen(CausalWhisper(tiny_en(), config), sound)


def test_real_speech_passes_from_window_to_window() -> None:
    _, text, events = untrained()
    check_promises(events)
    assert sum(event.type == "final" for event in events) > 1
    # Untrained, it stumbles; what counts is that it goes on, and says nothing twice.
    rate = word_error_rate([text], [words_of(events)], for_language("en")).rate
    assert rate < 0.5
    doubled = [
        a
        for a, b in zip(words_of(events).split(), words_of(events).split()[1:], strict=False)
        if a == b
    ]
    assert len(doubled) <= 1


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_a_state_that_was_kept_small_goes_on_the_same(dtype: str, tmp_path: Path) -> None:
    """Through windows that began anew, saved at any moment; the sound is heard again."""
    config = CausalConfig(
        Blocks(10, first=25), show_confidence=0.0, max_window_seconds=6.0, keep_seconds=1.5
    )
    recognizer = CausalWhisper(random_whisper(dtype=dtype), config)
    wav = torch.cat([u.wav for u in novel()])[None, : 20 * RATE]
    state, expected = recognizer.initial_state(), []
    kept, found = recognizer.initial_state(), []
    for number, part in enumerate(wav.split(7_001, dim=1)):
        state, events = recognizer.step(state, part)
        expected += events
        if number % 3 == 0:
            states.save(tmp_path / "state", recognizer.compact(kept))
            kept = states.load(tmp_path / "state", recognizer.initial_state())
        kept, events = recognizer.step(kept, part)
        found += events
    assert state.window.start > 6 * RATE
    assert comparable(found) == comparable(expected)
    assert comparable(recognizer.finish(kept)[1]) == comparable(recognizer.finish(state)[1])


def test_a_state_that_is_kept_is_a_tenth_of_one_that_is_used() -> None:
    recognizer = CausalWhisper(tiny_en(), CausalConfig(Blocks(50)))
    state, _ = recognizer.step(recognizer.initial_state(), novel()[1].wav[None, : 5 * RATE])
    assert states.num_bytes(recognizer.compact(state)) < 0.1 * states.num_bytes(state)
