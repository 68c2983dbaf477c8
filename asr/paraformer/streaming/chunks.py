"""How a signal is cut into chunks, and which frame and which token sees what.

A chunk owns `stride` frames, its centre. It is encoded in a window that also holds `look_back`
frames before the centre and `look_ahead` frames after it; those beside the centre belong to other
chunks and are heard anew there. The last chunk of a signal owns all frames that are left, at least
`look_ahead` and less than `stride + look_ahead` where there was a chunk before it.

`Paraformer.teach` and `forward` take chunks, to train on whole batches what `TokenStream` and
`ParaformerRecognizer` then run on sound that arrives in pieces; both compute the same.

Shapes: B utterances, T frames, C chunks, W slots of a window.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Chunks:
    """The cut; all in stacked frames (60 ms) or in chunks.

    Attributes:
        look_back: frames before the centre in a window.
        stride: frames of the centre; the delay between two answers.
        look_ahead: frames after the centre in a window; 1 or more, so that the last frames of a
            signal are always encoded with its end.
        encoder_look_back: chunks before a window whose centres its attention also sees.
        decoder_look_back: chunks before its own whose centres a token also sees.
        compat: begin as FunASR does, for its published models: `look_ahead` frames of zeros stand
            before the signal, and are heard. The chunks' borders lie so much earlier, and what is
            looked back at are whole windows, which overlap. For inference alone.
    """

    look_back: int = 5
    stride: int = 10
    look_ahead: int = 5
    encoder_look_back: int = 4
    decoder_look_back: int = 1
    compat: bool = False

    def __post_init__(self) -> None:
        for name, least in (
            ("look_back", 0),
            ("stride", 1),
            ("look_ahead", 1),
            ("encoder_look_back", 0),
            ("decoder_look_back", 0),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} is {value!r}, expected a whole number from {least} on")

    @classmethod
    def parse(cls, sizes: str) -> Self:
        """Read "look_back,stride,look_ahead", for instance "0,10,5"; the rest keeps its default.

        Raises:
            ValueError: anything else.
        """
        try:
            look_back, stride, look_ahead = (int(size) for size in sizes.strip("[] ").split(","))
        except ValueError as error:
            raise ValueError(
                f"chunks are {sizes!r}, expected three numbers of frames: look back, stride, look "
                'ahead, such as "5,10,5"'
            ) from error
        return cls(look_back, stride, look_ahead)

    @property
    def window(self) -> int:
        """W, slots of a window."""
        return self.look_back + self.stride + self.look_ahead

    @property
    def centre(self) -> slice:
        """The slots of a chunk's own frames; those of the last chunk go on to the end."""
        return slice(self.look_back, self.look_back + self.stride)

    @property
    def past(self) -> int:
        """Frames of the past that a window's attention sees."""
        return self.encoder_look_back * self.stride

    @property
    def memory(self) -> int:
        """Frames of the past that a token sees."""
        return self.decoder_look_back * self.stride

    def last(self, lengths: Tensor) -> Tensor:
        """Return the number, from 0, of the last chunk of signals of (B,) frames."""
        return (lengths - self.look_ahead).clamp(min=0).div(self.stride, rounding_mode="floor")


class Grid(NamedTuple):
    """A batch of signals, cut.

    Attributes:
        chunks: the cut.
        frames: (C, W) int64, the frame in each slot; below 0 or behind the end in some.
        valid: (B, C, W), True where a slot holds a frame of the signal.
        own: (B, C, W), True where that frame is one of the chunk's own.
        last: (B,) int64, each signal's last chunk.
        chunk: (B, T) int64, whose own each frame is.
        slot: (B, T) int64, where in the window of that chunk; of frames behind a signal's end, any.
    """

    chunks: Chunks
    frames: Tensor
    valid: Tensor
    own: Tensor
    last: Tensor
    chunk: Tensor
    slot: Tensor

    def windows(self, x: Tensor) -> Tensor:
        """Cut frames (B, T, F), T >= 1, into windows (B, C, W, F); slots without a frame are 0."""
        cut = x[:, self.frames.clamp(0, x.shape[1] - 1)]
        return cut * self.valid[..., None]

    def centres(self, windows: Tensor) -> Tensor:
        """Return (B, T, ...): each frame as its own chunk has it in windows (B, C, W, ...)."""
        batch = torch.arange(len(windows), device=windows.device)[:, None]
        return windows[batch, self.chunk, self.slot]


def cut(lengths: Tensor, frames: int, chunks: Chunks) -> Grid:
    """Cut signals of (B,) lengths, at most `frames` (T) each, into chunks.

    Raises:
        ValueError: `compat` chunks, which only a stream can have.
    """
    if chunks.compat:
        raise ValueError(
            "chunks with compat run as a stream only: use TokenStream, or leave it out"
        )
    device = lengths.device
    last = chunks.last(lengths)
    count = int(chunks.last(torch.tensor(frames))) + 1
    index = torch.arange(count, device=device)[:, None]
    slots = torch.arange(chunks.window, device=device)
    at = index * chunks.stride - chunks.look_back + slots
    inside = (at >= 0) & (at < lengths[:, None, None]) & (index <= last[:, None, None])
    ends = torch.where(index == last[:, None, None], chunks.window, chunks.centre.stop)
    own = inside & (slots >= chunks.look_back) & (slots < ends)
    t = torch.arange(frames, device=device)
    chunk = torch.minimum(t // chunks.stride, last[:, None])
    slot = (t - chunk * chunks.stride + chunks.look_back).clamp(max=chunks.window - 1)
    return Grid(chunks, at, inside, own, last, chunk, slot)


def behind(x: Tensor, chunks: Chunks) -> Tensor:
    """Return what the attention of each chunk sees of the past.

    Args:
        x: (B, C, W, ...) values of all slots.
        chunks: the cut.

    Returns:
        (B, C, P, ...) of the P = encoder_look_back * stride frames before each chunk's centre, 0
        (or False) before the signal's beginning.
    """
    batch, count = x.shape[:2]
    centres = x[:, :, chunks.centre]
    back = chunks.encoder_look_back
    padding = centres.new_zeros(batch, back, *centres.shape[2:])
    padded = torch.cat([padding, centres], dim=1)
    # Chunk i finds itself at i + back: those before it are i to i + back - 1.
    at = torch.arange(count, device=x.device)[:, None] + torch.arange(back, device=x.device)
    return padded[:, at].flatten(2, 3)


def heard_by(token_chunks: Tensor, grid: Grid) -> Tensor:
    """Return which slots each token sees: its own window, and the centres of chunks before it.

    Args:
        token_chunks: (B, N) int64, the chunk in which each token is complete.
        grid: the cut.

    Returns:
        (B, N, C * W), True where seen.
    """
    chunks = grid.chunks
    index = torch.arange(grid.valid.shape[1], device=grid.valid.device)[:, None]
    mine = token_chunks[:, :, None, None]
    before = (index < mine) & (index >= mine - chunks.decoder_look_back)
    slots = torch.arange(chunks.window, device=grid.valid.device)
    centre = (slots >= chunks.centre.start) & (slots < chunks.centre.stop)
    seen = (index == mine) | (before & centre)
    return (seen & grid.valid[:, None]).flatten(2)
