"""The ids of a unified language model: an LLM's own, and speech behind them.

| ids | what |
| --- | --- |
| 0 to V - 1 | the LLM's, spare ones included |
| V + q * K + c | code c of book q |
| V + Q * K | `<|begin_of_audio|>` before codes |
| + 1 | `<|end_of_audio|>` behind codes |
| + 2 | `<|say|>`: what follows is an answer that begins with speech |
| + 3 | `<|write|>`: what follows is an answer that begins with text |
| + 4 | `<|end_of_answer|>` behind an answer |

Names are for engines that read an exported folder; nothing here looks an id up by its name.
"""

from dataclasses import dataclass

from echoic.tts.layouts.merged import MergedVocabulary
from echoic.tts.tokens import FrameFormat

#: Behind what `MergedVocabulary` has, in this order.
CONTROLS = ("<|say|>", "<|write|>", "<|end_of_answer|>")


@dataclass(frozen=True, slots=True)
class UnifiedVocabulary:
    """Ids of text, codes and controls.

    Attributes:
        text_size: V, ids of the LLM, which keep their numbers.
        format: of the frames.
    """

    text_size: int
    format: FrameFormat

    @property
    def merged(self) -> MergedVocabulary:
        """Text, codes and the edges of speech, without the controls."""
        return MergedVocabulary(self.text_size, self.format)

    @property
    def size(self) -> int:
        """All ids there are."""
        return self.merged.size + len(CONTROLS)

    @property
    def rows(self) -> int:
        """How many of them are not the LLM's."""
        return self.size - self.text_size

    @property
    def begin_audio(self) -> int:
        """The id before codes."""
        return self.merged.begin

    @property
    def end_audio(self) -> int:
        """The id behind codes."""
        return self.merged.end

    @property
    def say(self) -> int:
        """The id before an answer that begins with speech."""
        return self.merged.size

    @property
    def write(self) -> int:
        """The id before an answer that begins with text."""
        return self.merged.size + 1

    @property
    def end(self) -> int:
        """The id behind an answer."""
        return self.merged.size + 2

    def book(self, book: int) -> range:
        """Return the ids of a book's codes."""
        start = self.text_size + book * self.format.codebook_size
        return range(start, start + self.format.codebook_size)

    def names(self) -> list[str]:
        """Return what an engine's tokenizer calls the ids from `text_size` on."""
        return [*self.merged.names(), *CONTROLS]
