"""Spectral features of waveforms (B, T), whole or chunk by chunk with the same result."""

from echoic.audio.features.codec_mel import Mel, MelConfig
from echoic.audio.features.fbank import Fbank, FbankConfig
from echoic.audio.features.framing import FrameFeatures, Framing, FramingState
from echoic.audio.features.log_mel import LogMel, LogMelState
from echoic.audio.features.low_frame_rate import Cmvn, LowFrameRate
from echoic.audio.features.mel import mel_filter_bank
from echoic.audio.features.stft import Istft, IstftState, Stft

__all__ = [
    "Cmvn",
    "Fbank",
    "FbankConfig",
    "FrameFeatures",
    "Framing",
    "FramingState",
    "Istft",
    "IstftState",
    "LogMel",
    "LogMelState",
    "LowFrameRate",
    "Mel",
    "MelConfig",
    "Stft",
    "mel_filter_bank",
]
