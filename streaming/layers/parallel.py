"""Paths side by side whose outputs are added: residual connections, fused receptive fields."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from echoic.streaming.layers.sequential import require_streaming
from echoic.streaming.module import (
    Streaming,
    concatenate,
    initial_states,
    input_time_dim,
    output_size,
    output_time_dim,
)


class ParallelState(NamedTuple):
    """What paths side by side remember.

    Attributes:
        paths: the state of each.
        ahead: for each path the outputs that wait for a slower one, None for nothing. Without
            look-ahead nothing waits, so all states have one shape.
    """

    paths: tuple[Any, ...]
    ahead: tuple[Tensor | None, ...]


class _Sum(nn.Module):
    """Base of what adds the outputs of several paths over one input."""

    mean = False

    def _paths(self) -> list[Streaming[Any, Any, Any]]:
        """Return what runs side by side."""
        raise NotImplementedError

    def _measure(self) -> None:
        paths = self._paths()
        rates = {Fraction(p.frame_size, output_size(p)) for p in paths}
        layouts = {(input_time_dim(p), output_time_dim(p)) for p in paths}
        if len(layouts) != 1 or len(rates) != 1:
            raise ValueError(
                f"paths have (input, output) time dimensions {sorted(layouts)} and input frames "
                f"per output frame {[str(r) for r in sorted(rates)]}, expected one or more paths "
                "that agree: give both paths the same stride and layout"
            )
        self.frame_size = math.lcm(*(p.frame_size for p in paths))
        self.output_size = int(self.frame_size / rates.pop())
        self.lookahead = max(p.lookahead for p in paths)
        self.input_time_dim, self.output_time_dim = layouts.pop()

    def forward(self, x: Tensor) -> Tensor:
        """Run all paths over a whole signal and add up."""
        return self._sum([cast(nn.Module, path)(x) for path in self._paths()])

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> ParallelState:
        """Return the paths' initial states."""
        paths = initial_states(self._paths(), batch_size, device=device, dtype=dtype)
        return ParallelState(paths, (None,) * len(paths))

    def step(self, state: ParallelState, x: Tensor) -> tuple[ParallelState, Tensor]:
        """Take any number of frames and return the sums that all paths are ready for."""
        pairs = zip(self._paths(), state.paths, strict=True)
        stepped = [path.step(before, x) for path, before in pairs]
        outputs = self._join(state.ahead, [y for _, y in stepped])
        time = self.output_time_dim
        ready = min(y.shape[time] for y in outputs)
        # Copies, so that a small state does not keep a large chunk, or the input, alive.
        ahead = tuple(
            y.narrow(time, ready, y.shape[time] - ready).clone() if y.shape[time] > ready else None
            for y in outputs
        )
        after = tuple(new for new, _ in stepped)
        return ParallelState(after, ahead), self._sum([y.narrow(time, 0, ready) for y in outputs])

    def finish(self, state: ParallelState) -> tuple[ParallelState, Tensor]:
        """End all paths and return the rest of their sum."""
        pairs = zip(self._paths(), state.paths, strict=True)
        finished = [path.finish(before) for path, before in pairs]
        outputs = self._join(state.ahead, [y for _, y in finished])
        after = tuple(new for new, _ in finished)
        return ParallelState(after, (None,) * len(after)), self._sum(outputs)

    def _join(self, ahead: Sequence[Tensor | None], new: Sequence[Tensor | None]) -> list[Tensor]:
        """Put new outputs behind those that wait; None stands for no frames."""
        time = self.output_time_dim
        some = next(y for y in new if y is not None)
        nothing = some.narrow(time, 0, 0)
        parts = [[y for y in pair if y is not None] for pair in zip(ahead, new, strict=True)]
        return [concatenate(pair, time) if pair else nothing for pair in parts]

    def _sum(self, outputs: Sequence[Tensor]) -> Tensor:
        shapes = {tuple(y.shape) for y in outputs}
        if len(shapes) != 1:
            raise ValueError(
                f"paths give outputs of shapes {sorted(shapes)}, expected one shape: pad each path "
                "so that it keeps the length, and give the shortcut as many channels"
            )
        total = outputs[0]
        for y in outputs[1:]:
            total = total + y
        return total / len(outputs) if self.mean else total


class StreamingParallel(_Sum):
    """The sum of several streaming paths over one input, each delayed to meet the slowest.

    Args:
        paths: what runs side by side, at one rate, with outputs of one shape for a whole signal.
        mean: divide the sum by the number of paths, as HiFi-GAN's generator does to fuse receptive
            fields (Kong et al. 2020, section 2.2).

    Raises:
        TypeError: a path that does not stream.
        ValueError: no paths, or paths of different rates or layouts.
    """

    def __init__(self, *paths: nn.Module, mean: bool = False) -> None:
        super().__init__()
        self.paths = nn.ModuleList(paths)
        self.mean = mean
        for name, path in self.paths.named_children():
            require_streaming(path, name)
        self._measure()

    def _paths(self) -> list[Streaming[Any, Any, Any]]:
        return cast(list[Streaming[Any, Any, Any]], list(self.paths))


class StreamingResidual(_Sum):
    """A residual connection: the input, or a shortcut of it, delayed to meet the branch, and added.

    Args:
        branch: keeps the length of a whole signal, and without a shortcut the number of channels.
        shortcut: what the input passes through on its way, for instance a convolution with one tap;
            None for nothing.

    Raises:
        TypeError: a path that does not stream.
        ValueError: a branch or shortcut of another rate or layout than the other.
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        require_streaming(branch, "branch")
        self.branch = branch
        self.shortcut = _Input(input_time_dim(branch)) if shortcut is None else shortcut
        require_streaming(self.shortcut, "shortcut")
        self._measure()

    def _paths(self) -> list[Streaming[Any, Any, Any]]:
        return cast(list[Streaming[Any, Any, Any]], [self.shortcut, self.branch])


class _Input(nn.Module):
    """The input as it is; gives None at the end, where nothing tells the number of channels."""

    frame_size = 1
    lookahead = 0

    def __init__(self, time_dim: int) -> None:
        super().__init__()
        self.input_time_dim = self.output_time_dim = time_dim

    def forward(self, x: Tensor) -> Tensor:
        return x

    def initial_state(self, batch_size: int, **_: Any) -> tuple[()]:
        return ()

    def step(self, state: tuple[()], x: Tensor) -> tuple[tuple[()], Tensor]:
        return state, x

    def finish(self, state: tuple[()]) -> tuple[tuple[()], None]:
        return state, None
