"""Live recognisers by name, whatever the kind of their model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from live_signals import speech
from small_paraformer import paraformer

from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.streaming.recognizer import ParaformerRecognizer
from echoic.asr.recognizers import load_live
from echoic.asr.whisper.streaming.agreement import LocalAgreement
from echoic.asr.whisper.streaming.causal import CausalWhisper
from echoic.streaming.recognizer import Recognizer

CUT = Chunks(3, 8, 4, 2, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("paraformer")
    paraformer(chunks=CUT, language="en").save_pretrained(path)
    return path


def cut_of(recognizer: Recognizer[Any]) -> Chunks:
    assert isinstance(recognizer, ParaformerRecognizer)
    return recognizer.config.chunks


def test_a_paraformer_streams_by_the_cut_of_its_training(folder: Path):
    recognizer, language = load_live(folder, dtype="float32")
    assert cut_of(recognizer) == CUT
    assert language == "en"
    state = recognizer.initial_state()
    state, events = recognizer.step(state, speech(1, 48_000, torch.Generator().manual_seed(0)))
    _, last = recognizer.finish(state)
    assert [*events, *last][-1].text


@pytest.mark.parametrize(("chunk_ms", "stride"), [(600, 10), (320, 5), (1, 1), (1000, 17)])
def test_a_chunk_is_whole_frames(folder: Path, chunk_ms: float, stride: int):
    found = cut_of(load_live(folder, chunk_ms=chunk_ms, dtype="float32").recognizer)
    assert found == Chunks(3, stride, 4, 2, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policy": "agreement"}, "policy agreement is Whisper's"),
        ({"beam_size": 2}, "decodes in one pass: take 1"),
        ({"language": "ru"}, "knows English only, not Russian"),
        ({"chunk_ms": -1}, "chunk_ms is -1; it must be above 0"),
        ({"chunk_ms": float("inf")}, "chunk_ms is inf; it must be above 0, and finite"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
    ],
)
def test_what_a_paraformer_cannot_do(folder: Path, settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        load_live(folder, **settings)


def test_a_paraformer_that_looks_ahead_in_its_decoder_does_not_stream(tmp_path: Path):
    from dataclasses import replace

    model = paraformer()
    decoder = replace(model.config.decoder, shift=0)
    paraformer(decoder=decoder).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="looks 2 tokens ahead"):
        load_live(tmp_path)


def test_whisper_is_causal_by_its_adapter_or_agrees_with_itself():
    live = load_live("tiny.en", dtype="float32")
    assert isinstance(live.recognizer, CausalWhisper)
    assert live.language == "en"
    live = load_live("tiny.en", policy="agreement", dtype="float32")
    assert isinstance(live.recognizer, LocalAgreement)
    assert live.language == "en"
