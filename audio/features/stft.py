"""Short-time Fourier transform and its inverse, whole or streamed."""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoic.audio.features.framing import FrameFeatures, Framing, PadMode

Padding = Literal["center", "same", "left", "none"]

# Below this the overlapping windows carry no signal; torch.istft has the same limit.
_SILENT_ENVELOPE = 1e-11


def spectrum(frames: Tensor, n_fft: int | None = None) -> Tensor:
    """Return the complex spectrum (..., n_fft // 2 + 1) of real frames (..., length <= n_fft)."""
    if frames.numel() == 0:  # MKL refuses to plan a transform of nothing
        bins = (n_fft or frames.shape[-1]) // 2 + 1
        return (frames.sum(-1, keepdim=True) + 0j).expand(*frames.shape[:-1], bins)
    return torch.fft.rfft(frames, n=n_fft)


def power_spectrum(frames: Tensor, n_fft: int | None = None) -> Tensor:
    """Return |spectrum|^2 (..., n_fft // 2 + 1) of real frames (..., length <= n_fft)."""
    bins = spectrum(frames, n_fft)
    # Half the time of torch.stft(...).abs() ** 2 and a quarter of a matrix transform (30 s of
    # speech on one CPU thread): squares of strided parts need no complex absolute value.
    real, imag = bins.real, bins.imag
    return torch.addcmul(real * real, imag, imag)


def padded_hann(n_fft: int, win_length: int | None) -> Tensor:
    """Return a periodic Hann window of `win_length` in the middle of `n_fft` samples.

    Raises:
        ValueError: when the window is longer than the transform or empty.
    """
    win_length = n_fft if win_length is None else win_length
    if not 0 < win_length <= n_fft:
        raise ValueError(
            f"win_length is {win_length}, expected 1 to {n_fft} (n_fft): shorten the window or "
            "raise n_fft"
        )
    left = (n_fft - win_length) // 2
    return F.pad(torch.hann_window(win_length), (left, n_fft - win_length - left))


def padding_sizes(padding: Padding, n_fft: int, hop: int) -> tuple[int, int]:
    """Return the samples of padding before and after a signal; see `Stft` for the names.

    Raises:
        ValueError: for an unknown name.
    """
    overlap = n_fft - hop
    sizes = {
        "center": (n_fft // 2, n_fft // 2),
        "same": (overlap // 2, overlap - overlap // 2),
        "left": (overlap, 0),
        "none": (0, 0),
    }
    if padding not in sizes:
        raise ValueError(f"padding is {padding!r}, expected one of {', '.join(sizes)}")
    return sizes[padding]


def analysis_framing(
    window: Tensor, hop: int, padding: Padding, pad_mode: PadMode = "reflect"
) -> Framing:
    """Return the framing of an analysis with the given window."""
    left, right = padding_sizes(padding, len(window), hop)
    mode: PadMode = "zeros" if padding == "left" else pad_mode  # a mirror would have to wait
    return Framing(len(window), hop, left, right, mode, first_unused=bool(window[0] == 0))


class Stft(FrameFeatures):
    """Complex spectra (B, T, n_fft // 2 + 1) of waveforms (B, n), with a periodic Hann window.

    Args:
        n_fft: samples in a transform.
        hop: samples between two frames.
        win_length: samples in the window, centred in the transform; `n_fft` when None.
        padding: "center": half a transform on both sides, frame j is centred on sample j * hop and
            there are n // hop + 1 (as `torch.stft`). "same": (n_fft - hop) / 2 on both sides,
            n // hop frames (as vocoders). "left": n_fft - hop zeros before the signal, n // hop
            frames without any look-ahead (causal). "none": only frames that lie inside.
        pad_mode: how "center" and "same" are filled, see `Framing`.

    Raises:
        ValueError: for sizes that do not fit each other.
    """

    window: Tensor

    def __init__(
        self,
        n_fft: int,
        hop: int,
        *,
        win_length: int | None = None,
        padding: Padding = "center",
        pad_mode: PadMode = "reflect",
    ) -> None:
        window = padded_hann(n_fft, win_length)
        super().__init__(analysis_framing(window, hop, padding, pad_mode))
        self.register_buffer("window", window, persistent=False)

    def features(self, frames: Tensor) -> Tensor:
        """Turn frames (B, T, n_fft) into spectra (B, T, n_fft // 2 + 1)."""
        return spectrum(frames * self.window)


class IstftState(NamedTuple):
    """What a streamed overlap-add remembers.

    Attributes:
        tail: (B, n_fft - hop) sum of the windowed frames so far, past the last output.
        envelope: (B, n_fft - hop) sum of their squared windows.
        trim: samples of the padding at the start that are still to be dropped.
        started: whether a frame has arrived.
    """

    tail: Tensor
    envelope: Tensor
    trim: int
    started: bool


class Istft(nn.Module):
    """Waveforms from complex spectra (B, T, n_fft // 2 + 1): the inverse of `Stft`.

    Windowed frames are overlapped, added and divided by the sum of the squared windows; the padding
    that `Stft` put around the signal is dropped, so T frames give (T - 1) * hop samples for
    "center", T * hop for "same" and "left", (T - 1) * hop + n_fft for "none". Where no window
    reaches, the output is 0.

    Args:
        n_fft: samples in a transform.
        hop: samples between two frames.
        win_length: samples in the window, centred in the transform; `n_fft` when None.
        padding: that of the `Stft`.

    Raises:
        ValueError: for sizes that do not fit each other, or windows that leave gaps.
    """

    frame_size = 1
    window: Tensor

    def __init__(
        self,
        n_fft: int,
        hop: int,
        *,
        win_length: int | None = None,
        padding: Padding = "center",
    ) -> None:
        super().__init__()
        window = padded_hann(n_fft, win_length)
        self.n_fft = n_fft
        self.output_size = hop
        self.left, self.right = padding_sizes(padding, n_fft, hop)
        cover = F.pad(window.square(), (0, -n_fft % hop)).view(-1, hop).sum(0)
        if self.right > n_fft - hop or bool((cover < _SILENT_ENVELOPE).any()):
            raise ValueError(
                f"windows of {win_length or n_fft} samples every {hop} leave gaps with padding "
                f"{padding!r}: lower the hop"
            )
        self.lookahead = -(-self.left // hop)
        self.register_buffer("window", window, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Turn whole spectra (B, T, n_fft // 2 + 1) into waveforms (B, samples)."""
        state = self.initial_state(x.shape[0], device=x.device, dtype=x.real.dtype)
        state, body = self.step(state, x)
        return torch.cat([body, self.finish(state)[1]], dim=1)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> IstftState:
        """Return the state before the first frame."""
        zeros = torch.zeros(batch_size, self.n_fft - self.output_size, device=device, dtype=dtype)
        return IstftState(zeros, zeros, self.left, False)

    def step(self, state: IstftState, x: Tensor) -> tuple[IstftState, Tensor]:
        """Take spectra (B, T, n_fft // 2 + 1), T >= 0, and return the samples now complete.

        Raises:
            ValueError: when the spectra have another size.
        """
        if x.dim() != 3 or x.shape[2] != self.n_fft // 2 + 1:
            raise ValueError(
                f"spectra have shape {tuple(x.shape)}, expected (batch, frames, "
                f"{self.n_fft // 2 + 1}): transpose them or change n_fft"
            )
        if x.shape[1] == 0:
            return state, state.tail[:, :0]
        frames = torch.fft.irfft(x, n=self.n_fft) * self.window
        squares = self.window.square().expand(1, x.shape[1], -1)
        total = self._overlap_add(frames, state.tail)
        envelope = self._overlap_add(squares, state.envelope)
        done = x.shape[1] * self.output_size
        trim = min(state.trim, done)
        y = _divide(total[:, trim:done], envelope[:, trim:done])
        # Copies, so that a small state does not keep a large chunk alive.
        tail, envelope = total[:, done:].clone(), envelope[:, done:].clone()
        return IstftState(tail, envelope, state.trim - trim, True), y

    def finish(self, state: IstftState) -> tuple[IstftState, Tensor]:
        """Return the samples under the last frames, and a fresh state."""
        fresh = self.initial_state(
            state.tail.shape[0], device=state.tail.device, dtype=state.tail.dtype
        )
        if not state.started:
            return fresh, state.tail[:, :0]
        kept = slice(state.trim, max(state.trim, state.tail.shape[1] - self.right))
        return fresh, _divide(state.tail[:, kept], state.envelope[:, kept])

    def _overlap_add(self, frames: Tensor, tail: Tensor) -> Tensor:
        count = frames.shape[1]
        length = (count - 1) * self.output_size + self.n_fft
        added = F.fold(
            frames.transpose(1, 2),
            output_size=(1, length),
            kernel_size=(1, self.n_fft),
            stride=(1, self.output_size),
        ).flatten(1)
        return added + F.pad(tail, (0, length - tail.shape[1]))


def _divide(total: Tensor, envelope: Tensor) -> Tensor:
    heard = envelope > _SILENT_ENVELOPE
    return torch.where(heard, total, 0.0) / torch.where(heard, envelope, 1.0)
