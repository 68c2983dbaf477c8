"""The window of sound that a causal Whisper listens in, and how it hears a block more of it."""

from typing import NamedTuple

import torch
from torch import Tensor

from echoic.asr.whisper.model import SAMPLE_RATE, SAMPLES_PER_FRAME, WhisperModel
from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.decoder import Past, hear, no_past
from echoic.asr.whisper.streaming.encoder import CausalEncoder, EncoderState
from echoic.audio.features import LogMel
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
    """

    start: int
    wav: Tensor
    mel: LogMelState
    encoder: EncoderState
    sound: Past

    @property
    def frames(self) -> int:
        """Encoder frames of 20 ms that the decoder can hear."""
        return self.sound[0].length

    @property
    def heard(self) -> float:
        """Seconds of the utterance that the decoder has heard."""
        return (self.start + self.frames * SAMPLES_PER_FRAME) / SAMPLE_RATE


class Listener:
    """Makes windows and hears blocks.

    Args:
        model: with a causal encoder.
        blocks: the cut.
        initial_max: see `CausalConfig`.
        language: of the speech, which chooses an adapter where the model has some.
    """

    def __init__(
        self,
        model: WhisperModel,
        blocks: Blocks,
        initial_max: float,
        language: str | None = None,
    ) -> None:
        self.model = model
        self.which = model.adapters_of([language])
        self.blocks = blocks
        self.log_mel = LogMel(model.config.num_mel_bins, "running", initial_max=initial_max)
        self.log_mel.to(model.device)
        self.encoder = CausalEncoder(model.encoder, blocks)

    def open(self, start: int = 0) -> Window:
        """Return a window that begins at a sample of the utterance."""
        device = self.model.device
        return Window(
            start,
            torch.empty(1, 0),
            self.log_mel.initial_state(1, device=device),
            self.encoder.initial_state(1, device=device, which=self.which),
            no_past(self.model.decoder, device),
        )

    def wanted(self, window: Window) -> int:
        """Return how many more samples complete the next block."""
        size = self.blocks.size if window.frames else self.blocks.first_size
        end = (window.frames + size) * SAMPLES_PER_FRAME + LOOKAHEAD
        return end - window.wav.shape[1]

    def hear(self, window: Window, wav: Tensor) -> Window:
        """Hear samples (1, n); all blocks that they complete are encoded."""
        mel_state, mel = self.log_mel.step(window.mel, wav.to(self.model.device))
        state, encoded = self.encoder.step(window.encoder, mel)
        sound = window.sound
        if encoded.shape[1]:
            sound = hear(self.model.decoder, sound, encoded)
        heard = torch.cat([window.wav, wav], dim=1)
        return Window(window.start, heard, mel_state, state, sound)

    def again(self, window: Window, sample: int) -> Window:
        """Return a window that begins at a later sample of the utterance, with what was heard."""
        fresh = self.open(sample)
        # What was loud stays loud: the features of the new window are those of the old one.
        fresh = fresh._replace(mel=fresh.mel._replace(loudest=window.mel.loudest))
        return self.hear(fresh, window.wav[:, sample - window.start :].clone())
