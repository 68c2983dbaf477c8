"""Speech that is known before: what the flow goes on from, in its voice and its room."""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional


class Prompt(NamedTuple):
    """A recording, as codes and as spectra.

    Attributes:
        codes: (Q, P) int64.
        mels: (P * ratio, M).
    """

    codes: Tensor
    mels: Tensor

    def whole(self, chunk: int, ratio: int) -> "Prompt":
        """Return the end of it that makes whole chunks.

        Args:
            chunk: frames of codes.
            ratio: spectra of a frame.

        Raises:
            ValueError: it is shorter than a chunk, or its codes and spectra do not fit together.
        """
        frames = self.codes.shape[1]
        if len(self.mels) != frames * ratio:
            raise ValueError(
                f"a prompt of {frames} frames of codes and {len(self.mels)} spectra, expected "
                f"{ratio} for each frame"
            )
        kept = frames // chunk * chunk
        if not kept:
            raise ValueError(
                f"a prompt of {frames} frames of codes, expected a chunk of {chunk} at least: "
                "take a longer recording"
            )
        return Prompt(self.codes[:, -kept:], self.mels[-kept * ratio :])


def place_prompt(prompt: Prompt | None, start: int, like: Tensor, size: int) -> Tensor:
    """Return the prompt's part (B, T, size) of spectra `start` and on, 0 behind its end.

    Args:
        prompt: None for none.
        start: number of the first spectrum.
        like: (B, T, C), for batch, time, device and type.
        size: channels of a spectrum.
    """
    rows, count = like.shape[:2]
    if prompt is None:
        return like.new_zeros(rows, count, size)
    part = prompt.mels[start : start + count].to(like)
    return functional.pad(part, (0, 0, 0, count - len(part))).expand(rows, -1, -1)
