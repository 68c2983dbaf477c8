"""How a causal Whisper hears: it opens windows, and takes blocks of sound into them."""

import copy

import torch
from torch import Tensor

from echoic.asr.whisper.model import SAMPLES_PER_FRAME, WhisperModel
from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.decoder import no_past
from echoic.asr.whisper.streaming.encoder import CausalEncoder
from echoic.asr.whisper.streaming.engines import HearEngine, Listening
from echoic.asr.whisper.streaming.lora_bank import NO_ADAPTER
from echoic.asr.whisper.streaming.window import LOOKAHEAD, Window
from echoic.audio.features import LogMel
from echoic.streaming.work import Ask, Work


class Listener:
    """Makes windows and hears blocks.

    Args:
        model: with a causal encoder.
        blocks: the cut.
        initial_max: see `CausalConfig`.
        language: of the speech, which chooses an adapter where the model has some.
        engine: hears, for others too; None for one of its own.
    """

    def __init__(
        self,
        model: WhisperModel,
        blocks: Blocks,
        initial_max: float,
        language: str | None = None,
        engine: HearEngine | None = None,
    ) -> None:
        self.model = model
        self.which = model.adapters_of([language])
        self.blocks = blocks
        self.log_mel = LogMel(model.config.num_mel_bins, "running", initial_max=initial_max)
        self.log_mel.to(model.device)
        self.encoder = CausalEncoder(model.encoder, blocks)
        self._engine = HearEngine(model) if engine is None else engine
        self._adapter = NO_ADAPTER

    def adapted(self, adapter: int) -> "Listener":
        """Return one that hears with a LoRA adapter, by its stamp, and shares all else."""
        other = copy.copy(self)
        other._adapter = adapter
        return other

    def open(self, start: int = 0, loudest: Tensor | None = None) -> Window:
        """Return a window that begins at a sample of the utterance.

        Args:
            start: the sample.
            loudest: (1, 1) running maximum of the features there; None where nothing was heard.
        """
        device = self.model.device
        mel = self.log_mel.initial_state(1, device=device)
        if loudest is not None:
            mel = mel._replace(loudest=loudest)
        return Window(
            start,
            torch.empty(1, 0),
            mel,
            self.encoder.initial_state(1, device=device, which=self.which),
            no_past(self.model.decoder, device),
            mel.loudest,
        )

    def wanted(self, window: Window) -> int:
        """Return how many more samples complete the next block."""
        size = self.blocks.size if window.frames else self.blocks.first_size
        end = (window.frames + size) * SAMPLES_PER_FRAME + LOOKAHEAD
        return end - window.wav.shape[1]

    def hearing(self, window: Window, wav: Tensor) -> Work[Window]:
        """Hear samples (1, n); all blocks that they complete are encoded."""
        question = Listening(window, wav, self.log_mel, self.encoder, self._adapter)
        return (yield Ask(self._engine, question))

    def again(self, window: Window, sample: int) -> Work[Window]:
        """Return a window that begins at a later sample of the utterance, with what was heard."""
        # What was loud stays loud: the features of the new window are those of the old one.
        fresh = self.open(sample, window.mel.loudest)
        rest = window.wav[:, sample - window.start :].clone()
        return (yield from self.hearing(fresh._replace(opened=rest.shape[1]), rest))

    def compact(self, window: Window) -> Window:
        """Return a window without what can be made again of its sound, a tenth of its size."""
        fresh = self.open(window.start, window.loudest)
        return fresh._replace(wav=window.wav, opened=window.opened)

    def whole(self, window: Window) -> Work[Window]:
        """Hear again what a compact window has heard, in the same pieces: with the same result."""
        heard = self.open(window.start, window.loudest)._replace(opened=window.opened)
        left = window.wav
        size = window.opened or self.wanted(heard)
        while left.shape[1]:
            heard = yield from self.hearing(heard, left[:, :size])
            left, size = left[:, size:], self.wanted(heard)
        return heard
