"""Distance of two sounds inside a network that was trained to hear."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Channels that hardly vary would be all noise: their deviation counts as this share of the median.
_FLOOR = 0.1


class PerceptualLoss(nn.Module):
    """Mean over the layers of a listener of the L1 distance of what they make of two sounds.

    Spectra weigh what is loud; a recogniser's layers weigh what tells words apart (Johnson et al.
    2016, "Perceptual losses", arXiv 1603.08155, section 3; of speech Germain et al. 2018, arXiv
    1806.10522). Each channel is divided by its deviation over the batch, since a few channels of a
    transformer are hundreds of times as large as the others.

    The listener is no part of the module: it does not learn, and checkpoints do not hold it.

    Args:
        listener: takes sounds (B, n) and returns the states (B, T, C) of one layer or more,
            differentiably. Its weights are frozen.
    """

    def __init__(self, listener: nn.Module) -> None:
        super().__init__()
        self._listener = [listener.eval().requires_grad_(False)]

    def forward(self, wav: Tensor, target: Tensor) -> Tensor:
        """Return the distance of sounds (B, n), a scalar in float32.

        The target gets no gradient. Runs in the autocast that it finds.
        """
        listener = self._listener[0].to(wav.device)
        with torch.no_grad():
            theirs: Sequence[Tensor] = listener(target)
        ours: Sequence[Tensor] = listener(wav)
        pairs = zip(ours, theirs, strict=True)
        return torch.stack([_distance(a.float(), b.float()) for a, b in pairs]).mean()


def _distance(ours: Tensor, theirs: Tensor) -> Tensor:
    spread = theirs.std(dim=(0, 1), correction=0)
    spread = spread.clamp(min=_FLOOR * spread.median()).clamp(min=1e-6)
    return ((ours - theirs).abs() / spread).mean()
