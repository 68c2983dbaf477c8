"""Which spectra see which, for any sizes; and that a training meets chunks of all sizes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_flow import MELS, flow_config

from echoic.audio.features import MelConfig
from echoic.tts.flow import FlowConfig, MelSpace
from echoic.tts.flow.masks import chunk_mask, draw_chunk, padded_mask
from echoic.tts.tokens import FrameFormat

SIZES = {
    "frames": st.integers(1, 24),
    "chunk": st.one_of(st.none(), st.integers(1, 8)),
    "look_back": st.one_of(st.none(), st.integers(0, 9)),
}


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(**SIZES)
def test_a_spectrum_sees_its_chunk_and_so_much_before_it(
    frames: int, chunk: int | None, look_back: int | None
) -> None:
    config = flow_config(look_back=look_back)
    count = frames * config.ratio
    mask = chunk_mask(config, count, chunk)
    for row in range(count):
        frame = row // config.ratio
        size = frames if chunk is None else chunk
        start = frame // size * size
        reach = start if look_back is None or chunk is None else look_back
        seen = range(max(0, start - reach) * config.ratio, min(frames, start + size) * config.ratio)
        assert mask[row].nonzero()[:, 0].tolist() == list(seen)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(**SIZES, shorter=st.integers(0, 23))
def test_nobody_sees_padding_and_nobody_sees_nothing(
    frames: int, chunk: int | None, look_back: int | None, shorter: int
) -> None:
    config = flow_config(look_back=look_back)
    count, length = frames * config.ratio, max(1, frames - shorter) * config.ratio
    keep = torch.arange(count)[None] < torch.tensor([[count], [length]])
    own = chunk_mask(config, count, chunk)
    mask = padded_mask(own, keep)
    assert torch.equal(mask[0, 0], own)
    assert torch.equal(mask[1, 0, :length, :length], own[:length, :length])
    assert not mask[1, 0, :length, length:].any()
    assert mask.any(-1).all()


def test_batches_have_chunks_of_all_sizes_and_whole_utterances() -> None:
    config = flow_config(chunks=(3, 5), whole=0.5)
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_chunk(config, generator) for _ in range(400)]
    counts = {size: drawn.count(size) for size in (None, 3, 5)}
    assert sum(counts.values()) == 400
    assert abs(counts[None] - 200) < 40
    assert min(counts[3], counts[5]) > 60
    for whole, kinds in ((0.0, {3, 5}), (1.0, {None})):
        only = flow_config(chunks=(3, 5), whole=whole)
        assert {draw_chunk(only, generator) for _ in range(50)} == kinds


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chunks": ()}, "sizes of 1 or more"),
        ({"chunks": (0,)}, "sizes of 1 or more"),
        ({"whole": 1.5}, "a share from 0 to 1"),
        ({"lookahead": -1}, "expected 0 or more"),
        ({"look_back": -1}, "expected 0 or more"),
        ({"speaker_dim": -1}, "0 or more"),
    ],
)
def test_settings_that_nothing_has(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flow_config(**changes)  # pyright: ignore[reportArgumentType]


def test_rates_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"100 spectra a second are no multiple of 75 frames"):
        FlowConfig(FrameFormat(2, 12, 75.0), MELS)
    assert FlowConfig(FrameFormat(1, 12, 12.5), MELS).ratio == 8
    with pytest.raises(ValueError, match="log_floor None"):
        MelSpace(MelConfig(log_floor=None))
    with pytest.raises(ValueError, match="100 spectra"):
        FlowConfig(FrameFormat(2, 12, 200.0), MELS)
