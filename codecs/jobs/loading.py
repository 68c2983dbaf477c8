"""A codec by the name that was typed, or that a file tells."""

import os

import torch

from echoic.codecs.codec import Codec, CodecError
from echoic.codecs.jobs.errors import UsageError
from echoic.codecs.registry import load_codec


def load_named(name: str, device: str) -> Codec:
    """Load the codec that was asked for.

    Raises:
        UsageError: it cannot be loaded, or not there.
    """
    try:
        return _load(name, device)
    except (CodecError, ImportError) as e:
        raise UsageError(str(e)) from e


def load_for_file(made_by: str, asked: str | None, device: str) -> tuple[Codec, str]:
    """Load the codec of a file, and return its name with it.

    Args:
        made_by: the name in the file's header.
        asked: what was typed; it goes first.
        device: where to.

    Raises:
        UsageError: what was typed cannot be loaded.
        CodecError: what the header names cannot be found.
    """
    if asked is not None:
        return load_named(asked, device), asked
    try:
        return _load(made_by, device), made_by
    except (CodecError, ImportError) as e:
        raise CodecError(
            f"was made by {made_by!r}, which cannot be loaded ({e}); give that codec with --model"
        ) from e


def warm_up(codec: Codec) -> None:
    """Let everything that the first call does once be done, before the clock begins."""
    codec.decode(codec.encode(torch.zeros(1, codec.sample_rate // 4, device=codec.device)))


def lasting_name(name: str) -> str:
    """Return the name of a codec for a file's header: that of a folder holds from anywhere."""
    return os.path.abspath(name) if os.path.isdir(name) else name


def check_n_q(codec: Codec, n_q: int | None) -> int:
    """Return how many codes a frame gets.

    Raises:
        UsageError: more than the codec has, or none.
    """
    try:
        return codec.check_n_q(n_q)
    except ValueError as e:
        raise UsageError(f"--n-q: {e}") from e


def _load(name: str, device: str) -> Codec:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        where = torch.device(device)
    except RuntimeError as e:
        raise UsageError(f"device {device!r} is unknown; take auto, cpu, cuda or cuda:1") from e
    try:
        torch.empty(1, device=where)
    except (RuntimeError, AssertionError) as e:  # torch raises the second where it has no CUDA
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        raise UsageError(
            f"device {device!r} cannot be used ({reason}); take auto, cpu or cuda"
        ) from e
    return load_codec(name, device=str(where))
