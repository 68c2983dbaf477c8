"""The Streaming contract: state is a value that the caller holds, and sound has not ended.

Laws that every implementation keeps (`tests/streaming_laws.py` checks them): outputs do not depend
on how the input is cut; outputs do not depend on input beyond the look-ahead; the state does not
grow with time; `step` leaves the state it was given as it was; nothing else is remembered.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from echoic.streaming import state as states

S = TypeVar("S")
X = TypeVar("X", contravariant=True)
Y = TypeVar("Y", covariant=True)


class Streaming(Protocol[S, X, Y]):
    """What can run on a signal that arrives in pieces.

    Output k has its own time: input frames [k * frame_size, (k + 1) * frame_size). It depends on
    no input frame from (k + 1) * frame_size + lookahead on, and is given out once those before have
    arrived. Implementations whose outputs are not one per `frame_size` inputs say so by a further
    attribute `output_size`: `frame_size` inputs then make `output_size` outputs (a resampler from
    44 100 to 16 000 Hz has 441 and 160).

    Time is dimension 1: waveforms (B, T), features (B, T, F). Implementations on convolutional
    tensors (B, C, T) say so by the attributes `input_time_dim` and `output_time_dim`.
    """

    @property
    def lookahead(self) -> int:
        """Input frames needed beyond the output's own time."""
        ...

    @property
    def frame_size(self) -> int:
        """Input frames per output frame."""
        ...

    def initial_state(
        self, batch_size: int, *, device: torch.device | str | None, dtype: torch.dtype
    ) -> S:
        """Return the state of `batch_size` streams that have heard nothing yet."""
        ...

    def step(self, state: S, x: X, /) -> tuple[S, Y]:
        """Take any number of input frames, also none; return the next state and what is ready."""
        ...

    def finish(self, state: S) -> tuple[S, Y]:
        """End the streams; return the last state and what was held back for look-ahead."""
        ...


def input_time_dim(module: object) -> int:
    """Return the dimension of a module's input that is time: 1 unless it declares another."""
    return getattr(module, "input_time_dim", 1)


def output_time_dim(module: object) -> int:
    """Return the dimension of a module's output that is time: 1 unless it declares another."""
    return getattr(module, "output_time_dim", 1)


def output_size(module: object) -> int:
    """Return how many output frames `frame_size` input frames make: 1 unless declared."""
    return getattr(module, "output_size", 1)


def run_offline(module: Streaming[Any, Any, Any], x: Tensor) -> Any:
    """Run a whole signal in one step and return all of its output."""
    return run_streamed(module, x, [x.shape[input_time_dim(module)]])


def run_streamed(module: Streaming[Any, Any, Any], x: Tensor, chunk_sizes: Iterable[int]) -> Any:
    """Run a whole signal in chunks and return all of its output, concatenated along time.

    Args:
        module: what to run.
        x: the whole input; floating-point types decide the type of the state.
        chunk_sizes: input frames of each step, 0 allowed. When they end before the signal does,
            the rest is one more step; when they go beyond it, the steps left get no input.

    Raises:
        ValueError: for a negative chunk size.
    """
    dtype = x.dtype if x.is_floating_point() else torch.float32
    time = input_time_dim(module)
    state = module.initial_state(x.shape[0], device=x.device, dtype=dtype)
    outputs, start = [], 0
    for size in [*chunk_sizes, x.shape[time]]:
        if size < 0:
            raise ValueError(f"a chunk of {size} frames, expected 0 or more: drop it from the list")
        size = min(size, x.shape[time] - start)
        state, y = module.step(state, x.narrow(time, start, size))
        outputs.append(y)
        start += size
    outputs.append(module.finish(state)[1])
    return concatenate(outputs, output_time_dim(module))


def concatenate(outputs: Sequence[Any], dim: int) -> Any:
    """Join the outputs of successive steps.

    Tensors are joined along `dim`, (named) tuples, dicts and dataclasses field by field, lists by
    appending, and None with None.

    Raises:
        TypeError: for outputs of any other type.
    """
    first = outputs[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.cat(list(outputs), dim=dim)
    if isinstance(first, list):
        return [item for output in outputs for item in output]
    fields = [states.children(output) for output in outputs]
    if fields[0] is None:
        raise TypeError(
            f"an output is a {type(first).__name__}, expected tensors, lists of events, or tuples "
            "or dataclasses of them: return one of these from step"
        )
    joined = {name: concatenate([f[name] for f in fields if f], dim) for name in fields[0]}
    return states.rebuild(first, joined)


def initial_states(
    modules: Iterable[Streaming[Any, Any, Any]],
    batch_size: int,
    *,
    device: torch.device | str | None,
    dtype: torch.dtype,
) -> tuple[Any, ...]:
    """Return the initial state of each module."""
    return tuple(m.initial_state(batch_size, device=device, dtype=dtype) for m in modules)


def step_through(
    modules: Iterable[Streaming[Any, Any, Any]], state: tuple[Any, ...], x: Any
) -> tuple[tuple[Any, ...], Any]:
    """Step modules that follow each other; `state` holds one state for each."""
    after = []
    for module, before in zip(modules, state, strict=True):
        new, x = module.step(before, x)
        after.append(new)
    return tuple(after), x


def finish_through(
    modules: Iterable[Streaming[Any, Any, Any]], state: tuple[Any, ...]
) -> tuple[tuple[Any, ...], Any]:
    """End modules that follow each other: what each held back passes through those behind it."""
    after, carry = [], None
    for place, (module, before) in enumerate(zip(modules, state, strict=True)):
        outputs = []
        if place > 0:
            before, y = module.step(before, carry)
            outputs.append(y)
        new, y = module.finish(before)
        after.append(new)
        carry = concatenate([*outputs, y], output_time_dim(module))
    return tuple(after), carry


class Chain:
    """Streaming modules one after the other; itself a streaming module. See `chain`."""

    def __init__(self, modules: Sequence[Streaming[Any, Any, Any]]) -> None:
        if not modules:
            raise ValueError("the chain has 0 modules, expected 1 or more: give it what to run")
        self.modules = tuple(modules)
        self.input_time_dim = input_time_dim(modules[0])
        self.output_time_dim = output_time_dim(modules[-1])
        self.frame_size, self.output_size, self.lookahead = 1, 1, 0
        for module in modules:
            self._append(module)

    def _append(self, module: Streaming[Any, Any, Any]) -> None:
        # (frame_size inputs -> output_size outputs) of ours, then (a -> b) of the module's: the
        # smallest blocks that fit together hold output_size * a / gcd frames in between.
        a, b = module.frame_size, output_size(module)
        shared = math.gcd(self.output_size, a)
        blocks_ahead = -(-module.lookahead // self.output_size)
        self.lookahead += self.frame_size * blocks_ahead
        self.frame_size, self.output_size = (
            self.frame_size * (a // shared),
            b * (self.output_size // shared),
        )

    def __call__(self, x: Tensor) -> Any:
        """Run a whole signal."""
        return run_offline(self, x)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[Any, ...]:
        """Return the modules' initial states."""
        return initial_states(self.modules, batch_size, device=device, dtype=dtype)

    def step(self, state: tuple[Any, ...], x: Any) -> tuple[tuple[Any, ...], Any]:
        """Pass `x` through all modules."""
        return step_through(self.modules, state, x)

    def finish(self, state: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
        """End the first module, pass what it held through the others, end the second, and so on."""
        return finish_through(self.modules, state)


def chain(*modules: Streaming[Any, Any, Any]) -> Chain:
    """Compose streaming modules: the output of each is the input of the next.

    The state is the tuple of the modules' states. `frame_size`, `output_size` and `lookahead` are
    those of the whole, in input frames of the first module.

    Raises:
        ValueError: when no module is given.
    """
    return Chain(modules)
