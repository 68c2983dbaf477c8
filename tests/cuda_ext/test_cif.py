"""Integrate-and-fire, by torch and by the kernel, against its definition."""

import pytest
import torch
from cif_by_definition import draw, integrate
from torch import Tensor

from echoic.cuda_ext.cif import Cif, cif


def scaled(alphas: Tensor, count: Tensor) -> Tensor:
    """Alphas as training has them: their sum is the count but for rounding."""
    return alphas * (count / alphas.sum(1))[:, None]


def assert_is(result: Cif, row: int, hidden: Tensor, alphas: Tensor, count: int | None) -> None:
    want = integrate(hidden, alphas, count)
    size = len(want.fires)
    tolerance = 1e-12 if hidden.dtype == torch.float64 else 1e-5
    assert int(result.counts[row]) == size
    got = result.tokens[row, :size].detach().double()
    torch.testing.assert_close(got, want.tokens, rtol=0, atol=tolerance)
    assert result.fires[row, :size].tolist() == pytest.approx(want.fires, abs=1e-9)
    assert not result.tokens[row, size:].any()
    assert not result.fires[row, size:].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.3, 0.9, 2.2, 9.0])
@pytest.mark.parametrize(("frames", "width"), [(1, 1), (40, 70), (140, 33)])
@pytest.mark.usefixtures("cif_way")
def test_tokens_are_those_of_the_definition(
    frames: int, width: int, scale: float, dtype: torch.dtype
):
    """Up to a thousand tokens: more than a block of the torch code, several in one frame."""
    hidden, alphas = draw(4, frames, width, scale)
    hidden = hidden.to(dtype)
    lengths = torch.tensor([frames, frames // 2, 0, frames - 1])
    for result, most in ((cif(hidden, alphas), None), (cif(hidden, alphas, lengths), lengths)):
        assert result.tokens.dtype == dtype
        assert result.tokens.shape[1] == result.counts.max()
        for row in range(4):
            length = frames if most is None else int(most[row])
            assert_is(result, row, hidden[row, :length], alphas[row, :length], None)


@pytest.mark.parametrize("scale", [0.3, 2.2])
@pytest.mark.usefixtures("cif_way")
def test_wanted_counts_are_kept_whatever_the_sum(scale: float):
    hidden, alphas = draw(5, 90, 20, scale)
    lengths = torch.tensor([90, 90, 50, 90, 1])
    sums = torch.stack([a[:n].sum() for a, n in zip(alphas, lengths, strict=True)])
    counts = torch.tensor([int(sums[0]) - 2, int(sums[1]) + 9, int(sums[2]), 0, 3])
    result = cif(hidden, alphas, lengths, counts)
    assert torch.equal(result.counts, counts)
    for row in range(5):
        length = int(lengths[row])
        assert_is(result, row, hidden[row, :length], alphas[row, :length], int(counts[row]))
    left = int(sums[1])
    assert not result.tokens[1, left + 1 :].any()  # the sum never gets there


@pytest.mark.usefixtures("cif_way")
def test_a_frame_may_fill_several_tokens_and_times_lie_within_frames():
    """With one channel a frame, tokens are the weights themselves."""
    hidden, alphas = torch.eye(5)[None], torch.tensor([[0.5, 0.5, 2.5, 0.0, 0.75]])
    result = cif(hidden, alphas)
    want = [[0.5, 0.5, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0.5, 0, 0.5]]
    assert result.tokens[0].tolist() == want
    assert result.fires[0].tolist() == pytest.approx([2.0, 2.4, 2.8, 4 + 2 / 3], abs=1e-15)
    forced = cif(hidden, alphas, counts=torch.tensor([2]))
    assert forced.tokens[0].tolist() == [want[0], [0, 0, 2.5, 0, 0.75]]
    assert forced.fires[0].tolist() == pytest.approx([2.0, 2.4], abs=1e-15)


@pytest.mark.usefixtures("cif_way")
def test_the_last_token_is_never_lost():
    """The scaled alphas of 300 utterances miss their count by a rounding, half of them below."""
    draws = torch.Generator().manual_seed(5)
    below = above = 0
    for _ in range(300):
        frames = int(torch.randint(60, 201, (), generator=draws))
        count = torch.randint(5, 41, (1,), generator=draws)
        alphas = scaled(torch.rand(1, frames, generator=draws), count)
        total = float(alphas.double().sum())
        below += total < count
        above += total > count
        weights = cif(torch.eye(frames)[None], alphas, counts=count).tokens[0]
        assert weights.sum(1).tolist() == pytest.approx([1.0] * int(count), abs=1e-5)
    assert min(below, above) > 50


@pytest.mark.parametrize(
    ("batch", "frames", "scale"), [(0, 3, 0.5), (2, 0, 0.5), (2, 3, 0.2), (2, 3, 0.0)]
)
@pytest.mark.usefixtures("cif_way")
def test_nothing_fires(batch: int, frames: int, scale: float):
    hidden, alphas = draw(batch, frames, 4, scale)
    hidden.requires_grad_()
    alphas.requires_grad_()
    result = cif(hidden, alphas)
    assert result.tokens.shape == (batch, 0, 4)
    assert result.fires.shape == (batch, 0)
    assert result.counts.tolist() == [0] * batch
    result.tokens.sum().backward()
    assert hidden.grad is not None
    assert not hidden.grad.any()
    wanted = cif(hidden, alphas, counts=torch.full((batch,), 2))
    assert wanted.tokens.shape[1] == (2 if batch else 0)
    assert not wanted.tokens[:, 1:].any()
    assert not wanted.fires.gt(frames).any()


@pytest.mark.parametrize("wanted", [False, True])
def test_a_row_is_the_same_alone_and_in_a_batch(cif_way: str, wanted: bool):
    """Behind a row's length there may be anything."""
    hidden, alphas = draw(4, 130, 48, 0.8)
    lengths = torch.tensor([130, 17, 99, 64])
    counts = torch.tensor([50, 5, 45, 20]) if wanted else None
    for row, length in enumerate(lengths):
        hidden[row, length:] = torch.nan
        alphas[row, length:] = -1
    together = cif(hidden, alphas, lengths, counts)
    for row, length in enumerate(lengths):
        own = slice(row, row + 1)
        one = None if counts is None else counts[own]
        alone = cif(hidden[own, :length], alphas[own, :length], None, one)
        size = int(alone.counts[0])
        exact = {"rtol": 0, "atol": 0 if cif_way == "compiled" else 1e-6}
        torch.testing.assert_close(together.tokens[own, :size], alone.tokens, **exact)
        torch.testing.assert_close(together.fires[own, :size], alone.fires, **exact)


@pytest.mark.usefixtures("cif_way")
def test_a_maximum_of_tokens_is_the_size_of_the_output():
    hidden, alphas = draw(3, 30, 6, 0.8)
    free = cif(hidden, alphas)
    size = free.tokens.shape[1]
    fixed = cif(hidden, alphas, max_tokens=size + 3)
    assert fixed.tokens.shape == (3, size + 3, 6)
    torch.testing.assert_close(fixed.tokens[:, :size], free.tokens)
    assert not fixed.tokens[:, size:].any()
    assert not fixed.fires[:, size:].any()
    for counts in (None, free.counts):
        with pytest.raises(ValueError, match=rf"expected 0\.\.{size - 1}, got {size}"):
            cif(hidden, alphas, counts=counts, max_tokens=size - 1)


@pytest.mark.usefixtures("cif_way")
def test_sums_are_exact_over_long_rows():
    """An hour of frames, and alphas that no float32 sum would keep apart."""
    alphas = torch.full((1, 60_000), 0.25)
    alphas[0, ::2] += 2.0**-20
    result = cif(torch.ones(1, 60_000, 1), alphas)
    total = 15_000 + 30_000 * 2.0**-20
    assert int(result.counts[0]) == int(total)
    torch.testing.assert_close(result.tokens, torch.ones_like(result.tokens), rtol=0, atol=1e-6)
    assert float(result.fires[0, -1]) == pytest.approx(15_000 * 60_000 / total, abs=2)


@pytest.mark.usefixtures("threads")
def test_the_kernel_says_the_same_each_time_with_any_threads(cif_way: str):
    hidden, alphas = draw(7, 200, 100, 0.6)
    grads: list[list[Tensor]] = []
    for threads in (1, 2, 3, 1):
        torch.set_num_threads(threads)
        leaves = [hidden.clone().requires_grad_(), alphas.clone().requires_grad_()]
        tokens = cif(*leaves).tokens
        tokens.square().sum().backward()
        grads.append([tokens.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)])
    for others in grads[1:]:
        for one, other in zip(grads[0], others, strict=True):
            if cif_way == "compiled":
                assert torch.equal(one, other)
            else:
                torch.testing.assert_close(one, other)
