"""Corpora of codes: what a speech language model learns from, ready to be read.

A folder with `corpus.json` (what the numbers mean), `codes.npy` (frames of all utterances, one
behind the other) and `rows.jsonl` (a line for each utterance). Codes are mapped, not loaded: a
thousand hours of eight codes at 50 Hz are 2.9 GB on disk and nothing in memory.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from echoic.tts.tokens import FrameFormat

CORPUS, CODES, ROWS = "corpus.json", "codes.npy", "rows.jsonl"
_VERSION = 1


class Line(NamedTuple):
    """An utterance.

    Attributes:
        id: as in the manifest it came from.
        text: as written there.
        ids: of the alphabet.
        start: its first frame in the corpus.
        frames: how many it has.
        speaker: who speaks, or "".
        split: train, dev, test or "".
        starts: the first frame of each id, counted from the utterance's; None where nobody knows.
    """

    id: str
    text: str
    ids: list[int]
    start: int
    frames: int
    speaker: str = ""
    split: str = ""
    starts: list[int] | None = None


@dataclass(frozen=True, slots=True)
class CorpusSettings:
    """What the numbers of a corpus mean.

    Attributes:
        format: of its frames.
        codec_hash: of the codec's weights that made them.
        alphabet: of its ids, see `alphabet_from_config`.
        language: of its texts.
        g2p: where their phonemes came from; "" for letters.
        version: of the folder's form.
    """

    format: FrameFormat
    codec_hash: str
    alphabet: dict[str, Any]
    language: str = "en"
    g2p: str = ""
    version: int = _VERSION


class CodedCorpus:
    """A folder of codes, to be read.

    Args:
        folder: made by `CodedWriter`.
        split: only utterances of this one; "" for all.
        aligned: only those that it is known of when each unit is said.

    Raises:
        ValueError: not such a folder, damaged, or without such utterances.
    """

    def __init__(self, folder: str | Path, split: str = "", *, aligned: bool = False) -> None:
        self.folder = Path(folder)
        self.settings = _read_settings(self.folder)
        try:
            self._codes = np.load(self.folder / CODES, mmap_mode="r", allow_pickle=False)
            text = (self.folder / ROWS).read_text(encoding="utf-8")
            lines = [Line(**json.loads(row)) for row in text.splitlines()]
        except (OSError, ValueError, TypeError) as e:
            raise ValueError(f"{self.folder} is damaged ({e}): code the speech again") from e
        end = max((line.start + line.frames for line in lines), default=0)
        books = self.settings.format.num_codebooks
        if self._codes.ndim != 2 or self._codes.shape[1] != books or len(self._codes) < end:
            raise ValueError(
                f"{self.folder} is damaged: codes of shape {self._codes.shape} for {end} frames of "
                f"{books}: code the speech again"
            )
        self.lines = [line for line in lines if split in ("", line.split)]
        if not self.lines:
            what = f"of the split {split!r} " if split else ""
            raise ValueError(f"{self.folder} has no utterances {what}to learn from")
        if aligned:
            self.lines = [line for line in self.lines if line.starts is not None]
            if not self.lines:
                raise ValueError(
                    f"nobody knows when the texts of {self.folder} are said: code it again with "
                    "`echoic prepare coded-speech --align`"
                )

    def __len__(self) -> int:
        return len(self.lines)

    def frames(self, index: int) -> Tensor:
        """Return the frames (T, Q) int64 of an utterance."""
        line = self.lines[index]
        codes = self._codes[line.start : line.start + line.frames]
        return torch.from_numpy(codes.astype(np.int64))

    def seconds(self) -> list[float]:
        """Return how long each utterance lasts."""
        rate = self.settings.format.frame_rate
        return [line.frames / rate for line in self.lines]


class CodedWriter:
    """A folder of codes, to be written; it appears whole, or not at all.

    Use as a context; what is inside is written when it ends without an error.

    Args:
        folder: made if it is not there; what was in it is replaced at the end.
        settings: what the numbers mean.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: str | Path, settings: CorpusSettings) -> None:
        self.folder = Path(folder)
        self.settings = settings
        self._dtype = np.dtype(np.uint16 if settings.format.codebook_size <= 2**16 else np.uint32)
        self._lines: list[Line] = []
        self._frames = 0

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._raw = (self.folder / f"{CODES}.part").open("wb")
        return self

    def add(
        self,
        key: str,
        text: str,
        ids: Sequence[int],
        frames: Tensor,
        *,
        speaker: str = "",
        split: str = "",
    ) -> None:
        """Add an utterance.

        Args:
            key: its id.
            text: as written.
            ids: of the alphabet.
            frames: (T, Q) int64.
            speaker: who speaks.
            split: where it belongs.

        Raises:
            ValueError: frames of another format, or none.
        """
        self.settings.format.check(frames)
        if not len(frames) or not len(ids):
            raise ValueError(f"{key} has {len(frames)} frames and {len(ids)} ids: expected some")
        self._raw.write(frames.cpu().numpy().astype(self._dtype).tobytes())
        start = self._frames
        self._frames += len(frames)
        self._lines.append(Line(key, text, list(ids), start, len(frames), speaker, split))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._raw.close()
        part = Path(self._raw.name)
        try:
            if kind is None:
                self._finish(part)
        finally:
            part.unlink()

    def _finish(self, part: Path) -> None:
        shape = (self._frames, self.settings.format.num_codebooks)
        if self._frames:
            codes = np.memmap(part, self._dtype, "r", shape=shape)
        else:
            codes = np.zeros(shape, self._dtype)
        whole = self.folder / f"{CODES}.whole"
        with whole.open("wb") as file:
            np.save(file, codes, allow_pickle=False)
        _write_rows(self.folder, self._lines)
        settings = json.dumps(asdict(self.settings), indent=2, ensure_ascii=False)
        whole.replace(self.folder / CODES)
        (self.folder / CORPUS).write_text(settings + "\n", encoding="utf-8")


def write_starts(corpus: CodedCorpus, starts: Mapping[int, list[int]]) -> None:
    """Write down where the units of a corpus begin.

    Args:
        corpus: all of it, no single split.
        starts: by the number of the utterance, the first frame of each id.

    Raises:
        ValueError: starts that are not one an id, or that do not rise from 0.
        OSError: the folder cannot be written.
    """
    lines = list(corpus.lines)
    for index, frames in starts.items():
        line = lines[index]
        rising = all(a < b for a, b in zip(frames, [*frames[1:], line.frames], strict=True))
        if len(frames) != len(line.ids) or frames[:1] != [0] or not rising:
            raise ValueError(f"{line.id}: {len(line.ids)} ids cannot begin at {frames}")
        lines[index] = line._replace(starts=frames)
    _write_rows(corpus.folder, lines)


def _write_rows(folder: Path, lines: Sequence[Line]) -> None:
    part = folder / f"{ROWS}.part"
    rows = (json.dumps(line._asdict(), ensure_ascii=False) + "\n" for line in lines)
    part.write_text("".join(rows), encoding="utf-8")
    part.replace(folder / ROWS)


def _read_settings(folder: Path) -> CorpusSettings:
    path = folder / CORPUS
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        values["format"] = FrameFormat(**values["format"])
        settings = CorpusSettings(**values)
    except FileNotFoundError as e:
        raise ValueError(
            f"{folder} is no corpus of codes (no {CORPUS}): make one with "
            "`echoic prepare coded-speech`"
        ) from e
    except (OSError, ValueError, TypeError, KeyError) as e:
        raise ValueError(f"{path} cannot be read ({e}): code the speech again") from e
    if settings.version != _VERSION:
        raise ValueError(f"{path} has version {settings.version}, this program knows {_VERSION}")
    return settings
