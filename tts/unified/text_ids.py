"""Text as the ids of a language model: by its own tokenizer, or as bytes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from echoic.tts.errors import TtsError

BYTES = "bytes"


class TextIds(Protocol):
    """Turns text into ids and back."""

    @property
    def size(self) -> int:
        """How many ids it may write; a model may have spare ones behind them."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, with nothing before or behind it."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; those it does not know are left out."""
        ...


class ByteText:
    """Letters as the bytes of UTF-8: needs no file, and fits a model from nothing."""

    size = 256

    def encode(self, text: str) -> list[int]:
        """Return the bytes of a text."""
        return list(text.encode(errors="replace"))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of bytes."""
        return bytes(i for i in ids if 0 <= i < self.size).decode(errors="replace")


class TokenizedText:
    """The words of an LLM's own tokenizer, as `transformers` reads it; code in it is never run.

    Args:
        tokenizer: of `transformers`.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path) -> "TokenizedText":
        """Load the tokenizer of a folder or a Hugging Face id.

        Raises:
            TtsError: there is none.
        """
        from transformers import AutoTokenizer

        try:
            return cls(AutoTokenizer.from_pretrained(str(name_or_dir), trust_remote_code=False))
        except (OSError, ValueError, KeyError) as e:
            raise TtsError(
                f"{name_or_dir} has no tokenizer that can be read ({_first_line(e)}): name another "
                f"in `text`, or {BYTES!r}"
            ) from e

    @property
    def size(self) -> int:
        """How many ids it may write."""
        return len(self.tokenizer)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, with nothing before or behind it."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without what is special."""
        known = [i for i in ids if 0 <= i < self.size]
        return self.tokenizer.decode(known, skip_special_tokens=True)


def text_ids(name_or_dir: str | Path) -> TextIds:
    """Return what turns text into ids: "bytes", or the tokenizer of a folder or Hugging Face id.

    Raises:
        TtsError: there is none.
    """
    return ByteText() if name_or_dir == BYTES else TokenizedText.from_pretrained(name_or_dir)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
