"""The laws of the Streaming contract, checked for any implementation.

A `Case` says how to make the module and its input; `streaming_cases.py` lists the cases of the
whole toolkit, and `streaming/test_laws.py` runs every law on every case. Outputs are tensors along
time, or lists of events: things with an `audio_time` in seconds, compared without `compute_ms`.
"""

import dataclasses
import json
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echoic.streaming import state as states
from echoic.streaming.module import (
    Streaming,
    concatenate,
    input_time_dim,
    output_size,
    output_time_dim,
    run_offline,
    run_streamed,
)

TESTS = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """A streaming module under test.

    Attributes:
        name: shown by pytest.
        make: builds the module.
        inputs: input of (batch, frames, generator).
        frames: input frames of a test signal: several times the module's memory.
        tolerance: of outputs, relative to the largest offline output; 0 for integer outputs.
        differentiable: whether gradients pass from output to input.
        settles: input frames after which the state has its full size; `frames` when 0.
        batched: whether several streams share a state; recognisers hear one.
    """

    name: str
    make: Callable[[], Streaming[Any, Any, Any]]
    inputs: Callable[[int, int, torch.Generator], Tensor]
    frames: int
    tolerance: float = 1e-5
    differentiable: bool = True
    settles: int = 0
    batched: bool = True

    @property
    def rows(self) -> int:
        """How many streams a test runs at once."""
        return 2 if self.batched else 1

    def signal(self, batch: int = 0, seed: int = 0, frames: int | None = None) -> Tensor:
        """Return a fresh input of `rows` streams that depends on the seed alone."""
        generator = torch.Generator().manual_seed(seed)
        return self.inputs(batch or self.rows, frames or self.frames, generator)


def noise(*features: int, scale: float = 0.1) -> Callable[[int, int, torch.Generator], Tensor]:
    """Return a generator of Gaussian inputs (batch, frames, *features)."""

    def inputs(batch: int, frames: int, generator: torch.Generator) -> Tensor:
        return scale * torch.randn(batch, frames, *features, generator=generator)

    return inputs


def complex_noise(bins: int) -> Callable[[int, int, torch.Generator], Tensor]:
    """Return a generator of complex Gaussian inputs (batch, frames, bins)."""

    def inputs(batch: int, frames: int, generator: torch.Generator) -> Tensor:
        spectra = torch.randn(batch, frames, bins, dtype=torch.complex64, generator=generator)
        spectra.imag[..., 0] = 0.0  # of a real signal
        spectra.imag[..., -1] = 0.0
        return spectra

    return inputs


def outputs(y: Any) -> list[Tensor]:
    """Return the tensors of an output; lists of events hold none."""
    return [leaf for leaf in states.leaves(_storable(y)).values() if isinstance(leaf, Tensor)]


def comparable(events: Sequence[Any]) -> list[dict[str, Any]]:
    """Return events as plain values, without the time that their work took."""
    plain = [dataclasses.asdict(event) for event in events]
    return [{k: v for k, v in fields.items() if k != "compute_ms"} for fields in plain]


def _storable(y: Any) -> Any:
    """Return an output whose lists of events are text, so that all of it is a state tree."""
    if isinstance(y, list):
        return json.dumps(comparable(y))
    if isinstance(y, tuple) and not hasattr(y, "_fields"):
        return tuple(map(_storable, y))
    return y


def assert_close(case: Case, found: Any, expected: Any) -> None:
    """Compare two outputs to the case's tolerance; events exactly."""
    if isinstance(expected, list):
        assert comparable(found) == comparable(expected)
        return
    pairs = list(zip(outputs(found), outputs(expected), strict=True))
    assert pairs, "the output holds no tensor"
    for a, b in pairs:
        assert a.shape == b.shape
        scale = float(b.abs().max()) if b.numel() else 0.0
        exact = case.tolerance == 0 or not (b.is_floating_point() or b.is_complex())
        torch.testing.assert_close(a, b, rtol=0, atol=0 if exact else case.tolerance * scale)


def random_chunks(frames: int, seed: int) -> list[int]:
    """Return sizes of chunks that make up `frames`: mostly small, some 0 and 1, some large."""
    rng, sizes = random.Random(seed), []
    while sum(sizes) < frames:
        widest = rng.choice([0, 1, 3, frames // 20, frames // 3]) + 1
        sizes.append(rng.randrange(widest))
    return sizes


def steps(module: Any, state: Any, x: Tensor, sizes: Sequence[int]) -> tuple[Any, list[Any]]:
    """Feed the first sum(sizes) frames of `x`; return the state and each step's output."""
    emitted, start = [], 0
    for size in sizes:
        size = min(size, x.shape[input_time_dim(module)] - start)
        state, y = module.step(state, x.narrow(input_time_dim(module), start, size))
        emitted.append(y)
        start += size
    return state, emitted


def fresh(module: Any, batch: int) -> Any:
    """Return the module's initial state on the CPU in float32."""
    return module.initial_state(batch, device="cpu", dtype=torch.float32)


def check_chunk_invariance(case: Case) -> None:
    """Law 1: however the input is cut, the outputs are those of one step with everything."""
    module, x = case.make(), case.signal()
    whole = run_offline(module, x)
    assert not isinstance(whole, list) or whole, f"{case.name}: no event; choose another signal"
    assert_close(case, run_streamed(module, x, [0, 1, 0, 0, 1]), whole)

    @settings(max_examples=12, deadline=None, derandomize=True, database=None)
    @given(seed=st.integers(0, 2**32), cut=st.integers(0, case.frames))
    def any_chunks(seed: int, cut: int) -> None:
        sizes = random_chunks(case.frames, seed)
        assert_close(case, run_streamed(module, x, sizes), whole)
        short = x.narrow(input_time_dim(module), 0, cut)
        assert_close(case, run_streamed(module, short, sizes), run_offline(module, short))

    any_chunks()


def check_whole_call(case: Case) -> None:
    """Law 1: where the module can be called on a whole signal, the stream gives the same."""
    module, x = case.make(), case.signal()
    if callable(module):
        assert_close(case, run_offline(module, x), module(x))


def check_causality(case: Case) -> None:
    """Law 2: outputs depend on no input beyond the look-ahead, and wait for no more than that."""
    module, x, other = case.make(), case.signal(seed=1), case.signal(seed=2)
    time, out_time = input_time_dim(module), output_time_dim(module)
    whole = run_offline(module, x)
    for cut in _cuts(module, case):
        changed = torch.cat(
            [x.narrow(time, 0, cut), other.narrow(time, cut, case.frames - cut)], dim=time
        )
        again = run_offline(module, changed)
        if isinstance(whole, list):
            _check_events(case, module, x.narrow(time, 0, cut), whole, again)
            continue
        settled = settled_outputs(module, cut)
        for a, b in zip(outputs(again), outputs(whole), strict=True):
            kept = min(settled, a.shape[out_time], b.shape[out_time])
            assert_close(case, a.narrow(out_time, 0, kept), b.narrow(out_time, 0, kept))
            # Further back, what changes may lie in a tail too short for an output.
            assert cut > case.frames // 2 or not torch.equal(a, b), "the input changes nothing"
        _, y = module.step(fresh(module, case.rows), x.narrow(time, 0, cut))
        for part in outputs(y):
            assert part.shape[out_time] >= settled, f"{cut} input frames are enough for {settled}"


def _check_events(case: Case, module: Any, x: Tensor, whole: list[Any], again: list[Any]) -> None:
    """Law 2 for events: those of whole sound are known, and told, before any other is heard."""
    cut = x.shape[input_time_dim(module)]

    def settled(events: Sequence[Any]) -> list[Any]:
        horizon = cut - module.lookahead
        return [e for e in events if round(e.audio_time * module.sample_rate) <= horizon]

    told = module.step(fresh(module, case.rows), x)[1]
    assert_close(case, settled(again), settled(whole))
    assert_close(case, told, whole[: len(told)])
    assert len(told) >= len(settled(whole)), f"{cut} input frames are enough for more events"
    assert cut > case.frames // 2 or comparable(again) != comparable(whole), "nothing changes"


def settled_outputs(module: Any, frames: int) -> int:
    """Return how many outputs the first `frames` input frames determine, by what is declared."""
    return max(0, (frames - module.lookahead) // module.frame_size) * output_size(module)


def _cuts(module: Any, case: Case) -> list[int]:
    edge = module.lookahead + module.frame_size * (case.frames // module.frame_size // 3)
    assert 0 < edge < case.frames, f"{case.name}: lengthen the case's signal"
    return [edge - 1, edge, edge + 1, case.frames // 2, case.frames - 1]


def check_gradients(case: Case) -> None:
    """Law 2: the gradient of an output is 0 for every input beyond the look-ahead."""
    module, x = case.make(), case.signal(batch=1, seed=3).requires_grad_()
    time, out_time = input_time_dim(module), output_time_dim(module)
    y = outputs(run_offline(module, x))[0]
    y = torch.view_as_real(y) if y.is_complex() else y
    block = y.shape[out_time] // output_size(module) // 2
    kept = y.narrow(out_time, 0, (block + 1) * output_size(module))
    weights = torch.randn(kept.shape, generator=torch.Generator().manual_seed(4))
    (gradient,) = torch.autograd.grad((kept * weights).sum(), x)
    reach = (block + 1) * module.frame_size + module.lookahead
    assert reach < case.frames, f"{case.name}: lengthen the case's signal"
    assert gradient.narrow(time, 0, reach).abs().max() > 0
    assert gradient.narrow(time, reach, case.frames - reach).abs().max() == 0


def stored_bytes(state: Any) -> int:
    """Return the bytes of the tensors' storages, more than their elements for views, and text."""
    text = sum(len(leaf) for leaf in states.leaves(state).values() if isinstance(leaf, str))
    storages = {
        leaf.untyped_storage().data_ptr(): leaf.untyped_storage().nbytes()
        for leaf in outputs(state)
    }
    return sum(storages.values()) + text


def check_bounded_state(case: Case) -> None:
    """Law 3: six times the signal leaves a state no larger, and no chunk stays alive behind it."""
    module, settles = case.make(), case.settles or case.frames
    chunk, time = max(1, settles // 37), input_time_dim(module)
    x = case.signal(batch=1, frames=6 * settles)
    state, sizes = fresh(module, 1), []
    for start in range(0, x.shape[time], chunk):
        size = min(chunk, x.shape[time] - start)
        state, _ = module.step(state, x.narrow(time, start, size))
        sizes.append(stored_bytes(state))
    early = max(sizes[: settles // chunk])
    # Half as much again, because short signals need not meet every phase of what is held.
    assert max(sizes) <= 1.5 * early + 64
    at_once, _ = module.step(fresh(module, 1), x)
    assert stored_bytes(at_once) <= 1.5 * early + 64


def _same(a: Any, b: Any) -> bool:
    left, right = states.leaves(_storable(a)), states.leaves(_storable(b))
    pairs = zip(left.items(), right.items(), strict=True)
    return all(
        p == q and (torch.equal(x, y) if isinstance(x, Tensor) else x == y)
        for (p, x), (q, y) in pairs
    )


def check_untouched(case: Case) -> None:
    """Law 4: a step changes neither its state nor its input, so futures can branch."""
    module, time = case.make(), input_time_dim(case.make())
    x, half = case.signal(seed=5), case.frames // 2
    state, _ = steps(module, fresh(module, case.rows), x, [half])
    futures = [case.signal(seed=s, frames=case.frames - half) for s in (6, 7)]
    before = states.map_tensors(torch.clone, state), [f.clone() for f in futures]
    first = [_future(module, state, f) for f in futures]
    again = [_future(module, state, f) for f in futures]
    assert _same(state, before[0])
    assert all(torch.equal(f, g) for f, g in zip(futures, before[1], strict=True))
    for future, a, b in zip(futures, first, again, strict=True):
        assert _same(a, b)
        straight = torch.cat([x.narrow(time, 0, half), future], dim=time)
        _, y = steps(module, fresh(module, case.rows), straight, [half])
        assert_close(case, _join(module, [*y, *a]), run_offline(module, straight))


def _future(module: Any, state: Any, x: Tensor) -> tuple[Any, ...]:
    state, emitted = steps(module, state, x, [x.shape[input_time_dim(module)]])
    return (*emitted, module.finish(state)[1])


def _join(module: Any, emitted: Sequence[Any]) -> Any:
    return concatenate(emitted, output_time_dim(module))


def check_input_is_copied(case: Case) -> None:
    """Law 4: a caller may reuse the memory of the input for the next chunk."""
    module, x, time = case.make(), case.signal(seed=8), input_time_dim(case.make())
    state, emitted, start = fresh(module, case.rows), [], 0
    for size in [3, case.frames // 5, case.frames]:
        chunk = x.narrow(time, start, min(size, case.frames - start)).clone()
        state, y = module.step(state, chunk)
        emitted.append(y if isinstance(y, list) else states.map_tensors(torch.clone, y))
        start += chunk.shape[time]
        chunk.zero_()
    emitted.append(module.finish(state)[1])
    assert_close(case, _join(module, emitted), run_offline(module, x))


def check_batching(case: Case) -> None:
    """Law 4: streams share a batch, leave it, swap places, and are replaced row by row."""
    module, sizes = case.make(), random_chunks(case.frames // 2, 9)
    inputs = [case.signal(batch=1, seed=s) for s in (10, 11)]
    rest = [x.narrow(input_time_dim(module), 0, case.frames // 3) for x in inputs]
    alone = [steps(module, fresh(module, 1), x, sizes)[0] for x in inputs]
    expected = [_future(module, s, x) for s, x in zip(alone, rest, strict=True)]
    together = states.stack(alone)
    for a, b in zip(states.split(together), alone, strict=True):
        assert _same(a, b)
    both = torch.cat(rest, dim=0)
    swapped = states.select(together, [1, 0])
    mask = torch.tensor([True, False])
    for order, state in {
        (0, 1): together,
        (1, 0): swapped,
        (1, 1): states.where(mask, swapped, together),
    }.items():
        emitted = _future(module, state, both.index_select(0, torch.tensor(order)))
        for row, stream in enumerate(order):
            own = states.select(emitted, [row])
            assert_close(case, _join(module, own), _join(module, expected[stream]))


def export_case(case: Case, folder: Path) -> Any:
    """Run half a signal, save the state and the other half, and return the expected output."""
    module, x = case.make(), case.signal(seed=12)
    half = case.frames // 2
    state, _ = steps(module, fresh(module, case.rows), x, [half])
    rest = x.narrow(input_time_dim(module), half, case.frames - half)
    states.save(folder / f"{case.name}.state", state)
    states.save(folder / f"{case.name}.input", (rest.contiguous(),))
    return _join(module, _future(module, state, rest))


def continue_case(case: Case, folder: Path) -> None:
    """Load what `export_case` saved, continue, and save the output; runs in another process."""
    module = case.make()
    state = states.load(folder / f"{case.name}.state", fresh(module, 1))
    (rest,) = states.load(folder / f"{case.name}.input", (case.signal(frames=1),))
    output = _storable(_join(module, _future(module, state, rest)))
    states.save(folder / f"{case.name}.output", (output,))


def check_saved(cases: Sequence[Case], folder: Path) -> None:
    """Law 4: states that are saved continue in another process with the same result."""
    expected = {case.name: export_case(case, folder) for case in cases}
    script = (
        f"import sys; sys.path.insert(0, {str(TESTS)!r})\n"
        "import pathlib, streaming_cases, streaming_laws\n"
        "for case in streaming_cases.CASES:\n"
        f"    streaming_laws.continue_case(case, pathlib.Path({str(folder)!r}))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)
    for case in cases:
        (found,) = states.load(folder / f"{case.name}.output", (_storable(expected[case.name]),))
        if isinstance(found, str):
            assert found == _storable(expected[case.name])
        else:
            assert_close(case, found, expected[case.name])
