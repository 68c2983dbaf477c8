"""The code of the CUDA kernels of integrate-and-fire, run on the CPU thread by thread."""

import ctypes
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from cif_by_definition import draw
from torch import Tensor

from echoic.cuda_ext import cif_reference as reference
from echoic.cuda_ext.build import SOURCES
from echoic.cuda_ext.toolchain import find_cxx

HERE = Path(__file__).parent / "on_host"
FLAGS = ("-std=c++20", "-O1", "-fPIC", "-shared", "-ffp-contract=off", "-Wno-unknown-pragmas")
GOOD, BAD_WEIGHT = -1, -2


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = find_cxx()
    if compiler is None:
        pytest.skip("no C++ compiler")
    path = tmp_path_factory.mktemp("kernels") / "cif.so"
    folders = ["-I", str(HERE), "-I", str(SOURCES / "cuda")]
    command = [compiler, *FLAGS, *folders, str(HERE / "cif.cpp"), "-o", str(path)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(path))


def place(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(0 if tensor is None else tensor.data_ptr())


def whole(value: int) -> ctypes.c_int64:
    return ctypes.c_int64(value)


class Case(NamedTuple):
    """A call: frames, alphas, lengths and wanted counts, and what the sums come to."""

    hidden: Tensor
    alphas: Tensor
    lengths: Tensor | None
    where: reference.Spans
    counts: Tensor
    open_ended: bool

    @property
    def size(self) -> int:
        return int(self.counts.max())


def case_of(frames: int, width: int, scale: float, *, ragged: bool, wanted: bool) -> Case:
    hidden, alphas = draw(3, frames, width, scale)
    alphas = alphas.double()
    lengths = torch.tensor([frames, frames // 3, 0]) if ragged else None
    where = reference.spans(alphas, lengths)
    found = reference.counts_of(where.total, None, None)
    # Fewer and more than there are, and none.
    counts = torch.tensor([int(found[0]) // 2 + 1, int(found[1]) + 3, 0]) if wanted else found
    return Case(hidden, alphas, lengths, where, counts, wanted)


CASES = [
    {"frames": frames, "width": width, "scale": scale, "ragged": ragged, "wanted": wanted}
    for frames, width, scale in ((300, 5, 0.3), (70, 130, 0.9), (12, 40, 4.0), (1, 1, 0.9))
    for ragged, wanted in ((False, False), (True, False), (False, True), (True, True))
]


@pytest.mark.parametrize("how", CASES)
def test_tokens_are_those_of_the_reference(kernels: ctypes.CDLL, how: dict):
    case = case_of(**how)
    batch, frames, width = case.hidden.shape
    tokens = torch.full((batch, case.size, width), torch.nan)
    fires = torch.full((batch, case.size), torch.nan, dtype=torch.float64)
    if case.size > 0:
        kernels.cif_on_host(
            *map(place, (case.hidden, case.alphas, case.lengths, None)),
            *(whole(batch), whole(frames), width, place(case.counts), int(case.open_ended)),
            *(whole(case.size), place(tokens), place(fires), place(None), place(None)),
        )
    want = reference.tokens(case.hidden, case.where, case.counts, case.open_ended, case.size)
    torch.testing.assert_close(tokens, want[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(fires, want[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("how", CASES)
def test_gradients_are_those_of_the_reference(kernels: ctypes.CDLL, how: dict):
    case = case_of(**how)
    batch, frames, width = case.hidden.shape
    # One token more than any row has: what comes back for it must not count.
    grad = torch.randn(batch, case.size + 1, width, generator=torch.Generator().manual_seed(1))
    of_hidden = torch.full_like(case.hidden, torch.nan)
    of_alphas = torch.full_like(case.alphas, torch.nan)
    kernels.cif_backward_on_host(
        *map(place, (grad, case.hidden, case.alphas, case.lengths)),
        *(whole(batch), whole(frames), width, place(case.counts), int(case.open_ended)),
        *(whole(case.size + 1), place(of_hidden), place(of_alphas)),
    )
    want = reference.gradients(grad, case.hidden, case.where, case.counts, case.open_ended)
    torch.testing.assert_close(of_hidden, want[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(of_alphas, want[1], rtol=1e-4, atol=1e-4)


def test_a_stream_goes_on_where_it_was(kernels: ctypes.CDLL):
    hidden, alphas = draw(3, 90, 7, 0.7)
    alphas = alphas.double()
    lengths = torch.tensor([90, 40, 0])
    where = reference.spans(alphas, lengths)
    counts = reference.counts_of(where.total, None, None) + 1
    want, want_fires = reference.tokens(hidden, where, counts, True, int(counts.max()))
    weight, carry = torch.zeros(3, dtype=torch.float64), torch.zeros(3, 7)
    tokens: list[list[Tensor]] = [[], [], []]
    fires: list[list[Tensor]] = [[], [], []]
    for begin, end in ((0, 1), (1, 37), (37, 38), (38, 90)):
        valid = (lengths - begin).clamp(0, end - begin)
        some = hidden[:, begin:end].contiguous()
        steps = alphas[:, begin:end].contiguous()
        report, left = torch.full((4, 3), -7), torch.full((3,), torch.nan, dtype=torch.float64)
        rows, count = whole(3), whole(end - begin)
        kernels.cif_sums_on_host(
            *map(place, (steps, valid, None, weight)), rows, count, place(report), place(left)
        )
        found, size = report[0].clone(), int(report[0].max())
        out = torch.full((3, size, 7), torch.nan)
        times = torch.full((3, size), torch.nan, dtype=torch.float64)
        rest = torch.full((3, 7), torch.nan)
        kernels.cif_on_host(
            *(*map(place, (some, steps, valid, weight)), rows, count, 7, place(found), 0),
            *(whole(size), place(out), place(times), place(carry), place(rest)),
        )
        for row in range(3):
            tokens[row].append(out[row, : found[row]])
            fires[row].append(times[row, : found[row]] + begin)
        weight, carry = left, rest
    for row in range(3):
        own = torch.cat([*tokens[row], carry[row : row + 1]])
        torch.testing.assert_close(own, want[row, : counts[row]], rtol=0, atol=1e-5)
        times = want_fires[row, : counts[row] - 1]
        torch.testing.assert_close(torch.cat(fires[row]), times, rtol=0, atol=1e-9)
    torch.testing.assert_close(weight, where.total - (counts - 1))


def test_sums_report_what_no_sum_can_have(kernels: ctypes.CDLL):
    alphas = torch.full((5, 300), 0.25, dtype=torch.float64)
    alphas[1, 270], alphas[1, 280] = -1, torch.nan
    alphas[2, 299] = torch.inf
    alphas[3, 200] = torch.nan  # behind the length
    lengths, wanted = torch.tensor([300, 300, 300, 100, 301]), torch.tensor([1, 2, 3, 4, -5])
    weights = torch.tensor([1.0, 0, 0, 0.5, 0]).double()
    report, left = torch.full((4, 5), -7), torch.full((5,), torch.nan, dtype=torch.float64)
    kernels.cif_sums_on_host(
        *map(place, (alphas, lengths, wanted, weights)),
        *(whole(5), whole(300), place(report), place(left)),
    )
    assert report[1].tolist() == [BAD_WEIGHT, 270, 299, GOOD, GOOD]
    assert report[0, 3] == 25
    assert left[3] == 0.5
    assert torch.equal(report[2], lengths)
    assert torch.equal(report[3], wanted)
