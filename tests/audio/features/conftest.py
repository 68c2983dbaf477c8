"""Real speech for the comparisons with other implementations."""

from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

import echoic.audio  # noqa: F401  makes torchaudio importable, so before it

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(params=["0880", "0930"])
def speech(request: pytest.FixtureRequest) -> Tensor:
    """Return (1, n) samples at 16 kHz of some 3 s."""
    path = DATA / f"sense-and-sensibility-{request.param}.opus"
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 16_000
    return torch.from_numpy(samples)[None]
