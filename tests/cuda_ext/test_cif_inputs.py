"""What integrate-and-fire says to wrong inputs, and how it stands with torch's own machinery."""

import os
import subprocess
import sys

import pytest
import torch
from cif_by_definition import draw
from torch import Tensor

from echoic.cuda_ext.cif import cif


@pytest.mark.parametrize("bad", [-1e-9, torch.nan, torch.inf, 1e30])
@pytest.mark.usefixtures("cif_way")
def test_alphas_that_no_sum_can_have_are_told_in_one_line(bad: float):
    hidden, alphas = draw(3, 8, 4, 0.8)
    alphas[2, 5] = bad
    with pytest.raises(ValueError, match=r"alphas hold a value.* at row 2, frame 5") as told:
        cif(hidden, alphas)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("bad", [-1, 9, 1 << 40])
@pytest.mark.usefixtures("cif_way")
def test_lengths_beyond_the_frames_are_told(bad: int):
    hidden, alphas = draw(2, 8, 4, 0.8)
    with pytest.raises(ValueError, match=rf"a length lies .* expected 0\.\.8, got {bad}"):
        cif(hidden, alphas, torch.tensor([8, bad]))


@pytest.mark.usefixtures("cif_way")
def test_negative_counts_are_told():
    hidden, alphas = draw(2, 8, 4, 0.8)
    with pytest.raises(ValueError, match=r"a count of tokens lies .* expected 0\.\., got -1"):
        cif(hidden, alphas, counts=torch.tensor([2, -1]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda h, a: cif(h[0], a), r"\(B, T, D\).*\(8, 4\) and \(2, 8\)"),
        (lambda h, a: cif(h, a[:, 1:]), r"\(2, 8, 4\) and \(2, 7\)"),
        (lambda h, a: cif(h.long(), a), "must be float: got torch.int64"),
        (lambda h, a: cif(h, a.long()), "must be float: .* and torch.int64"),
        (lambda h, a: cif(h, a, torch.tensor([8])), r"lengths must be \(2,\).*got \(1,\)"),
        (lambda h, a: cif(h, a, counts=torch.ones(2)), "counts must be .* torch.float32"),
        (lambda h, a: cif(h, a, max_tokens=-1), "max_tokens must not be negative: got -1"),
        (lambda h, a: cif(h, a.to("meta")), "hidden is on cpu, alphas on meta"),
    ],
)
def test_shapes_and_kinds_that_do_not_fit_are_told(call, words: str):
    with pytest.raises(ValueError, match=words):
        call(*draw(2, 8, 4, 0.8))


@pytest.mark.usefixtures("cif_way")
def test_other_strides_and_dtypes_are_taken():
    hidden, alphas = draw(3, 20, 12, 0.8)
    whole = cif(hidden, alphas)
    spread = torch.zeros(3, 40, 24)
    spread[:, ::2, ::2] = hidden
    for same in (spread[:, ::2, ::2], hidden.transpose(0, 1).contiguous().transpose(0, 1)):
        own = cif(same, alphas.T.contiguous().T)
        torch.testing.assert_close(own.tokens, whole.tokens)
    lengths = torch.full((3,), 20, dtype=torch.int32)
    torch.testing.assert_close(cif(hidden, alphas, lengths).tokens, whole.tokens)
    steps = alphas.bfloat16()
    assert torch.equal(cif(hidden, steps).tokens, cif(hidden, steps.float()).tokens)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.usefixtures("cif_way")
def test_autocast_leaves_the_sum_alone(dtype: torch.dtype):
    hidden, alphas = draw(2, 50, 16, 0.7)
    hidden.requires_grad_()
    alphas.requires_grad_()
    plain = cif(hidden, alphas)
    with torch.autocast("cpu", dtype):
        cast = cif(hidden, alphas)
        torch.testing.assert_close(cast.tokens, plain.tokens)
        mixed = torch.nn.functional.linear(hidden, torch.eye(16))
        assert mixed.dtype == dtype
        tokens = cif(mixed, alphas).tokens
    tokens.float().sum().backward()
    assert torch.equal(cast.fires, plain.fires)
    assert hidden.grad is not None
    assert hidden.grad.abs().sum() > 0


def test_it_compiles_into_one_graph_where_the_size_is_given():
    hidden, alphas = draw(2, 30, 6, 0.6)

    def run(h: Tensor, a: Tensor, counts: Tensor | None) -> Tensor:
        return cif(h * 2, a.sigmoid(), counts=counts, max_tokens=25).tokens.square().sum()

    graph = torch.compile(run, backend="aot_eager", fullgraph=True)
    for counts in (None, torch.tensor([14, 19])):
        grads: list[tuple[Tensor, ...]] = []
        for way in (run, graph):
            leaves = hidden.clone().requires_grad_(), alphas.clone().requires_grad_()
            grads.append(torch.autograd.grad(way(*leaves, counts), leaves))
        for one, other in zip(*grads, strict=True):
            torch.testing.assert_close(one, other)


def test_it_compiles_into_one_graph_where_the_data_decide_the_size():
    def run(h: Tensor, a: Tensor) -> Tensor:
        result = cif(h, a)
        return result.tokens.sum(1) + result.counts[:, None]

    graph = torch.compile(run, backend="aot_eager", fullgraph=True)
    for seed in range(3):
        hidden, alphas = draw(2, 30, 6, 0.9, seed)
        torch.testing.assert_close(graph(hidden, alphas), run(hidden, alphas))


def test_ops_keep_torchs_rules():
    hidden, alphas = draw(2, 30, 6, 0.9)
    leaves = hidden.clone().requires_grad_(), alphas.double().requires_grad_()
    lengths, counts = torch.tensor([30, 21]), torch.tensor([12, 7])
    carry = torch.tensor([0.5, 0.0]).double(), torch.ones(2, 6)
    ops = torch.ops.echoic
    for op, arguments in (
        (ops.cif, (*leaves, None, None, None)),
        (ops.cif, (*leaves, lengths, None, 40)),
        (ops.cif, (*leaves, lengths, counts, None)),
        (ops.cif, (*leaves, None, counts, 12)),
        (ops.cif_backward, (hidden[:, :12], hidden, alphas.double(), lengths, counts, True)),
        (ops.cif_step, (hidden, alphas.double(), None, *carry)),
    ):
        torch.library.opcheck(op.default, arguments)


PEAK = """
import torch
from echoic.cuda_ext.cif import cif
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
torch.set_num_threads(1)
hidden = torch.randn(8, 3000, 512, requires_grad=True)
alphas = torch.full((8, 3000), 0.1, requires_grad=True)
cif(hidden[:, :50], alphas[:, :50]).tokens.sum().backward()
hidden.grad = alphas.grad = None
before = peak()
tokens = cif(hidden, alphas).tokens
forwards = peak()
tokens.backward(torch.ones_like(tokens))
print(forwards - before, peak() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no VmHWM here")
@pytest.mark.usefixtures("compiled_kernels")
def test_no_more_memory_is_taken_than_what_is_returned():
    """Frames are 47 MB: backwards makes one gradient of that size, forwards nothing like it."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    forwards, both = map(float, done.stdout.split())
    assert forwards < 12  # MB; the tokens are 4.7
    assert both < 47 + 24
