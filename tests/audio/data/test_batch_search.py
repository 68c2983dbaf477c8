"""The largest batch that fits, whatever limits it."""

import random
from collections.abc import Callable

import pytest
import torch
import training_steps
from lengths import of_all_kinds

from echoic.audio.data.batch_search import search
from echoic.audio.data.batch_trials import CudaTrial, MemoryTrial, TimeTrial
from echoic.audio.data.buckets import Buckets

BUCKETS = Buckets.estimate(*of_all_kinds(2000), 10, 3)


class Costs:
    """A trial that knows what a step costs, and keeps what it was asked."""

    def __init__(self, budget: float, noise: float = 0.0) -> None:
        self.budget = budget
        self.noise = noise
        self.rng = random.Random(0)
        self.asked: list[tuple[int, float, int]] = []

    def most(self, seconds: float, tokens: int) -> float:
        return self.budget / (seconds + seconds**2 / 30 + 0.1 * tokens)

    def fits(self, batch_size: int, seconds: float, tokens: int) -> bool:
        self.asked.append((batch_size, seconds, tokens))
        noise = 1 + self.noise * self.rng.uniform(-1, 1)
        return batch_size <= self.most(seconds, tokens) * noise


def contained(buckets: Buckets) -> list[tuple[int, int]]:
    """The batch sizes of each two buckets of which the second holds all that the first does."""
    pairs = list(zip(buckets.edges, buckets.batch_sizes, strict=True))
    return [
        (size, larger)
        for (seconds, tokens), size in pairs
        for (longer, more), larger in pairs
        if seconds <= longer and tokens <= more
    ]


@pytest.mark.parametrize("budget", [100.0, 400.0, 30_000.0])
def test_sizes_are_near_the_largest_that_fit(budget: float) -> None:
    trial = Costs(budget)
    found = search(BUCKETS, trial)
    assert found.edges == BUCKETS.edges
    for (seconds, tokens), size in zip(found.edges, found.batch_sizes, strict=True):
        most = min(4096, int(trial.most(seconds, tokens)))
        assert size <= most
        assert size >= 0.95 * most - 1
    assert all(size >= larger for size, larger in contained(found))
    assert trial.asked[0] == (32, *BUCKETS.edges[-1])
    assert len(trial.asked) <= 8 * len(BUCKETS)
    assert len(set(trial.asked)) == len(trial.asked)


@pytest.mark.parametrize("noise", [0.03, 0.3])
def test_trials_that_are_not_sure_of_themselves(noise: float) -> None:
    trial = Costs(400.0, noise)
    found = search(BUCKETS, trial)
    assert all(size >= larger for size, larger in contained(found))
    assert len(trial.asked) <= 12 * len(BUCKETS)
    for (seconds, tokens), size in zip(found.edges, found.batch_sizes, strict=True):
        assert size == pytest.approx(trial.most(seconds, tokens), rel=0.1 + noise, abs=1)


def test_limits_of_the_search() -> None:
    assert set(search(BUCKETS, Costs(1e9), most=100).batch_sizes) == {100}
    assert set(search(BUCKETS, Costs(1e9), first=7, most=1).batch_sizes) == {1}
    longest = BUCKETS.edges[-1]
    with pytest.raises(ValueError, match=f"not even one utterance of {longest[0]:g} s"):
        search(BUCKETS, Costs(10.0))
    exact = search(BUCKETS, Costs(400.0), tolerance=0.0)
    assert list(exact.batch_sizes) == [int(Costs(400.0).most(*edge)) for edge in BUCKETS.edges]
    with pytest.raises(ValueError, match="first 0, most 4096"):
        search(BUCKETS, Costs(1.0), first=0)


def test_a_time_budget() -> None:
    now, slow = 0.0, 5.0

    def step(batch_size: int, seconds: float, tokens: int) -> None:
        nonlocal now, slow
        now += batch_size * seconds * 0.01 + slow
        slow = 0.0

    found = search(Buckets(((5.0, 10), (10.0, 10))), TimeTrial(step, 2.0, clock=lambda: now))
    assert found.batch_sizes[1] in (19, 20)
    assert found.batch_sizes[0] in (38, 39, 40)


def test_a_memory_budget() -> None:
    trial = MemoryTrial(training_steps.tiny_step, 2**62)
    base = trial.peak(1, 1.0, 4)
    assert base is not None
    assert base < 2**30
    trial.budget = base + 40 * 2**20
    assert trial.fits(64, 1.0, 4)
    assert not trial.fits(2048, 1.0, 4)


@pytest.mark.parametrize("step", [training_steps.greedy_step, training_steps.ended_step])
def test_memory_that_is_not_there(step: Callable[[int, float, int], None]) -> None:
    assert not MemoryTrial(step, 2**62).fits(8, 1.0, 4)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            training_steps.broken_step,
            r"with 1 utterances of 2 s and 4 tokens failed: KeyError: 'lab",
        ),
        (training_steps.ended_step, "ended its process with -15"),
        (training_steps.endless_step, "takes longer than 0.5 s"),
    ],
)
def test_steps_that_fail_are_no_matter_of_memory(
    step: Callable[[int, float, int], None], message: str
) -> None:
    with pytest.raises(RuntimeError, match=message):
        MemoryTrial(step, 2**62, timeout=0.5 if "longer" in message else 60.0).fits(1, 2.0, 4)


def test_a_gpu_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, _: shares.append(share)
    )
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)

    def step(batch_size: int, seconds: float, tokens: int) -> None:
        if batch_size > 100:
            raise KeyError("batch")
        if batch_size > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")

    trial = CudaTrial(step, "cpu", spare_bytes=8)
    assert trial.fits(8, 1.0, 1)
    assert not trial.fits(9, 1.0, 1)
    with pytest.raises(KeyError):
        trial.fits(101, 1.0, 1)
    assert shares == 3 * [0.9, 1.0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu() -> None:
    total = torch.cuda.get_device_properties(0).total_memory

    def step(batch_size: int, seconds: float, tokens: int) -> None:
        torch.empty(batch_size * total // 64, dtype=torch.uint8, device="cuda")

    (size,) = search(Buckets(((1.0, 1),)), CudaTrial(step)).batch_sizes
    assert 40 <= size <= 57
