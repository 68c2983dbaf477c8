"""Training sounds of one length, cut from recordings."""

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from echoic.audio.augment import active_power, change_gain
from echoic.audio.data.recordings import SoundBank
from echoic.audio.errors import AudioDecodeError

log = logging.getLogger(__name__)

_SILENT = 1e-4
_DAMAGED_TRIES = 10


@dataclass(frozen=True, slots=True)
class CropConfig:
    """The shape of batches and what happens to their sounds.

    Attributes:
        seconds: length of a sound; a shorter recording is repeated until it is as long (padding
            would teach silence, and loudness differences at each seam are what speech has too).
        batch_size: sounds in a batch of one process.
        peak_db: (least, most) level in dB below full scale to which the peak of a sound is brought,
            drawn for each; None leaves it.
        gain_db: (least, most) change of loudness, drawn for each, after that; what would leave
            [-1, 1] is limited. None for none.
        mix_probability: share of sounds to which another one is added.
        mix_snr_db: (least, most) dB by which the other one is softer.
        silence_tries: how often a crop of silence is thrown back.
    """

    seconds: float = 1.0
    batch_size: int = 16
    peak_db: tuple[float, float] | None = None
    gain_db: tuple[float, float] | None = (-12.0, 6.0)
    mix_probability: float = 0.0
    mix_snr_db: tuple[float, float] = (-5.0, 20.0)
    silence_tries: int = 3

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.batch_size < 1:
            raise ValueError(
                f"seconds {self.seconds} and batch_size {self.batch_size}: expected more than 0, "
                "and 1 or more"
            )
        if not 0 <= self.mix_probability <= 1:
            raise ValueError(f"mix_probability is {self.mix_probability}, expected 0 to 1")


class CropMaker:
    """Makes batch number n of a run: the same in every worker and after every restart.

    Args:
        banks: of the sources, all at one sample rate.
        shares: of each source.
        config: of the batches.
        seed: of what is drawn.
    """

    def __init__(
        self, banks: Sequence[SoundBank], shares: Sequence[float], config: CropConfig, seed: int = 0
    ) -> None:
        self.banks = banks
        self.shares = shares
        self.config = config
        self.seed = seed
        self.sample_rate = banks[0].sample_rate
        self.samples = round(config.seconds * self.sample_rate)

    def __call__(self, number: int) -> Tensor:
        """Return a batch (batch_size, samples) in [-1, 1]."""
        rows = []
        for row in range(self.config.batch_size):
            rng = random.Random(f"{self.seed}/{number}/{row}")
            rows.append(self._sound(rng))
        return torch.stack(rows)

    def _sound(self, rng: random.Random) -> Tensor:
        config = self.config
        wav = self._crop(rng)
        if rng.random() < config.mix_probability:
            wav = self._mix(wav, self._crop(rng), rng.uniform(*config.mix_snr_db))
        if config.peak_db is not None:
            wanted = 10 ** (rng.uniform(*config.peak_db) / 20)
            wav = wav * (wanted / max(float(wav.abs().max()), _SILENT))
        if config.gain_db is not None:
            wav = change_gain(wav, rng.uniform(*config.gain_db))
        return wav

    def _crop(self, rng: random.Random) -> Tensor:
        wav = self._draw(rng)
        for _ in range(self.config.silence_tries):
            if float(wav.abs().max()) > _SILENT:
                break
            wav = self._draw(rng)
        return wav

    def _draw(self, rng: random.Random) -> Tensor:
        wav = self._stretch(rng)
        if wav.shape[0] < self.samples:
            wav = wav.repeat(-(-self.samples // wav.shape[0]))[: self.samples]
        return wav

    def _stretch(self, rng: random.Random) -> Tensor:
        """Return a stretch, shorter than a sound where the recording is."""
        for _ in range(_DAMAGED_TRIES):
            bank = rng.choices(self.banks, self.shares)[0]
            index = bank.at(rng.random())
            room = max(0, bank.lengths[index] - self.samples)
            try:
                return bank.stretch(index, rng.randint(0, room), self.samples)
            except AudioDecodeError as error:  # one bad file in many must not end a long run
                log.warning("another sound is taken: %s", error)
        raise ValueError(
            f"{_DAMAGED_TRIES} damaged recordings one after the other: check the manifest"
        )

    def _mix(self, wav: Tensor, other: Tensor, snr_db: float) -> Tensor:
        own, added = (active_power(w, self.sample_rate) for w in (wav, other))
        if own == 0 or added == 0:
            return wav
        both = wav + other * (own / added * 10 ** (-snr_db / 10)) ** 0.5
        return both / max(1.0, float(both.abs().max()))
