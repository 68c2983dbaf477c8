"""How wrong a speech language model was about codes that are known."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from echoic.tts.layouts import EMPTY
from echoic.tts.lm.speech import SpeechLM, Spoken, places


class SpeechLosses(NamedTuple):
    """Losses of a batch.

    Attributes:
        total: first + rest * weight + moves, with gradients.
        first: mean cross entropy of the first book's codes and of the end.
        rest: of all other books; 0 where there is but one.
        by_book: (Q,) of each book.
        accuracy: share of the first book's codes, the end included, that scored best.
        moves: mean binary cross entropy of going on to the next unit; 0 unless text runs along.
    """

    total: Tensor
    first: Tensor
    rest: Tensor
    by_book: Tensor
    accuracy: Tensor
    moves: Tensor


def speech_losses(
    model: SpeechLM,
    spoken: Spoken,
    steps: Tensor,
    step_lengths: Tensor,
    starts: Tensor | None = None,
    text_lengths: Tensor | None = None,
) -> SpeechLosses:
    """Compare scores with the steps that came.

    Args:
        model: whose scores they are.
        spoken: of these steps.
        steps: (B, S, C) int64.
        step_lengths: (B,) of them that count.
        starts: (B, L) the first step of each id, where text runs along.
        text_lengths: (B,) of the ids that count, there.
    """
    books = model.config.frames.num_codebooks
    targets, heard = _targets(model, steps, step_lengths)
    scores = spoken.scores
    losses = functional.cross_entropy(
        scores.flatten(0, 2), targets[:, :, : scores.shape[2]].flatten(), reduction="none",
        ignore_index=EMPTY,
    )  # fmt: skip
    # Losses are float32, even where the scores are not.
    sums, counts = losses.new_zeros(books), losses.new_zeros(books)
    owners = model.books(scores.shape[1], 0)[:, : scores.shape[2]].expand(len(scores), -1, -1)
    owners = owners.flatten()
    known = targets[:, :, : scores.shape[2]].flatten() != EMPTY
    sums = sums.index_add(0, owners, losses)
    counts = counts.index_add(0, owners, known.to(counts))
    if model.depth is not None:
        codes = steps[heard[:, :-1]]
        deep = model.depth(spoken.states[:, :-1][heard[:, :-1]], codes)
        loss = functional.cross_entropy(
            deep.flatten(0, 1), codes[:, 1:].flatten(), reduction="none"
        ).view(-1, books - 1)
        sums = torch.cat([sums[:1], sums[1:] + loss.sum(0)])
        counts = torch.cat([counts[:1], counts[1:] + len(codes)])
    by_book = sums / counts.clamp(min=1)
    first = by_book[0]
    rest = by_book[1:].mean() if books > 1 else first.new_zeros(())
    best = scores[:, :, 0].argmax(-1)
    mine = (targets[:, :, 0] != EMPTY) & (model.books(scores.shape[1], 0)[:, 0] == 0)
    accuracy = (best == targets[:, :, 0])[mine].float().mean()
    moves = first.new_zeros(())
    if spoken.moves is not None and starts is not None and text_lengths is not None:
        moves = _moves_loss(model, spoken.moves, step_lengths, starts, text_lengths)
    total = first + model.config.rest * rest + moves
    return SpeechLosses(total, first, rest, by_book.detach(), accuracy, moves)


def _moves_loss(
    model: SpeechLM, moves: Tensor, step_lengths: Tensor, starts: Tensor, text_lengths: Tensor
) -> Tensor:
    frames = step_lengths - model.layout.delay
    numbers = torch.arange(moves.shape[1] + 1, device=moves.device)
    said = places(starts, text_lengths, numbers)
    last = numbers[:-1] == frames[:, None] - 1
    targets = ((said[:, 1:] > said[:, :-1]) | last).to(moves)
    heard = numbers[:-1] < frames[:, None]
    return functional.binary_cross_entropy_with_logits(moves[heard], targets[heard])


def _targets(model: SpeechLM, steps: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each state should say (B, S + 1, C), EMPTY where it does not matter; what counts.

    The end comes where the first book has no code any more.
    """
    batch, count, channels = steps.shape
    targets = steps.new_full((batch, count + 1, channels), EMPTY)
    targets[:, :-1] = steps
    numbers = torch.arange(count + 1, device=steps.device)
    heard = numbers < lengths[:, None]
    targets[~heard] = EMPTY
    if model.config.text == "along":  # it ends with the last unit
        return targets, heard
    # Books that are delayed more go on for some steps after the first one's last.
    layout = model.layout
    ends = lengths - (0 if layout.flat else layout.delay - layout.delays[0])
    ends = torch.where(lengths > 0, ends, 0)
    targets[torch.arange(batch, device=steps.device), ends, 0] = model.end
    return targets, heard
