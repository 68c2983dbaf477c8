"""The recogniser of live speech: events, words, promises."""

import functools
from typing import Any

import pytest
import torch
from live_signals import quick_gate, speech
from scripted_whisper import check_promises, finals
from small_paraformer import CUTS, recognizer, streaming_paraformer
from torch import Tensor

from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.streaming.recognizer import LiveConfig, ParaformerRecognizer
from echoic.asr.paraformer.streaming.tokens import TokenStream
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.streaming import state as states
from echoic.streaming.events import Event
from echoic.streaming.gate import GateConfig
from echoic.streaming.module import chain, run_offline
from echoic.streaming.session import Session, SessionConfig

COMPAT = Chunks(0, 10, 5, 2, 1, compat=True)
each_cut = pytest.mark.parametrize("chunks", [*CUTS.values(), COMPAT], ids=str)


@functools.cache
def talk(seconds: int = 8) -> Tensor:
    return speech(1, seconds * 16_000, torch.Generator().manual_seed(4))


def listen(recognizer: ParaformerRecognizer, wav: Tensor, piece: int = 7001) -> list[Event]:
    state, events = recognizer.initial_state(), []
    for part in wav.split(piece, dim=1):
        state, new = recognizer.step(state, part)
        events += new
    return events + recognizer.finish(state)[1]


@each_cut
def test_events_say_all_tokens_once(chunks: Chunks):
    found = recognizer(chunks)
    events = listen(found, talk())
    check_promises(events)
    assert {event.type for event in events[:-1]} == {"partial", "final"}
    model = streaming_paraformer()
    ids = run_offline(chain(model.frontend, TokenStream(model, chunks)), talk()).ids
    said = [i for i in ids[ids >= 0].tolist() if model.tokenizer.is_spoken(i)]
    assert len(said) > 20
    spoken = [word.text for word in model.tokenizer.words(said)]
    # A final may end within a word that is cut, and only there.
    assert "".join(word.text for word in finals(events)) == "".join(spoken)
    assert finals(events)[-1].end <= talk().shape[1] / 16_000


def test_each_block_is_told_when_it_is_known():
    found = recognizer(CUTS["none"], close_seconds=100.0)
    state, events = found.initial_state(), []
    for number in range(9):
        size = found.frame_size + (0 if number else found.lookahead)
        start = number * found.frame_size + (found.lookahead if number else 0)
        sound = talk()[:, start : start + size]
        state, early = found.step(state, sound[:, :-1])
        assert early == []
        state, new = found.step(state, sound[:, -1:])
        assert all(event.audio_time == (number + 1) * 0.48 for event in new)
        events += new
    assert len(events) > 4
    # A stack ends 80 samples before the next one's place.
    assert found.lookahead == 4 * 960 - 80


class Spelled(ParaformerRecognizer):
    """Hears given tokens, some in each block."""

    def __init__(self, *blocks: list[int], close_seconds: float = 20.0) -> None:
        config = LiveConfig(Chunks(0, 10, 5), close_seconds)
        super().__init__(streaming_paraformer(), config)
        self.blocks = blocks

    def _block(self, state: Any, new: Any) -> Any:
        ids = self.blocks[state.blocks] if state.blocks < len(self.blocks) else []
        times = [[state.blocks + i / 10, state.blocks + (i + 1) / 10] for i in range(len(ids))]
        made = new._replace(
            ids=torch.tensor([ids], dtype=torch.int64),
            probabilities=torch.full((1, len(ids)), 0.5),
            times=torch.tensor(times, dtype=torch.float64).reshape(1, -1, 2) * 0.6,
        )
        return super()._block(state, made)


def told(spelled: Spelled, blocks: int) -> list[tuple[str, str, int]]:
    size = spelled.lookahead + blocks * spelled.frame_size
    _, events = spelled.step(spelled.initial_state(), torch.zeros(1, size))
    return [(event.type, event.text, event.stable) for event in events]


def test_a_word_is_stable_once_it_is_complete():
    hel, lo, world, you = 5, 6, 7, 3
    assert told(Spelled([you, hel], [], [lo], [world, hel]), 5) == [
        ("partial", "你hel", 1),
        ("partial", "你hello", 2),
        ("partial", "你hello world hel", 3),
    ]


def test_pieces_that_begin_words_never_end_them():
    model = Tokenizer(["<blank>", "<s>", "</s>", "\u2581he", "llo", "<unk>"])
    assert [model.goes_on(token) for token in (3, 4)] == [True, True]
    assert [model.is_spoken(token) for token in range(6)] == [False] * 3 + [True] * 2 + [False]


def test_old_words_are_closed_without_the_one_that_goes_on():
    hel, lo, world = 5, 6, 7
    assert told(Spelled([world], [lo, hel], [], [lo], close_seconds=1.15), 4) == [
        ("partial", "world", 1),
        ("final", "world lo", 2),
        ("partial", "hel", 0),
        ("final", "hello", 1),
    ]


def test_a_word_that_never_ends_is_cut():
    assert told(Spelled(*[[5]] * 4, close_seconds=1.5), 3) == [
        ("partial", "hel", 0),
        ("partial", "helhel", 0),
        ("final", "helhelhel", 1),
    ]


def test_a_session_runs_it():
    config = SessionConfig(quick_gate())
    whole = Session(recognizer(CUTS["back"]), sample_rate=16_000, config=config)
    events = whole.feed(talk()) + whole.finish()
    assert [event.type for event in events].count("endpoint") > 2
    pieces = Session(recognizer(CUTS["back"]), sample_rate=16_000, config=config)
    again = [event for part in talk().split(1234, dim=1) for event in pieces.feed(part)]
    again += pieces.finish()
    assert [e.text for e in again] == [e.text for e in events]


def test_the_last_word_of_a_session_is_not_lost():
    bare = SessionConfig(GateConfig(enabled=False))
    found = recognizer(CUTS["back"], close_seconds=100.0)
    for seconds in (0.3, 0.7, 1.13, 2.0, 2.51):
        wav = talk()[:, : int(seconds * 16_000)]
        session = Session(found, sample_rate=16_000, config=bare)
        session.feed(wav)
        said = [word.text for event in session.finish() for word in event.words]
        model = streaming_paraformer()
        chunked = TokenStream(model, CUTS["back"])
        ids = chunked(model.frontend(wav)[0]).ids
        spoken = [i for i in ids[ids >= 0].tolist() if model.tokenizer.is_spoken(i)]
        assert said == [word.text for word in model.tokenizer.words(spoken)]
        assert len(said) >= (seconds > 1)


def test_nothing_said():
    found = recognizer(CUTS["back"])
    assert found.finish(found.initial_state())[1] == []
    state, events = found.step(found.initial_state(), torch.empty(1, 0))
    assert events == found.finish(state)[1] == []
    assert found.finish(found.step(state, torch.zeros(1, 100))[0])[1] == []
    assert states.batch_size(state) == 1


def test_what_is_refused():
    found = recognizer(CUTS["back"])
    with pytest.raises(ValueError, match="2 streams, expected 1"):
        found.initial_state(2)
    with pytest.raises(ValueError, match=r"shape \(2, 5\), expected \(1, T\)"):
        found.step(found.initial_state(), torch.zeros(2, 5))
    with pytest.raises(ValueError, match="close_seconds is 0"):
        LiveConfig(close_seconds=0)
