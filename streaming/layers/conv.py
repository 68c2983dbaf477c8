"""Convolution over time, whole or streamed: causal, with look-ahead, strided, dilated."""

from typing import Literal, NamedTuple, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoic.streaming.layers.checks import check_input
from echoic.streaming.layers.padding import PAD_MODES, PadMode, extend


class ConvState(NamedTuple):
    """What a streamed convolution remembers.

    Attributes:
        held: (B, C, n) newest frames: those of outputs to come, and what the padding at the end of
            the signal repeats.
        start: frame of `held` at which the kernel of the next output starts; beyond its end when
            the stride skips frames.
        padded: whether the padding before the first frame has been made.
    """

    held: Tensor
    start: int
    padded: bool


class StreamingConv1d(nn.Conv1d):
    """`nn.Conv1d` on (B, C, T) that also runs chunk by chunk; the same parameters and names.

    With kernel extent K = (kernel_size - 1) * dilation + 1, output k covers input frames
    [k * stride - left, k * stride - left + K), and there are (T + left + right - K) // stride + 1.
    `lookahead` is K - left - stride, or 0: a stride-1 kernel looks K - 1 - left frames ahead.
    Reflected padding also waits for the frames that it mirrors. Where `right` is less than
    K - left - stride, the last frames have no output, as in a convolution without padding.

    Padding "causal" is (K - stride, 0): no look-ahead. EnCodec (Défossez et al. 2022, section 3.1)
    and Mimi (Défossez et al. 2024, section 3.3) use it with `pad_end=True`, HiFi-GAN and DAC use
    (n, n).

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel_size: taps.
        stride: input frames per output frame.
        dilation: frames between taps.
        groups: as in `nn.Conv1d`.
        bias: whether a bias is added.
        padding: (left, right) frames, or "causal".
        pad_mode: what the padding holds, see `padding.extend`.
        pad_end: pad the end further, to a whole number of strides, so that no frame is lost:
            "causal" then gives ceil(T / stride) outputs.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: negative padding, an unknown mode, `pad_end` with a kernel shorter than the
            stride.
    """

    input_time_dim = 2
    output_time_dim = 2

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
        padding: tuple[int, int] | Literal["causal"] = "causal",
        pad_mode: PadMode = "zeros",
        pad_end: bool = False,
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
        self.frame_size = stride
        self.extent = (kernel_size - 1) * dilation + 1
        self.left, self.right = (
            (max(0, self.extent - stride), 0) if padding == "causal" else padding
        )
        self.pad_mode: PadMode = pad_mode
        self.pad_end = pad_end
        self._check()
        ahead = max(self.extent - self.left, self._needed_to_start)
        self.lookahead = max(0, ahead - stride)

    @classmethod
    def from_plain(
        cls, conv: nn.Conv1d, *, padding: tuple[int, int] | Literal["causal"] | None = None
    ) -> Self:
        """Return a streaming layer that shares the parameters of a plain one.

        Args:
            conv: the plain layer; a weight that is computed (weight norm) must be made a parameter
                before, or be loaded as a state dict after the same parametrisation.
            padding: other than that of `conv`; None gives the plain layer's outputs.

        Raises:
            ValueError: a computed weight, or circular padding.
        """
        check_plain(conv)
        own, mode = conv.padding, cast(PadMode, conv.padding_mode)
        total = conv.dilation[0] * (conv.kernel_size[0] - 1)
        if own == "same":
            own_pair = (total // 2, total - total // 2)
        else:
            own_pair = (0, 0) if own == "valid" else (int(own[0]), int(own[0]))
        layer = cls(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size[0],
            stride=conv.stride[0],
            dilation=conv.dilation[0],
            groups=conv.groups,
            bias=False,
            padding=own_pair if padding is None else padding,
            pad_mode=mode,
            device="meta",
        )
        layer.weight, layer.bias = conv.weight, conv.bias
        return layer.train(conv.training)

    def reset_parameters(self) -> None:
        """Draw the parameters, except on the meta device (see `drawn`)."""
        if drawn(self):
            super().reset_parameters()

    @property
    def _repeated(self) -> int:
        """Frames that the padding at the end is made of."""
        right = self.right + (self.frame_size - 1 if self.pad_end else 0)
        return {"reflect": right + 1, "replicate": 1, "zeros": 0}[self.pad_mode] if right else 0

    @property
    def _needed_to_start(self) -> int:
        """Frames that must have arrived before the padding before the first can be made.

        For "reflect" also those that the end repeats, so that it never mirrors a mirror.
        """
        if self.pad_mode == "reflect":
            return max(self.left + 1 if self.left else 0, self._repeated)
        return 1 if self.pad_mode == "replicate" and self.left else 0

    def _check(self) -> None:
        if self.left < 0 or self.right < 0:
            raise ValueError(
                f"padding is {(self.left, self.right)}, expected (left, right) frames of 0 or more"
            )
        if self.pad_mode not in PAD_MODES:
            raise ValueError(f"pad_mode is {self.pad_mode!r}, expected one of {PAD_MODES}")
        if self.pad_end and self.extent < self.frame_size:
            raise ValueError(
                f"pad_end with a kernel of {self.extent} frames and a stride of {self.frame_size}: "
                "expected a kernel no shorter than the stride; leave pad_end out, no output is lost"
            )

    def extra_repr(self) -> str:
        """Show the padding beside what `nn.Conv1d` shows."""
        shown = f"{super().extra_repr()}, left={self.left}, right={self.right}"
        return f"{shown}, pad_mode={self.pad_mode!r}" + (", pad_end=True" * self.pad_end)

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Convolve a whole signal (B, C, T) to (B, out_channels, frames)."""
        check_input(x, self.in_channels, time_dim=2)
        right = self._right(self.left + x.shape[2])
        return self._convolve(extend(x, self.left, right, self.pad_mode))

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> ConvState:
        """Return the state before the first frame."""
        padded = self._needed_to_start == 0  # with zeros, so that all states have one shape
        length = self.left if padded else 0
        held = torch.zeros(batch_size, self.in_channels, length, device=device, dtype=dtype)
        return ConvState(held, 0, padded)

    def step(self, state: ConvState, x: Tensor) -> tuple[ConvState, Tensor]:
        """Take frames (B, C, T), T >= 0, and return the outputs that are complete."""
        check_input(x, self.in_channels, time_dim=2)
        nothing = x.new_empty(x.shape[0], self.out_channels, 0)
        if x.shape[2] == 0:
            return state, nothing
        held = torch.cat([state.held, x], dim=2)
        if not state.padded:
            if held.shape[2] < self._needed_to_start:
                return ConvState(held, 0, False), nothing
            held = extend(held, self.left, 0, self.pad_mode)
        y = self._convolve(held[:, :, state.start :])
        start = state.start + y.shape[2] * self.frame_size
        kept = min(start, max(0, held.shape[2] - self._repeated))
        # A copy, so that a small state does not keep a large chunk alive.
        return ConvState(held[:, :, kept:].clone(), start - kept, True), y

    def finish(self, state: ConvState) -> tuple[ConvState, Tensor]:
        """Return the outputs that reach into the padding at the end, and a fresh state."""
        held = state.held
        left = 0 if state.padded else self.left
        right = self._right(left + held.shape[2] - state.start)
        y = self._convolve(extend(held, left, right, self.pad_mode)[:, :, state.start :])
        fresh = self.initial_state(held.shape[0], device=held.device, dtype=held.dtype)
        return fresh, y

    def _right(self, length: int) -> int:
        """Return the padding after `length` frames that start where a kernel does."""
        extra = (self.extent - length - self.right) % self.frame_size if self.pad_end else 0
        return self.right + extra

    def _convolve(self, x: Tensor) -> Tensor:
        if x.shape[2] < self.extent:
            return x.new_empty(x.shape[0], self.out_channels, 0)
        return F.conv1d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def drawn(conv: nn.Conv1d | nn.ConvTranspose1d) -> bool:
    """Return whether the parameters have values to draw.

    On the meta device random numbers draw nothing, and import torch's compiler, two seconds long.
    """
    return not conv.weight.is_meta


def check_plain(conv: nn.Conv1d | nn.ConvTranspose1d) -> None:
    """Raise when the parameters of a plain layer cannot be shared, or its padding not be streamed.

    Raises:
        ValueError: a computed weight, or circular padding.
    """
    if conv.padding_mode not in PAD_MODES:
        raise ValueError(
            f"padding_mode is {conv.padding_mode!r}, expected one of {PAD_MODES}: the end of a "
            "stream cannot be put before its start"
        )
    if "weight" not in conv._parameters:
        raise ValueError(
            "the weight is computed from other parameters, expected a parameter to share: remove "
            "the weight norm first (torch.nn.utils.parametrize.remove_parametrizations)"
        )
