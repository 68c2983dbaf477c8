"""Spectral features of waveforms (B, T), whole or chunk by chunk with the same result."""

from echoic.audio.features.log_mel import LogMel, LogMelState
from echoic.audio.features.mel import mel_filter_bank

__all__ = ["LogMel", "LogMelState", "mel_filter_bank"]
