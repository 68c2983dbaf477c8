"""What ops say to inputs that are wrong, empty or of another kind."""

import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
import torch
from vq_brute_force import assert_quantizes, draw

from echoic.cuda_ext import ops
from echoic.cuda_ext.ops import Mode, nearest_code, pack_codebooks, residual_quantize

MODES: list[Mode] = ["exact", "screened"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("row", [0, 129])
@pytest.mark.usefixtures("way")
def test_vectors_that_are_not_finite_are_refused_in_one_line(bad: float, row: int, mode: Mode):
    x, books = draw(130, 6), draw(2, 2, 20, 3, seed=1)
    x[row, 5] = bad
    for search in (
        lambda: residual_quantize(x, books, mode=mode),
        lambda: nearest_code(x[:, 3:], books[0, 0], mode=mode),
    ):
        with pytest.raises(ValueError, match="x holds NaN or Inf: expected finite") as told:
            search()
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e25])
@pytest.mark.usefixtures("way")
def test_books_that_cannot_be_scored_are_refused(bad: float):
    books = draw(1, 1, 40, 3)
    books[0, 0, 33, 1] = bad
    with pytest.raises(ValueError, match="codebooks hold NaN, Inf or values above 1e19"):
        pack_codebooks(books)
    with pytest.raises(ValueError, match="offsets hold NaN or Inf"):
        nearest_code(draw(2, 3), draw(4, 3), torch.tensor([0.0, bad * torch.inf, 0.0, 0.0]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: residual_quantize(draw(4, 5), draw(1, 2, 8, 3)), r"x must be \(N, 6\).*\(4, 5\)"),
        (lambda: residual_quantize(draw(6), draw(1, 2, 8, 3)), r"x must be \(N, 6\).*\(6,\)"),
        (lambda: residual_quantize(draw(4, 6), draw(2, 8, 3)), r"\(Q, G, K, d\).*\(2, 8, 3\)"),
        (lambda: residual_quantize(draw(4, 6), draw(1, 2, 0, 3)), "without an empty axis"),
        (
            lambda: residual_quantize(draw(4, 6), draw(1, 2, 8, 3), draw(2, 6)),
            r"\(M, 6\) for at most 1 layers: got \(2, 6\)",
        ),
        (lambda: residual_quantize(draw(4, 6), draw(1, 2, 8, 3), draw(1, 5)), r"got \(1, 5\)"),
        (lambda: nearest_code(draw(4, 3), draw(8, 3), draw(7)), r"offsets must be .*got \(7,\)"),
        (lambda: nearest_code(draw(4, 3), pack_codebooks(draw(2, 1, 8, 3))), "takes one book"),
        (
            lambda: nearest_code(draw(4, 3), pack_codebooks(draw(8, 3)), draw(8)),
            "give them to pack_codebooks",
        ),
        (
            lambda: nearest_code(draw(4, 3), draw(8, 3), mode=cast(Mode, "fast")),
            "exact or screened: got 'fast'",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_told(call, words: str):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.usefixtures("way")
def test_other_dtypes_and_strides_are_taken_as_float32():
    x, books = draw(6, 30).T[:, ::2], draw(2, 1, 10, 3, seed=1).double()
    exact = residual_quantize(x.contiguous(), books.float())
    assert torch.equal(residual_quantize(x, books).codes, exact.codes)
    half = residual_quantize(x.bfloat16(), books)
    assert half.quantized.dtype == torch.float32
    assert_quantizes(half, x.bfloat16().float(), books.float())


@pytest.mark.usefixtures("way")
def test_nothing_that_was_given_is_changed_or_given_back():
    x, books = draw(8, 6), draw(2, 1, 9, 6, seed=1)
    copies = x.clone(), books.clone()
    result = residual_quantize(x, books)
    result.quantized.fill_(7)
    assert torch.equal(x, copies[0])
    assert torch.equal(books, copies[1])


@pytest.mark.usefixtures("way")
def test_a_search_leaves_no_gradient():
    x, books = draw(8, 6).requires_grad_(), draw(2, 1, 9, 6, seed=1).requires_grad_()
    result = residual_quantize(x, books)
    assert not any(output.requires_grad for output in result)


def test_packed_books_share_the_memory_of_books():
    books = draw(1, 2, 9, 4)
    assert pack_codebooks(books).codebooks.data_ptr() == books.data_ptr()


PEAK = """
import torch
torch.set_num_threads(1)
from pathlib import Path
from echoic.cuda_ext.ops import nearest_code
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
x, book = torch.randn({rows}, 4), torch.randn({size}, 4)
nearest_code(x[:100], book[:40], mode={mode!r})
before = peak()
nearest_code(x, book, mode={mode!r})
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read a peak from")
@pytest.mark.parametrize(("mode", "extension"), [("exact", "off"), ("screened", "auto")])
def test_memory_does_not_grow_with_vectors_times_codes(mode: str, extension: str, monkeypatch):
    """A matrix of all scores would take 480 MB here."""
    monkeypatch.setenv("ECHOIC_EXT", extension)
    code = PEAK.format(rows=30_000, size=4_000, mode=mode)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 90  # MB


def test_ops_compile_into_one_graph():
    """No op breaks the graph, nor do the checks around it."""
    books = draw(2, 1, 9, 6, seed=1)

    def run(x: torch.Tensor) -> torch.Tensor:
        result = residual_quantize(x, pack_codebooks(books))
        return ops.lookup_sum(result.codes, books) + result.quantized

    x = draw(8, 6)
    graph = torch.compile(run, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(graph(x), run(x))
