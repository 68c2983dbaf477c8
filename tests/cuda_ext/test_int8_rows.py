"""Rows as bytes: within half a step, by definition and by kernel, alone as in company."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from echoic.cuda_ext import int8_rows, int8_rows_reference, library, registry
from echoic.cuda_ext.int8_rows import (
    ByteRows,
    rectified_to_bytes,
    rows_to_bytes,
    rows_to_halves,
)

WIDTHS = (1, 3, 16, 33, 512, 1030)


def rows(count: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, width, generator=generator)
    return x * 10.0 ** torch.randint(-6, 7, (count, 1), generator=generator)


def floats(found: ByteRows) -> Tensor:
    return (found.bytes.double() - found.zero) * found.steps.double()[:, None]


@pytest.fixture(params=["torch", "compiled"])
def byte_way(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., object]:
    """Both ways to compute it, of which the kernel must not be passed over in silence."""
    if request.param == "torch":
        monkeypatch.setattr(int8_rows.library, "ready", lambda *_, **__: False)
        return int8_rows_reference.rows_to_bytes
    request.getfixturevalue("compiled_kernels")
    assert library.ready("rows_to_bytes", "cpu", build=False)
    return registry.BODIES["rows_to_bytes"]


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.usefixtures("byte_way")
def test_each_value_is_within_half_a_step(width: int, narrow: bool) -> None:
    x = rows(40, width)
    found = rows_to_bytes(x, narrow=narrow)
    levels = 63 if narrow else 127
    assert found.zero == levels + 1
    torch.testing.assert_close(found.steps, x.abs().amax(1) / levels)
    assert int(found.bytes.max()) <= 2 * levels + 1
    assert int(found.bytes.min()) >= 1
    error = (floats(found) - x.double()).abs()
    assert bool((error <= 0.5001 * found.steps.double()[:, None]).all())
    # The peak itself is exact, whichever sign it has.
    where = x.abs().argmax(1, keepdim=True)
    peaks = found.bytes.int().gather(1, where) - found.zero
    assert bool((peaks.abs() == levels).all())


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.usefixtures("byte_way")
def test_two_halves_are_nearer_by_their_levels(width: int, narrow: bool) -> None:
    x = rows(40, width)
    whole, found = rows_to_bytes(x, narrow=narrow), rows_to_halves(x, narrow=narrow)
    assert torch.equal(found.bytes[:40], whole.bytes)
    assert torch.equal(found.steps[:40], whole.steps)
    upper, lower = floats(found).chunk(2)
    small = found.steps[40:].double()[:, None]
    # Beside half a small step a float32 sum was rounded.
    rounding = 1e-7 * x.double().abs().amax(1, keepdim=True)
    assert bool(((upper + lower - x.double()).abs() <= 0.5001 * small + rounding).all())
    assert bool((small[:, 0] <= 0.51 * whole.steps / (63 if narrow else 127) + 1e-32).all())


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.usefixtures("byte_way")
def test_what_is_between_two_layers(width: int, narrow: bool) -> None:
    x, factor, bias = rows(40, width), rows(1, 40, 1)[0].abs(), rows(1, width, 2)[0]
    found = rectified_to_bytes(x, factor, bias, narrow=narrow)
    expected = (x.double() * factor[:, None] + bias).relu()
    assert found.zero == 0
    error = (floats(found) - expected).abs()
    # x * factor is rounded to float32 before the bias takes most of it away, perhaps.
    rounding = 1e-6 * (x.double() * factor[:, None]).abs().amax(1, keepdim=True)
    assert bool((error <= 0.5001 * found.steps.double()[:, None] + rounding).all())
    assert bool((found.bytes[expected == 0] == 0).all())


@pytest.mark.usefixtures("byte_way")
def test_silence_and_no_rows() -> None:
    found = rows_to_bytes(torch.zeros(2, 5))
    assert bool((found.bytes == found.zero).all())
    assert bool((found.steps > 0).all())
    assert rows_to_bytes(torch.zeros(0, 5)).bytes.shape == (0, 5)
    assert rows_to_bytes(torch.zeros(3, 0)).bytes.shape == (3, 0)
    assert rows_to_halves(torch.zeros(0, 5)).bytes.shape == (0, 5)
    assert bool((floats(rows_to_halves(torch.zeros(2, 5))) == 0).all())
    negative = rectified_to_bytes(-torch.ones(2, 4), torch.ones(2), torch.zeros(4))
    assert int(negative.bytes.max()) == 0
    assert bool((negative.steps > 0).all())


@pytest.mark.parametrize("bad", [float("nan"), -float("nan"), float("inf"), -float("inf")])
@pytest.mark.usefixtures("byte_way")
def test_a_row_that_is_not_finite_says_so_alone(bad: float) -> None:
    x = rows(3, 40)
    x[1, 7] = bad
    found = rows_to_bytes(x)
    assert found.steps.isfinite().tolist() == [True, False, True]
    assert torch.equal(found.bytes[[0, 2]], rows_to_bytes(x[[0, 2]]).bytes)
    assert rows_to_halves(x).steps.isfinite().tolist() == 2 * [True, False, True]
    if bad != -float("inf"):  # which is nothing after the ReLU
        found = rectified_to_bytes(x, torch.ones(3), torch.zeros(40))
        assert found.steps.isfinite().tolist() == [True, False, True]


def test_all_instructions_and_threads_give_the_definition_s_bytes(
    instructions: list[str], threads: None
) -> None:
    body = registry.BODIES["rows_to_bytes"]
    for width in WIDTHS:
        x, factor, bias = rows(300, width), rows(1, 300, 1)[0].abs(), rows(1, width, 2)[0]
        plain = body(x, None, None, False, 127, False)
        between = body(x, factor, bias, True, 255, False)
        first: list[Tensor] | None = None
        for name in instructions:
            library.use_instructions(name)
            for count in (1, 2):
                torch.set_num_threads(count)
                ours, both = rows_to_bytes(x), rectified_to_bytes(x, factor, bias)
                assert torch.equal(ours.bytes, plain[0])
                assert torch.equal(ours.steps, plain[1])
                # Torch may join the product and the sum, and then rounds once less.
                assert int((both.bytes.int() - between[0].int()).abs().max()) <= 1
                torch.testing.assert_close(both.steps, between[1])
                found = [*ours[:2], *both[:2], *rows_to_halves(x)[:2]]
                first = first or found
                assert all(torch.equal(a, b) for a, b in zip(found, first, strict=True))


@pytest.mark.usefixtures("byte_way")
def test_a_row_does_not_know_its_neighbours() -> None:
    x = rows(70, 100)
    together = rows_to_bytes(x)
    for row in range(0, 70, 9):
        alone = rows_to_bytes(x[row : row + 1])
        assert torch.equal(alone.bytes[0], together.bytes[row])
        assert torch.equal(alone.steps[0], together.steps[row])
    assert torch.equal(rows_to_bytes(x.T.contiguous().T).bytes, together.bytes)
    halves, alone = rows_to_halves(x), rows_to_halves(x[9:10])
    assert torch.equal(halves.bytes[[9, 79]], alone.bytes)
    assert torch.equal(halves.steps[[9, 79]], alone.steps)


@pytest.mark.usefixtures("compiled_kernels")
def test_torch_s_rules() -> None:
    x = rows(5, 20)
    op = torch.ops.echoic.rows_to_bytes.default
    torch.library.opcheck(op, (x, None, None, False, 127, False))
    torch.library.opcheck(op, (x, None, None, False, 127, True))
    torch.library.opcheck(op, (x, torch.ones(5), torch.zeros(20), True, 255, False))


def test_nobody_waits_for_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("built")

    monkeypatch.setattr(library, "_outcomes", {})
    monkeypatch.setattr(library, "_found", {})
    monkeypatch.setattr(library, "extension_mode", lambda: "auto")
    monkeypatch.setattr(library, "build", fail)
    nowhere = SimpleNamespace(is_file=lambda: False)
    monkeypatch.setattr(library, "library_path", lambda _: nowhere)
    assert not library.ready("rows_to_bytes", "cpu", build=False)
    assert rows_to_bytes(rows(2, 8)).bytes.shape == (2, 8)
    assert library._outcomes == {}


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"rows must be \(N, D\): got \(3,\)"):
        rows_to_bytes(torch.ones(3))
    with pytest.raises(ValueError, match=r"rows must be \(N, D\): got \(3,\)"):
        rows_to_halves(torch.ones(3))
    with pytest.raises(ValueError, match=r"expected: got \(2, 3\), \(3,\) and \(3,\)"):
        rectified_to_bytes(torch.ones(2, 3), torch.ones(3), torch.ones(3))
