"""Streaming layers one after the other, as a module that owns their parameters."""

from collections import OrderedDict
from typing import Any, cast

import torch
from torch import nn

from echoic.streaming.module import (
    Streaming,
    chain,
    finish_through,
    initial_states,
    step_through,
)


class StreamingSequential(nn.Sequential):
    """`nn.Sequential` of streaming layers: `chain` as an `nn.Module`, with the names of the former.

    `forward` runs the layers' forwards on a whole signal, to train; `step` and `finish` run their
    steps. The rates and the look-ahead are worked out once: exchange a layer only for one of the
    same.

    Args:
        modules: the layers, or one ordered dict of named layers.

    Raises:
        TypeError: a layer that does not stream.
        ValueError: no layers.
    """

    def __init__(self, *modules: nn.Module | OrderedDict[str, nn.Module]) -> None:
        super().__init__(*cast(tuple[nn.Module, ...], modules))
        for name, module in self.named_children():
            require_streaming(module, name)
        whole = chain(*self._layers())
        self.frame_size, self.output_size = whole.frame_size, whole.output_size
        self.lookahead = whole.lookahead
        self.input_time_dim = whole.input_time_dim
        self.output_time_dim = whole.output_time_dim

    def _layers(self) -> list[Streaming[Any, Any, Any]]:
        return cast(list[Streaming[Any, Any, Any]], list(self))

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[Any, ...]:
        """Return the layers' initial states."""
        return initial_states(self._layers(), batch_size, device=device, dtype=dtype)

    def step(self, state: tuple[Any, ...], x: Any) -> tuple[tuple[Any, ...], Any]:
        """Pass `x` through all layers."""
        return step_through(self._layers(), state, x)

    def finish(self, state: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
        """End the layers one by one, and return what they still had."""
        return finish_through(self._layers(), state)


def require_streaming(module: nn.Module, name: str) -> None:
    """Raise when a layer has no `step`.

    Raises:
        TypeError: for such a layer.
    """
    if not hasattr(module, "step"):
        raise TypeError(
            f"layer {name!r} is a {type(module).__name__}, expected one that streams: use its "
            "Streaming... form, or Pointwise(module, channels) if it looks at each frame alone"
        )
