"""Which frames of coded speech say which unit of their text: a hidden Markov model of codes.

A unit is one state that lasts a frame at least; none is left out. What a state emits are tables,
one for each book, so that counting is all there is to learn, and a flat start is enough, as it was
for the phones of the first recognisers (Young et al. 2006, "The HTK Book", section 8.3).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_NEVER = -1e9
# Books say much the same, and neighbouring frames too: without this, one frame outvotes the rest.
_TRUST = 0.8
# Frames of the overall distribution that each unit is taken to have been heard with.
_SMOOTHING = 20.0
_SHORTEST, _LONGEST = 0.02, 0.98  # shares of staying


class Spoken(NamedTuple):
    """Speech and its text, as numbers.

    Attributes:
        frames: (B, T, Q) int64.
        frame_lengths: (B,) of them that count.
        text: (B, L) int64 ids.
        text_lengths: (B,) of them that count, none above its frames.
    """

    frames: Tensor
    frame_lengths: Tensor
    text: Tensor
    text_lengths: Tensor

    @property
    def heard(self) -> Tensor:
        """(B, T) bool: the frames that count."""
        return torch.arange(self.frames.shape[1]) < self.frame_lengths[:, None]

    @property
    def written(self) -> Tensor:
        """(B, L) bool: the ids that count."""
        return torch.arange(self.text.shape[1]) < self.text_lengths[:, None]


class UnitModel(NamedTuple):
    """What each unit sounds like, and how long it lasts.

    Attributes:
        emissions: (Q, U, K) logarithms of how often a unit has each code of each book.
        stay: (U,) share of a unit's frames after which it goes on.
    """

    emissions: Tensor
    stay: Tensor


class Counts(NamedTuple):
    """What was found in speech, to be added up.

    Attributes:
        codes: (Q, U, K) frames of a unit that have a code.
        frames: (U,) frames of a unit.
        units: (U,) how often a unit was said.
        score: logarithm of the likelihood; 0 where none was looked for.
    """

    codes: Tensor
    frames: Tensor
    units: Tensor
    score: float

    def plus(self, other: "Counts") -> "Counts":
        """Return both together."""
        return Counts(
            self.codes + other.codes,
            self.frames + other.frames,
            self.units + other.units,
            self.score + other.score,
        )


def even_shares(speech: Spoken) -> Tensor:
    """Return the guess (B, T, L) that speech goes evenly through its text."""
    place = torch.arange(speech.frames.shape[1]) / speech.frame_lengths[:, None]
    unit = torch.arange(speech.text.shape[1]) + 0.5
    away = (place[:, :, None] * speech.text_lengths[:, None, None] - unit).abs()
    return (-away / 2).masked_fill(~speech.written[:, None], _NEVER).softmax(2)


def shares(speech: Spoken, model: UnitModel) -> tuple[Tensor, float]:
    """Return how likely each frame says each unit (B, T, L), and the score of the whole speech.

    By the forward-backward algorithm; rows beside each other, frames one after the other.
    """
    emitted = _emitted(speech, model)
    batch, frames, _ = emitted.shape
    rows, last = torch.arange(batch), speech.text_lengths - 1
    stay = model.stay[speech.text]
    on, over = stay.log(), (1 - stay).log()
    ahead = torch.full_like(emitted, _NEVER)
    ahead[:, 0, 0] = emitted[:, 0, 0]
    for t in range(1, frames):
        came = functional.pad(ahead[:, t - 1] + over, (1, 0), value=_NEVER)[:, :-1]
        ahead[:, t] = torch.logaddexp(ahead[:, t - 1] + on, came) + emitted[:, t]
    end = torch.full_like(stay, _NEVER)
    end[rows, last] = over[rows, last]
    back = torch.empty_like(emitted)
    back[:, -1] = now = end
    for t in range(frames - 2, -1, -1):
        told = now + emitted[:, t + 1]
        goes = functional.pad(told, (0, 1), value=_NEVER)[:, 1:] + over
        inside = (t < speech.frame_lengths - 1)[:, None]
        back[:, t] = now = torch.where(inside, torch.logaddexp(told + on, goes), end)
    score = (ahead[rows, speech.frame_lengths - 1] + end).logsumexp(1)
    return (ahead + back - score[:, None, None]).exp(), float(score.sum())


def count(speech: Spoken, shares: Tensor, size: int, codes: int, score: float = 0.0) -> Counts:
    """Count codes by units.

    Args:
        speech: B utterances.
        shares: (B, T, L) how likely each frame says each unit.
        size: U, ids of the text.
        codes: K, values of a code.
        score: of the shares.
    """
    shares = shares * speech.heard[:, :, None] * speech.written[:, None]
    books = speech.frames.shape[2]
    found = shares.new_zeros(books, size * codes)
    for book in range(books):
        cells = speech.text[:, None] * codes + speech.frames[:, :, book, None]
        found[book].index_add_(0, cells.flatten(), shares.flatten())
    said = speech.text[speech.written]
    frames = shares.new_zeros(size).index_add_(0, said, shares.sum(1)[speech.written])
    units = torch.bincount(said, minlength=size).to(shares)
    return Counts(found.view(books, size, codes), frames, units, score)


def learn(counts: Counts) -> UnitModel:
    """Return the model that counts speak for."""
    overall = counts.codes.sum(1, keepdim=True) + 1
    overall = overall / overall.sum(2, keepdim=True)
    codes = counts.codes + _SMOOTHING * overall
    stay = 1 - counts.units / counts.frames.clamp(min=1e-3)
    return UnitModel((codes / codes.sum(2, keepdim=True)).log(), stay.clamp(_SHORTEST, _LONGEST))


def first_frames(speech: Spoken, shares: Tensor) -> Tensor:
    """Return the first frame (B, L) of each unit on the likeliest way through each text.

    Each unit has a frame at least; behind a text's end stands the number of frames.
    """
    likely = shares.clamp(min=1e-6).log().masked_fill(~speech.written[:, None], _NEVER)
    batch, frames, units = likely.shape
    best = likely.new_full((batch, units), _NEVER)
    best[:, 0] = likely[:, 0, 0]
    moved = torch.zeros(batch, frames, units, dtype=torch.bool)
    for t in range(1, frames):
        before = functional.pad(best, (1, 0), value=_NEVER)[:, :-1]
        moved[:, t] = before > best
        best = torch.maximum(before, best) + likely[:, t]
    starts = speech.frame_lengths[:, None].expand(-1, units).clone()
    starts[:, 0] = 0
    rows, unit = torch.arange(batch), speech.text_lengths - 1
    for t in range(frames - 1, 0, -1):
        moves = (moved[rows, t, unit] | (unit >= t)) & (t < speech.frame_lengths) & (unit > 0)
        starts[rows[moves], unit[moves]] = t
        unit = unit - moves.long()
    return starts


def _emitted(speech: Spoken, model: UnitModel) -> Tensor:
    books = speech.frames.shape[2]
    tables = model.emissions * min(1.0, _TRUST / books)
    sums = sum(
        tables[book][speech.text[:, None], speech.frames[:, :, book, None]] for book in range(books)
    )
    assert isinstance(sums, Tensor)
    return sums.masked_fill(~speech.written[:, None], _NEVER)
