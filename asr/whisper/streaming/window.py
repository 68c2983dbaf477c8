"""The window of sound that a causal Whisper listens in."""

from typing import NamedTuple

from torch import Tensor

from echoic.asr.whisper.model import SAMPLE_RATE, SAMPLES_PER_FRAME
from echoic.asr.whisper.streaming.decoder import Past
from echoic.asr.whisper.streaming.encoder import EncoderState
from echoic.audio.features.log_mel import LogMelState

# A frame of 20 ms is complete this many samples after its end: the mel window and the convolutions.
LOOKAHEAD = 200


class Window(NamedTuple):
    """What has been heard since the window began.

    Attributes:
        start: samples of the utterance before the window.
        wav: (1, n) its sound, from which the next window is made.
        mel: state of the features.
        encoder: state of the encoder.
        sound: keys and values of every frame for the decoder.
        loudest: (1, 1) running maximum of the features where the window began.
        opened: samples that were heard at once when it began.
    """

    start: int
    wav: Tensor
    mel: LogMelState
    encoder: EncoderState
    sound: Past
    loudest: Tensor
    opened: int = 0

    @property
    def frames(self) -> int:
        """Encoder frames of 20 ms that the decoder can hear."""
        return self.sound[0].length

    @property
    def is_compact(self) -> bool:
        """Whether the sound must be heard again: there is some, but nothing made of it."""
        return not self.frames and bool(self.wav.shape[1])

    @property
    def heard(self) -> float:
        """Seconds of the utterance that the decoder has heard."""
        return (self.start + self.frames * SAMPLES_PER_FRAME) / SAMPLE_RATE
