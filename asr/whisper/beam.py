"""Beam search over a batch of windows."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from echoic.asr.guards import is_looping
from echoic.asr.whisper.hypothesis import Hypothesis, SearchTask, as_index
from echoic.asr.whisper.rules import RowHistory


@dataclass(slots=True)
class _Beam:
    """The hypotheses of one window: those that grow and those that have ended."""

    window: int
    budget: int
    growing: list[list[int]]
    scores: list[float]
    ended: list[tuple[list[int], float]] = field(default_factory=list[tuple[list[int], float]])
    loops: bool = False
    closed: bool = False

    def advance(
        self, candidates: list[tuple[float, int, int]], width: int, wanted: int, end: int
    ) -> tuple[list[int], list[int]]:
        """Take the best candidates (score, source beam, token), best first.

        Returns:
            The source beam and the new token of each of the `width` growing hypotheses.
        """
        sources: list[int] = []
        tokens: list[int] = []
        growing: list[list[int]] = []
        scores: list[float] = []
        for score, source, token in candidates:
            if len(growing) == width:
                break
            if token == end:
                if score > -torch.inf:  # few tokens are possible at first: the rest fill the beam
                    self.ended.append((self.growing[source], score))
                continue
            sources.append(source)
            tokens.append(token)
            growing.append([*self.growing[source], token])
            scores.append(score)
        self.growing, self.scores = growing, scores
        self.loops = is_looping(growing[0])
        self.closed = len(self.ended) >= wanted or len(growing[0]) >= self.budget or self.loops
        return sources, tokens

    def best(self, length_penalty: float | None, silence: float) -> Hypothesis:
        """Return the hypothesis with the best score for its length."""
        # A beam that loops is not saved by an early, shorter end: the fallback must see it.
        complete = bool(self.ended) and not self.loops
        pool = self.ended if complete else list(zip(self.growing, self.scores, strict=True))

        def rank(item: tuple[list[int], float]) -> float:
            length = len(item[0]) or 1
            norm = length if length_penalty is None else ((5 + length) / 6) ** length_penalty
            return item[1] / norm

        tokens, score = max(pool, key=rank)
        return Hypothesis(tuple(tokens), score, silence, complete)


def beam_search(
    task: SearchTask, *, beam_size: int, patience: float = 1.0, length_penalty: float | None = None
) -> list[Hypothesis]:
    """Return the best hypothesis of each window.

    Args:
        task: the windows.
        beam_size: hypotheses that grow side by side.
        patience: a window is done when `patience * beam_size` hypotheses have ended.
        length_penalty: see `TranscribeOptions`.
    """
    width, wanted = beam_size, max(1, round(patience * beam_size))
    scores, silence = task.prefill()
    device = scores.device
    cache = task.cache.repeat_windows(width) if width > 1 else task.cache
    scores = scores.repeat_interleave(width, dim=0)
    limits = task.time_limits.repeat_interleave(width)
    history = RowHistory.start(len(scores), device)
    beams = [
        _Beam(w, budget, [[] for _ in range(width)], [0.0] + [-torch.inf] * (width - 1))
        for w, budget in enumerate(task.budgets)
    ]
    open_beams = beams
    first = True
    while True:
        task.rules.apply(scores, history, limits, first=first)
        totals = torch.tensor([b.scores for b in open_beams], device=device)
        rows, tokens = _step(open_beams, scores, totals, wanted, task.end)
        history = history.select(rows)
        task.rules.advance(history, tokens, first=first)
        cache.reorder_rows(rows)
        going = [i for i, beam in enumerate(open_beams) if not beam.closed]
        if not going:
            break
        if len(going) * 2 <= len(open_beams):
            windows = as_index(going, device)
            kept = (windows[:, None] * width + torch.arange(width, device=device)).flatten()
            cache, history = cache.keep_windows(windows), history.select(kept)
            limits, tokens = limits[kept], tokens[kept]
            open_beams = [open_beams[i] for i in going]
        scores = task.decoder.logits(task.decoder(tokens[:, None], cache)[:, -1])
        first = False
    return [beam.best(length_penalty, float(silence[beam.window])) for beam in beams]


def _step(
    beams: list[_Beam], scores: Tensor, totals: Tensor, wanted: int, end: int
) -> tuple[Tensor, Tensor]:
    """Advance every open beam; return the source row and the token of each row."""
    width, vocab = totals.shape[1], scores.shape[1]
    logprobs = scores.log_softmax(1).unflatten(0, (-1, width)) + totals[:, :, None]
    # At most one candidate of each hypothesis ends, so twice the width always fills the beam.
    best, index = logprobs.flatten(1).topk(2 * width)
    rows: list[int] = []
    tokens: list[int] = []
    for place, (beam, values, places) in enumerate(
        zip(beams, best.tolist(), index.tolist(), strict=True)
    ):
        if beam.closed:  # its rows are carried along until the batch is made smaller
            rows += range(place * width, (place + 1) * width)
            tokens += [end] * width
            continue
        candidates = [(v, *divmod(i, vocab)) for v, i in zip(values, places, strict=True)]
        sources, chosen = beam.advance(candidates, width, wanted, end)
        rows += [place * width + source for source in sources]
        tokens += chosen
    return as_index(rows, scores.device), as_index(tokens, scores.device)
