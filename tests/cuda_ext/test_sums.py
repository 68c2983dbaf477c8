"""Codes back to vectors, gradients, and statistics of codes."""

import pytest
import torch
from vq_brute_force import draw

from echoic.cuda_ext import ops, registry
from echoic.cuda_ext.ops import codebook_statistics, lookup_sum, pack_codebooks, residual_quantize


def codes_of(rows: int, layers: int, groups: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, size, (rows, layers, groups), generator=generator)


def slow_lookup(codes: torch.Tensor, books: torch.Tensor) -> torch.Tensor:
    _, layers, groups = codes.shape
    parts = []
    for g in range(groups):
        part = sum(books[q, g, codes[:, q, g]] for q in range(layers))
        parts.append(part)
    return torch.cat(parts, 1)


@pytest.mark.parametrize("shape", [(0, 1, 1, 3, 2), (1, 1, 1, 1, 1), (600, 3, 2, 50, 7)])
@pytest.mark.usefixtures("way")
def test_looks_up_sums(shape: tuple[int, ...]):
    rows, layers, groups, size, width = shape
    codes, books = codes_of(rows, layers, groups, size), draw(layers, groups, size, width)
    assert torch.equal(lookup_sum(codes, books), slow_lookup(codes, books))


@pytest.mark.usefixtures("way")
def test_a_lookup_of_codes_is_what_the_search_summed():
    x, books = draw(50, 12), draw(3, 2, 40, 6, seed=1)
    result = residual_quantize(x, books)
    assert torch.equal(lookup_sum(result.codes, books), result.quantized)
    first = residual_quantize(x, books[:2])
    assert torch.equal(lookup_sum(result.codes[:, :2], books), first.quantized)


@pytest.mark.usefixtures("way")
def test_gradients_of_books_and_of_their_gradients():
    codes = codes_of(30, 2, 2, 5)
    books = draw(2, 2, 5, 3).double().requires_grad_()
    values = registry.lookup_sum(codes, books)
    (mine,) = torch.autograd.grad(values.square().sum(), books)
    (slow,) = torch.autograd.grad(slow_lookup(codes, books).square().sum(), books)
    torch.testing.assert_close(mine, slow)
    assert torch.autograd.gradcheck(lambda b: registry.lookup_sum(codes, b), books)
    assert torch.autograd.gradgradcheck(lambda b: registry.lookup_sum(codes, b).square(), books)


@pytest.mark.parametrize("rows", [0, 1, 5000])
@pytest.mark.usefixtures("way")
def test_statistics_count_and_sum(rows: int):
    x, codes = draw(rows, 9) * 100, codes_of(rows, 1, 1, 70)[:, 0, 0]
    codes[codes == 13] = 14
    counts, sums = codebook_statistics(x, codes, 70)
    expected = torch.zeros(70, 9).double().index_add_(0, codes, x.double())
    assert counts.dtype == sums.dtype == torch.float32
    assert torch.equal(counts, torch.bincount(codes, minlength=70).float())
    # Added up in float64 and rounded once.
    torch.testing.assert_close(sums, expected.float(), rtol=2e-7, atol=1e-12)
    assert counts[13] == 0
    assert not sums[13].any()


@pytest.mark.usefixtures("way", "threads")
def test_statistics_are_the_same_each_time():
    x, codes = draw(3000, 5) * 1e3, codes_of(3000, 1, 1, 4)[:, 0, 0]
    first = codebook_statistics(x, codes, 4)
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        again = codebook_statistics(x, codes, 4)
        assert torch.equal(again[0], first[0])
        assert torch.equal(again[1], first[1])


@pytest.mark.parametrize("bad", [-1, 9, 1 << 40])
@pytest.mark.usefixtures("way")
def test_codes_outside_their_book_are_told(bad: int):
    codes, books = codes_of(300, 1, 1, 9), draw(1, 1, 9, 3)
    codes[299] = bad
    with pytest.raises(ValueError, match=r"a code lies outside its book: expected 0\.\.8"):
        lookup_sum(codes, books)
    with pytest.raises(ValueError, match=r"a code lies outside its book: expected 0\.\.8"):
        codebook_statistics(draw(300, 3), codes[:, 0, 0], 9)


def test_shapes_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match="as many layers"):
        lookup_sum(codes_of(4, 3, 1, 9), draw(2, 1, 9, 3))
    with pytest.raises(ValueError, match="2 groups of codes, 1 of codebooks"):
        lookup_sum(codes_of(4, 1, 2, 9), draw(1, 1, 9, 3))
    with pytest.raises(ValueError, match=r"x must be \(N, D\), codes \(N,\)"):
        codebook_statistics(draw(4, 3), codes_of(5, 1, 1, 9)[:, 0, 0], 9)


def test_ops_keep_torchs_rules():
    x, books = draw(20, 6), draw(2, 2, 40, 3, seed=1)
    packed = pack_codebooks(books)
    codes = residual_quantize(x, books).codes
    screen, bounds = registry.pack_screen(books, packed.offsets)
    all_ops = torch.ops.echoic
    many = (x, books, packed.offsets, packed.panels)
    one = (x[:, :3].contiguous(), books[0, 0], packed.offsets[0, 0])
    for op, arguments in (
        (all_ops.pack_codebooks, (books,)),
        (all_ops.pack_screen, (books, packed.offsets)),
        (all_ops.residual_quantize, (*many, None, None, None, False)),
        (all_ops.residual_quantize, (*many, screen, bounds, torch.ones(1, 6), True)),
        (all_ops.nearest_code, (*one, None, None, None, False)),
        (all_ops.lookup_sum, (codes, books.clone().requires_grad_())),
        (all_ops.lookup_sum_backward, (x.clone().requires_grad_(), codes, 40)),
        (all_ops.codebook_statistics, (x, codes[:, 0, 0].contiguous(), 40)),
    ):
        torch.library.opcheck(op.default, arguments)


def test_packing_is_the_same_both_ways():
    books = draw(2, 2, 70, 9)
    norms, panels = registry.pack_codebooks(books)
    assert torch.equal(panels, ops.registry.reference.panels(books))
    torch.testing.assert_close(norms, ops.registry.reference.half_norms(books))
    screen, bounds = registry.pack_screen(books, norms)
    assert torch.equal(screen, ops.registry.reference.screen(books))
    torch.testing.assert_close(bounds, ops.registry.reference.bounds(books, norms))
