"""Modules that look at one frame at a time, as members of a streaming network."""

import torch
from torch import Tensor, nn

from echoic.streaming.layers.checks import check_input


class _Stateless(nn.Module):
    """Base of what remembers nothing: the state is (B, 0), the batch size alone."""

    frame_size = 1
    lookahead = 0

    def __init__(self, channels: int, input_time_dim: int, output_time_dim: int) -> None:
        super().__init__()
        self.channels = channels
        self.input_time_dim = input_time_dim
        self.output_time_dim = output_time_dim

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Return the state, (B, 0): how many streams there are, and of what type."""
        return torch.empty(batch_size, 0, device=device, dtype=dtype)

    def step(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return as many frames as come in."""
        return state, self(x)

    def finish(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return no more frames, of the shape that frames have."""
        shape = (self.channels, 0) if self.input_time_dim == 2 else (0, self.channels)
        return state, self(state.new_empty(state.shape[0], *shape))


class Pointwise(_Stateless):
    """A module of each frame alone (activation, linear layer, layer norm) in a streaming network.

    That it mixes no frames is the caller's promise. `nn.GroupNorm` and attention do mix them,
    `nn.BatchNorm1d` does in training; normalisation over channels does not.

    Args:
        module: (B, C, T) -> (B, D, T) for time dimension 2, (B, T, C) -> (B, T, D) for 1.
        channels: C, of the input.
        time_dim: of the input and the output.
        channels_last: the module wants (B, T, C) although the network has (B, C, T): give it that,
            and swap back (`nn.Linear` and `nn.LayerNorm` between convolutions, as in ConvNeXt).

    Raises:
        ValueError: another time dimension than 1 or 2.
    """

    def __init__(
        self,
        module: nn.Module,
        channels: int,
        *,
        time_dim: int = 2,
        channels_last: bool = False,
    ) -> None:
        if time_dim not in (1, 2):
            raise ValueError(f"time_dim is {time_dim}, expected 2 (B, C, T) or 1 (B, T, C)")
        super().__init__(channels, time_dim, time_dim)
        self.module = module
        self.swap = channels_last and time_dim == 2

    def forward(self, x: Tensor) -> Tensor:
        """Apply the module to every frame."""
        check_input(x, self.channels, time_dim=self.input_time_dim)
        return self.module(x.transpose(1, 2)).transpose(1, 2) if self.swap else self.module(x)


class SwapTime(_Stateless):
    """Between convolutions and attention: (B, C, T) -> (B, T, C), or back.

    Args:
        channels: C.
        to: where time lies afterwards: 1 for (B, T, C), 2 for (B, C, T).

    Raises:
        ValueError: another time dimension than 1 or 2.
    """

    def __init__(self, channels: int, *, to: int) -> None:
        if to not in (1, 2):
            raise ValueError(f"to is {to}, expected 2 (B, C, T) or 1 (B, T, C)")
        super().__init__(channels, 3 - to, to)

    def forward(self, x: Tensor) -> Tensor:
        """Swap channels and time."""
        check_input(x, self.channels, time_dim=self.input_time_dim)
        return x.transpose(1, 2)
