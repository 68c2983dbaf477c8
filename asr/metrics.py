"""Error rates of transcripts over a whole test set, with confidence intervals.

Alignment is `jiwer`'s (extra `metrics`); what is here is what a corpus needs around it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Normalizer = Callable[[str], str]
Unit = Literal["word", "character"]


class Counts(NamedTuple):
    """Edits that turn one reference into its hypothesis, and the reference's length."""

    substitutions: int
    deletions: int
    insertions: int
    length: int

    @property
    def errors(self) -> int:
        """All edits."""
        return self.substitutions + self.deletions + self.insertions


class Interval(NamedTuple):
    """A confidence interval of a rate."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """Errors of a corpus; words here are characters for a character error rate.

    Attributes:
        utterances: edits of every utterance with a reference that is not empty, in order.
        num_empty: utterances whose reference is empty; they count in nothing above.
        words_on_empty: words that were heard in those.
    """

    utterances: tuple[Counts, ...]
    num_empty: int = 0
    words_on_empty: int = 0

    @property
    def substitutions(self) -> int:
        """Words taken for others."""
        return sum(u.substitutions for u in self.utterances)

    @property
    def deletions(self) -> int:
        """Words missed."""
        return sum(u.deletions for u in self.utterances)

    @property
    def insertions(self) -> int:
        """Words made up."""
        return sum(u.insertions for u in self.utterances)

    @property
    def errors(self) -> int:
        """All errors."""
        return sum(u.errors for u in self.utterances)

    @property
    def num_words(self) -> int:
        """Words of the references."""
        return sum(u.length for u in self.utterances)

    @property
    def rate(self) -> float:
        """Errors over words of the references, as a share (0.05 is 5 %); NaN without references."""
        return self.errors / self.num_words if self.utterances else float("nan")

    def interval(self, level: float = 0.95, samples: int = 1000, seed: int = 0) -> Interval:
        """Return a bootstrap interval of the rate (Bisani & Ney 2004): utterances drawn anew.

        Args:
            level: share of the resampled rates inside.
            samples: number of resampled corpora.
            seed: of the draws; the same seed gives the same interval.

        Raises:
            ValueError: a level outside (0, 1), or no samples.
        """
        if not 0 < level < 1 or samples < 1:
            raise ValueError(f"level {level} must lie in (0, 1) and samples {samples} above 0")
        if not self.utterances:
            return Interval(float("nan"), float("nan"))
        table = np.array([(u.errors, u.length) for u in self.utterances])
        return _resampled(table, level, samples, seed)


def fewer_errors(
    before: ErrorRate, after: ErrorRate, level: float = 0.95, samples: int = 1000, seed: int = 0
) -> Interval:
    """Return a bootstrap interval of how much lower the second rate is, utterance by utterance.

    What is hard to hear is so for both, so pairs tell more than two intervals of rates.

    Args:
        before: of the same utterances in the same order.
        after: likewise.
        level: see `ErrorRate.interval`.
        samples: likewise.
        seed: likewise.

    Raises:
        ValueError: other utterances; see `ErrorRate.interval`.
    """
    if not 0 < level < 1 or samples < 1:
        raise ValueError(f"level {level} must lie in (0, 1) and samples {samples} above 0")
    if [u.length for u in before.utterances] != [u.length for u in after.utterances]:
        raise ValueError("two rates of different utterances cannot be paired")
    if not before.utterances:
        return Interval(float("nan"), float("nan"))
    pairs = zip(before.utterances, after.utterances, strict=True)
    table = np.array([(old.errors - new.errors, old.length) for old, new in pairs])
    return _resampled(table, level, samples, seed)


def word_error_rate(
    references: Sequence[str], hypotheses: Sequence[str], normalizer: Normalizer | None = None
) -> ErrorRate:
    """Return the word error rate of a corpus.

    Args:
        references: what was said.
        hypotheses: what was recognised, in the same order.
        normalizer: applied to both sides; see `echoic.asr.text.normalizers`. None compares as is.

    Raises:
        ImportError: `jiwer` is not installed.
        ValueError: the two have different lengths.
    """
    return _error_rate(references, hypotheses, normalizer, "word")


def character_error_rate(
    references: Sequence[str], hypotheses: Sequence[str], normalizer: Normalizer | None = None
) -> ErrorRate:
    """Return the character error rate of a corpus; arguments as `word_error_rate`."""
    return _error_rate(references, hypotheses, normalizer, "character")


def _resampled(table: NDArray[np.int64], level: float, samples: int, seed: int) -> Interval:
    """Return the interval of the ratio of two columns' sums when rows are drawn anew."""
    generator = np.random.default_rng(seed)
    rates = np.empty(samples)
    for i in range(samples):  # one corpus at a time bounds the memory
        errors, words = table[generator.integers(len(table), size=len(table))].sum(axis=0)
        rates[i] = errors / words
    tail = (1 - level) / 2
    return Interval(*(float(q) for q in np.quantile(rates, [tail, 1 - tail])))


def _error_rate(
    references: Sequence[str],
    hypotheses: Sequence[str],
    normalizer: Normalizer | None,
    unit: Unit,
) -> ErrorRate:
    if len(references) != len(hypotheses):
        raise ValueError(
            f"{len(references)} references and {len(hypotheses)} hypotheses: one each is expected"
        )
    clean = normalizer or (lambda text: text)
    pairs = [
        (" ".join(clean(r).split()), " ".join(clean(h).split()))
        for r, h in zip(references, hypotheses, strict=True)
    ]
    spoken = [pair for pair in pairs if pair[0]]
    silent = [hypothesis for reference, hypothesis in pairs if not reference]
    return ErrorRate(
        utterances=_count(spoken, unit),
        num_empty=len(silent),
        words_on_empty=sum(len(h.split() if unit == "word" else h) for h in silent),
    )


def _count(pairs: Sequence[tuple[str, str]], unit: Unit) -> tuple[Counts, ...]:
    try:
        import jiwer
    except ImportError as e:
        raise ImportError("jiwer is missing: pip install 'echoic[metrics]'") from e
    if not pairs:
        return ()
    process = jiwer.process_words if unit == "word" else jiwer.process_characters
    output = process([r for r, _ in pairs], [h for _, h in pairs])
    return tuple(
        _tally(chunks, len(reference))
        for chunks, reference in zip(output.alignments, output.references, strict=True)
    )


def _tally(chunks: Sequence[Any], length: int) -> Counts:
    spans = {"substitute": 0, "delete": 0, "insert": 0, "equal": 0}
    for chunk in chunks:
        spans[chunk.type] += max(
            chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx
        )
    return Counts(spans["substitute"], spans["delete"], spans["insert"], length)
