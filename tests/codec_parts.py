"""Every kind of codec, small and random: what the tests of the common face run over."""

import re
from collections.abc import Callable
from pathlib import Path

import torch
from small_hifigan import small_distilcodec, small_hificodec
from small_upstream import small_dac, small_encodec, small_mimi
from streaming_codec_cases import echo, language
from torch import Tensor

from echoic.codecs.codec import Codec

# In evaluation mode; shared, so that tests leave them as they are.
CODECS: dict[str, Callable[[], Codec]] = {
    "echocodec": echo,
    "echocodec_grouped": lambda: echo("grouped"),
    "hificodec": small_hificodec,
    "languagecodec": language,
    "distilcodec": small_distilcodec,
    "encodec": small_encodec,
    "encodec_ahead": lambda: small_encodec(causal=False),
    "dac": small_dac,
    "mimi": small_mimi,
}


def sound(codec: Codec, *shape: int, seed: int = 0) -> Tensor:
    """Return noise (*rows, samples); negative samples are frames."""
    *rows, samples = shape
    samples = samples if samples >= 0 else -samples * codec.hop_length
    return 0.5 * torch.randn(*rows, samples, generator=torch.Generator().manual_seed(seed))


def saved(codec: Codec, folder: Path) -> Path:
    """Save a codec and return the folder."""
    codec.save_pretrained(folder)
    return folder


def one_line(error: BaseException) -> bool:
    """Return whether an error says what is wrong in one line of a reasonable length."""
    text = re.sub(r"^/\S+(?=/)", "", str(error))  # a path is as long as the machine likes
    return 20 < len(text) < 400 and "\n" not in text
