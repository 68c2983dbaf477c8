"""The encoder in windows: one pass, a stream, and the whole signal where a chunk holds it."""

import pytest
import torch
from paraformer_files import random_features
from small_paraformer import CUTS, SIZES, paraformer, streaming_paraformer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from echoic.asr.paraformer.sanm import length_mask
from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.streaming.encoder import ChunkedEncoder, EncoderState, encode_chunks
from echoic.streaming import state as states
from echoic.streaming.module import run_offline

each_cut = pytest.mark.parametrize("chunks", CUTS.values(), ids=list(CUTS))


@each_cut
@torch.no_grad()
def test_rows_of_a_batch_are_their_streams(chunks: Chunks):
    model = streaming_paraformer()
    xs = random_features(61, 30, 14, 13, 5, 1)
    lengths = torch.tensor([len(x) for x in xs])
    together = encode_chunks(
        model.encoder, pad_sequence(xs, batch_first=True), lengths, chunks
    ).centres
    stream = ChunkedEncoder(model.encoder, chunks)
    for row, x in zip(together, xs, strict=True):
        assert torch.allclose(row[: len(x)], run_offline(stream, x[None])[0], atol=1e-5)


@torch.no_grad()
def test_a_chunk_that_holds_the_signal_hears_all_of_it():
    model = streaming_paraformer()
    xs = random_features(50, 23)
    x, lengths = pad_sequence(xs, batch_first=True), torch.tensor([50, 23])
    found = encode_chunks(model.encoder, x, lengths, Chunks(3, 50, 4)).centres
    whole = model.encoder(x, lengths)
    mask = length_mask(lengths, 50)
    assert torch.allclose(found[mask], whole[mask], atol=1e-5)


@each_cut
def test_one_block_hears_the_window_and_the_centres_before_it(chunks: Chunks):
    encoder = paraformer(SIZES._replace(layers=1)).encoder
    (x,) = random_features(70)
    x.requires_grad_()
    y = encode_chunks(encoder, x[None], torch.tensor([70]), chunks).centres[0]
    chunk = 5
    start = chunk * chunks.stride
    for t in (start, start + chunks.stride - 1):
        (gradient,) = torch.autograd.grad(y[t].sum(), x, retain_graph=True)
        touched = gradient.abs().sum(1).nonzero()[:, 0].tolist()
        oldest = max(0, start - max(chunks.look_back, chunks.past))
        assert touched == list(range(oldest, start + chunks.stride + chunks.look_ahead))


def stepped(module: ChunkedEncoder, x: Tensor, frames: int) -> tuple[EncoderState, Tensor]:
    state, y = module.step(module.initial_state(1), x[None, :frames])
    return state, y


@torch.no_grad()
def test_streams_at_other_places_share_a_batch():
    chunks = CUTS["back"]
    module = ChunkedEncoder(streaming_paraformer().encoder, chunks)
    xs = random_features(100, 100, seed=3)
    early, late = chunks.stride + 8, 4 * chunks.stride + 8
    alone = [run_offline(module, x[None])[0] for x in xs]
    parts = [stepped(module, x, n) for x, n in zip(xs, (early, late), strict=True)]
    both = states.stack([state for state, _ in parts])
    rest = torch.stack([x[n : n + 47] for x, n in zip(xs, (early, late), strict=True)])
    after, y = module.step(both, rest)
    for row, (_, before) in enumerate(parts):
        found = torch.cat([before[0], y[row]])
        assert len(found) > len(before[0])
        assert torch.allclose(found, alone[row][: len(found)], atol=1e-5)
    # One of them ends, and another begins in its place.
    fresh = module.step(module.initial_state(2), random_features(early, seed=4)[0].repeat(2, 1, 1))
    mixed = states.where(torch.tensor([True, False]), fresh[0], both)
    _, y = module.step(mixed, rest[1].repeat(2, 1, 1))
    _, expected = module.step(both, rest[1].repeat(2, 1, 1))
    assert torch.allclose(y[1], expected[1], atol=1e-6)
    assert not torch.allclose(y[0], expected[0], atol=1e-3)
    assert after.position.tolist() == [early + 47, late + 47]
