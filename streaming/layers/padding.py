"""What lies around a signal of convolutional shape (B, C, T)."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from echoic.audio.features.framing import pad

PadMode = Literal["zeros", "replicate", "reflect"]
PAD_MODES = ("zeros", "replicate", "reflect")


def extend(x: Tensor, left: int, right: int, mode: PadMode) -> Tensor:
    """Pad (B, C, T) along time.

    Args:
        x: (B, C, T).
        left: frames before the first.
        right: frames after the last.
        mode: "zeros"; "replicate" repeats the first and the last frame; "reflect" mirrors without
            repeating the edge, and bounces to and fro when the signal is shorter than the padding
            (as `numpy.pad`, where `torch.nn.functional.pad` refuses). A signal without frames is
            padded with zeros.

    Returns:
        (B, C, left + T + right).
    """
    if left == right == 0:
        return x
    if mode == "zeros" or x.shape[2] == 0:
        return F.pad(x, (left, right))
    if mode == "reflect" and max(left, right) >= x.shape[2]:
        return pad(x.transpose(1, 2), left, right, "reflect").transpose(1, 2)
    return F.pad(x, (left, right), mode=mode)
