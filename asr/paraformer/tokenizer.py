"""Text to token ids and back: characters, pieces of words marked `@@`, or sentencepiece's.

A list of tokens is all that decoding needs. Pieces that do not end a word carry `@@` at their end;
sentencepiece's that begin one carry `▁` at their start.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from sentencepiece import SentencePieceProcessor

from echoic.asr.errors import CheckpointError

TOKENS_FILE, SEG_DICT_FILE, PIECES_FILE = "tokens.json", "seg_dict", "bpe.model"
BLANK, START, END = 0, 1, 2
SPECIAL = ("<blank>", "<s>", "</s>")
UNKNOWN = "<unk>"

_JOINED, _BEGINS = "@@", "\u2581"
# Words of Latin script hold together; everything else is written character by character.
_UNIT = re.compile(r"[A-Za-z\u00c0-\u024f]+(?:'[A-Za-z\u00c0-\u024f]+)*'?|\S")
_SPELLED = re.compile(r"[A-Za-z\u00c0-\u024f']+")


class TokenWord(NamedTuple):
    """A word and the places of its tokens, [first, last), among the ids it was made of."""

    text: str
    first: int
    last: int


class Tokenizer:
    """A vocabulary, with what is needed to write text in it.

    Ids 0, 1 and 2 are the blank, the start and the end; they and the unknown token are no text.

    Args:
        tokens: the vocabulary.
        seg_dict: words and their pieces. Other words are written in the longest pieces that fit;
            where none do, in letters.
        pieces: a sentencepiece model's bytes; tokens are then its pieces.

    Raises:
        CheckpointError: no list of different strings, or too few.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        seg_dict: Mapping[str, Sequence[str]] | None = None,
        pieces: bytes | None = None,
    ) -> None:
        if len(tokens) < 4 or not all(isinstance(token, str) for token in tokens):
            raise CheckpointError("the vocabulary is no list of 4 or more strings")
        self.tokens = tuple(tokens)
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        if len(self.ids) < len(self.tokens):
            twice = next(t for i, t in enumerate(self.tokens) if self.ids[t] != i)
            raise CheckpointError(f"the vocabulary has {twice!r} twice")
        self.seg_dict = dict(seg_dict or {})
        self.pieces = pieces
        self.unknown = self.ids.get(UNKNOWN, len(self.tokens) - 1)
        self.marks_beginnings = pieces is not None or any(
            token.startswith(_BEGINS) for token in self.tokens
        )
        self._silent = frozenset({BLANK, START, END, self.unknown})

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def of_characters(cls, texts: Iterable[str]) -> "Tokenizer":
        """Make a vocabulary of all characters in the texts; letters also as pieces of words."""
        found: set[str] = set()
        for text in texts:
            for unit in _UNIT.findall(text):
                if _SPELLED.fullmatch(unit):
                    found |= {*(letter + _JOINED for letter in unit[:-1]), unit[-1]}
                else:
                    found.add(unit)
        return cls([*SPECIAL, *sorted(found), UNKNOWN])

    @classmethod
    def from_folder(cls, folder: str | Path) -> "Tokenizer":
        """Read `tokens.json` and, where they are, `seg_dict` and `bpe.model`.

        Raises:
            CheckpointError: no vocabulary, or an unreadable one.
        """
        folder = Path(folder)
        pieces = folder / PIECES_FILE
        return cls(
            read_tokens(folder / TOKENS_FILE),
            read_seg_dict(folder / SEG_DICT_FILE),
            pieces.read_bytes() if pieces.is_file() else None,
        )

    def save(self, folder: str | Path) -> None:
        """Write what `from_folder` reads, in place of what is there; the folder exists."""
        folder = Path(folder)
        text = json.dumps(list(self.tokens), ensure_ascii=False, indent=0)
        (folder / TOKENS_FILE).write_text(text + "\n", encoding="utf-8")
        # A file of another vocabulary would be taken for this one's.
        for name in (SEG_DICT_FILE, PIECES_FILE):
            (folder / name).unlink(missing_ok=True)
        if self.seg_dict:
            lines = [f"{word}\t{' '.join(parts)}\n" for word, parts in self.seg_dict.items()]
            (folder / SEG_DICT_FILE).write_text("".join(lines), encoding="utf-8")
        if self.pieces is not None:
            (folder / PIECES_FILE).write_bytes(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, the unknown id for what cannot be written."""
        if self.pieces is not None:
            spelled = self._sentencepiece.encode(text, out_type=str)
        else:
            spelled = [token for unit in _UNIT.findall(text) for token in self._spell(unit)]
        return [self.ids.get(token, self.unknown) for token in spelled]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; special and unknown ones are left out."""
        return "".join(self.spaced([word.text for word in self.words(list(ids))]))

    def spaced(self, words: Sequence[str]) -> list[str]:
        """Return words with a space before each that stands apart from the one before it."""
        pairs = zip(["", *words], words, strict=False)
        return [
            f" {word}" if before and self._apart(before, word) else word for before, word in pairs
        ]

    def words(self, ids: Sequence[int]) -> list[TokenWord]:
        """Group ids into words; characters of scripts without spaces are words of their own.

        Raises:
            ValueError: an id outside of the vocabulary.
        """
        words: list[TokenWord] = []
        open_ = False  # the token before lets its word go on
        for place, token in self._spoken(ids):
            text = self._text(token)
            if open_ and self.joins(token):
                words[-1] = TokenWord(words[-1].text + text, words[-1].first, place + 1)
            else:
                words.append(TokenWord(text, place, place + 1))
            open_ = self.goes_on(token)
        return [word for word in words if word.text]

    def goes_on(self, token: int) -> bool:
        """Return whether a word of which this token is the last so far may have another."""
        return self.marks_beginnings or self.tokens[token].endswith(_JOINED)

    def joins(self, token: int) -> bool:
        """Return whether a token belongs to the word before it, if that goes on."""
        if self.marks_beginnings:
            return not self.tokens[token].startswith(_BEGINS)
        return _SPELLED.fullmatch(self._text(token)) is not None

    def is_spoken(self, token: int) -> bool:
        """Return whether a token is text: neither a special one nor the unknown one."""
        return token not in self._silent

    def _text(self, token: int) -> str:
        text = self.tokens[token]
        return text.removeprefix(_BEGINS) if self.marks_beginnings else text.removesuffix(_JOINED)

    def _spoken(self, ids: Sequence[int]) -> list[tuple[int, int]]:
        for i in ids:
            if not 0 <= i < len(self.tokens):
                raise ValueError(f"id {i} is outside the vocabulary of {len(self.tokens)}")
        return [(at, i) for at, i in enumerate(ids) if i not in self._silent]

    def _apart(self, before: str, after: str) -> bool:
        if self.marks_beginnings:
            return True
        return bool(_SPELLED.search(before[-1]) and _SPELLED.search(after[0]))

    def _spell(self, unit: str) -> Sequence[str]:
        known = self.seg_dict.get(unit) or self.seg_dict.get(unit.lower())
        if known is not None:
            return known
        if unit in self.ids or not _SPELLED.fullmatch(unit):
            return [unit]
        for word in dict.fromkeys((unit, unit.lower())):
            pieces = self._longest_pieces(word)
            if pieces is not None:
                return pieces
        return list(unit if unit[0] in self.ids else unit.lower())

    def _longest_pieces(self, word: str) -> list[str] | None:
        """Cut a word into pieces from the left, or return None where one is missing."""
        pieces: list[str] = []
        while word:
            for size in range(len(word), 0, -1):
                piece = word[:size] if size == len(word) else word[:size] + _JOINED
                if piece in self.ids:
                    break
            else:
                return None
            pieces.append(piece)
            word = word[size:]
        return pieces

    @cached_property
    def _sentencepiece(self) -> SentencePieceProcessor:
        return SentencePieceProcessor(model_proto=self.pieces)


def read_tokens(path: Path) -> list[str]:
    """Read a vocabulary: a JSON list, or a text file with one token a line.

    Raises:
        CheckpointError: no such file, or not such a list.
    """
    if not path.is_file():
        raise CheckpointError(f"{path.parent} has no {path.name}; expected the model's vocabulary")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".json":
            # The line of a token may also hold its id.
            return [line.split()[0] for line in text.splitlines() if line.strip()]
        values = json.loads(text)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is no readable vocabulary ({error})") from error
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise CheckpointError(f"{path} is no list of strings; expected the model's vocabulary")
    return values


def read_seg_dict(path: Path) -> dict[str, list[str]]:
    """Read words and their pieces, one word a line; an absent file has none.

    Raises:
        CheckpointError: not readable as text.
    """
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is no readable text ({error})") from error
    split = [line.split() for line in lines]
    return {parts[0]: parts[1:] for parts in split if len(parts) > 1}
