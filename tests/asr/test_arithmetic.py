import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from echoic.asr import arithmetic
from echoic.asr.arithmetic import (
    CANDIDATES,
    CastLinear,
    Int8Linear,
    Int16x8Linear,
    are_bytes,
    check,
    fastest,
)

NEEDS_INT8 = pytest.mark.skipif(
    "x86" not in torch.backends.quantized.supported_engines, reason="no 8-bit kernels here"
)


def eight_bit(inputs: int, outputs: int, seed: int = 0) -> tuple[nn.Linear, Int8Linear]:
    layer = nn.Linear(inputs, outputs)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(outputs, inputs, generator=generator) * inputs**-0.5)
        layer.bias.copy_(torch.randn(outputs, generator=generator))
    return layer, Int8Linear(layer.weight, layer.bias)


@NEEDS_INT8
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 999),
    rows=st.integers(1, 20),
    sizes=st.sampled_from([(2, 3), (16, 24), (64, 40), (384, 100)]),
    fine=st.booleans(),
)
def test_a_row_does_not_know_its_neighbours(
    seed: int, rows: int, sizes: tuple[int, int], fine: bool
):
    layer, fast = eight_bit(*sizes, seed=seed)
    if fine:
        fast = Int16x8Linear(layer.weight, layer.bias)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, sizes[0], generator=generator)
    x *= 10.0 ** torch.randint(-6, 7, (rows, 1), generator=generator)  # loud and soft ones
    x[rows // 2] = 0
    together = fast(x)
    for row in range(rows):
        assert torch.equal(fast(x[row : row + 1]), together[row : row + 1])
    order = torch.randperm(rows, generator=generator)
    assert torch.equal(fast(x[order]), together[order])
    assert torch.equal(fast(x[:, None])[:, 0], together)


@NEEDS_INT8
def test_zero_huge_and_tiny_rows():
    layer, fast = eight_bit(64, 32)
    assert torch.equal(fast(torch.zeros(3, 64)), layer.bias.expand(3, 32))
    x = torch.randn(1, 64, generator=torch.Generator().manual_seed(1))
    unbiased = Int8Linear(layer.weight, None)
    for power in (-15, -6, 6, 15):
        factor = 2.0 ** (3 * power)
        torch.testing.assert_close(unbiased(x * factor), unbiased(x) * factor, rtol=0, atol=0)
    assert fast(torch.full((1, 64), 1e30)).isfinite().all()
    assert fast(torch.zeros(0, 64)).shape == (0, 32)
    assert fast(torch.zeros(2, 5, 64)).shape == (2, 5, 32)


@NEEDS_INT8
@pytest.mark.parametrize("inputs", [64, 384, 1536])
def test_error_against_float64(inputs: int):
    layer, fast = eight_bit(inputs, 200)
    x = torch.randn(50, inputs, generator=torch.Generator().manual_seed(2))
    exact = x.double() @ layer.weight.double().T + layer.bias.double()
    error = fast(x).double() - exact
    # Half a step of each factor, weights in 255 levels, frames in 128 or 256 between their peaks.
    w_step = layer.weight.double().abs().amax(1) / 127
    x_step = 2 * x.double().abs().amax(1) / 127
    worst = (
        x.double().abs().sum(1)[:, None] * w_step / 2
        + x_step[:, None] / 2 * layer.weight.double().abs().sum(1)
        + inputs * x_step[:, None] * w_step / 4
    )
    assert (error.abs() <= worst).all()
    assert error.std() < 0.03 * (exact - layer.bias).std()


def rounded(weight: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Weights in eight bits a row, with scales of a dtype."""
    scale = (weight.abs().amax(1, keepdim=True) / 127).to(dtype).float()
    return (weight / scale).round().clamp(-127, 127) * scale


@NEEDS_INT8
@pytest.mark.parametrize("inputs", [64, 384, 1536])
@pytest.mark.parametrize("narrow", [False, True])
def test_sixteen_bits_of_activations_are_nearly_all(inputs: int, narrow: bool):
    layer, _ = eight_bit(inputs, 200)
    weight = rounded(layer.weight.detach(), torch.float16)
    fine = Int16x8Linear(weight, layer.bias)
    fine._narrow = narrow
    x = torch.randn(2, 25, inputs, generator=torch.Generator().manual_seed(2))
    x[0, 0, 0] = 50.0  # one that takes the levels from the others
    exact = x.double() @ weight.double().T
    error = fine(x) - layer.bias - exact
    assert error.std() < (3e-4 if narrow else 1e-4) * exact.std()
    assert fine(x).dtype == torch.float32
    unbiased = Int16x8Linear(weight, None)
    for power in (-60, 60):
        torch.testing.assert_close(
            unbiased(x * 2.0**power), unbiased(x) * 2.0**power, rtol=0, atol=0
        )
    assert fine(torch.zeros(0, inputs)).shape == (0, 200)
    assert torch.equal(fine(torch.zeros(3, inputs)), layer.bias.expand(3, 200))
    assert unbiased(torch.full((1, inputs), float("nan"))).isnan().all()


def test_what_was_rounded_to_bytes_is_known():
    weight = torch.randn(20, 48, generator=torch.Generator().manual_seed(0))
    assert not are_bytes(weight)
    assert not are_bytes(weight.half())
    for dtype in (torch.float32, torch.float16):
        assert are_bytes(rounded(weight, dtype))
    assert not are_bytes(rounded(weight.view(40, 24)).view(20, 48)), "two scales a row"
    assert are_bytes(torch.zeros(3, 4))


@NEEDS_INT8
@pytest.mark.parametrize("narrow", [False, True])
def test_two_layers_in_one_are_both_after_each_other(narrow: bool):
    (_, first), (_, second) = eight_bit(64, 200), eight_bit(200, 32, seed=1)
    first._narrow = second._narrow = narrow
    x = torch.randn(3, 17, 64, generator=torch.Generator().manual_seed(2))
    apart, together = second(first(x).relu()), first.rectified(x, second)
    assert together.shape == apart.shape == (3, 17, 32)
    # What is not negative has twice the levels inside of the one layer.
    assert (together - apart).std() < (0.02 if narrow else 0.01) * apart.std()
    assert torch.equal(first.rectified(x[1, 5], second), together[1, 5])


@NEEDS_INT8
def test_seven_bits_do_not_overflow_without_newer_instructions():
    """Peaks everywhere: the most that pairs of 16-bit sums can be asked for."""
    program = """
import torch
from echoic.asr.arithmetic import Int8Linear
signs = torch.randn(64, 512, generator=torch.Generator().manual_seed(0)).sign()
layer = Int8Linear(signs, None)
layer._narrow = True
exact = signs @ signs.T
assert torch.allclose(layer(signs), exact, rtol=0, atol=1e-3), (layer(signs) - exact).abs().max()
"""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("kind", "device", "message"),
    [
        ("int4", "cpu", "unknown arithmetic 'int4': one of auto, float32, bfloat16"),
        ("float16", "cpu", "float16 is for GPUs: on a CPU take auto, float32"),
        ("int8", "cuda", "int8 is for CPUs: on cuda take float16"),
        ("int16x8", "cuda", "int16x8 is for CPUs: on cuda take float16"),
    ],
)
def test_wrong_kinds(kind: str, device: str, message: str):
    with pytest.raises(ValueError, match=message):
        check(kind, torch.device(device))


def test_a_shorter_float_stays_inside_of_its_layer():
    layer = nn.Linear(64, 32)
    x = torch.randn(3, 5, 64, generator=torch.Generator().manual_seed(0))
    short = CastLinear(layer.weight, layer.bias, torch.bfloat16)
    assert short(x).dtype == x.dtype
    torch.testing.assert_close(short(x), layer(x), rtol=0.02, atol=0.02)
    assert not torch.equal(short(x), layer(x))
    unbiased = CastLinear(layer.weight, None, torch.bfloat16)
    torch.testing.assert_close(unbiased(x) + layer.bias, short(x), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({"float32": 1.0, "bfloat16": 1.0, "int8": 1.0}, "float32"),
        ({"float32": 1.0, "bfloat16": 0.9, "int8": 0.85}, "float32"),
        ({"float32": 1.0, "bfloat16": 0.5, "int8": 0.45}, "bfloat16"),
        ({"float32": 1.0, "bfloat16": 0.5, "int8": 0.3}, "int8"),
        ({"float32": 1.0, "bfloat16": 2.0, "int8": 0.7}, "int8"),
    ],
)
def test_the_fastest_kind_must_be_worth_its_loss(
    seconds: dict[str, float], chosen: str, monkeypatch: pytest.MonkeyPatch
):
    """The clock is told what each kind takes; a busy machine shall not decide this."""
    monkeypatch.setattr(arithmetic, "able", lambda kinds: list(CANDIDATES))
    monkeypatch.setattr(arithmetic, "_seconds", lambda trial: trial())
    assert fastest(lambda kind: lambda: seconds[kind]) == chosen


def test_the_clock_measures_this_thread():
    x = torch.randn(300, 300)
    once = min(arithmetic._seconds(lambda: x @ x) for _ in range(5))
    often = min(arithmetic._seconds(lambda: [x @ x for _ in range(40)]) for _ in range(5))
    assert 0 < once < often
