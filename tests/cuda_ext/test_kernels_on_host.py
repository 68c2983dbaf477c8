"""The code of the CUDA kernels, run on the CPU thread by thread: what a GPU would compute."""

import ctypes
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor

from echoic.cuda_ext import reference
from echoic.cuda_ext.build import SOURCES
from echoic.cuda_ext.toolchain import find_cxx

HERE = Path(__file__).parent / "on_host"
FLAGS = ("-std=c++20", "-O1", "-fPIC", "-shared", "-ffp-contract=off", "-Wno-unknown-pragmas")


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = find_cxx()
    if compiler is None:
        pytest.skip("no C++ compiler")
    path = tmp_path_factory.mktemp("kernels") / "kernels.so"
    sources = [str(HERE / name) for name in ("quantize.cpp", "segments.cpp")]
    folders = ["-I", str(HERE), "-I", str(SOURCES / "cuda")]
    subprocess.run([compiler, *FLAGS, *folders, *sources, "-o", str(path)], check=True)
    return ctypes.CDLL(str(path))


def place(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(0 if tensor is None else tensor.data_ptr())


def whole(value: int) -> ctypes.c_int64:
    return ctypes.c_int64(value)


def quantize(
    kernels: ctypes.CDLL,
    x: Tensor,
    books: Tensor,
    masks: Tensor | None = None,
    *,
    rows_of_thread: int = 1,
    wide: bool = False,
    parts: int = 0,
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the kernels; `parts` 0 is the fused one, others go layer by layer."""
    num_rows, (layers, groups, size, width) = x.shape[0], books.shape
    codes = torch.full((num_rows, layers, groups), -1)
    quantized = torch.full((num_rows, groups * width), torch.nan)
    energies = torch.full((num_rows, layers), torch.nan)
    offsets = reference.half_norms(books)
    kernels.quantize_on_host(
        *map(place, (x, books, offsets, masks)),
        whole(num_rows),
        *(layers, groups, size, width, 0 if masks is None else masks.shape[0]),
        *map(place, (codes, quantized, energies)),
        *(rows_of_thread, int(wide), parts, seed),
    )
    return codes, quantized, energies


def close(got: tuple[Tensor, ...], want: tuple[Tensor, ...]) -> None:
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[1], want[1])  # the same sums in the same order
    torch.testing.assert_close(got[2], want[2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows_of_thread", [8, 4, 1])
@pytest.mark.parametrize("parts", [0, 1, 3])
@pytest.mark.parametrize(
    ("rows", "layers", "groups", "size", "width", "masked", "wide"),
    [
        (37, 3, 2, 300, 12, 0, True),  # three tiles of codes, the last one short; idle rows
        (19, 2, 1, 130, 70, 0, False),  # three stages of channels, nothing aligned
        (130, 2, 1, 40, 7, 1, False),  # more than one tile of rows, a masked layer
        (18, 3, 1, 257, 40, 2, True),
        (3, 4, 3, 5, 8, 4, True),  # all layers masked, fewer codes than threads
    ],
)
def test_codes_are_those_of_the_reference(
    kernels: ctypes.CDLL,
    rows: int,
    layers: int,
    groups: int,
    size: int,
    width: int,
    masked: int,
    wide: bool,
    parts: int,
    rows_of_thread: int,
):
    draw = torch.Generator().manual_seed(rows * size)
    x = torch.randn(rows, groups * width, generator=draw)
    books = torch.randn(layers, groups, size, width, generator=draw)
    masks = (torch.rand(masked, groups * width, generator=draw) < 0.6).float() if masked else None
    want = reference.residual_quantize(x, books, reference.half_norms(books), masks)
    how = {"rows_of_thread": rows_of_thread, "wide": wide, "parts": parts, "seed": rows}
    close(quantize(kernels, x, books, masks, **how), want)


@pytest.mark.parametrize(("rows_of_thread", "parts"), [(8, 0), (4, 3), (1, 0), (1, 2)])
def test_the_lowest_of_equals_wins(kernels: ctypes.CDLL, rows_of_thread: int, parts: int):
    """Whole numbers have no roundings: most rows have several codes with the same score."""
    draw = torch.Generator().manual_seed(3)
    x = torch.randint(-2, 3, (40, 4), generator=draw).float()
    books = torch.randint(-2, 3, (2, 1, 300, 4), generator=draw).float()
    scores = x @ books[0, 0].T - reference.half_norms(books)[0, 0]
    assert ((scores == scores.max(1, keepdim=True).values).sum(1) > 1).float().mean() > 0.5
    want = reference.residual_quantize(x, books, reference.half_norms(books), None)
    close(quantize(kernels, x, books, rows_of_thread=rows_of_thread, parts=parts), want)


def test_a_row_has_the_same_code_in_any_batch(kernels: ctypes.CDLL):
    draw = torch.Generator().manual_seed(4)
    x, books = torch.randn(70, 36, generator=draw), torch.randn(3, 1, 200, 36, generator=draw)
    together = quantize(kernels, x, books, rows_of_thread=8)
    for rows_of_thread, parts in ((1, 0), (4, 0), (8, 2)):
        for row in (0, 33, 69):
            one = x[row : row + 1].clone()
            alone = quantize(
                kernels, one, books, rows_of_thread=rows_of_thread, parts=parts, seed=row
            )
            for of_all, own in zip(together, alone, strict=True):
                assert torch.equal(of_all[row], own[0])


def test_a_row_that_is_not_finite_leaves_the_others_alone(kernels: ctypes.CDLL):
    draw = torch.Generator().manual_seed(5)
    x, books = torch.randn(20, 8, generator=draw), torch.randn(2, 1, 140, 8, generator=draw)
    want = quantize(kernels, x, books)
    x[3, 2], x[7, 0] = torch.nan, torch.inf
    got = quantize(kernels, x, books)
    assert got[0].min() >= 0
    assert got[0].max() < 140
    others = [row for row in range(20) if row not in (3, 7)]
    assert torch.equal(got[0][others], want[0][others])


@pytest.mark.parametrize(("rows", "size", "chunk"), [(500, 7, 100), (77, 300, 77), (33, 1, 5)])
def test_statistics_sum_each_code_in_the_order_of_rows(
    kernels: ctypes.CDLL, rows: int, size: int, chunk: int
):
    draw = torch.Generator().manual_seed(6)
    x = torch.randn(rows, 41, generator=draw)
    codes = torch.randint(size, (rows, 3), generator=draw)
    column = codes[:, 1]
    counts, sums = torch.full((size,), torch.nan), torch.full((size, 40), torch.nan)
    order = torch.full((rows,), -1)
    part = x[:, 1:]
    kernels.statistics_on_host(
        *(place(part), whole(x.stride(0)), place(column), whole(column.stride(0)), whole(rows)),
        *(size, 40, chunk, place(counts), place(sums), place(order), rows),
    )
    assert torch.equal(order, column.sort(stable=True).indices)
    assert torch.equal(counts, torch.bincount(column, minlength=size).float())
    want = torch.zeros(size, 40, dtype=torch.float64).index_add_(0, column, part.double())
    torch.testing.assert_close(sums.double(), want, rtol=1e-6, atol=1e-6)


def test_lookup_adds_layers_in_their_order(kernels: ctypes.CDLL):
    draw = torch.Generator().manual_seed(7)
    books = torch.randn(3, 2, 11, 5, generator=draw)
    codes = torch.randint(11, (29, 3, 2), generator=draw)
    out = torch.full((29, 10), torch.nan)
    kernels.lookup_on_host(place(codes), place(books), whole(29), 3, 2, 11, 5, place(out), 0)
    assert torch.equal(out, reference.lookup_sum(codes, books))
