"""Utterances with aligned tokens, one JSON object a line: what training reads."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from echoic.asr.whisper.training.alignment import AlignedText
from echoic.audio.io import load

SAMPLE_RATE = 16_000
_FIELDS = ("tokens", "starts", "ends", "word_of", "teacher_ids", "teacher_probs")


@dataclass(frozen=True, slots=True)
class Utterance:
    """A recording and its aligned tokens; times in seconds.

    Attributes:
        audio: path of the recording.
        duration: of it.
        text: what is said, as the tokens spell it.
        speaker: name; utterances of one speaker may be put in one window.
        tokens: see `AlignedText`, as the following ones.
        starts: of the tokens.
        ends: of the tokens.
        word_of: of the tokens.
        teacher_ids: (tokens, K) nested lists.
        teacher_probs: (tokens, K) nested lists.
    """

    audio: str
    duration: float
    text: str
    speaker: str
    tokens: tuple[int, ...]
    starts: tuple[float, ...]
    ends: tuple[float, ...]
    word_of: tuple[int, ...]
    teacher_ids: tuple[tuple[int, ...], ...]
    teacher_probs: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in _FIELDS}
        if len(set(lengths.values())) != 1 or not self.tokens:
            raise ValueError(f"an utterance has {lengths}: expected one entry for every token")

    @classmethod
    def of(
        cls, audio: str, duration: float, text: str, speaker: str, aligned: AlignedText
    ) -> "Utterance":
        """Join a recording and what `TextAligner` found in it, in thousandths."""
        return cls(
            audio=audio,
            duration=round(duration, 3),
            text=text,
            speaker=speaker,
            tokens=aligned.tokens,
            starts=tuple(round(s, 3) for s in aligned.starts),
            ends=tuple(round(e, 3) for e in aligned.ends),
            word_of=aligned.word_of,
            teacher_ids=tuple(map(tuple, aligned.teacher_ids.tolist())),
            teacher_probs=tuple(
                tuple(round(p, 4) for p in row) for row in aligned.teacher_probs.tolist()
            ),
        )

    def load(self, folder: Path) -> Tensor:
        """Read the sound: (N,) float32 at 16 kHz."""
        return load(folder / self.audio, sample_rate=SAMPLE_RATE, mono=True)[0][0]

    def teacher(self) -> tuple[Tensor, Tensor]:
        """Return ids int64 (tokens, K) and probabilities (tokens, K)."""
        return torch.tensor(self.teacher_ids), torch.tensor(self.teacher_probs)


def write_utterance(file: TextIO, utterance: Utterance) -> None:
    """Write one line."""
    file.write(json.dumps(asdict(utterance), ensure_ascii=False, separators=(",", ":")) + "\n")


def read_corpus(path: Path) -> list[Utterance]:
    """Read an aligned manifest.

    Raises:
        ValueError: a line that is none; names file and line.
        OSError: the file cannot be read.
    """
    with path.open(encoding="utf-8") as file:
        return list(_parse(path, file))


def _parse(path: Path, lines: Iterable[str]) -> Iterator[Utterance]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values: dict[str, Any] = json.loads(line)
            for name in _FIELDS:
                values[name] = tuple(tuple(v) if isinstance(v, list) else v for v in values[name])
            yield Utterance(**values)
        except (TypeError, KeyError, ValueError) as e:
            raise ValueError(
                f"{path}, line {number}: not an aligned utterance ({e}); make the file with "
                "`python -m echoic.recipes.prepare.aligned`"
            ) from e
