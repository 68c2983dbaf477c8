"""What a Whisper's layers make of sound, for a loss: the encoder's own states, with gradients."""

from pathlib import Path

import pytest
import torch

from echoic.asr.whisper.checkpoint import CheckpointError
from echoic.asr.whisper.listener import WhisperListener
from echoic.asr.whisper.model import WhisperModel
from echoic.audio.io import load

SPEECH = Path(__file__).parents[2] / "data" / "sense-and-sensibility-0880.opus"


@pytest.fixture(scope="module")
def listener() -> WhisperListener:
    return WhisperListener("tiny.en")


def test_the_last_state_is_the_encoders(listener: WhisperListener) -> None:
    wav = load(SPEECH, sample_rate=16_000).wav[:1, :16_000]
    whisper = WhisperModel.from_pretrained("tiny.en", dtype="float32")
    with torch.no_grad():
        states = listener(wav)
        expected = whisper.encoder(whisper.log_mel(wav))
    assert len(states) == len(whisper.encoder.blocks()) + 1
    assert {s.shape for s in states} == {(1, 50, whisper.config.d_model)}
    assert torch.equal(states[-1], expected)


def test_the_sound_gets_a_gradient(listener: WhisperListener) -> None:
    wav = load(SPEECH, sample_rate=16_000).wav[:1, 8_000:12_800].clone().requires_grad_()
    listener(wav)[2].square().mean().backward()
    assert wav.grad is not None
    assert bool(wav.grad.isfinite().all())
    assert float(wav.grad.abs().max()) > 0


def test_half_a_frame_and_no_model_are_refused(listener: WhisperListener, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="319 samples"):
        listener(torch.zeros(1, 319))
    with pytest.raises(CheckpointError):
        WhisperListener(str(tmp_path))
