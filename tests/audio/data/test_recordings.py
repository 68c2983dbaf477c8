"""Stretches of recordings, as a manifest cuts them out."""

import json
from pathlib import Path

import pytest
import torch

from echoic.audio.data.manifest import Source
from echoic.audio.data.recordings import Recording, SoundBank, find_recordings
from echoic.audio.errors import AudioDecodeError
from echoic.audio.io import save

RATE = 8000
ROWS = [
    {"audio": "long.wav", "offset": 0.5, "duration": 0.25},
    {"audio": "long.wav", "offset": 1.5},
    {"audio": "long.wav", "offset": 0, "duration": 1},
    {"audio": "long.wav", "duration": 2.0},
]
PARTS = [(4000, 6000), (12000, 16000), (0, 8000), (0, 16000)]


@pytest.fixture
def wav(tmp_path: Path) -> torch.Tensor:
    wav = torch.rand(16000, generator=torch.Generator().manual_seed(0)) - 0.5
    save(tmp_path / "long.wav", wav, RATE)
    return wav


def bank(folder: Path, cache: bool, rate: int = RATE) -> SoundBank:
    path = folder / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return SoundBank(find_recordings(Source(str(path))), rate, cache)


@pytest.mark.parametrize("cache", [True, False])
def test_offset_and_duration_cut(tmp_path: Path, wav: torch.Tensor, cache: bool):
    sounds = bank(tmp_path, cache)
    assert sounds.lengths == [end - start for start, end in PARTS]
    assert sounds.seconds == pytest.approx(3.75)
    for index, (start, end) in enumerate(PARTS):
        whole = sounds.stretch(index, 0, end - start)
        assert torch.allclose(whole, wav[start:end], atol=1e-4)
        inner = sounds.stretch(index, 100, 300)
        assert torch.allclose(inner, wav[start + 100 : start + 400], atol=1e-4)
        # What lies behind the stretch is another's.
        assert torch.allclose(sounds.stretch(index, 500, 99999), wav[start + 500 : end], atol=1e-4)
    assert len(sounds.stretch(0, 2000, 50)) == 0


@pytest.mark.parametrize("cache", [True, False])
def test_cut_before_another_rate(tmp_path: Path, wav: torch.Tensor, cache: bool):
    sounds = bank(tmp_path, cache, 2 * RATE)
    assert sounds.lengths == [2 * (end - start) for start, end in PARTS]
    assert len(sounds.stretch(0, 0, 99999)) == 4000


def test_a_stretch_behind_the_end_is_told(tmp_path: Path, wav: torch.Tensor):
    with pytest.raises(AudioDecodeError, match="offset of 3"):
        Recording(tmp_path / "long.wav", 1.0, 3.0).load(RATE)
