"""Integrate-and-fire by its CUDA kernels, against those of the CPU."""

import pytest
import torch
from cif_by_definition import draw
from torch import Tensor

from echoic.cuda_ext import library
from echoic.cuda_ext.cif import cif, cif_step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(autouse=True)
def kernels() -> None:
    if not library.ready("cif", "cuda"):
        pytest.skip("no CUDA kernels; see `echoic env`")


def run(device: str, hidden: Tensor, alphas: Tensor, *others: Tensor | None) -> list[Tensor]:
    """Return tokens, counts, fires and both gradients."""
    leaves = hidden.to(device).requires_grad_(), alphas.to(device).requires_grad_()
    given = (other if other is None else other.to(device) for other in others)
    result = cif(*leaves, *given)
    weights = torch.arange(1, result.tokens.numel() + 1, device=device).view_as(result.tokens)
    grads = torch.autograd.grad((result.tokens * weights.cos()).sum(), leaves)
    return [part.detach().cpu() for part in (*result, *grads)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize(
    ("batch", "frames", "width", "scale"),
    [(1, 1, 1, 0.9), (3, 300, 70, 0.6), (8, 1000, 512, 0.5), (2, 50, 16, 5.0), (2, 0, 4, 0.5)],
)
def test_says_what_the_cpu_says(
    batch: int, frames: int, width: int, scale: float, wanted: bool, dtype: torch.dtype
):
    hidden, alphas = draw(batch, frames, width, scale)
    lengths = torch.arange(batch) * frames // max(batch, 2) + frames // 2
    counts = torch.arange(batch) + frames // 8 if wanted else None
    case = hidden.to(dtype), alphas, lengths, counts
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-10}.get(dtype, 2e-2)
    for one, other in zip(run("cuda", *case), run("cpu", *case), strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_says_the_same_each_time():
    case = draw(8, 700, 200, 0.6)
    first = run("cuda", *case)
    for _ in range(5):
        for one, other in zip(run("cuda", *case), first, strict=True):
            assert torch.equal(one, other)


def test_steps_equal_one_call():
    hidden, alphas = (part.cuda() for part in draw(3, 120, 40, 0.7))
    weight, carry = torch.zeros(3, dtype=torch.float64), torch.zeros(3, 40)
    tokens: list[list[Tensor]] = [[], [], []]
    for some, steps in zip(hidden.split(17, 1), alphas.split(17, 1), strict=True):
        result, weight, carry = cif_step(weight, carry, some, steps)
        for row, count in enumerate(result.counts.tolist()):
            tokens[row].append(result.tokens[row, :count])
    whole = cif(hidden, alphas)
    for row, count in enumerate(whole.counts.tolist()):
        torch.testing.assert_close(torch.cat(tokens[row]), whole.tokens[row, :count])


def test_tells_what_is_wrong():
    hidden, alphas = (part.cuda() for part in draw(3, 20, 4, 0.7))
    alphas[2, 5] = torch.nan
    with pytest.raises(ValueError, match=r"alphas hold a value .* row 2, frame 5"):
        cif(hidden, alphas)
    with pytest.raises(ValueError, match="a length lies outside the frames"):
        cif(hidden, alphas, torch.tensor([20, 21, 3]))
    with pytest.raises(ValueError, match=r"expected 0\.\.3, got 4"):
        cif(hidden[:2], alphas[:2], counts=torch.tensor([2, 4]), max_tokens=3)
