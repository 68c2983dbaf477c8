"""The sound of a file that a page brought."""

import torch
from torch import Tensor

from echoic.audio.io import AudioDecodeError, blocks
from echoic.demo.desk_page import DeskPage

_BLOCK_SECONDS = 10.0


def read_sound(
    page: DeskPage, sample_rate: int, *, shortest: float, longest: float, instead: str
) -> Tensor:
    """Decode the page's file.

    Args:
        page: that brought it.
        sample_rate: Hz.
        shortest: seconds.
        longest: seconds; more is not even decoded.
        instead: what takes longer recordings.

    Returns:
        (T,) float32.

    Raises:
        ValueError: no file, no sound, or too little or too much of it.
    """
    name = page.file_name
    if not page.file:
        raise ValueError("there is no recording: choose a file, or record one")
    parts: list[Tensor] = []
    try:
        for block in blocks(
            bytes(page.file), seconds=_BLOCK_SECONDS, sample_rate=sample_rate, mono=True
        ):
            parts.append(block[0])
            if sum(map(len, parts)) > longest * sample_rate:
                raise ValueError(f"{name} is longer than {_length(longest)}: {instead}")
            page.tell()  # ends here when nobody waits any more
    except AudioDecodeError as e:
        raise ValueError(str(e).replace(e.name, name, 1)) from e
    wav = torch.cat(parts)
    if len(wav) < shortest * sample_rate:
        seconds = len(wav) / sample_rate
        raise ValueError(f"{name} lasts {seconds:.2f} s, expected {shortest:g} s or more")
    return wav


def _length(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds:g} s"
