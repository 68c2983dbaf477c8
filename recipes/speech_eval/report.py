"""What the judging of a talker found, as numbers."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from echoic.asr.metrics import ErrorRate, character_error_rate, word_error_rate
from echoic.codecs.metrics.report import Mean
from echoic.tts.lm.guard import Ending

Version = Literal["talker", "codec", "recording"]
#: Of a sentence: what the talker says, a recording through the talker's codec, which no talker of
#: that codec can be better than, and the recording itself.
VERSIONS: tuple[Version, ...] = get_args(Version)


class Take(NamedTuple):
    """A version of a sentence.

    Attributes:
        heard: by the recogniser.
        seconds: its length.
        scores: of other packages by name; None where one is not defined.
    """

    heard: str
    seconds: float
    scores: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Row:
    """A sentence.

    Attributes:
        name: file and line.
        text: as it is written.
        first_audio: seconds from the request to the first sound.
        compute: seconds that speaking took.
        endings: of each part that was said in one go.
        takes: its versions; "codec" and "recording" where it has a recording.
    """

    name: str
    text: str
    first_audio: float
    compute: float
    endings: tuple[Ending, ...]
    takes: dict[Version, Take]

    @property
    def is_cut(self) -> bool:
        """Whether the talker did not come to the end by itself."""
        return any(ending != "end" for ending in self.endings)


@dataclass(frozen=True, slots=True)
class Settings:
    """What was judged, and how.

    Attributes:
        model: the talker's name.
        codec: its codec's name.
        codec_hash: of the codec's weights.
        num_codebooks: codes of a frame that the talker writes.
        frame_rate: Hz.
        sample_rate: Hz.
        language: of talker, recogniser and normaliser.
        voice: name of the voice that it spoke with; None for its own.
        seed: of every sentence.
        recognizer: name of the recogniser, which computes in float32.
        device: where all ran.
        threads: that torch used.
        packages: that computed scores, with versions.
    """

    model: str
    codec: str
    codec_hash: str
    num_codebooks: int
    frame_rate: float
    sample_rate: int
    language: str
    voice: str | None
    seed: int
    recognizer: str
    device: str
    threads: int
    packages: tuple[str, ...]


class Problem(NamedTuple):
    """What could not be used, and why, in one line."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """A judgement.

    Attributes:
        settings: what was judged, and how.
        rows: one a sentence that was spoken.
        problems: sentences and recordings that failed.
        missing: why scores could not be computed, by name.
        normalizer: of what is written and what is heard.
    """

    settings: Settings
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]
    missing: dict[str, str]
    normalizer: Callable[[str], str]

    @property
    def versions(self) -> list[Version]:
        """Those that any sentence has."""
        return [version for version in VERSIONS if self.takes(version)]

    def takes(self, version: Version) -> list[Take]:
        """Return a version of all sentences that have it."""
        return [row.takes[version] for row in self.rows if version in row.takes]

    def seconds(self, version: Version) -> float:
        """Return the length of all sentences in a version."""
        return sum(take.seconds for take in self.takes(version))

    def words(self, version: Version) -> ErrorRate:
        """Return the word errors of a version."""
        return word_error_rate(*self._pairs(version), self.normalizer)

    def characters(self, version: Version) -> ErrorRate:
        """Return the character errors of a version."""
        return character_error_rate(*self._pairs(version), self.normalizer)

    def score(self, name: str, version: Version) -> Mean:
        """Return a score over the sentences of a version, each counting the same."""
        takes = self.takes(version)
        values = [v for take in takes if (v := take.scores.get(name)) is not None]
        if not values:
            return Mean(None, None, 0)
        std = statistics.stdev(values) if len(values) > 1 else None
        return Mean(statistics.fmean(values), std, len(values))

    @property
    def score_names(self) -> list[str]:
        """Of those that were computed, in the order of their packages."""
        names = (name for row in self.rows for take in row.takes.values() for name in take.scores)
        return list(dict.fromkeys(names))

    @property
    def cut(self) -> int:
        """Sentences that did not come to their end by themselves."""
        return sum(row.is_cut for row in self.rows)

    @property
    def endings(self) -> dict[str, int]:
        """How often each kind of ending occurred, over all parts of all sentences."""
        counts = Counter(ending for row in self.rows for ending in row.endings)
        return {ending: counts[ending] for ending in get_args(Ending)}

    @property
    def rtf(self) -> float | None:
        """Time of speaking over the length of what is said."""
        seconds = self.seconds("talker")
        return sum(row.compute for row in self.rows) / seconds if seconds else None

    def first_audio(self, share: float) -> float | None:
        """Return the seconds to the first sound that a share of the sentences stay below."""
        return _quantile([row.first_audio for row in self.rows], share)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            **asdict(self.settings),
            "sentences": len(self.rows),
            "versions": {version: self._summary(version) for version in self.versions},
            "cut": self.cut,
            "endings": self.endings,
            "first_audio_seconds": {
                "p50": self.first_audio(0.5),
                "p95": self.first_audio(0.95),
                "max": self.first_audio(1.0),
            },
            "rtf": self.rtf,
            "missing": self.missing,
            "failures": [problem._asdict() for problem in self.problems],
            "rows": [_row(row) for row in self.rows],
        }

    def _pairs(self, version: Version) -> tuple[list[str], list[str]]:
        rows = [row for row in self.rows if version in row.takes]
        return [row.text for row in rows], [row.takes[version].heard for row in rows]

    def _summary(self, version: Version) -> dict[str, Any]:
        takes = self.takes(version)
        names = [name for name in self.score_names if any(name in take.scores for take in takes)]
        return {
            "sentences": len(takes),
            "seconds": self.seconds(version),
            "wer": _errors(self.words(version)),
            "cer": _errors(self.characters(version)),
            "scores": {name: self.score(name, version)._asdict() for name in names},
        }


def _row(row: Row) -> dict[str, Any]:
    takes = {version: take._asdict() for version, take in row.takes.items()}
    fields = {name: getattr(row, name) for name in ("name", "text", "first_audio", "compute")}
    return fields | {"endings": list(row.endings)} | takes


def _errors(rate: ErrorRate) -> dict[str, float | None]:
    low, high = rate.interval()
    found = {"rate": rate.rate, "low": low, "high": high}
    numbers = {name: value if math.isfinite(value) else None for name, value in found.items()}
    return numbers | {
        "length": rate.num_words,
        "substitutions": rate.substitutions,
        "deletions": rate.deletions,
        "insertions": rate.insertions,
    }


def _quantile(values: Sequence[float], share: float) -> float | None:
    return float(np.quantile(values, share)) if values else None
