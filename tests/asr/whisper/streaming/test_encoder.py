"""The block-causal encoder: one masked pass, a stream, and a loop over blocks are the same."""

import itertools

import pytest
import torch
from random_whisper import random_whisper
from speech_data import novel, tiny_en
from streaming_cases import calm_encoder
from torch import Tensor
from torch.nn import functional

from echoic.asr.whisper.encoder import Encoder
from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.encoder import CausalEncoder, encode_blocks
from echoic.audio.features import LogMel

CUTS = [
    Blocks(8),
    Blocks(5, first=15),
    Blocks(6, first=15, left_context=7),
    Blocks(16, first=5, left_context=0),
    Blocks(1, left_context=3),
]
each_cut = pytest.mark.parametrize("blocks", CUTS, ids=str)


def mel(frames: int, seed: int = 0) -> Tensor:
    return torch.randn(1, frames, 80, generator=torch.Generator().manual_seed(seed))


def starts_and_ends(blocks: Blocks, frames: int) -> list[tuple[int, int]]:
    edges = [0]
    while edges[-1] < frames:
        edges.append(edges[-1] + (blocks.size if edges[-1] else blocks.first_size))
    return [(a, min(b, frames)) for a, b in itertools.pairwise(edges)]


def block_by_block(encoder: Encoder, x: Tensor, blocks: Blocks) -> Tensor:
    """Each block's queries see their own block and what the cut lets them of what is before it."""
    x = encoder.convolve(x)
    x = x + encoder.embed_positions.weight[: x.shape[1]]
    for layer in encoder.blocks():
        queries, keys, values = layer.self_attn.queries_keys_values(layer.self_attn_layer_norm(x))
        attended = torch.empty_like(x)
        for start, end in starts_and_ends(blocks, x.shape[1]):
            oldest = 0 if blocks.left_context is None else max(0, start - blocks.left_context)
            for head in range(layer.self_attn.num_heads):
                width = x.shape[2] // layer.self_attn.num_heads
                at = slice(head * width, (head + 1) * width)
                q = queries[0, head, start:end]
                k, v = keys[0, head, oldest:end], values[0, head, oldest:end]
                attended[0, start:end, at] = (q @ k.T * width**-0.5).softmax(-1) @ v
        x = x + layer.self_attn.out_proj(attended)
        y = functional.gelu(layer.fc1(layer.final_layer_norm(x)))
        x = x + layer.fc2(y)
    return encoder.layer_norm(x)


@each_cut
def test_one_masked_pass_is_the_loop_over_blocks(blocks: Blocks) -> None:
    x = mel(101)
    with torch.no_grad():
        found = encode_blocks(calm_encoder(), x, blocks)
        expected = block_by_block(calm_encoder(), x, blocks)
    assert found.shape == (1, 51, 16)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@each_cut
def test_what_was_heard_up_to_a_block_end_is_a_slice_of_the_whole(blocks: Blocks) -> None:
    """All moments of a window are slices of one pass, which is what training rests on."""
    x = mel(120)
    with torch.no_grad():
        whole = encode_blocks(calm_encoder(), x, blocks)
        for end in blocks.ends(60)[:-1]:
            heard = encode_blocks(calm_encoder(), x[:, : 2 * end + 1], blocks)
            torch.testing.assert_close(heard[:, :end], whole[:, :end], rtol=0, atol=1e-4)
            after = encode_blocks(calm_encoder(), x[:, : 2 * end - 1], blocks)
            assert not torch.allclose(after[:, :end], whole[:, :end], atol=1e-3)


def test_a_single_block_is_whispers_own_encoder() -> None:
    x = mel(90)
    with torch.no_grad():
        expected = calm_encoder()(x)
        for blocks in (Blocks(45), Blocks(3, first=45), Blocks(50)):
            found = encode_blocks(calm_encoder(), x, blocks)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_a_stream_of_speech_is_the_one_pass_in_the_real_model() -> None:
    encoder, blocks = tiny_en().encoder, Blocks(16, first=30)
    features = LogMel(norm="running", initial_max=0.0)
    with torch.inference_mode():
        x = features(novel()[1].wav[None])
        whole = encode_blocks(encoder, x, blocks)
        stream = CausalEncoder(encoder, blocks)
        state, parts = stream.initial_state(1), []
        for piece in x.split(7, dim=1):
            state, y = stream.step(state, piece)
            parts.append(y)
            assert y.shape[1] in (0, 16, 30)
        parts.append(stream.finish(state)[1])
    streamed = torch.cat(parts, dim=1)
    assert streamed.shape == whole.shape == (1, -(-x.shape[1] // 2), 384)
    torch.testing.assert_close(streamed, whole, rtol=0, atol=2e-5 * float(whole.abs().max()))


@each_cut
def test_gradients_reach_a_blocks_end_and_no_further(blocks: Blocks) -> None:
    x = mel(100).requires_grad_()
    y = encode_blocks(calm_encoder(), x, blocks)
    for start, end in starts_and_ends(blocks, 50)[:-1]:
        weights = torch.randn(end - start, 16, generator=torch.Generator().manual_seed(end))
        (gradient,) = torch.autograd.grad((y[0, start:end] * weights).sum(), x, retain_graph=True)
        reached = gradient[0].abs().sum(-1).nonzero()[:, 0]
        assert int(reached.max()) == 2 * end  # the convolutions hear one mel frame more
        if blocks.left_context is None:
            assert int(reached.min()) == 0


def test_a_bounded_past_is_bounded_however_much_comes_at_once() -> None:
    stream = CausalEncoder(calm_encoder(), Blocks(8, left_context=12))
    state, _ = stream.step(stream.initial_state(1), mel(400))
    assert [past.length for past in state.past] == [12, 12]
    assert state.frames == 192


def test_a_window_that_is_too_long_is_refused() -> None:
    stream = CausalEncoder(random_whisper().encoder, Blocks(50, left_context=10))
    state, _ = stream.step(stream.initial_state(1), mel(2950))
    with pytest.raises(ValueError, match="1500 positions: begin a new window"):
        stream.step(state, mel(200))
    with pytest.raises(ValueError, match="3002 frames of 10 ms, the limit is 3000"):
        encode_blocks(random_whisper().encoder, mel(3002), Blocks(50))


@pytest.mark.parametrize(
    ("blocks", "frames", "ends"),
    [
        (Blocks(10), 30, [10, 20, 30]),
        (Blocks(10), 35, [10, 20, 30, 35]),
        (Blocks(10, first=15), 35, [15, 25, 35]),
        (Blocks(10, first=4), 25, [4, 14, 24, 25]),
        (Blocks(10, first=30), 7, [7]),
    ],
)
def test_where_blocks_end(blocks: Blocks, frames: int, ends: list[int]) -> None:
    assert blocks.ends(frames) == ends


def test_blocks_of_milliseconds() -> None:
    assert Blocks.of_milliseconds(320) == Blocks(16)
    assert Blocks.of_milliseconds(330, first=600, left_context_seconds=5.6) == Blocks(16, 30, 280)
    assert Blocks.of_milliseconds(1000, left_context_seconds=float("inf")) == Blocks(50)
    assert Blocks(16).seconds == pytest.approx(0.32)
    for wrong in (19, 30_001, -1):
        with pytest.raises(ValueError, match="expected 20 to 30000"):
            Blocks.of_milliseconds(wrong)
    for fields in ({"size": 0}, {"first": 0}, {"left_context": -1}):
        with pytest.raises(ValueError, match="frames"):
            Blocks(**{"size": 16, **fields})
