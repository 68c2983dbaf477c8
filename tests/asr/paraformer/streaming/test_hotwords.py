"""Words to expect in streams; that chunks of input change nothing is among the laws."""

import functools

import pytest
import torch
from live_signals import speech
from paraformer_files import random_features
from small_paraformer import CUTS, streaming_paraformer
from streaming_paraformer_cases import EXPECTED

from echoic.asr.paraformer.hotwords import HotWords
from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.streaming.recognizer import LiveConfig, ParaformerRecognizer
from echoic.asr.paraformer.streaming.tokens import TokenStream
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.streaming import state as states
from echoic.streaming.events import Event
from echoic.streaming.module import run_offline


@functools.cache
def expected(text: str = EXPECTED) -> HotWords:
    return HotWords.parse(text, streaming_paraformer().tokenizer)


def stream(chunks: Chunks, hotwords: HotWords | None = None) -> TokenStream:
    return TokenStream(streaming_paraformer(), chunks, hotwords)


def test_hot_words_change_tokens_and_not_where_they_are():
    (x,) = random_features(80)
    plain = run_offline(stream(CUTS["none"]), x[None])
    told = run_offline(stream(CUTS["none"], expected()), x[None])
    said = plain.ids >= 0
    assert torch.equal(told.ids >= 0, said)
    assert torch.equal(told.starts, plain.starts)
    changed = said & (told.ids != plain.ids)
    assert 0 < int(changed.sum()) < int(said.sum())
    assert bool((told.probabilities[changed] < plain.probabilities[changed]).all())
    assert torch.equal(told.probabilities[~changed], plain.probabilities[~changed])
    nothing = run_offline(stream(CUTS["none"], expected("")), x[None])
    assert torch.equal(nothing.ids, plain.ids)


def test_a_chunk_that_holds_the_signal_says_what_the_model_says():
    (x,) = random_features(40)
    (whole,) = streaming_paraformer().recognize(x[None], hotwords=expected())
    found = run_offline(stream(Chunks(0, 40, 5), expected()), x[None])
    spoken = [i for i in found.ids[0].tolist() if i > 2]
    assert tuple(spoken) == whole.tokens
    assert whole.tokens != streaming_paraformer().recognize(x[None])[0].tokens


def test_the_cut_decides_what_is_known_together():
    (x,) = random_features(60)
    every = expected("hello world a b=200")
    sizes = []
    for stride in (40, 4):
        ids = run_offline(stream(Chunks(3, stride, 4, 2, 1), every), x[None]).ids[0]
        text = streaming_paraformer().tokenizer.decode(ids[ids >= 0].tolist())
        sizes.append(text.count("hello world a b"))
    assert sizes[0] > sizes[1]


def listen(found: ParaformerRecognizer, piece: int) -> list[Event]:
    wav = speech(1, 64_000, torch.Generator().manual_seed(4))
    state, events = found.initial_state(), []
    for part in wav.split(piece, dim=1):
        state, new = found.step(state, part)
        events += new
    return events + found.finish(state)[1]


def test_a_live_recogniser_is_told():
    def recognizer(hotwords: HotWords | None) -> ParaformerRecognizer:
        config = LiveConfig(CUTS["back"], hotwords=hotwords)
        return ParaformerRecognizer(streaming_paraformer(), config)

    told = listen(recognizer(expected()), 7001)
    assert told == listen(recognizer(expected()), 1600)
    plain = listen(recognizer(None), 7001)
    assert told[-1].text != plain[-1].text
    assert [event.audio_time for event in told[-1:]] == [event.audio_time for event in plain[-1:]]


def test_the_state_has_a_row_for_each_stream():
    found = stream(CUTS["none"], expected())
    state = found.initial_state(2)
    assert state.chosen.words.shape == (2, 3 + 8)
    assert states.batch_size(state) == 2
    assert stream(CUTS["none"]).initial_state(2).chosen.words.shape == (2, 0)


def test_words_of_another_vocabulary():
    with pytest.raises(ValueError, match="another model's vocabulary"):
        stream(CUTS["none"], HotWords(["a"], Tokenizer.of_characters(["a cat"])))
