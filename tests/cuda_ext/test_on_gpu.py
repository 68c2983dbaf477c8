"""Every op by its CUDA kernel: against the definition, against itself, and within its memory."""

import pytest
import torch
from torch import Tensor
from vq_brute_force import assert_best, assert_quantizes, draw

from echoic.cuda_ext import library, reference, registry
from echoic.cuda_ext.ops import (
    ResidualCodes,
    codebook_statistics,
    lookup_sum,
    nearest_code,
    pack_codebooks,
    residual_quantize,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

# N, Q, G, K, d: idle rows and threads, odd widths, several tiles, books too wide for one tile.
SHAPES = [
    (0, 2, 2, 5, 3),
    (1, 1, 1, 1, 1),
    (1, 8, 1, 1024, 128),
    (13, 3, 2, 33, 17),
    (97, 2, 2, 130, 64),
    (700, 2, 1, 257, 40),
    (20_000, 9, 1, 300, 8),
    (40, 1, 1, 5000, 1030),
]


@pytest.fixture(autouse=True)
def kernels() -> None:
    if not library.ready("residual_quantize", "cuda"):
        pytest.skip("no CUDA kernels; see `echoic env`")


def on_cpu(result: ResidualCodes) -> ResidualCodes:
    return ResidualCodes(*(part.cpu() for part in result))


def same(a: ResidualCodes, b: ResidualCodes) -> bool:
    return all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


def codes_of(*shape: int, size: int) -> Tensor:
    return torch.randint(size, shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("shape", SHAPES)
def test_quantizes_as_defined(shape: tuple[int, ...]):
    rows, layers, groups, size, width = shape
    x, books = draw(rows, groups * width), draw(layers, groups, size, width, seed=1)
    result = residual_quantize(x.cuda(), books.cuda())
    assert result.codes.is_cuda
    assert_quantizes(on_cpu(result), x, books)
    if layers == groups == 1:
        assert torch.equal(nearest_code(x.cuda(), books[0, 0].cuda()), result.codes[:, 0, 0])


@pytest.mark.parametrize("masked", [1, 3])
@pytest.mark.parametrize("rows", [5, 400])
def test_masked_layers_see_the_input(rows: int, masked: int):
    x, books = draw(rows, 18), draw(3, 2, 50, 9, seed=1)
    masks = (draw(masked, 18, seed=2) > 0).float()
    result = residual_quantize(x.cuda(), books.cuda(), masks.cuda())
    assert_quantizes(on_cpu(result), x, books, masks)


def test_own_offsets_take_the_place_of_half_norms():
    x, book, offsets = draw(300, 20), draw(700, 20, seed=1), 9 * draw(700, seed=2)
    codes = nearest_code(x.cuda(), book.cuda(), offsets.cuda())
    assert_best(codes.cpu(), x, book, offsets)


@pytest.mark.parametrize("rows", [1, 40, 9000])
def test_the_lowest_of_equals_wins(rows: int):
    """Whole numbers have no roundings: most rows have several codes with the same score."""
    draw_from = torch.Generator().manual_seed(3)
    x = torch.randint(-2, 3, (rows, 4), generator=draw_from).float()
    books = torch.randint(-2, 3, (2, 1, 300, 4), generator=draw_from).float()
    want = reference.residual_quantize(x, books, reference.half_norms(books), None)
    result = on_cpu(residual_quantize(x.cuda(), books.cuda()))
    assert torch.equal(result.codes, want[0])
    assert torch.equal(result.quantized, want[1])


@pytest.mark.parametrize(("size", "width"), [(200, 36), (1024, 128), (4000, 600)])
def test_a_row_has_the_same_codes_alone_and_among_many(size: int, width: int):
    x, packed = draw(6000, width).cuda(), pack_codebooks(draw(3, 1, size, width, seed=1).cuda())
    whole = residual_quantize(x, packed)
    for rows in (slice(7, 8), slice(99, 120), slice(100, 700), slice(30, 5000)):
        part = residual_quantize(x[rows].clone(), packed)
        assert torch.equal(part.codes, whole.codes[rows])
        assert torch.equal(part.quantized, whole.quantized[rows])
        assert torch.equal(part.energies, whole.energies[rows])


def test_each_run_gives_the_same_bits():
    x, books = draw(5000, 40).cuda(), draw(4, 2, 500, 20, seed=1).cuda()
    codes = codes_of(5000, size=70).cuda()
    searched, summed = residual_quantize(x, books), codebook_statistics(1e3 * x, codes, 70)
    for _ in range(5):
        assert same(residual_quantize(x, books), searched)
        assert torch.equal(codebook_statistics(1e3 * x, codes, 70)[1], summed[1])


@pytest.mark.parametrize("shape", [(0, 1, 1, 3, 2), (1, 1, 1, 1, 1), (6000, 3, 2, 50, 7)])
def test_looks_up_sums_and_spreads_gradients(shape: tuple[int, ...]):
    rows, layers, groups, size, width = shape
    codes, books = codes_of(rows, layers, groups, size=size), draw(layers, groups, size, width)
    grad = draw(rows, groups * width, seed=3)
    assert torch.equal(
        lookup_sum(codes.cuda(), books.cuda()).cpu(), reference.lookup_sum(codes, books)
    )
    mine = registry.lookup_sum_backward(grad.cuda(), codes.cuda(), size)
    torch.testing.assert_close(mine.cpu(), reference.lookup_sum_backward(grad, codes, size))


def test_gradients_of_books_and_of_their_gradients():
    codes = codes_of(30, 2, 2, size=5).cuda()
    books = draw(2, 2, 5, 3).double().cuda().requires_grad_()
    assert torch.autograd.gradcheck(lambda b: registry.lookup_sum(codes, b), books)
    assert torch.autograd.gradgradcheck(lambda b: registry.lookup_sum(codes, b).square(), books)


@pytest.mark.parametrize("rows", [0, 1, 50_000])
def test_statistics_count_and_sum(rows: int):
    x, codes = draw(rows, 9) * 100, codes_of(rows, size=70)
    codes[codes == 13] = 14
    counts, sums = codebook_statistics(x.cuda(), codes.cuda(), 70)
    want_counts, want_sums = reference.codebook_statistics(x, codes, 70)
    assert torch.equal(counts.cpu(), want_counts)
    torch.testing.assert_close(sums.cpu(), want_sums, rtol=2e-7, atol=1e-12)


def test_what_is_wrong_is_told_as_on_a_cpu():
    x, books = draw(30, 6).cuda(), draw(2, 1, 20, 6, seed=1).cuda()
    with pytest.raises(ValueError, match=r"x is on cpu, the codebooks on cuda"):
        residual_quantize(x.cpu(), books)
    with pytest.raises(ValueError, match="a code lies outside its book"):
        lookup_sum(torch.full((3, 2, 1), 20).cuda(), books)
    x[4, 2] = torch.nan
    with pytest.raises(ValueError, match="x holds NaN or Inf"):
        residual_quantize(x, books)


def test_ops_keep_torchs_rules():
    x, books = draw(20, 6).cuda(), draw(2, 2, 40, 3, seed=1).cuda()
    packed = pack_codebooks(books)
    codes = residual_quantize(x, books).codes
    nothing = (None, None, None)
    all_ops, masks = torch.ops.echoic, torch.ones(1, 6).cuda()
    one = (x[:, :3].contiguous(), books[0, 0], packed.offsets[0, 0])
    for op, arguments in (
        (all_ops.residual_quantize, (x, books, packed.offsets, *nothing, None, False)),
        (all_ops.residual_quantize, (x, books, packed.offsets, *nothing, masks, False)),
        (all_ops.nearest_code, (*one, *nothing, False)),
        (all_ops.lookup_sum, (codes, books.clone().requires_grad_())),
        (all_ops.lookup_sum_backward, (x.clone().requires_grad_(), codes, 40)),
        (all_ops.codebook_statistics, (x, codes[:, 0, 0].contiguous(), 40)),
    ):
        torch.library.opcheck(op.default, arguments)


@pytest.mark.parametrize("width", [16, 2048])
def test_memory_does_not_grow_with_vectors_times_codes(width: int):
    """A matrix of all scores would take 3.2 GB."""
    rows, size = 100_000, 8_000
    x, packed = draw(rows, width).cuda(), pack_codebooks(draw(1, 1, size, width, seed=1).cuda())
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    residual_quantize(x, packed)
    torch.cuda.synchronize()
    taken = torch.cuda.max_memory_allocated() - before
    assert taken < 2 * x.numel() * 4 + 64 * rows  # what a layer sees and the sums; a row's codes
