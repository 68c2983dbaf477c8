"""Recordings with their labels, as training reads them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from echoic.asr.paraformer.config import FrontendConfig
from echoic.asr.paraformer.labels import Style, label_text
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.audio.data.manifest import Source, rows_of
from echoic.audio.data.recordings import Recording, SoundBank

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance(Recording):
    """A recording of one utterance.

    Attributes:
        text: what a model is to write.
        speaker: name, "" if it is not known.
    """

    text: str
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Which utterances are left out.

    Attributes:
        shortest: seconds of the shortest.
        longest: seconds of the longest.
        labels_per_frame: most labels for each stacked frame (60 ms); more cannot be aligned.
    """

    shortest: float = 0.2
    longest: float = 20.0
    labels_per_frame: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.shortest < self.longest:
            raise ValueError(
                f"limits are {self.shortest} to {self.longest} s, expected 0 < shortest < longest"
            )


def read_utterances(source: Source, style: Style) -> list[Utterance]:
    """Read a manifest; rows whose text is empty or not certain are passed over.

    Raises:
        ValueError: a row without `text`, or none that can be used; names file and line.
        OSError: the manifest cannot be read.
    """
    found, passed = [], 0
    for row in rows_of(source):
        text = row.values.get("text")
        if not isinstance(text, str):
            raise ValueError(
                f"{source.path}, line {row.number}: expected what is said in `text`; leave out "
                "recordings without a transcript"
            )
        label = label_text(text, style)
        if not label:
            passed += 1
            continue
        speaker = str(row.values.get("speaker", ""))
        found.append(Utterance(row.audio, row.duration, row.offset, text=label, speaker=speaker))
    if not found:
        of = "".join(f" of {name} {value!r}" for name, value in source.conditions.items())
        raise ValueError(
            f"{source.path} has no utterances{of} with a text"
            + (
                f"; {passed} texts have no words, or digits that cannot be spelled"
                if passed
                else ""
            )
        )
    if passed:
        log.info("%s: %d texts without words or with digits passed over", source.path, passed)
    return found


class Corpus:
    """Utterances that a model with this vocabulary can learn from.

    Args:
        name: for messages.
        utterances: of them.
        tokenizer: the vocabulary.
        frontend: tells the rate and the frames.
        limits: which are left out.
        cache: keep the sound in memory, see `SoundBank`.

    Attributes:
        labels: ids of each utterance.
        durations: seconds of each.

    Raises:
        ValueError: not one of them can be used.
    """

    def __init__(
        self,
        name: str,
        utterances: Sequence[Utterance],
        tokenizer: Tokenizer,
        frontend: FrontendConfig,
        limits: Limits,
        cache: bool,
    ) -> None:
        self.name = name
        self.sample_rate = frontend.sample_rate
        written = [(u, tokenizer.encode(u.text)) for u in utterances]
        known = [(u, ids) for u, ids in written if ids and tokenizer.unknown not in ids]
        if not known:
            raise ValueError(
                f"none of the {len(utterances)} texts of {name} can be written in the vocabulary, "
                f"the first is {utterances[0].text[:60]!r}: make a vocabulary of these texts, or "
                "choose another style of labels"
            )
        fit = [(u, ids) for u, ids in known if u.duration is None or _fits(u.duration, limits)]
        if not fit:
            raise ValueError(
                f"none of the utterances of {name} lasts {limits.shortest} to {limits.longest} s"
            )
        bank = SoundBank([u for u, _ in fit], frontend.sample_rate, cache)
        written_as = dict(fit)
        seconds = [length / frontend.sample_rate for length in bank.lengths]
        self.kept: list[int] = []
        for i, recording in enumerate(bank.recordings):
            most = limits.labels_per_frame * seconds[i] / frontend.frame_seconds
            if _fits(seconds[i], limits) and len(written_as[recording]) <= most:
                self.kept.append(i)
        if not self.kept:
            raise ValueError(f"every utterance of {name} is too long, or too short for its text")
        self.bank = bank
        self.labels = [written_as[bank.recordings[i]] for i in self.kept]
        self.durations = [seconds[i] for i in self.kept]
        self.texts = [tokenizer.decode(ids) for ids in self.labels]
        self._tell(len(utterances), len(known))

    def __len__(self) -> int:
        return len(self.kept)

    def wav(self, index: int) -> Tensor:
        """Return the sound (N,) of an utterance.

        Raises:
            AudioDecodeError, OSError: the file cannot be read.
        """
        at = self.kept[index]
        return self.bank.stretch(at, 0, self.bank.lengths[at])

    def key(self, index: int) -> str:
        """Return a name of an utterance that does not depend on where the corpus lies."""
        recording = self.bank.recordings[self.kept[index]]
        stretch = "" if recording.offset is None else f"@{recording.offset}"
        return f"{recording.path.name}{stretch}"

    def _tell(self, given: int, written: int) -> None:
        hours = sum(self.durations) / 3600
        log.info("%s: %d utterances, %.2f hours", self.name, len(self), hours)
        if len(self) < given:
            log.warning(
                "%s: %d of %d utterances left out: %d cannot be written in the vocabulary, %d are "
                "damaged, too long, or too short for their text",
                self.name, given - len(self), given, given - written, written - len(self),
            )  # fmt: skip


def missing_of(utterances: Sequence[Utterance]) -> list[Path]:
    """Return the recordings that are not there."""
    return [u.path for u in utterances if not u.path.is_file()]


def _fits(seconds: float, limits: Limits) -> bool:
    return limits.shortest <= seconds <= limits.longest
