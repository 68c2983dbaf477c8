"""Stateful layers: convolutions, attention and overlap-add that run on sound that has not ended.

The Fourier transforms that stream are `echoic.audio.features.stft.Stft` and `Istft`.
"""
