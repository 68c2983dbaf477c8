"""Transposed convolution over time, whole or streamed: what codecs and vocoders upsample with."""

from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoic.streaming.layers.checks import check_input
from echoic.streaming.layers.conv import check_plain, drawn


class ConvTransposeState(NamedTuple):
    """What a streamed transposed convolution remembers.

    Attributes:
        tail: (B, out_channels, K - stride) contributions to outputs to come, without the bias.
        trim: frames at the start that are still to be dropped.
        heard: whether a frame has arrived, or does not matter: all that is held will be trimmed.
    """

    tail: Tensor
    trim: int
    heard: bool


class StreamingConvTranspose1d(nn.ConvTranspose1d):
    """`nn.ConvTranspose1d` on (B, C, T) that also runs chunk by chunk; the same parameters.

    With kernel extent K = (kernel_size - 1) * dilation + 1, input frame k adds to frames
    [k * stride, k * stride + K); of these (T - 1) * stride + K frames `trim` are cut off the two
    ends. Trimming the left makes the stream wait: the look-ahead is ceil(left / stride) frames.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel_size: taps.
        stride: output frames per input frame.
        dilation: frames between taps.
        groups: as in `nn.ConvTranspose1d`.
        bias: whether a bias is added.
        trim: (left, right) output frames, or "causal": (0, K - stride) as EnCodec and Mimi, which
            gives T * stride frames without look-ahead. HiFi-GAN's and DAC's `padding=p` and
            `output_padding=q` are (p, p - q).
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: a kernel shorter than the stride, or a trim beyond what overlaps.
    """

    input_time_dim = 2
    output_time_dim = 2
    frame_size = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        trim: tuple[int, int] | Literal["causal"] = "causal",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            bias=bias,
            device=device,
            dtype=dtype,
        )
        self.overlap = (kernel_size - 1) * dilation + 1 - stride
        if self.overlap < 0:
            raise ValueError(
                f"a kernel of {self.overlap + stride} frames and a stride of {stride}, expected a "
                "kernel no shorter than the stride: between the frames would be holes"
            )
        self.left, self.right = (0, self.overlap) if trim == "causal" else trim
        if not (0 <= self.left <= self.overlap and 0 <= self.right <= self.overlap):
            raise ValueError(
                f"trim is {(self.left, self.right)}, expected (left, right) of 0 to {self.overlap} "
                "frames, the kernel less the stride"
            )
        self.output_size = stride
        self.lookahead = -(-self.left // stride)

    @classmethod
    def from_plain(cls, conv: nn.ConvTranspose1d) -> Self:
        """Return a streaming layer that shares the parameters, and has the outputs, of a plain one.

        Raises:
            ValueError: a computed weight (see `StreamingConv1d.from_plain`), or more output
                padding than padding.
        """
        check_plain(conv)
        padding, extra = int(conv.padding[0]), conv.output_padding[0]
        layer = cls(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size[0],
            stride=conv.stride[0],
            dilation=conv.dilation[0],
            groups=conv.groups,
            bias=False,
            trim=(padding, padding - extra),
            device="meta",
        )
        layer.weight, layer.bias = conv.weight, conv.bias
        return layer.train(conv.training)

    def reset_parameters(self) -> None:
        """Draw the parameters, except on the meta device (see `drawn`)."""
        if drawn(self):
            super().reset_parameters()

    def extra_repr(self) -> str:
        """Show the trim beside what `nn.ConvTranspose1d` shows."""
        return f"{super().extra_repr()}, trim=({self.left}, {self.right})"

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Upsample a whole signal (B, C, T) to (B, out_channels, T * stride + ...)."""
        check_input(x, self.in_channels, time_dim=2)
        if x.shape[2] == 0:
            return self._nothing(x)
        y = self._upsample(x)
        return self._add_bias(y[:, :, self.left : y.shape[2] - self.right])

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> ConvTransposeState:
        """Return the state before the first frame."""
        shape = (batch_size, self.out_channels, self.overlap)
        tail = torch.zeros(shape, device=device, dtype=dtype)
        return ConvTransposeState(tail, self.left, heard=self.right == self.overlap)

    def step(self, state: ConvTransposeState, x: Tensor) -> tuple[ConvTransposeState, Tensor]:
        """Take frames (B, C, T), T >= 0, and return the output frames that are complete."""
        check_input(x, self.in_channels, time_dim=2)
        if x.shape[2] == 0:
            return state, self._nothing(x)
        y = self._upsample(x)
        y[:, :, : self.overlap] += state.tail
        done = x.shape[2] * self.output_size
        trim = min(state.trim, done)
        # A copy, so that a small state does not keep a large chunk alive.
        tail = y[:, :, done:].clone()
        return ConvTransposeState(tail, state.trim - trim, True), self._add_bias(y[:, :, trim:done])

    def finish(self, state: ConvTransposeState) -> tuple[ConvTransposeState, Tensor]:
        """Return the output frames under the last kernels, and a fresh state."""
        tail = state.tail
        fresh = self.initial_state(tail.shape[0], device=tail.device, dtype=tail.dtype)
        if not state.heard:
            return fresh, tail[:, :, :0]
        end = max(state.trim, self.overlap - self.right)
        return fresh, self._add_bias(tail[:, :, state.trim : end])

    def _nothing(self, x: Tensor) -> Tensor:
        return x.new_empty(x.shape[0], self.out_channels, 0)

    def _upsample(self, x: Tensor) -> Tensor:
        return F.conv_transpose1d(
            x, self.weight, None, self.stride, 0, 0, self.groups, self.dilation
        )

    def _add_bias(self, y: Tensor) -> Tensor:
        return y if self.bias is None else y + self.bias[:, None]
