"""Distance of complex spectra, which phases enter too."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from echoic.audio.features import Stft

# Under the power of a spectrum that is compressed, 70 dB below white noise of variance 1: the
# gradient of silence stays finite.
_FLOOR = 1e-7


class ComplexStftLoss(nn.Module):
    """Mean over resolutions of the L1 distance of the real and imaginary parts of two spectra.

    Spectra are divided by the norm of their window, so that all resolutions weigh the same and
    white noise of variance 1 has parts of size about 1.

    Args:
        n_ffts: samples in the transforms; each hops by a quarter.
        magnitude_weight: of the L1 distance of magnitudes, beside that of the parts.
        power: magnitudes are raised to this before, phases kept, so that what is soft counts too
            (0.3 is about loudness); 1 for none.

    Raises:
        ValueError: no transform, or a power that is not above 0 and at most 1.
    """

    def __init__(
        self,
        n_ffts: Sequence[int] = (512, 1024, 2048),
        magnitude_weight: float = 0.0,
        power: float = 1.0,
    ) -> None:
        super().__init__()
        if not n_ffts:
            raise ValueError("n_ffts is empty: give the size of one transform at least")
        if not 0 < power <= 1:
            raise ValueError(f"power is {power}, expected more than 0 and at most 1")
        self.magnitude_weight = magnitude_weight
        self.power = power
        self.stfts = nn.ModuleList(Stft(n_fft, n_fft // 4, padding="same") for n_fft in n_ffts)

    def forward(self, wav: Tensor, target: Tensor) -> Tensor:
        """Return the distance of sounds (B, T), a scalar in float32 whatever the autocast.

        The target gets no gradient.
        """
        with torch.autocast(wav.device.type, enabled=False):
            wav, target = wav.float(), target.float().detach()
            losses = [self._one(stft, wav, target) for stft in self.stfts]
        return torch.stack(losses).mean()

    def _one(self, stft: nn.Module, wav: Tensor, target: Tensor) -> Tensor:
        scale = stft.get_buffer("window").square().sum().rsqrt()
        ours, theirs = (self._parts(stft(x) * scale) for x in (wav, target))
        distance = (ours - theirs).abs().mean()
        if not self.magnitude_weight:
            return distance
        sizes = [(x.square().sum(-1) + 1e-9).sqrt() for x in (ours, theirs)]
        return distance + self.magnitude_weight * (sizes[0] - sizes[1]).abs().mean()

    def _parts(self, spectra: Tensor) -> Tensor:
        parts = torch.view_as_real(spectra)
        if self.power == 1:
            return parts
        power = parts.square().sum(-1, keepdim=True) + _FLOOR
        return parts * power.pow((self.power - 1) / 2)
