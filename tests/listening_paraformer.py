"""A small Paraformer whose encoder begins as a small Whisper's, with tokens at a CTC's peaks."""

import dataclasses
import functools

from paraformer_files import tokens_of
from random_whisper import fresh_whisper

from echoic.asr.paraformer.config import (
    DecoderConfig,
    ObjectiveConfig,
    ParaformerConfig,
    PredictorConfig,
)
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.paraformer.training.from_whisper import copy_encoder, encoder_of, frontend_of
from echoic.asr.whisper.model import WhisperModel

PERIOD = 30


@functools.cache
def teacher() -> WhisperModel:
    """Return the Whisper; whoever takes it leaves it as it is."""
    return fresh_whisper().requires_grad_(False).eval()


@functools.cache
def listener() -> Paraformer:
    """Return the Paraformer, as before its training; whoever takes it leaves it as it is."""
    encoder = teacher().encoder
    config = ParaformerConfig(
        40,
        frontend_of(encoder),
        dataclasses.replace(encoder_of(encoder), period=PERIOD),
        decoder=DecoderConfig(
            layers=2, cross_layers=1, heads=2, ffn_dim=24, kernel_size=5, shift=2, dropout=0.0
        ),
        predictor=PredictorConfig(kind="spikes"),
        objective=ObjectiveConfig(ctc=0.3),
        end_token=False,
    )
    model = Paraformer(config, Tokenizer(tokens_of(40)))
    copy_encoder(encoder, model)
    return model.requires_grad_(False).eval()
