"""The search for codes, by torch and by the kernels, against float64."""

import pytest
import torch
from torch import Tensor
from vq_brute_force import assert_best, assert_quantizes, draw

from echoic.cuda_ext import library
from echoic.cuda_ext.ops import (
    Mode,
    ResidualCodes,
    nearest_code,
    pack_codebooks,
    residual_quantize,
)

MODES: list[Mode] = ["exact", "screened"]
# N, Q, G, K, d: odd widths and sizes, one of everything, rows that fill no block.
SHAPES = [
    (1, 1, 1, 1, 1),
    (0, 2, 2, 5, 3),
    (5, 2, 1, 31, 8),
    (13, 3, 2, 33, 17),
    (97, 2, 1, 64, 16),
    (110, 1, 3, 100, 7),
    (30, 2, 1, 300, 130),
]


def same(a: ResidualCodes, b: ResidualCodes) -> bool:
    return all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.usefixtures("way")
def test_quantizes_as_defined(shape: tuple[int, ...], mode: Mode):
    rows, layers, groups, size, width = shape
    x, books = draw(rows, groups * width), draw(layers, groups, size, width, seed=1)
    result = residual_quantize(x, books, mode=mode)
    assert result.codes.shape == (rows, layers, groups)
    assert result.codes.dtype == torch.int64
    assert_quantizes(result, x, books)
    assert same(residual_quantize(x, pack_codebooks(books, mode=mode), mode=mode), result)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("masked", [1, 2, 3])
@pytest.mark.usefixtures("way")
def test_masked_layers_see_the_input_and_others_the_rest(masked: int, mode: Mode):
    x, books = draw(40, 18), draw(3, 2, 50, 9, seed=1)
    thirds = torch.zeros(3, 18)
    for q in range(3):
        thirds[q, 6 * q : 6 * q + 6] = 1  # cuts pairs of channels, and leaves a group nothing
    masks = thirds[:masked]
    result = residual_quantize(x, books, masks, mode=mode)
    assert_quantizes(result, x, books, masks)
    assert same(residual_quantize(x, books, masks.bool(), mode=mode), result)
    assert not torch.equal(result.codes, residual_quantize(x, books, mode=mode).codes)


@pytest.mark.usefixtures("way")
def test_masks_may_weigh_channels():
    x, books, masks = draw(30, 10), draw(2, 1, 40, 10, seed=1), draw(1, 10, seed=2)
    assert_quantizes(residual_quantize(x, books, masks), x, books, masks)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.usefixtures("way")
def test_own_offsets_take_the_place_of_half_norms(mode: Mode):
    x, book, offsets = draw(50, 20), draw(70, 20, seed=1), 9 * draw(70, seed=2)
    codes = nearest_code(x, book, offsets, mode=mode)
    assert_best(codes, x, book, offsets)
    assert torch.equal(nearest_code(x, pack_codebooks(book, offsets, mode=mode), mode=mode), codes)
    assert not torch.equal(nearest_code(x, book, mode=mode), codes)


def books_of_ties() -> tuple[Tensor, Tensor]:
    """Vectors, and a book in which each of seven codes stands many times over."""
    seven = draw(7, 24, seed=3)
    return draw(60, 24), seven[torch.arange(150) % 7]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.usefixtures("way")
def test_the_lowest_of_equal_codes_wins(mode: Mode):
    x, book = books_of_ties()
    codes = nearest_code(x, book, mode=mode)
    assert int(codes.max()) < 7
    assert_best(codes, x, book)
    assert int(codes.unique().numel()) > 3


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.usefixtures("way")
def test_a_book_of_one_code_over_and_over_gives_the_first(value: float, mode: Mode):
    codes = nearest_code(draw(20, 9), torch.full((200, 9), value), mode=mode)
    assert not codes.any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.usefixtures("way")
def test_a_vector_has_the_same_codes_alone_and_among_many(mode: Mode):
    x, books = draw(220, 20), draw(3, 2, 90, 10, seed=1)
    x[100:150] = books[0, :, :50].transpose(0, 1).reshape(50, 20)  # exact hits, too
    packed = pack_codebooks(books, mode=mode)
    whole = residual_quantize(x, packed, mode=mode)
    order = torch.randperm(220, generator=torch.Generator().manual_seed(5))
    shuffled = residual_quantize(x[order], packed, mode=mode)
    assert torch.equal(shuffled.codes, whole.codes[order])
    for rows in (slice(7, 8), slice(99, 102), slice(100, 113), slice(30, 127)):
        part = residual_quantize(x[rows], packed, mode=mode)
        assert torch.equal(part.codes, whole.codes[rows])
        assert torch.equal(part.quantized, whole.quantized[rows])


def near_ties(width: int) -> tuple[Tensor, Tensor]:
    """Vectors halfway between codes that differ in their last bits, and ties among them."""
    book = draw(260, width, seed=4)
    book[100:130] = book[:30] * (1 + 2.0**-23)
    book[130:160] = torch.nextafter(book[:30], torch.full((), torch.inf))
    book[160:250] = book[0] + 1e-6 * draw(90, width, seed=6)  # more than a screen has room for
    x = (book[torch.arange(200) % 100] + book[torch.arange(200) % 60 + 100]) / 2
    return x + 1e-7 * draw(200, width, seed=7), book


@pytest.mark.parametrize("width", [1, 5, 8, 40, 129])
@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 3e15])
def test_a_screen_changes_no_code(width: int, scale: float, instructions: list[str]):
    x, book = near_ties(width)
    x, book = x * scale, book * min(scale, 1e9)
    exact = nearest_code(x, book)
    for name in instructions:
        library.use_instructions(name)
        packed = pack_codebooks(book, mode="screened")
        assert (packed.screen is not None) == (library.SCREENING in instructions)
        assert torch.equal(nearest_code(x, packed, mode="screened"), exact)


def test_near_ties_are_told_apart_as_float64_would(way: str):
    x, book = near_ties(40)
    assert_best(nearest_code(x, book), x, book)


@pytest.mark.parametrize("mode", MODES)
def test_every_set_of_instructions_gives_the_same_bits(mode: Mode, instructions: list[str]):
    cases = []
    for rows, layers, groups, size, width in SHAPES:
        x, books = draw(rows, groups * width), draw(layers, groups, size, width, seed=1)
        cases.append((x, pack_codebooks(books, mode=mode)))
    x, book = near_ties(40)
    cases.append((x, pack_codebooks(book, mode=mode)))
    cases.append((x * 1e-21, pack_codebooks(book * 1e-18, mode=mode)))  # products that underflow
    cases.append((x * 1e20, pack_codebooks(book * 1e18, mode=mode)))  # and overflow
    for x, packed in cases:
        results = []
        for name in instructions:
            library.use_instructions(name)
            results.append(residual_quantize(x, packed, mode=mode))
        assert all(same(result, results[0]) for result in results)


def test_instructions_that_are_not_there_are_told(instructions: list[str]):
    assert instructions[-1] == "portable"
    with pytest.raises(ValueError, match=r"'avx1024' are not among .*portable"):
        library.use_instructions("avx1024")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("rows", "size", "width"), [(1, 25000, 130), (3, 60000, 40), (400, 700, 90), (100, 9000, 260)]
)
@pytest.mark.usefixtures("threads", "instructions")
def test_threads_change_nothing(rows: int, size: int, width: int, mode: Mode):
    """Few rows share a book's codes, many rows share themselves; both give the same."""
    x, books = draw(rows, width), draw(2, 1, size, width, seed=1)
    books[:, :, size - 300 : size - 200] = books[:, :, :100]  # equals in different threads' parts
    x[: rows // 2] = books[0, 0, size - 300 : size - 300 + rows // 2][: rows // 2]
    packed = pack_codebooks(books, mode=mode)
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append(residual_quantize(x, packed, mode=mode))
    assert same(results[0], results[1])
    assert same(results[0], results[2])
