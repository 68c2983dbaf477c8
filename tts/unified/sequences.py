"""Text and speech in turns, as one row of ids.

An example is a row of segments, each text or frames, given or to be answered. It becomes

    segment ... <|say|> or <|write|> answer ... <|end_of_answer|> segment ...

where a segment of frames stands between `<|begin_of_audio|>` and `<|end_of_audio|>`. An answer that
nothing comes before (plain text or plain speech) has no control in front.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from echoic.tts.unified.text_ids import TextIds
from echoic.tts.unified.vocabulary import UnifiedVocabulary

Kind = Literal["text", "audio"]
#: Stands for tokens that belong to no answer.
NONE = -1


class Segment(NamedTuple):
    """A piece of an example.

    Attributes:
        content: text, or frames (T, Q) int64.
        answer: whether the model is to say it; neighbours that it says are one answer.
    """

    content: str | Tensor
    answer: bool = False

    @property
    def kind(self) -> Kind:
        """What it is."""
        return "text" if isinstance(self.content, str) else "audio"


class Document(NamedTuple):
    """An example as ids.

    Attributes:
        ids: (N,) int64.
        answers: (N,) int64 number of the answer that each id is of, `NONE` for what is given.
    """

    ids: Tensor
    answers: Tensor


@dataclass(frozen=True)
class Sequencer:
    """Makes ids of segments.

    Attributes:
        vocabulary: their numbers.
        text: how text is read.
    """

    vocabulary: UnifiedVocabulary
    text: TextIds

    def ids(self, segment: Segment) -> Tensor:
        """Return the ids of a segment.

        Raises:
            ValueError: it is empty, or of frames of another format.
        """
        content = segment.content
        if not len(content):
            raise ValueError(f"a segment of {segment.kind} is empty: leave it out")
        if isinstance(content, str):
            return torch.tensor(self.text.encode(content), dtype=torch.int64)
        return self.vocabulary.merged.ids(content)

    def document(self, segments: Sequence[Segment]) -> Document:
        """Return an example as ids.

        Raises:
            ValueError: nothing in it, or an empty segment.
        """
        if not segments:
            raise ValueError("an example has no segments: give it some")
        parts: list[tuple[Tensor, int]] = []
        number, inside = NONE, False
        for segment in segments:
            if inside and not segment.answer:
                parts.append((self._one(self.vocabulary.end), number))
            if segment.answer and not inside:
                number += 1
                if parts:
                    parts.append((self._one(self._control(segment.kind)), NONE))
            inside = segment.answer
            parts.append((self.ids(segment), number if inside else NONE))
        if inside:
            parts.append((self._one(self.vocabulary.end), number))
        return Document(
            torch.cat([ids for ids, _ in parts]),
            torch.cat([torch.full_like(ids, owner) for ids, owner in parts]),
        )

    def prompt(self, segments: Sequence[Segment], answer: Kind) -> Tensor:
        """Return the ids that an answer follows: its control is the last, or the begin of speech.

        Args:
            segments: what is given; earlier answers may be among it.
            answer: what is to come.

        Raises:
            ValueError: nothing given, or an empty segment.
        """
        ids = [self.document(segments).ids, self._one(self._control(answer))]
        if answer == "audio":
            ids.append(self._one(self.vocabulary.begin_audio))
        return torch.cat(ids)

    def length(self, sizes: Sequence[tuple[int, bool]]) -> int:
        """Return how long the document of segments is, given each one's own ids and `answer`."""
        total, inside = 0, False
        for place, (size, answer) in enumerate(sizes):
            if answer and not inside:
                total += 2 if place else 1  # the control before, and the end
            inside = answer
            total += size
        return total

    def audio_size(self, frames: int) -> int:
        """Return how many ids a segment of so many frames has."""
        return frames * self.vocabulary.format.num_codebooks + 2

    def _control(self, kind: Kind) -> int:
        return self.vocabulary.say if kind == "audio" else self.vocabulary.write

    @staticmethod
    def _one(token: int) -> Tensor:
        return torch.tensor([token], dtype=torch.int64)
