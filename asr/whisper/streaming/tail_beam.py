"""Beam search over the tail: several endings of the text side by side."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from echoic.asr.whisper.streaming.decoder import Part, Past
from echoic.asr.whisper.streaming.engines import Saying
from echoic.asr.whisper.streaming.search import TailSearch
from echoic.streaming.layers.key_values import KeyValues
from echoic.streaming.work import Ask, Work


class Ending(NamedTuple):
    """A tail that the end of text follows.

    Attributes:
        tokens: ids.
        mean_logprob: of the tokens and the end.
    """

    tokens: list[int]
    mean_logprob: float


def beam_tail(
    search: TailSearch,
    fed: Sequence[int],
    past: Past,
    sound: Past,
    *,
    beam_size: int,
    sealed: bool,
    budget: int,
) -> Work[Ending | None]:
    """Return the likeliest tail of at most `budget` tokens, by mean log-probability.

    A hypothesis that ends keeps its place among the `beam_size`, so that an early, unlikely end
    never stops those that still grow.

    Args:
        search: the network and its rules.
        fed: see `TailSearch`.
        past: see `TailSearch`.
        sound: see `TailSearch`.
        beam_size: hypotheses side by side.
        sealed: see `TailSearch`.
        budget: longest tail.

    Returns:
        The best, or None where all of them are longer.
    """
    device, end = search.rules.never.device, search.rules.end
    ids = torch.tensor([list(fed)], device=device)
    question = Saying(Part(ids, past, sound), len(fed) - 1, search.adapter)
    reading, logits = yield Ask(search.engine, question)
    scores = search.scores(logits, sealed=sealed)
    growing: list[list[int]] = [[]]
    totals = torch.zeros(1, device=device)
    ended: list[Ending] = []
    while True:
        sums = scores.log_softmax(-1) + totals[:, None]
        best, index = sums.flatten().topk(beam_size - len(ended))
        rows, values, grown = [], [], []
        for value, place in zip(best.tolist(), index.tolist(), strict=True):
            row, token = divmod(place, scores.shape[1])
            if token == end:
                ended.append(Ending(growing[row], value / (len(growing[row]) + 1)))
            elif value > -torch.inf and len(growing[row]) < budget:
                rows.append(row)
                values.append(value)
                grown.append([*growing[row], token])
        if not grown:
            break
        growing, totals = grown, torch.tensor(values, device=device)
        chosen = torch.tensor(rows, device=device)
        kept = tuple(
            KeyValues(p.keys.index_select(0, chosen), p.values.index_select(0, chosen))
            for p in reading.past
        )
        column = torch.tensor([tokens[-1:] for tokens in growing], device=device)
        question = Saying(Part(column, kept, sound), 0, search.adapter)
        reading, logits = yield Ask(search.engine, question)
        scores = search.scores(logits.transpose(0, 1), sealed=False)
    return max(ended, default=None, key=lambda e: e.mean_logprob)
