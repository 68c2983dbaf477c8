"""Token by token: the likeliest at temperature 0, drawn at random above it."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from echoic.asr.guards import is_looping
from echoic.asr.whisper.hypothesis import Hypothesis, SearchTask, as_index
from echoic.asr.whisper.rules import RowHistory

LOOP_CHECK_EVERY = 12


@dataclass(slots=True)
class _Row:
    """An answer that grows."""

    window: int
    budget: int
    tokens: list[int] = field(default_factory=list[int])
    sum_logprob: float = 0.0
    ended: bool = False
    complete: bool = False

    def add(self, token: int, logprob: float, end: int) -> None:
        self.sum_logprob += logprob
        if token == end:
            self.ended = self.complete = True
            return
        self.tokens.append(token)
        looping = len(self.tokens) % LOOP_CHECK_EVERY == 0 and is_looping(self.tokens)
        self.ended = looping or len(self.tokens) >= self.budget


def greedy_search(task: SearchTask) -> list[Hypothesis]:
    """Return the likeliest-token decoding of each window."""
    return [answers[0] for answers in _run(task, 0.0, 1, [])]


def sample(
    task: SearchTask, *, temperature: float, best_of: int, seeds: list[int]
) -> list[list[Hypothesis]]:
    """Draw `best_of` decodings of each window.

    Args:
        task: the windows.
        temperature: above 0; divides the scores.
        best_of: samples of each window.
        seeds: one for each window, so that its samples do not depend on its neighbours.
    """
    device = task.prompts.device
    generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
    return _run(task, temperature, best_of, generators)


def _run(
    task: SearchTask, temperature: float, group: int, generators: list[torch.Generator]
) -> list[list[Hypothesis]]:
    scores, silence = task.prefill()
    cache = task.cache.repeat_windows(group) if group > 1 else task.cache
    scores = scores.repeat_interleave(group, dim=0)
    limits = task.time_limits.repeat_interleave(group)
    history = RowHistory.start(len(scores), scores.device)
    answers = [_Row(w, task.budgets[w]) for w in range(len(task.prompts)) for _ in range(group)]
    alive = answers
    first = True
    while True:
        task.rules.apply(scores, history, limits, first=first)
        tokens = _pick(
            scores, temperature, [generators[r.window] for r in alive] if generators else []
        )
        logprobs = scores.gather(1, tokens[:, None])[:, 0] - scores.logsumexp(1)
        task.rules.advance(history, tokens, first=first)
        for row, token, logprob in zip(alive, tokens.tolist(), logprobs.tolist(), strict=True):
            if not row.ended:
                row.add(token, logprob, task.end)
        keep = _windows_to_keep(alive, group)
        if not keep:
            break
        if len(keep) < len(alive) // group:
            windows = as_index(keep, scores.device)
            rows = (windows[:, None] * group + torch.arange(group, device=windows.device)).flatten()
            cache, history = cache.keep_windows(windows), history.select(rows)
            limits, tokens = limits[rows], tokens[rows]
            alive = [alive[r] for r in rows.tolist()]
        scores = task.decoder.logits(task.decoder(tokens[:, None], cache)[:, -1])
        first = False
    probabilities = silence.tolist()
    found = [
        Hypothesis(tuple(r.tokens), r.sum_logprob, probabilities[r.window], r.complete)
        for r in answers
    ]
    return [found[i : i + group] for i in range(0, len(found), group)]


def _pick(scores: Tensor, temperature: float, generators: list[torch.Generator]) -> Tensor:
    if temperature == 0:
        return scores.argmax(1)
    # The largest of p / e, e exponential, is drawn with probability p.
    noise = torch.stack(
        [torch.empty_like(scores[0]).exponential_(generator=generator) for generator in generators]
    )
    return (scores / temperature - noise.log()).argmax(1)


def _windows_to_keep(alive: list[_Row], group: int) -> list[int]:
    """Return the places of windows that go on: all of them until at least half have ended.

    Dropping windows copies the keys of the others, which is worth it now and then only.
    """
    count = len(alive) // group
    going = [
        w for w in range(count) if not all(r.ended for r in alive[w * group : (w + 1) * group])
    ]
    return going if len(going) * 2 <= count else list(range(count))
