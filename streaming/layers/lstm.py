"""LSTM on a stream: the recurrent middle of SoundStream-like codecs."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from echoic.streaming.layers.checks import check_input


class LSTMState(NamedTuple):
    """What the recurrence remembers.

    Attributes:
        hidden: (B, num_layers, hidden_size).
        cell: (B, num_layers, hidden_size).
    """

    hidden: Tensor
    cell: Tensor


class StreamingLSTM(nn.LSTM):
    """`nn.LSTM` that also runs chunk by chunk; the same parameters and names, one direction.

    Args:
        input_size: C of the input.
        hidden_size: C of the output.
        num_layers: of the recurrence.
        bias: whether the layers have biases.
        skip: add the input to the output, as EnCodec does (Défossez et al. 2022, section 3.1).
        channels_first: the input is (B, C, T), not (B, T, C), and so is the output.

    Raises:
        ValueError: `skip` with sizes that differ.
    """

    frame_size = 1
    lookahead = 0

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        skip: bool = False,
        channels_first: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias=bias, batch_first=True)
        if skip and input_size != hidden_size:
            raise ValueError(
                f"skip adds {input_size} channels to {hidden_size}, expected one number: make the "
                "sizes equal or leave skip out"
            )
        self.skip = skip
        self.input_time_dim = self.output_time_dim = 2 if channels_first else 1

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Run over a whole signal."""
        state = self.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
        return self.step(state, x)[1]

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> LSTMState:
        """Return the state before the first frame."""
        zeros = torch.zeros(
            batch_size, self.num_layers, self.hidden_size, device=device, dtype=dtype
        )
        return LSTMState(zeros, zeros)

    def step(self, state: LSTMState, x: Tensor) -> tuple[LSTMState, Tensor]:
        """Take T >= 0 frames and return as many."""
        check_input(x, self.input_size, time_dim=self.input_time_dim)
        x = x.transpose(1, 2) if self.input_time_dim == 2 else x
        if x.shape[1] == 0:  # torch refuses to run over nothing
            return state, self._nothing(state)
        hidden, cell = (part.transpose(0, 1).contiguous() for part in state)
        y, after = super().forward(x, (hidden, cell))
        y = y + x if self.skip else y
        # Copies, so that a small state does not keep a large output alive.
        copies = (
            part.transpose(0, 1).clone(memory_format=torch.contiguous_format) for part in after
        )
        return LSTMState(*copies), y.transpose(1, 2) if self.input_time_dim == 2 else y

    def finish(self, state: LSTMState) -> tuple[LSTMState, Tensor]:
        """Return no more frames, and a fresh state."""
        hidden = state.hidden
        fresh = self.initial_state(hidden.shape[0], device=hidden.device, dtype=hidden.dtype)
        return fresh, self._nothing(state)

    def _nothing(self, state: LSTMState) -> Tensor:
        shape = (self.hidden_size, 0) if self.input_time_dim == 2 else (0, self.hidden_size)
        return state.hidden.new_empty(state.hidden.shape[0], *shape)
