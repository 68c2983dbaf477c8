"""Buckets: classes of duration and length of text, each with its own size of batch.

Utterances of one bucket make a batch, so that neither the sound nor the text of a batch has much
padding. These are Canary's two-dimensional buckets (arXiv 2503.05931): inside each bucket of
durations, sub-buckets part the utterances by their number of tokens.
"""

import bisect
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rule = Literal["padding", "mass"]
# Values that may be an edge; more cost time and gain nothing.
_CANDIDATES = 400


@dataclass(frozen=True, slots=True)
class Buckets:
    """Classes of utterances, from short to long.

    Attributes:
        edges: (most seconds, most tokens) of each bucket, in ascending order.
        batch_sizes: utterances in a batch of each bucket; empty when nobody has chosen them.
    """

    edges: tuple[tuple[float, int], ...]
    batch_sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        pairs = zip(self.edges, self.edges[1:], strict=False)
        if not self.edges or self.edges[0][0] <= 0 or any(a >= b for a, b in pairs):
            raise ValueError(
                f"the edges of {len(self.edges)} buckets are not in order: expected pairs of most "
                "seconds and most tokens that ascend"
            )
        if self.batch_sizes and len(self.batch_sizes) != len(self.edges):
            raise ValueError(
                f"{len(self.batch_sizes)} batch sizes for {len(self.edges)} buckets: expected one "
                "for each"
            )
        if min(self.batch_sizes, default=1) < 1:
            raise ValueError(f"a batch size is {min(self.batch_sizes)}, expected 1 or more")

    def __len__(self) -> int:
        return len(self.edges)

    @classmethod
    def estimate(
        cls,
        durations: ArrayLike,
        tokens: ArrayLike,
        num_buckets: int = 30,
        num_sub: int = 5,
        max_sigma: float = 4.0,
        rule: Rule = "padding",
    ) -> Self:
        """Find buckets for utterances like these; some ten thousand are enough.

        Where many utterances last as long as each other, as where a corpus was cut into windows of
        30 s, their bucket takes so many times more sub-buckets as it has times more sound.

        Args:
            durations: (N,) seconds, more than 0.
            tokens: (N,) lengths of the texts.
            num_buckets: of durations.
            num_sub: of numbers of tokens in each of them.
            max_sigma: an utterance whose tokens a second are more than so many standard deviations
                above the mean of its duration bucket is none to learn edges from.
            rule: "padding" puts the edges where utterances need the least padding to reach them;
                "mass", the rule of the paper, gives each duration equal sound and each of its
                sub-buckets equal tokens, which leaves those at both ends wide.

        Raises:
            ValueError: no utterances, or numbers that are out of range.
        """
        seconds, texts = np.asarray(durations, np.float64), np.asarray(tokens, np.int64)
        if seconds.ndim != 1 or seconds.shape != texts.shape or not len(seconds):
            raise ValueError(
                f"durations of shape {seconds.shape}, tokens of {texts.shape}: expected (N,), N > 0"
            )
        if num_buckets < 1 or num_sub < 1 or seconds.min() <= 0 or texts.min() < 0:
            raise ValueError(
                f"{num_buckets} x {num_sub} buckets of utterances of {seconds.min()} s and more: "
                "expected 1 or more buckets, and durations above 0"
            )
        if rule not in get_args(Rule):
            raise ValueError(f"rule is {rule!r}, expected one of {', '.join(get_args(Rule))}")
        parts = _least_padding if rule == "padding" else _equal_masses
        order = np.argsort(seconds, kind="stable")
        seconds, texts = seconds[order], texts[order]
        heavy, times = np.unique(_ends_of_masses(seconds, num_buckets), return_counts=True)
        multiples = dict(zip(heavy.tolist(), times.tolist(), strict=True))
        tops = _least_padding(seconds, len(heavy)) if rule == "padding" else heavy
        ends = np.searchsorted(seconds, tops, side="right")
        edges = []
        for top, first, end in zip(tops.tolist(), [0, *ends[:-1]], ends, strict=True):
            own = texts[first:end]
            rates = own / seconds[first:end]
            own = np.sort(own[rates <= rates.mean() + max_sigma * rates.std()])
            most = parts(own, num_sub * multiples.get(top, 1))
            edges += [(top, tokens) for tokens in most.tolist()]
        return cls(tuple(edges))

    def sized(self, seconds: float, utterances: int = 1_000_000) -> Self:
        """Give each bucket the batch size that holds so much sound, padding included.

        Args:
            seconds: most sound in a batch; an utterance that is longer is one alone.
            utterances: most in a batch.

        Raises:
            ValueError: not more than 0.
        """
        if seconds <= 0 or utterances < 1:
            raise ValueError(f"batches of {seconds} s and {utterances} utterances: expected more")
        sizes = (min(utterances, max(1, int(seconds / edge))) for edge, _ in self.edges)
        return replace(self, batch_sizes=tuple(sizes))

    def assign(self, seconds: float, tokens: int, strict: bool = True) -> int | None:
        """Return the smallest bucket that holds an utterance; None where there is none.

        Args:
            seconds: that it lasts.
            tokens: of its text.
            strict: one with more tokens than any of its duration has no bucket; else it goes to
                one of longer utterances.
        """
        at = bisect.bisect_left(self.edges, (seconds,))
        if at == len(self.edges):
            return None
        longest = self.edges[at][0]
        for index in range(at, len(self.edges)):
            if strict and self.edges[index][0] > longest:
                return None
            if tokens <= self.edges[index][1]:
                return index
        return None

    def assign_all(
        self, durations: ArrayLike, tokens: ArrayLike, strict: bool = True
    ) -> NDArray[np.int32]:
        """Return int32 (N,) the bucket of each utterance, -1 for none; see `assign`."""
        seconds, texts = np.asarray(durations, np.float64), np.asarray(tokens, np.int64)
        longest, group = np.unique([edge for edge, _ in self.edges], return_inverse=True)
        tops = np.array([most for _, most in self.edges])
        # One number orders pairs: those of a duration bucket lie between two multiples of `step`.
        step = int(max(tops.max(), texts.max(initial=0))) + 1
        keys = group * step + tops
        at = np.searchsorted(longest, seconds).astype(np.int64)
        found = np.full(len(seconds), -1, np.int32)
        open_ = np.flatnonzero(at < len(longest))
        while len(open_):
            index = np.searchsorted(keys, at[open_] * step + texts[open_])
            in_reach = index < len(keys)
            holds = in_reach & (group[np.where(in_reach, index, 0)] == at[open_])
            found[open_[holds]] = index[holds]
            if strict:
                break
            open_ = open_[~holds]
            at[open_] += 1
            open_ = open_[at[open_] < len(longest)]
        return found

    def save(self, path: str | Path) -> None:
        """Write a JSON file that `load` reads."""
        lines = json.dumps(asdict(self)).replace("], [", "],\n  [")
        Path(path).write_text(lines + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ValueError: no such buckets in the file.
            OSError: it cannot be read.
        """
        text = Path(path).read_text(encoding="utf-8")
        try:
            values = json.loads(text)
            edges = tuple((float(seconds), int(tokens)) for seconds, tokens in values.pop("edges"))
            sizes = tuple(int(size) for size in values.pop("batch_sizes", ()))
            if values:
                raise ValueError(f"unknown {', '.join(values)}")
            return cls(edges, sizes)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} has no buckets ({error}): expected a JSON object with `edges` and "
                "`batch_sizes`"
            ) from error


def _ends_of_masses(values: NDArray, parts: int) -> NDArray:
    """Return the last of each of `parts` runs of ascending values with equal sums."""
    mass = np.cumsum(values, dtype=np.float64)
    targets = mass[-1] * (np.arange(1, parts + 1) / parts)
    targets[-1] = mass[-1]
    return values[np.searchsorted(mass, targets)]


def _equal_masses(values: NDArray, parts: int) -> NDArray:
    """Return at most `parts` edges, the last the greatest value, between equal sums of values."""
    edges = np.unique(_ends_of_masses(values, parts))
    return np.append(edges[edges < values[-1]], values[-1])


def _least_padding(values: NDArray, parts: int) -> NDArray:
    """Return at most `parts` edges, the last the greatest value, to which values are near.

    Exact for as many values as may be edges, else for them rounded up to those.
    """
    edges, counts = np.unique(values, return_counts=True)
    if len(edges) > _CANDIDATES:
        shares = np.linspace(0, 1, _CANDIDATES)
        kept = np.unique(np.quantile(values, shares, method="higher"))
        counts = np.bincount(np.searchsorted(kept, edges), counts)
        edges = kept
    if len(edges) <= parts:
        return edges
    # cost[i, j]: padded length of all values from edge i to edge j, but for a constant.
    below = np.concatenate([[0], np.cumsum(counts)])
    cost = (below[None, 1:] - below[:-1, None]) * edges[None, :].astype(np.float64)
    cost[np.tril_indices(len(edges), -1)] = np.inf
    best, choices = cost[0], []
    for _ in range(parts - 1):
        # The last part is from i to j; before it, the best parts of the values up to i - 1.
        total = np.concatenate([[np.inf], best[:-1]])[:, None] + cost
        choices.append(total.argmin(0))
        best = total.min(0)
    ends = [len(edges) - 1]
    for choice in reversed(choices):
        ends.append(int(choice[ends[-1]]) - 1)
    return edges[ends[::-1]]
