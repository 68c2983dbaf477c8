"""Windows of sound: what is heard in them, in pieces and anew."""

import pytest
import torch
from random_whisper import random_whisper
from torch import Tensor

from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.decoder import hear, no_past
from echoic.asr.whisper.streaming.encoder import encode_blocks
from echoic.asr.whisper.streaming.listener import Listener
from echoic.asr.whisper.streaming.window import LOOKAHEAD
from echoic.audio.features import LogMel
from echoic.streaming.work import alone

RATE = 16_000
BLOCK = 10 * 320


def listener(first: int | None = None) -> Listener:
    return Listener(random_whisper(), Blocks(10, first), 0.0)


def sound(seconds: float, level: float = 0.01) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return level * torch.randn(1, round(seconds * RATE), generator=generator)


@torch.inference_mode()
def test_what_the_decoder_hears_is_the_encoding_of_the_whole() -> None:
    ear, wav = listener(), sound(1.3)
    window = ear.open()
    for part in wav.split(1111, dim=1):
        window = alone(ear.hearing(window, part))
    model = random_whisper()
    mel = LogMel(norm="running", initial_max=0.0)(wav)
    frames = window.frames
    assert frames == (wav.shape[1] - LOOKAHEAD) // BLOCK * 10
    encoded = encode_blocks(model.encoder, mel, Blocks(10))[:, :frames]
    (expected,) = hear(model.decoder, [no_past(model.decoder)], [encoded])
    for a, b in zip(window.sound, expected, strict=True):
        scale = float(b.keys.abs().max())
        torch.testing.assert_close(a.keys, b.keys, rtol=0, atol=1e-3 * scale)
    assert torch.equal(window.wav, wav)
    assert window.heard == frames / 50


@pytest.mark.parametrize("first", [None, 25, 4])
def test_as_much_is_wanted_as_the_next_block_needs(first: int | None) -> None:
    ear = listener(first)
    window = ear.open()
    sizes = [first or 10, 10, 10]
    for size in sizes:
        wanted = ear.wanted(window)
        frames = window.frames
        assert alone(ear.hearing(window, torch.zeros(1, wanted - 1))).frames == frames
        window = alone(ear.hearing(window, torch.zeros(1, wanted)))
        assert window.frames == frames + size
    assert window.wav.shape[1] == sum(sizes) * 320 + LOOKAHEAD


@torch.inference_mode()
def test_a_new_window_hears_as_loud_as_the_old_one_did() -> None:
    """After a shout, soft speech is soft; in a window that had not heard it, it would be loud."""
    ear = listener()
    soft = sound(1.0, 1e-4)
    old = alone(ear.hearing(ear.open(), sound(1.0, 0.9)))
    old = alone(ear.hearing(old, soft))
    new = alone(ear.again(old, RATE))
    assert torch.equal(new.mel.loudest, old.mel.loudest)
    assert new.start == RATE
    assert torch.equal(new.wav, soft)
    by_itself = alone(ear.hearing(ear.open(), soft))
    assert new.frames == by_itself.frames > 0
    assert not torch.allclose(new.sound[0].keys, by_itself.sound[0].keys, atol=1e-2)
    # The old one is a value: it still is what it was.
    assert old.start == 0
    assert old.wav.shape[1] == 2 * RATE


def test_a_new_window_begins_within_the_old_one() -> None:
    ear = listener()
    old = alone(ear.hearing(ear.open(), sound(2.1)[:, : 10 * BLOCK + LOOKAHEAD]))
    new = alone(ear.again(old, 20_001))
    # It has heard as much, but for a block that is not full by its own count.
    assert old.heard - BLOCK / RATE < new.heard <= old.heard
    assert new.start + new.wav.shape[1] == old.wav.shape[1]
    assert 0 < ear.wanted(new) <= BLOCK
    later = alone(ear.again(new, 25_000))
    assert torch.equal(later.wav, old.wav[:, 25_000:])
