"""silero-vad 6 at 16 kHz: a speech probability for every 512 samples, whole files or live.

The weights come from the installed wheel `silero-vad` (MIT); only its data file is read, because
importing the package calls `torch.set_num_threads(1)` for the whole process. They are taken out of
`silero_vad.jit`: the `silero_vad_16k.safetensors` beside it in 6.2.3 is an earlier training whose
probabilities differ by up to 0.6, while every float32 ONNX file there agrees with the TorchScript.

The network (https://github.com/snakers4/silero-vad): every chunk of 512 samples, together with the
64 samples before it, becomes four magnitude spectra; four convolutions squeeze them into one
vector; an LSTM over the chunks and one unit give the probability. All chunks of a block go through
the convolutions at once and through the LSTM in one call.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SAMPLE_RATE = 16000
"""The only sample rate the weights are good for, in Hz."""

FRAME_SIZE = 512
"""Samples per probability: 32 ms."""

_CONTEXT = 64
_WIDTH = 128
_SPECTRUM_BINS = 129
# 33 s of one stream: bounds the activations to some 20 MB, and is long enough to feed the matrix
# units well.
_BLOCK_FRAMES = 1024
# Up to here, what a call of a convolution costs beside its arithmetic is most of its time.
_FEW_FRAMES = 16


@dataclass(frozen=True, slots=True)
class VadState:
    """What the network remembers between steps.

    Attributes:
        context: the last samples of the chunk before, (B, 64).
        pending: samples that do not fill a chunk yet, (B, R), R < 512.
        hidden: output of the LSTM, (B, 128).
        cell: cell of the LSTM, (B, 128).
    """

    context: Tensor
    pending: Tensor
    hidden: Tensor
    cell: Tensor


class SileroVad(nn.Module):
    """Voice activity at 16 kHz; obeys the Streaming contract.

    The weights are frozen and float32. Rows of a batch share the position of their chunks.

    Attributes:
        frame_size: samples per probability.
        lookahead: samples needed beyond the chunk itself: none.
        sample_rate: Hz of the audio that `step` takes.
    """

    frame_size: int = FRAME_SIZE
    lookahead: int = 0
    sample_rate: int = SAMPLE_RATE

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 2 * _SPECTRUM_BINS, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(_SPECTRUM_BINS, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, _WIDTH, 3, padding=1)
        self.lstm = nn.LSTM(_WIDTH, _WIDTH, batch_first=True)
        self.final_conv = nn.Conv1d(_WIDTH, 1, 1)
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def from_installed(cls) -> Self:
        """Load the weights that the wheel `silero-vad` brings, without importing it.

        Raises:
            ModuleNotFoundError: when silero-vad is not installed.
            FileNotFoundError: when its version carries no TorchScript weights.
            ValueError: when the weights are those of another network.
        """
        spec = find_spec("silero_vad")
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(
                "voice activity detection needs the weights inside the package silero-vad, which "
                "is not installed: pip install 'silero-vad>=6.2'",
                name="silero_vad",
            )
        return cls.from_torchscript(
            Path(spec.submodule_search_locations[0]) / "data" / "silero_vad.jit"
        )

    @classmethod
    def from_torchscript(cls, path: str | Path) -> Self:
        """Load the 16 kHz weights out of a `silero_vad.jit` of version 5 or later.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when the file holds another network.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"no weights at {path}: install a silero-vad that brings silero_vad.jit: "
                "pip install 'silero-vad>=6.2'"
            )
        with warnings.catch_warnings():
            # Deprecated for running models; here it only unpacks tensors.
            warnings.simplefilter("ignore", DeprecationWarning)
            stored = torch.jit.load(str(path), map_location="cpu").state_dict()
        model = cls()
        names = {ours: f"_model.{theirs}" for ours, theirs in _torchscript_names().items()}
        try:
            model.load_state_dict({ours: stored[theirs] for ours, theirs in names.items()})
        except (KeyError, RuntimeError) as e:
            raise ValueError(
                f"{path} does not hold the 16 kHz network of silero-vad 6 ({e}): pass the "
                "silero_vad.jit of silero-vad 6.2 or later"
            ) from e
        return model

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> VadState:
        """Return the state before the first sample of `batch_size` streams.

        Raises:
            ValueError: when `batch_size` is less than 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: expected at least 1 stream")
        device = self.final_conv.weight.device if device is None else device

        def zeros(width: int) -> Tensor:
            return torch.zeros(batch_size, width, device=device, dtype=dtype)

        return VadState(zeros(_CONTEXT), zeros(0), zeros(_WIDTH), zeros(_WIDTH))

    def step(self, state: VadState, x: Tensor) -> tuple[VadState, Tensor]:
        """Take more audio of every stream.

        Args:
            state: what `initial_state` or the step before returned; left unchanged.
            x: float wav at 16 kHz, (B, T), any T >= 0.

        Returns:
            The new state, and the speech probabilities (B, N) of the N chunks that are now full.

        Raises:
            ValueError: when the shape of `x` does not fit the state.
            TypeError: when `x` is not floating point.
        """
        self._check(state, x)
        parts = []
        for block in _blocks(x):
            state, p = self._step_block(state, block)
            parts.append(p)
        return state, parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def finish(self, state: VadState) -> tuple[VadState, Tensor]:
        """End the streams: the last, partial chunk is filled up with zeros.

        Returns:
            A state without pending samples, and probabilities (B, 1), or (B, 0) when the last
            chunk was full.
        """
        rest = state.pending.shape[1]
        if rest == 0:
            return state, state.pending
        zeros = state.pending.new_zeros(state.pending.shape[0], FRAME_SIZE - rest)
        return self.step(state, zeros)

    def probabilities(self, wav: Tensor) -> Tensor:
        """Return the speech probabilities of whole recordings.

        Args:
            wav: float wav at 16 kHz, (B, T) or (T,).

        Returns:
            One probability per started chunk of 512 samples: (B, ceil(T / 512)) or
            (ceil(T / 512),).
        """
        batch = wav if wav.dim() == 2 else wav[None]
        state = self.initial_state(batch.shape[0], device=wav.device, dtype=wav.dtype)
        state, body = self.step(state, batch)
        tail = self.finish(state)[1]
        result = torch.cat([body, tail], dim=1)
        return result if wav.dim() == 2 else result[0]

    def forward(self, wav: Tensor) -> Tensor:
        """Same as `probabilities`."""
        return self.probabilities(wav)

    def _step_block(self, state: VadState, x: Tensor) -> tuple[VadState, Tensor]:
        audio = torch.cat([state.context, state.pending, x], dim=1)
        frames = (audio.shape[1] - _CONTEXT) // FRAME_SIZE
        used = frames * FRAME_SIZE
        # Clones: a view would keep the whole block alive for as long as the state lives.
        pending = audio[:, _CONTEXT + used :].clone()
        if frames == 0:
            kept = VadState(state.context, pending, state.hidden, state.cell)
            return kept, audio.new_zeros(audio.shape[0], 0)
        windows = audio[:, : _CONTEXT + used].unfold(1, _CONTEXT + FRAME_SIZE, FRAME_SIZE)
        outputs, hidden, cell = self._remember(self._encode(windows), state.hidden, state.cell)
        logits = F.linear(outputs.relu(), self.final_conv.weight[..., 0], self.final_conv.bias)
        context = audio[:, used : used + _CONTEXT].clone()
        return VadState(context, pending, hidden, cell), logits[..., 0].sigmoid()

    def _remember(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the LSTM over (B, N, 128); return its outputs and its new memory."""
        if x.shape[1] == 1:  # a live stream's frame: a quarter of the time of the layer below
            hidden, cell = torch.lstm_cell(x[:, 0], (hidden, cell), *self.lstm.all_weights[0])
            return hidden[:, None], hidden, cell
        outputs, (last_hidden, last_cell) = self.lstm(x, (hidden[None], cell[None]))
        return outputs, last_hidden[0], last_cell[0]

    def _encode(self, windows: Tensor) -> Tensor:
        """Turn chunks with their context (B, N, 576) into vectors (B, N, 128)."""
        batch, frames, width = windows.shape
        chunks = windows.reshape(batch * frames, 1, width)
        # The fourth spectrum reaches past the chunk; upstream mirrors instead of waiting.
        parts = _convolve(F.pad(chunks, (0, _CONTEXT), mode="reflect"), self.stft_conv)
        real, imaginary = parts.chunk(2, dim=1)
        x = (real.square() + imaginary.square()).sqrt()
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = _convolve(x, conv).relu()
        return x.reshape(batch, frames, _WIDTH)

    def _check(self, state: VadState, x: Tensor) -> None:
        if x.dim() != 2 or x.shape[0] != state.context.shape[0]:
            raise ValueError(
                f"wav has shape {tuple(x.shape)}: expected ({state.context.shape[0]}, samples), "
                "one mono row per stream of the state; average the channels of a recording first"
            )
        if not x.is_floating_point():
            raise TypeError(f"wav is {x.dtype}: expected floats in [-1, 1]; divide int16 by 32768")


def _convolve(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """Apply a convolution to (N, C, T); as one matrix product, without its overhead, for few."""
    if x.shape[0] > _FEW_FRAMES:
        return conv(x)
    (kernel,), (stride,), padding = conv.kernel_size, conv.stride, conv.padding[0]
    padded = F.pad(x, (int(padding), int(padding))) if padding else x
    windows = padded.unfold(2, kernel, stride).transpose(1, 2).flatten(2)  # (N, T', C * K)
    return F.linear(windows, conv.weight.flatten(1), conv.bias).transpose(1, 2)


def _blocks(x: Tensor) -> Iterator[Tensor]:
    """Cut (B, T) into blocks of bounded size; at least one, even when T is 0."""
    frames = max(1, _BLOCK_FRAMES // x.shape[0])
    yield from x.split(frames * FRAME_SIZE, dim=1)


def _torchscript_names() -> dict[str, str]:
    """Map our tensor names to those of the TorchScript model."""
    names = {"stft_conv.weight": "stft.forward_basis_buffer"}
    for part in ("weight", "bias"):
        for i in range(4):
            names[f"conv{i + 1}.{part}"] = f"encoder.{i}.reparam_conv.{part}"
        # LSTMCell and LSTM order their gates alike.
        for side in ("ih", "hh"):
            names[f"lstm.{part}_{side}_l0"] = f"decoder.rnn.{part}_{side}"
        names[f"final_conv.{part}"] = f"decoder.decoder.2.{part}"
    return names
