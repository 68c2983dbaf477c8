import io
import math

import pytest
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echoic.audio.resample import Resampler, ResamplerState, filter_reach

RATES = [
    (48000, 16000),
    (44100, 16000),
    (8000, 16000),
    (16000, 24000),
    (22050, 16000),
    (192000, 16000),
    (11025, 16000),
    (44101, 16000),  # no common divisor: the period is a whole second
    (16000, 44100),
]


def noise(rows: int, samples: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, samples, generator=generator) * 2 - 1


def stream(resampler: Resampler, x: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Feeds chunks of the given sizes, in turn, until x is used up."""
    state = resampler.initial_state(x.shape[0])
    out, at, turn = [], 0, 0
    while at < x.shape[1]:
        size = sizes[turn % len(sizes)]
        state, y = resampler.step(state, x[:, at : at + size])
        out.append(y)
        at, turn = at + size, turn + 1
    state, y = resampler.finish(state)
    return torch.cat([*out, y], dim=1)


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
@pytest.mark.parametrize("quality", ["LQ", "HQ", "VHQ"])
def test_streamed_equals_soxr(from_rate: int, to_rate: int, quality: str) -> None:
    resampler = Resampler(from_rate, to_rate, quality)
    x = noise(1, from_rate // 2 + 77)
    whole = torch.from_numpy(soxr.resample(x[0].numpy(), from_rate, to_rate, quality=quality))
    assert torch.equal(resampler(x)[0], whole)
    streamed = stream(resampler, x, [from_rate // 50, 0, 1, 997])
    assert streamed.shape == (1, len(whole))
    assert (streamed[0] - whole).abs().max() < 1e-5


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_lookahead_is_needed_and_enough(from_rate: int, to_rate: int) -> None:
    """The measured reach is neither short nor more than twice what the filter has."""
    reach = filter_reach(from_rate, to_rate, "HQ")
    x = noise(1, from_rate // 2)
    n = from_rate // 4
    changed = x.clone()
    changed[:, n:] = noise(1, x.shape[1] - n, seed=1)
    resampler = Resampler(from_rate, to_rate)
    difference = (resampler(x) - resampler(changed)).abs()[0]
    first = int((difference > 2e-6).nonzero()[0])
    needed = n - first * from_rate / to_rate
    assert needed <= reach <= 2 * needed


@settings(deadline=None, max_examples=60)
@given(
    rates=st.sampled_from(RATES[:7]),
    length=st.integers(0, 3000),
    sizes=st.lists(st.integers(0, 700), min_size=1, max_size=6).filter(any),
    seed=st.integers(0, 2**16),
)
def test_law_1_chunk_invariance(
    rates: tuple[int, int], length: int, sizes: list[int], seed: int
) -> None:
    resampler = Resampler(*rates)
    x = noise(2, length, seed)
    whole = resampler(x)
    streamed = stream(resampler, x, sizes)
    assert streamed.shape == whole.shape == (2, resampler.output_length(length))
    assert torch.allclose(streamed, whole, rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(rates=st.sampled_from(RATES[:7]), cut=st.integers(0, 2500), seed=st.integers(0, 2**16))
def test_law_2_causality(rates: tuple[int, int], cut: int, seed: int) -> None:
    resampler = Resampler(*rates)
    x = noise(1, 2500, seed)
    changed = x.clone()
    changed[:, cut:] = noise(1, 2500 - cut, seed + 1)
    # Outputs at input time t with t + lookahead < cut.
    safe = max(0, math.ceil((cut - resampler.lookahead) * rates[1] / rates[0]))
    before = resampler(x)[:, :safe]
    assert torch.allclose(before, resampler(changed)[:, :safe], rtol=0, atol=1e-5)
    _, settled = resampler.step(resampler.initial_state(1), x[:, :cut])
    assert settled.shape[1] == safe
    assert torch.allclose(settled, before, rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(rates=st.sampled_from(RATES), size=st.integers(1, 3000))
def test_law_3_bounded_state(rates: tuple[int, int], size: int) -> None:
    resampler = Resampler(*rates)
    period = rates[0] // math.gcd(*rates)
    bound = 2 * resampler.lookahead + period + math.ceil(rates[0] / rates[1]) + 1
    state = resampler.initial_state(1)
    for _ in range(40):
        state, _ = resampler.step(state, torch.zeros(1, size))
        assert state.past.shape[1] <= bound
        assert state.past.untyped_storage().nbytes() == state.past.numel() * 4


@settings(deadline=None, max_examples=30)
@given(rates=st.sampled_from(RATES[:7]), cut=st.integers(0, 2000), seed=st.integers(0, 2**16))
def test_law_4_value_semantics(rates: tuple[int, int], cut: int, seed: int) -> None:
    resampler = Resampler(*rates)
    x = noise(3, 2000, seed)
    state, head = resampler.step(resampler.initial_state(3), x[:, :cut])
    kept = state.past.clone()
    # Another stream branches off, then the first goes on, from a copy that went through a file.
    resampler.finish(resampler.step(state, torch.ones(3, 300))[0])
    assert torch.equal(state.past, kept)
    buffer = io.BytesIO()
    fields = (state.past, state.start, state.received, state.emitted)
    torch.save(fields, buffer)
    buffer.seek(0)
    loaded = ResamplerState(*torch.load(buffer, weights_only=True))
    again = Resampler(*rates)
    middle, tail = again.step(loaded, x[:, cut:])
    out = torch.cat([head, tail, again.finish(middle)[1]], dim=1)
    assert torch.allclose(out, resampler(x), rtol=0, atol=1e-5)


def test_rows_do_not_touch_each_other() -> None:
    resampler = Resampler(44100, 16000)
    x = noise(4, 5000)
    assert torch.equal(resampler(x)[2:3], resampler(x[2:3]))
    assert torch.allclose(stream(resampler, x, [441])[2:3], resampler(x[2:3]), rtol=0, atol=1e-5)


def test_row_reset_by_zeroing_its_past() -> None:
    resampler = Resampler(48000, 16000)
    x = noise(2, 9600)
    state, _ = resampler.step(resampler.initial_state(2), x[:, :4800])
    mask = torch.tensor([[1.0], [0.0]])
    reset = ResamplerState(state.past * mask, state.start, state.received, state.emitted)
    middle, y = resampler.step(reset, x[:, 4800:])
    y = torch.cat([y, resampler.finish(middle)[1]], dim=1)
    silence_before = torch.cat([torch.zeros(1, 4800), x[1:, 4800:]], dim=1)
    assert torch.allclose(y[0], resampler(x)[0, -y.shape[1] :], rtol=0, atol=1e-5)
    assert torch.allclose(y[1], resampler(silence_before)[0, -y.shape[1] :], rtol=0, atol=1e-5)


def test_a_long_stream_does_not_drift() -> None:
    """Ten minutes: exact length, and the end is as right as the beginning."""
    resampler = Resampler(11025, 16000)
    x = noise(1, 600 * 11025 + 3)
    whole = resampler(x)
    streamed = stream(resampler, x, [11025])
    assert streamed.shape == whole.shape
    assert (streamed - whole)[:, -16000:].abs().max() < 1e-5


def test_identity_is_exact_and_double_is_kept() -> None:
    x = noise(2, 100)
    assert torch.equal(Resampler(16000, 16000)(x), x)
    assert torch.equal(stream(Resampler(16000, 16000), x, [7, 0, 1]), x)
    y = Resampler(8000, 16000)(x.double())
    assert y.dtype == torch.float64
    state, first = Resampler(8000, 16000).step(
        Resampler(8000, 16000).initial_state(2, dtype=torch.float64), x
    )
    assert first.dtype == state.past.dtype == torch.float64


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 0), (0, 5), (2, 3, 40), (2, 1, 0)], ids=str)
def test_shapes(shape: tuple[int, ...]) -> None:
    resampler = Resampler(44100, 16000)
    y = resampler(torch.ones(shape))
    assert y.shape == (*shape[:-1], resampler.output_length(shape[-1]))
    assert Resampler(8000, 8000)(torch.ones(shape)).shape == shape
    if y.numel():
        assert torch.equal(y.flatten(0, -2)[0], resampler(torch.ones(shape[-1])))


def test_a_tone_keeps_its_pitch_and_level() -> None:
    t = torch.arange(48000, dtype=torch.float64) / 48000
    y = Resampler(48000, 16000)(torch.sin(2 * torch.pi * 1000 * t))
    expected = torch.sin(2 * torch.pi * 1000 * torch.arange(16000, dtype=torch.float64) / 16000)
    assert (y - expected)[200:-200].abs().max() < 1e-4
    above = Resampler(48000, 16000)(torch.sin(2 * torch.pi * 9000 * t))
    assert above[200:-200].abs().max() < 1e-4  # beyond 8 kHz there must be nothing


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="to_rate is 0"):
        Resampler(16000, 0)
    with pytest.raises(ValueError, match="quality is 'best'"):
        Resampler(16000, 8000, "best")
    resampler = Resampler(16000, 8000)
    with pytest.raises(ValueError, match=r"\(2, samples\)"):
        resampler.step(resampler.initial_state(2), torch.zeros(3, 10))
