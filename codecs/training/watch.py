"""What a run shows while it is validated: measures, usage of books, sounds and pictures."""

from typing import Any

import torch
from torch import Tensor

from echoic.audio.features import Mel, MelConfig
from echoic.codecs.codec import Reconstruction
from echoic.codecs.quantize import sync
from echoic.codecs.quantize.usage import count_codes, usage

_PICTURE_MELS = 80


class Watch:
    """Collects over one validation.

    Args:
        sample_rate: of the sounds, in Hz.
        codebook_size: K.
        sounds: how many recordings the logger gets, if it takes any.
    """

    def __init__(self, sample_rate: int, codebook_size: int, sounds: int) -> None:
        self.sample_rate = sample_rate
        self.codebook_size = codebook_size
        self.sounds = sounds
        self.counts: Tensor | None = None
        self.shown = 0
        self._originals: set[int] = set()
        settings = MelConfig(sample_rate, 1024, 256, num_mels=_PICTURE_MELS, padding="center")
        self.mel = Mel(settings)

    def measure(self, wav: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return SI-SDR in dB of sounds (B, T), averaged (Le Roux et al. 2019, equation 2)."""
        wav, target = wav - wav.mean(1, keepdim=True), target - target.mean(1, keepdim=True)
        power = target.square().sum(1, keepdim=True) + 1e-8
        image = (wav * target).sum(1, keepdim=True) / power * target
        ratio = image.square().sum(1) / ((wav - image).square().sum(1) + 1e-8)
        return {"si_sdr": 10 * torch.log10(ratio + 1e-8).mean()}

    def see(self, wav: Tensor, made: Reconstruction, logger: Any, step: int) -> None:
        """Count the codes of a batch, and show its first sounds (B, T) if there is still room."""
        counts = count_codes(made.quantized.codes, self.codebook_size)
        self.counts = counts if self.counts is None else self.counts + counts
        writer = getattr(logger, "experiment", None)
        if not hasattr(writer, "add_audio"):
            return
        for original, ours in zip(wav, made.wav, strict=True):
            if self.shown == self.sounds:
                return
            self._show(writer, original.cpu(), ours.cpu(), step)
            self.shown += 1

    def usage(self) -> dict[str, Tensor]:
        """Return share and perplexity of each book over all processes, and start anew."""
        if self.counts is None:
            return {}
        sync.add_up(self.counts)
        found = usage(self.counts)
        self.counts, self.shown = None, 0
        values = {"val/usage": found.share.mean(), "val/perplexity": found.perplexity.mean()}
        for book, (share, perplexity) in enumerate(zip(*found, strict=True)):
            values[f"usage/{book}"] = share
            values[f"perplexity/{book}"] = perplexity
        return {name: value.float() for name, value in values.items()}

    def _show(self, writer: Any, original: Tensor, ours: Tensor, step: int) -> None:
        """Log both sounds (T,), and their spectrograms with the original's above."""
        name = f"sound{self.shown}"
        if self.shown not in self._originals:  # they do not change
            writer.add_audio(f"{name}/original", original, step, sample_rate=self.sample_rate)
            self._originals.add(self.shown)
        heard = ours.clamp(-1, 1)
        writer.add_audio(f"{name}/ours", heard, step, sample_rate=self.sample_rate)
        mels = self.mel(torch.stack([original, ours]))  # (2, frames, bands)
        low, high = mels[0].min(), mels[0].max()
        grey = ((mels - low) / (high - low + 1e-6)).clamp(0, 1)
        picture = grey.transpose(1, 2).flip(1).flatten(0, 1)
        writer.add_image(f"{name}/mel", picture, step, dataformats="HW")
