"""The decoder as a function: the same as Whisper's own, in one pass or token by token."""

import pytest
import torch
from random_whisper import random_whisper
from read_one import read_one
from torch import Tensor

from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.streaming.decoder import Part, Past, Reading, hear, no_past

HEADS = ((1, 0), (0, 1))


def sound(frames: int, seed: int = 0) -> Tensor:
    return torch.randn(1, frames, 16, generator=torch.Generator().manual_seed(seed))


def heard(model: WhisperModel, encoded: Tensor) -> Past:
    return hear(model.decoder, [no_past(model.decoder)], [encoded])[0]


@torch.inference_mode()
def test_one_pass_is_whispers_own_decoder() -> None:
    model, encoded = random_whisper(), sound(40)
    tokens = torch.tensor([[50257, 50362, 400, 13, 2000]])
    found = read_one(
        model.decoder, Part(tokens, no_past(model.decoder), heard(model, encoded)), HEADS
    )
    cache = model.decoder.start(encoded, capacity=8)
    hidden, weights = model.decoder.cross_scores(tokens, cache, HEADS)
    torch.testing.assert_close(found.hidden, hidden, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.attention, weights, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_sound_can_be_heard_in_parts_and_tokens_read_in_parts() -> None:
    model, encoded = random_whisper(), sound(33)
    ids = [50257, 50362, 7, 400, 13, 2000]
    whole = read_all(model, ids, heard(model, encoded))
    pieces = no_past(model.decoder)
    for part in encoded.split([10, 1, 22], dim=1):
        (pieces,) = hear(model.decoder, [pieces], [part])
    past, parts = no_past(model.decoder), []
    for cut in (ids[:2], ids[2:3], ids[3:]):
        reading = read_one(model.decoder, Part(torch.tensor([cut]), past, pieces), HEADS)
        past = reading.past
        parts.append(reading.hidden)
    torch.testing.assert_close(torch.cat(parts, 1), whole.hidden, rtol=1e-4, atol=1e-4)
    for a, b in zip(past, whole.past, strict=True):
        torch.testing.assert_close(a.keys, b.keys, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(a.values, b.values, rtol=1e-4, atol=1e-4)


def read_all(model: WhisperModel, ids: list[int], past_sound: Past) -> Reading:
    tokens = torch.tensor([ids])
    return read_one(model.decoder, Part(tokens, no_past(model.decoder), past_sound), HEADS)


@torch.inference_mode()
def test_rows_share_the_past_and_the_sound() -> None:
    model = random_whisper()
    shared = heard(model, sound(20))
    trunk = read_all(model, [50257, 50362, 7], shared).past
    columns = [[400], [13], [900]]
    together = read_one(model.decoder, Part(torch.tensor(columns), trunk, shared), HEADS)
    for row, column in enumerate(columns):
        alone = read_all(model, [50257, 50362, 7, *column], shared)
        torch.testing.assert_close(together.hidden[row, -1], alone.hidden[0, -1], atol=1e-4, rtol=0)
        assert together.past[0].keys.shape[0] == 3


@torch.inference_mode()
def test_nothing_given_is_changed() -> None:
    model = random_whisper()
    shared = heard(model, sound(20))
    trunk = read_all(model, [50257, 50362], shared).past
    before = [(p.keys.clone(), p.values.clone()) for p in (*trunk, *shared)]
    read_one(model.decoder, Part(torch.tensor([[5, 6]]), trunk, shared), HEADS)
    for pair, (keys, values) in zip((*trunk, *shared), before, strict=True):
        assert torch.equal(pair.keys, keys)
        assert torch.equal(pair.values, values)


def test_more_tokens_than_positions_are_refused() -> None:
    model = random_whisper()
    room = model.config.max_target_positions
    with pytest.raises(ValueError, match=f"0 tokens and {room + 1} more: the decoder has {room}"):
        read_all(model, [7] * (room + 1), heard(model, sound(3)))
