"""A voice that spells: each character is a frame, so codes can be read again."""

from collections.abc import Sequence

import torch
from torch import Tensor

from echoic.tts.tokens import FrameFormat
from echoic.tts.unified.training.example_file import Codes

UNSPEAKABLE = "#"


class Spelling:
    """Frames of a character and of the seed; None for what has an `UNSPEAKABLE` in it."""

    codes = Codes(FrameFormat(2, 1 << 17, 10.0), "sha256:spelled")
    print = "spelling"

    def __init__(self) -> None:
        self.asked = 0

    def speak(self, texts: Sequence[str], seeds: Sequence[int]) -> list[Tensor | None]:
        """See `TextToCodes`."""
        self.asked += 1
        pairs = zip(texts, seeds, strict=True)
        return [
            None
            if UNSPEAKABLE in text
            else torch.tensor([[ord(letter), seed % 1000] for letter in text])
            for text, seed in pairs
        ]


def spelled(frames: Sequence[Sequence[int]]) -> str:
    """Return what frames spell."""
    return "".join(chr(letter) for letter, _ in frames)
