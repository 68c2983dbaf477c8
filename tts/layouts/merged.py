"""Speech and text in one vocabulary, as engines for plain language models want them.

UniTTS, Llasa and Orpheus have this shape: the text's ids, then Q books of K codes, then some
special ids. Inside echoic codes are never looked up by a name; here they get one only for the
tokenizer that an engine reads.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.tts.tokens import FrameFormat

#: Behind the codes, in this order.
SPECIALS = ("<|begin_of_audio|>", "<|end_of_audio|>")


class MergedTables(NamedTuple):
    """Tables of a merged vocabulary.

    Attributes:
        embeddings: (V', D).
        head: (V', D).
    """

    embeddings: Tensor
    head: Tensor


@dataclass(frozen=True, slots=True)
class MergedVocabulary:
    """Ids of a vocabulary that holds text and codes.

    Attributes:
        text_size: V, ids of the text, which keep their numbers.
        format: of the frames.
    """

    text_size: int
    format: FrameFormat

    @property
    def size(self) -> int:
        """All ids there are."""
        return self.text_size + self._codes + len(SPECIALS)

    @property
    def begin(self) -> int:
        """The id before speech."""
        return self.text_size + self._codes

    @property
    def end(self) -> int:
        """The id behind speech."""
        return self.begin + 1

    def ids(self, frames: Tensor) -> Tensor:
        """Return the ids (T * Q + 2,) of frames (T, Q): begin, the codes frame by frame, end.

        Raises:
            ValueError: frames of another format.
        """
        self.format.check(frames)
        flat = (frames + self._offsets(frames)).flatten()
        edges = frames.new_tensor([self.begin, self.end])
        return torch.cat([edges[:1], flat, edges[1:]])

    def frames(self, ids: Tensor) -> Tensor:
        """Return the frames (T, Q) between begin and end; without either, all ids are codes.

        Raises:
            ValueError: ids of text, codes that stand in another's place, or half a frame.
        """
        ids = self._inside(ids)
        books = self.format.num_codebooks
        if len(ids) % books:
            raise ValueError(f"{len(ids)} codes do not make whole frames of {books}")
        frames = ids.view(-1, books)
        frames = frames - self._offsets(frames)
        wrong = ((frames < 0) | (frames >= self.format.codebook_size)).flatten().nonzero()
        if len(wrong):
            at = int(wrong[0])
            raise ValueError(
                f"id {int(ids[at])} at place {at} of the speech is no code of book {at % books}"
            )
        return frames

    def names(self) -> list[str]:
        """Return what a tokenizer calls the new ids, from `text_size` on."""
        codes = (
            f"<|audio_{q}_{code}|>"
            for q in range(self.format.num_codebooks)
            for code in range(self.format.codebook_size)
        )
        return [*codes, *SPECIALS]

    def tables(
        self, embeddings: Tensor, head: Tensor, code_embeddings: Tensor, code_head: Tensor
    ) -> MergedTables:
        """Return a language model's tables with rows for the new ids.

        Args:
            embeddings: (V or more, D) of the text; rows beyond V are dropped.
            head: the same of the output.
            code_embeddings: (Q, K, D), such as the codebooks themselves.
            code_head: (Q, K, D).

        Returns:
            Tables of `size` rows; those of the specials are the mean of the text's.

        Raises:
            ValueError: tables of other sizes.
        """
        return MergedTables(self._table(embeddings, code_embeddings), self._table(head, code_head))

    @property
    def _codes(self) -> int:
        return self.format.num_codebooks * self.format.codebook_size

    def _offsets(self, frames: Tensor) -> Tensor:
        books = torch.arange(self.format.num_codebooks, device=frames.device)
        return self.text_size + books * self.format.codebook_size

    def _inside(self, ids: Tensor) -> Tensor:
        if len(ids) and int(ids[0]) == self.begin:
            ids = ids[1:]
        ends = (ids == self.end).nonzero()
        return ids[: int(ends[0])] if len(ends) else ids

    def _table(self, text: Tensor, codes: Tensor) -> Tensor:
        expected = (self.format.num_codebooks, self.format.codebook_size, text.shape[1])
        if len(text) < self.text_size or codes.shape != expected:
            raise ValueError(
                f"tables of {len(text)} rows of text and {tuple(codes.shape)} codes, expected "
                f"{self.text_size} and {expected}"
            )
        kept = text[: self.text_size]
        special = kept.mean(dim=0, keepdim=True).expand(len(SPECIALS), -1)
        return torch.cat([kept, codes.flatten(0, 1).to(kept), special])
