"""The registry: every streaming class of the toolkit, one line each, for the laws."""

import copy
import functools
from typing import Any

import torch
from adapted_whisper import Spanish
from energy_words import EnergyWords
from live_signals import GateEvents, SessionEvents, quick_gate, speech, speech_8k
from random_whisper import random_whisper
from streaming_codec_cases import CODEC_CASES
from streaming_flow_cases import FLOW_CASES
from streaming_laws import Case, complex_noise, noise
from streaming_layer_cases import LAYER_CASES
from streaming_paraformer_cases import PARAFORMER_CASES
from streaming_tokenizer_cases import TOKENIZER_CASES

from echoic.asr.whisper.encoder import Encoder
from echoic.asr.whisper.streaming.agreement import AgreementConfig, LocalAgreement
from echoic.asr.whisper.streaming.alignatt import AlignAtt, AlignAttConfig
from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.causal import CausalWhisper
from echoic.asr.whisper.streaming.config import CausalConfig
from echoic.asr.whisper.streaming.encoder import CausalEncoder
from echoic.audio.features import (
    Cmvn,
    Fbank,
    FbankConfig,
    Istft,
    LogMel,
    LowFrameRate,
    Mel,
    MelConfig,
    Stft,
)
from echoic.audio.resample import Resampler
from echoic.audio.silero import SileroVad
from echoic.streaming.module import Chain, chain


def cmvn(features: int) -> Cmvn:
    """Return a normalisation with values that tell the features apart."""
    ramp = torch.linspace(0.5, 1.5, features)
    return Cmvn(-ramp, ramp.flip(0))


def paraformer_front() -> Chain:
    """Return fbank, low frame rate and normalisation, as Paraformer hears."""
    return chain(Fbank(), LowFrameRate(), cmvn(560))


def resampled_log_mel() -> Chain:
    """Return what a 48 kHz microphone needs before Whisper."""
    return chain(Resampler(48_000, 16_000), LogMel(norm="running"))


def session_8k() -> SessionEvents:
    """Return the runtime behind a telephone; the resampler hears up to a frame ahead."""
    return SessionEvents(sample_rate=8000, lookahead=400)


# Whisper policies with a buffer that fills soon and whose blocks are few.
SHORT_BUFFER: dict[str, Any] = {"chunk_ms": 1600, "trim_seconds": 5.5, "max_seconds": 6.5}


@functools.cache
def local_agreement() -> LocalAgreement:
    """Return the policy on a model that writes at random."""
    return LocalAgreement(random_whisper(), AgreementConfig(**SHORT_BUFFER))


@functools.cache
def align_att() -> AlignAtt:
    """Return the policy on a model that writes at random."""
    return AlignAtt(random_whisper(), AlignAttConfig(**SHORT_BUFFER))


@functools.cache
def causal_whisper() -> CausalWhisper:
    """Return the policy on a model that writes at random, in windows of three seconds."""
    config = CausalConfig(
        Blocks(40, first=50), hold_seconds=0.5, keep_seconds=1.0, max_window_seconds=3.6
    )
    return CausalWhisper(random_whisper(), config)


@functools.cache
def calm_encoder() -> Encoder:
    """Return an encoder with random weights, too small to blow up what is rounded."""
    encoder = copy.deepcopy(random_whisper().encoder)
    with torch.no_grad():
        for layer in encoder.layers:
            for weight in layer.parameters():
                weight.mul_(0.3)
    return encoder


def causal_encoder(size: int, first: int | None, left_context: int) -> CausalEncoder:
    """Return a block-causal encoder."""
    return CausalEncoder(calm_encoder(), Blocks(size, first, left_context))


NO_GRADIENT: dict[str, Any] = {"differentiable": False}
# Of recognisers and what runs them: real speech in, events out, one stream to a state.
EVENTS: dict[str, Any] = {"differentiable": False, "batched": False, "settles": 24_000}
EVENTS_8K: dict[str, Any] = EVENTS | {"settles": 12_000}
WINDOWS: dict[str, Any] = EVENTS | {"settles": 64_000}
WHISPER: dict[str, Any] = {**EVENTS, "settles": 120_000}

CASES = [
    Case("log_mel", lambda: LogMel(norm="running"), noise(), 4000),
    Case("log_mel_plain", lambda: LogMel(128, norm="none"), noise(), 4000),
    Case("fbank", Fbank, noise(), 4000),
    Case("fbank_edges", lambda: Fbank(FbankConfig(snip_edges=False)), noise(), 4000),
    Case("low_frame_rate", lambda: LowFrameRate(7, 6, 4), noise(4), 80),
    Case("low_frame_rate_tiled", lambda: LowFrameRate(4, 4, 3), noise(3), 80),
    Case("cmvn", lambda: cmvn(5), noise(5), 40),
    Case("paraformer_front", paraformer_front, noise(), 24_000),
    Case("stft_center", lambda: Stft(64, 16), noise(), 1000),
    Case("stft_wide_hop", lambda: Stft(64, 40), noise(), 1000),
    Case("stft_same", lambda: Stft(64, 16, padding="same", win_length=50), noise(), 1000),
    Case("stft_left", lambda: Stft(64, 24, padding="left"), noise(), 1000),
    Case("stft_none", lambda: Stft(64, 64, padding="none"), noise(), 1000),
    Case("istft_center", lambda: Istft(64, 16), complex_noise(33), 60),
    Case("istft_same", lambda: Istft(64, 24, padding="same"), complex_noise(33), 60),
    Case("istft_left", lambda: Istft(64, 16, padding="left"), complex_noise(33), 60),
    Case("istft_none", lambda: Istft(64, 32, padding="none"), complex_noise(33), 60),
    Case("mel_hificodec", lambda: Mel(MelConfig.hificodec()), noise(), 9000),
    Case("mel_vocos", lambda: Mel(MelConfig.vocos()), noise(), 9000),
    Case("mel_distilcodec", lambda: Mel(MelConfig.distilcodec()), noise(), 9000),
    Case("resampler_down", lambda: Resampler(48_000, 16_000), noise(), 12_000, **NO_GRADIENT),
    Case("resampler_up", lambda: Resampler(16_000, 24_000), noise(), 8000, **NO_GRADIENT),
    Case("resampler_441", lambda: Resampler(44_100, 16_000), noise(), 12_000, **NO_GRADIENT),
    Case("resampled_log_mel", resampled_log_mel, noise(), 12_000, **NO_GRADIENT),
    Case("silero_vad", SileroVad.from_installed, noise(), 8000, **NO_GRADIENT),
    *LAYER_CASES,
    *CODEC_CASES,
    *PARAFORMER_CASES,
    *FLOW_CASES,
    *TOKENIZER_CASES,
    Case("energy_words", EnergyWords, speech, 48_000, **EVENTS),
    Case("energy_words_ahead", lambda: EnergyWords(640, lookahead=200), speech, 48_000, **EVENTS),
    Case("speech_gate", lambda: GateEvents(quick_gate()), speech, 48_000, **EVENTS),
    Case("session", SessionEvents, speech, 48_000, **EVENTS),
    Case("session_8k", session_8k, speech_8k, 24_000, **EVENTS_8K),
    Case("local_agreement", local_agreement, speech, 80_000, **WHISPER),
    Case("align_att", align_att, speech, 80_000, **WHISPER),
    Case("causal_encoder", lambda: causal_encoder(8, None, 12), noise(80), 160),
    Case("causal_encoder_first", lambda: causal_encoder(5, 15, 20), noise(80), 160),
    Case("causal_encoder_odd_first", lambda: causal_encoder(6, 15, 40), noise(80), 160),
    Case("causal_encoder_spanish", lambda: Spanish(Blocks(8, None, 12)), noise(80), 160),
    Case("causal_encoder_short_first", lambda: causal_encoder(16, 5, 0), noise(80), 160),
    Case("causal_whisper", causal_whisper, speech, 70_000, **WINDOWS),
]
