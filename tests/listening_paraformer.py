"""A small Paraformer whose encoder begins as a small Whisper's, with tokens at a CTC's peaks."""

import dataclasses
import functools

import torch
from paraformer_files import tokens_of
from random_whisper import fresh_whisper
from torch import nn

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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Paraformer(config, Tokenizer(tokens_of(40)))
    copy_encoder(encoder, model)
    model.requires_grad_(False).eval()
    # Every frame of noise, too, hears something else: what all of them have in common is taken off.
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(1, 48_000, generator=generator)
    hidden = model.encode(*model.frontend(noise))[0]
    head = model.predictor.get_submodule("weights.head.output")
    assert isinstance(head, nn.Linear)
    nn.init.normal_(head.weight, generator=generator)
    head.bias.copy_(-head.weight @ hidden.mean(0))
    return model
