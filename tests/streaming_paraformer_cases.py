"""Paraformer for the laws of the Streaming contract: one line each."""

import copy
from typing import Any

import torch
from listening_paraformer import listener
from live_signals import speech
from small_paraformer import CUTS, recognizer, sound_to_tokens, streaming_paraformer
from streaming_laws import Case, noise

from echoic.asr.paraformer.fusion import Fusion
from echoic.asr.paraformer.hotwords import HotWords
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.ngrams import Ngrams
from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.streaming.encoder import ChunkedEncoder
from echoic.asr.paraformer.streaming.recognizer import LiveConfig, ParaformerRecognizer
from echoic.asr.paraformer.streaming.tokens import TokenStream
from echoic.streaming.module import Chain, chain

SOUND: dict[str, Any] = {"differentiable": False}
EVENTS: dict[str, Any] = {"differentiable": False, "batched": False, "settles": 48_000}
COMPAT = Chunks(0, 10, 5, 2, 1, compat=True)
LOUD = noise(560, scale=1.0)
EXPECTED = "hello world, 你好, a b=4, world"


def encoder(chunks: Chunks) -> ChunkedEncoder:
    """Return the encoder of a small model."""
    return ChunkedEncoder(streaming_paraformer().encoder, chunks)


def tokens(chunks: Chunks) -> TokenStream:
    """Return a small model."""
    return TokenStream(streaming_paraformer(), chunks)


def expectant(chunks: Chunks) -> TokenStream:
    """Return a small model that is told of words."""
    model = streaming_paraformer()
    return TokenStream(model, chunks, HotWords.parse(EXPECTED, model.tokenizer))


def with_ngrams(chunks: Chunks, expected: str = "") -> TokenStream:
    """Return a small model that knows what follows what."""
    model = copy.deepcopy(streaming_paraformer())
    size = len(model.tokenizer)
    draw = torch.Generator().manual_seed(3)
    said = [torch.randint(3, size, (12,), generator=draw).tolist() for _ in range(40)]
    model.fusion = Fusion(Ngrams.count(said, size, (1, 1, 1)), 1.5, beam=5)
    return TokenStream(model, chunks, HotWords.parse(expected, model.tokenizer))


def live(model: Paraformer) -> ParaformerRecognizer:
    """Return another model as a recogniser that closes words soon."""
    return ParaformerRecognizer(model, LiveConfig(CUTS["back"], 1.5))


def from_sound(model: Paraformer) -> Chain:
    """Return another model as a stream from sound to tokens."""
    return chain(model.frontend, TokenStream(model, CUTS["back"]))


PARAFORMER_CASES = [
    Case("paraformer_encoder", lambda: encoder(CUTS["back"]), LOUD, 70),
    Case("paraformer_encoder_bare", lambda: encoder(CUTS["none"]), LOUD, 60),
    Case("paraformer_tokens", lambda: tokens(CUTS["far"]), LOUD, 60, **SOUND),
    Case("paraformer_hotwords", lambda: expectant(CUTS["none"]), LOUD, 60, **SOUND),
    Case("paraformer_ngrams", lambda: with_ngrams(CUTS["back"]), LOUD, 60, **SOUND),
    Case("paraformer_both", lambda: with_ngrams(CUTS["none"], EXPECTED), LOUD, 60, **SOUND),
    Case("paraformer_sound", lambda: sound_to_tokens(CUTS["none"]), noise(), 48_000, **SOUND),
    Case("paraformer_of_whisper", lambda: from_sound(listener()), noise(), 48_000, **SOUND),
    Case("paraformer_spikes", lambda: live(listener()), speech, 64_000, **EVENTS),
    Case("paraformer", lambda: recognizer(CUTS["back"]), speech, 64_000, **EVENTS),
    Case("paraformer_compat", lambda: recognizer(COMPAT), speech, 64_000, **EVENTS),
]
