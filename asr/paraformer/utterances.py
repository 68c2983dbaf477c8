"""What a recogniser is given, made features: waveforms or features, checked."""

import torch
from torch import Tensor

from echoic.asr.paraformer.frontend import Frontend


def features_of(
    sound: Tensor, lengths: Tensor | None, frontend: Frontend, max_frames: int
) -> tuple[Tensor, Tensor]:
    """Return features (B, T, F) and the frames of each utterance (B,) int64.

    Args:
        sound: waveforms (B, n) in [-1, 1], or features (B, T, F).
        lengths: (B,) samples or frames that count; None for all.
        frontend: of the model.
        max_frames: that an utterance may have.

    Raises:
        ValueError: another shape, lengths that do not fit, NaN or infinity, or too many frames.
    """
    features, lengths = _convert(sound, lengths, frontend)
    if features.shape[1] > max_frames:
        seconds = frontend.config.frame_seconds
        raise ValueError(
            f"an utterance of {features.shape[1] * seconds:.0f} s, expected at most "
            f"{max_frames * seconds:.0f} s: cut the recording at pauses (echoic.audio.vad)"
        )
    if not bool(torch.isfinite(features).all()):
        raise ValueError("the sound has NaN or infinity; expected samples in [-1, 1]")
    return features, lengths


def _convert(sound: Tensor, lengths: Tensor | None, frontend: Frontend) -> tuple[Tensor, Tensor]:
    if lengths is not None and not _fit(lengths, sound):
        raise ValueError(
            f"lengths are {lengths.flatten().tolist()[:8]}, expected a whole number from 0 to the "
            f"longest for each utterance of a sound of shape {tuple(sound.shape)}"
        )
    if sound.dim() == 2:
        return frontend(sound, lengths)
    width = frontend.config.num_features
    if sound.dim() != 3 or sound.shape[2] != width:
        raise ValueError(
            f"the sound has shape {tuple(sound.shape)}, expected waveforms (batch, samples) or "
            f"features (batch, frames, {width})"
        )
    if lengths is None:
        lengths = torch.full((len(sound),), sound.shape[1])
    return sound.to(frontend.cmvn.shift.dtype), lengths.to(sound.device)


def _fit(lengths: Tensor, sound: Tensor) -> bool:
    if sound.dim() < 2 or lengths.shape != sound.shape[:1] or lengths.is_floating_point():
        return False
    return not len(lengths) or 0 <= int(lengths.min()) <= int(lengths.max()) <= sound.shape[1]
