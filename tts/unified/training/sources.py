"""What a unified model learns from: texts, coded speech, both in either direction, and examples."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

from echoic.tts.training.coded import CodedCorpus
from echoic.tts.unified.sequences import Segment, Sequencer
from echoic.tts.unified.training.example_file import Codes, ExampleFile, read_examples

Task = Literal["text", "audio", "speak", "write", "examples"]


@dataclass(frozen=True, slots=True)
class MixSource:
    """A part of the training.

    Attributes:
        task: "text", plain text, of a file with a document a line (JSON Lines with `text` where it
            is named .jsonl); "audio", plain speech, "speak", text to speech, and "write", speech to
            text, of a corpus of `echoic prepare coded-speech`; "examples", turns of any kind, see
            `example_file`.
        path: of the file or folder.
        split: of a corpus, only these utterances; "" for all.
        share: of all ids, in proportion to the other parts.

    Raises:
        ValueError: an unknown task, or a share that is none.
    """

    task: Task
    path: str
    split: str = ""
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise ValueError(f"task is {self.task!r}, expected one of {', '.join(get_args(Task))}")
        if self.share <= 0:
            raise ValueError(f"share is {self.share}, expected more than 0")


class Part(Protocol):
    """A part of the training, read."""

    @property
    def codes(self) -> Codes | None:
        """What its codes mean; None where it has none."""
        ...

    def __len__(self) -> int: ...

    def segments(self, index: int) -> list[Segment]:
        """Return an example."""
        ...

    def lengths(self, sequencer: Sequencer) -> list[int]:
        """Return how many ids each example has."""
        ...


class Texts:
    """Plain text.

    Args:
        path: of a file with a document a line.

    Raises:
        ValueError: it cannot be read, or is empty.
    """

    codes = None

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            if path.suffix == ".jsonl":
                lines = [str(json.loads(line)["text"]) for line in lines if line.strip()]
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise ValueError(f"{path} cannot be read as texts ({e!r}): give a text a line") from e
        self._lines = [line for line in (line.strip() for line in lines) if line]
        if not self._lines:
            raise ValueError(f"{path} has no text to learn from")

    def __len__(self) -> int:
        return len(self._lines)

    def segments(self, index: int) -> list[Segment]:
        """Return a document."""
        return [Segment(self._lines[index], answer=True)]

    def lengths(self, sequencer: Sequencer) -> list[int]:
        """Return how many ids each document has."""
        return [sequencer.length([(len(sequencer.text.encode(t)), True)]) for t in self._lines]


class Speech:
    """Utterances of a coded corpus: plain, or with their text in one direction.

    Args:
        corpus: the utterances.
        task: "audio", "speak" or "write".
    """

    def __init__(self, corpus: CodedCorpus, task: Task) -> None:
        self.corpus = corpus
        self.task = task

    @property
    def codes(self) -> Codes:
        """What its codes mean."""
        return Codes(self.corpus.settings.format, self.corpus.settings.codec_hash)

    def __len__(self) -> int:
        return len(self.corpus)

    def segments(self, index: int) -> list[Segment]:
        """Return an utterance."""
        frames = self.corpus.frames(index)
        if self.task == "audio":
            return [Segment(frames, answer=True)]
        text = self.corpus.lines[index].text
        if self.task == "speak":
            return [Segment(text), Segment(frames, answer=True)]
        return [Segment(frames), Segment(text, answer=True)]

    def lengths(self, sequencer: Sequencer) -> list[int]:
        """Return how many ids each utterance has."""
        made = []
        for line in self.corpus.lines:
            audio = sequencer.audio_size(line.frames)
            if self.task == "audio":
                made.append(sequencer.length([(audio, True)]))
                continue
            sizes = [len(sequencer.text.encode(line.text)), audio]
            given, answer = sizes if self.task == "speak" else sizes[::-1]
            made.append(sequencer.length([(given, False), (answer, True)]))
        return made


class Turns:
    """Examples of a file.

    Args:
        path: see `read_examples`.

    Raises:
        ValueError: it cannot be read, or has none.
    """

    def __init__(self, path: str | Path) -> None:
        self._file: ExampleFile = read_examples(path)
        if not self._file.examples:
            raise ValueError(f"{path} has no examples to learn from")

    @property
    def codes(self) -> Codes:
        """What its codes mean."""
        return self._file.codes

    def __len__(self) -> int:
        return len(self._file.examples)

    def segments(self, index: int) -> list[Segment]:
        """Return an example."""
        return self._file.examples[index]

    def lengths(self, sequencer: Sequencer) -> list[int]:
        """Return how many ids each example has."""
        return [len(sequencer.document(own).ids) for own in self._file.examples]


def open_part(source: MixSource) -> Part:
    """Read a part of the training.

    Raises:
        ValueError: it cannot be read.
    """
    if source.task == "text":
        return Texts(source.path)
    if source.task == "examples":
        return Turns(source.path)
    return Speech(CodedCorpus(source.path, source.split), source.task)


def codes_of(parts: Sequence[Part], names: Sequence[str]) -> Codes:
    """Return what the codes of all parts mean.

    Raises:
        ValueError: there are none, or of different codecs.
    """
    known = [(name, part.codes) for name, part in zip(names, parts, strict=True)]
    told = [(name, codes) for name, codes in known if codes is not None]
    if not told:
        raise ValueError("nothing here has codes: name a corpus of coded speech among the data")
    (first, codes), *rest = told
    for name, other in rest:
        if other != codes:
            raise ValueError(f"{name} and {first} are of different codecs: code both by the same")
    return codes
