"""The cut of a signal, against loops that say it in words."""

import pytest
import torch
from small_paraformer import CUTS

from echoic.asr.paraformer.streaming.chunks import Chunks, behind, cut, heard_by

each_cut = pytest.mark.parametrize("chunks", CUTS.values(), ids=list(CUTS))


def edges(length: int, chunks: Chunks) -> list[tuple[int, int]]:
    """Where the own frames of each chunk begin and end."""
    found, start = [], 0
    while length - start >= chunks.stride + chunks.look_ahead:
        found.append((start, start + chunks.stride))
        start += chunks.stride
    return [*found, (start, length)]


@each_cut
def test_windows_hold_their_chunk_and_what_is_around_it(chunks: Chunks):
    lengths = torch.tensor([1, 7, 13, 14, 15, 16, 41, 60])
    grid = cut(lengths, 60, chunks)
    for row, length in enumerate(lengths.tolist()):
        owned = []
        for i in range(grid.valid.shape[1]):
            frames = grid.frames[i]
            inside = frames[grid.valid[row, i]].tolist()
            own = frames[grid.own[row, i]].tolist()
            owned += own
            if i >= len(edges(length, chunks)):
                assert inside == []
                continue
            start, end = edges(length, chunks)[i]
            assert own == list(range(start, end))
            ahead = min(length, start + chunks.stride + chunks.look_ahead)
            assert inside == list(range(max(0, start - chunks.look_back), ahead))
        assert owned == list(range(length))
        for t in range(length):
            chunk, slot = int(grid.chunk[row, t]), int(grid.slot[row, t])
            assert grid.own[row, chunk, slot]
            assert grid.frames[chunk, slot] == t


@each_cut
def test_each_frame_comes_back_from_its_own_chunk(chunks: Chunks):
    x = torch.randn(2, 43, 3)
    grid = cut(torch.tensor([43, 17]), 43, chunks)
    windows = grid.windows(x)
    assert torch.equal(grid.centres(windows)[0], x[0])
    assert torch.equal(grid.centres(windows)[1, :17], x[1, :17])
    assert windows[~grid.valid].abs().max() == 0


@each_cut
def test_attention_looks_back_at_the_centres_before(chunks: Chunks):
    grid = cut(torch.tensor([80]), 80, chunks)
    # Frames from 1, so that 0 is none.
    numbers = torch.where(grid.valid, grid.frames + 1, 0)
    past = behind(numbers, chunks)[0]
    assert past.shape == (grid.valid.shape[1], chunks.past)
    for i, row in enumerate(past.tolist()):
        start = i * chunks.stride
        expected = range(start - chunks.past + 1, start + 1)
        assert row == [max(0, number) for number in expected]


@each_cut
def test_tokens_hear_their_window_and_the_centres_before(chunks: Chunks):
    grid = cut(torch.tensor([45, 22]), 45, chunks)
    count = grid.valid.shape[1]
    tokens = torch.arange(count).expand(2, -1)
    seen = heard_by(tokens, grid).unflatten(2, (count, chunks.window))
    for row in range(2):
        for token in range(int(grid.last[row]) + 1):
            for i in range(count):
                found = seen[row, token, i]
                if i == token:
                    assert torch.equal(found, grid.valid[row, i])
                elif token - chunks.decoder_look_back <= i < token:
                    assert torch.equal(found, grid.own[row, i])
                else:
                    assert not found.any()


def test_sizes_as_text():
    assert Chunks.parse("0,10,5") == Chunks(0, 10, 5)
    assert Chunks.parse("[5, 8, 4]") == Chunks(5, 8, 4)
    for text in ("", "1,2", "a,b,c", "1,2,3,4"):
        with pytest.raises(ValueError, match="three numbers of frames"):
            Chunks.parse(text)


@pytest.mark.parametrize(
    ("sizes", "name"),
    [((-1, 8, 4), "look_back"), ((0, 0, 4), "stride"), ((0, 8, 0), "look_ahead")],
)
def test_impossible_sizes(sizes: tuple[int, int, int], name: str):
    with pytest.raises(ValueError, match=f"^{name} is .*, expected a whole number from"):
        Chunks(*sizes)


def test_compat_is_for_streams():
    with pytest.raises(ValueError, match="as a stream only"):
        cut(torch.tensor([30]), 30, Chunks(compat=True))
