"""Text to Whisper's token ids and back, with the `tokenizers` library alone.

The byte-level BPE is GPT-2's (English-only models) or OpenAI's multilingual one; above its ids lie
the control tokens, the languages and 1,501 times in steps of 20 ms.
"""

import json
import string
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from echoic.asr.errors import CheckpointError
from echoic.asr.languages import LANGUAGES, UNSPACED, language_code

SECONDS_PER_TIMESTAMP = 0.02
NUM_TIMESTAMPS = 1501

_REPLACEMENT = "\ufffd"
# Annotations such as "[music]" or "♪♪" begin with one of these; OpenAI suppresses them by default.
_SYMBOLS = (
    *'"#()*+/:;<=>@[\\]^_`{|}~「」『』',
    *("<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("', "((", "))", "(((", ")))"),
    *("[[", "]]", "{{", "}}", "♪♪", "♪♪♪"),
)
# U+2640 to U+267F share their first two bytes, so the first token of several is enough.
_MUSIC = tuple("♩♪♫♬♭♮♯")


class WordTokens(NamedTuple):
    """A word as it is written, with its leading space, and the ids that spell it."""

    text: str
    ids: tuple[int, ...]


class WhisperTokenizer:
    """The tokenizer of one model.

    `encode` treats its text as plain text: "<|endoftext|>" in a prompt becomes ordinary characters,
    never a control token.

    Attributes:
        special_ids: control tokens such as "<|endoftext|>" and their ids, without the times.
        language_ids: language code to id, in the order of the ids.
        eot: end of text. All ids below it are text, all others are not.
        sot: start of transcript.
        sot_prev: opens the text that came before.
        sot_lm: opens text without audio.
        translate: asks for a translation into English.
        transcribe: asks for a transcript.
        no_speech: its probability tells silence.
        no_timestamps: asks for text without times.
        timestamp_begin: the time 0.00 s.
    """

    def __init__(
        self,
        vocab: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        special_ids: Mapping[str, int],
    ):
        """Build from a BPE vocabulary, its merges in order, and the ids of the control tokens.

        Raises:
            CheckpointError: a control token that Whisper cannot do without is missing.
        """
        self._bpe = tokenizers.Tokenizer(BPE(dict(vocab), list(merges)))
        self._bpe.pre_tokenizer = ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
        self.special_ids = {
            token: i for token, i in special_ids.items() if not _is_timestamp_name(token)
        }
        self.eot = self._special("<|endoftext|>")
        self.sot = self._special("<|startoftranscript|>")
        self.sot_prev = self._special("<|startofprev|>")
        self.sot_lm = self._special("<|startoflm|>")
        self.translate = self._special("<|translate|>")
        self.transcribe = self._special("<|transcribe|>")
        self.no_speech = self._special("<|nospeech|>", "<|nocaptions|>")
        self.no_timestamps = self._special("<|notimestamps|>")
        self.timestamp_begin = self.no_timestamps + 1
        self.language_ids = _language_ids(self.special_ids)
        self._names = {i: token for token, i in self.special_ids.items()}
        self._bytes: dict[int, bytes] = {}

    @classmethod
    def from_folder(cls, folder: str | Path) -> Self:
        """Read `tokenizer.json`, or `vocab.json` with `merges.txt` and `added_tokens.json`.

        Raises:
            CheckpointError: no tokenizer in the folder, or one that is not byte-level BPE.
        """
        folder = Path(folder)
        if (folder / "tokenizer.json").is_file():
            return cls(*_read_tokenizer_json(folder / "tokenizer.json"))
        names = ("vocab.json", "merges.txt", "added_tokens.json")
        if not all((folder / name).is_file() for name in names):
            raise CheckpointError(
                f"{folder} has no tokenizer: expected tokenizer.json, or {', '.join(names)}"
            )
        vocab, added = (_read_json(folder / name) for name in (names[0], names[2]))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
        merges = [_pair(line) for line in lines if line and not line.startswith("#version")]
        specials = {t: i for t, i in vocab.items() if t == "<|endoftext|>"}
        return cls(vocab, merges, specials | added)

    @property
    def vocab_size(self) -> int:
        """Number of ids, times included."""
        return self.timestamp_begin + NUM_TIMESTAMPS

    @property
    def is_multilingual(self) -> bool:
        """Whether the BPE is the multilingual one (GPT-2's ends one id earlier)."""
        return self.eot != 50256

    def language_id(self, language: str) -> int:
        """Return the id of a language given by code or name.

        Raises:
            ValueError: unknown language, or one that this model does not have.
        """
        code = language_code(language)
        if code not in self.language_ids:
            raise ValueError(
                f"this model has no language {code!r} ({LANGUAGES[code]}); "
                f"it has {' '.join(self.language_ids)}"
            )
        return self.language_ids[code]

    def prompt(
        self, language: str | None = None, task: str = "transcribe", timestamps: bool = False
    ) -> tuple[int, ...]:
        """Return what the decoder starts from: start, language, task and "no times".

        Args:
            language: code or name; None leaves language and task out, as English-only models want.
            task: "transcribe" or "translate".
            timestamps: whether the answer shall hold times.

        Raises:
            ValueError: unknown language or task.
        """
        tasks = {"transcribe": self.transcribe, "translate": self.translate}
        if task not in tasks:
            raise ValueError(f"unknown task {task!r}: one of {', '.join(tasks)}")
        middle = () if language is None else (self.language_id(language), tasks[task])
        return (self.sot, *middle, *(() if timestamps else (self.no_timestamps,)))

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text."""
        return self._bpe.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, without control tokens and times.

        Bytes of one character that are spread over tokens are joined; an incomplete character
        becomes U+FFFD.
        """
        text = b"".join(self.token_bytes(i) for i in ids if i < self.eot)
        return text.decode("utf-8", errors="replace")

    def decode_with_timestamps(self, ids: Iterable[int]) -> str:
        """Return the text of ids with control tokens and times spelled out, as "<|1.08|>"."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", errors="replace")

    def token_bytes(self, i: int) -> bytes:
        """Return the bytes that one id stands for; control tokens and times give their names.

        Raises:
            ValueError: the id is outside the vocabulary.
        """
        known = self._bytes.get(i)
        if known is None:
            known = self._bytes[i] = self._spell(i)
        return known

    def seconds(self, i: int) -> float:
        """Return the time that a time token stands for, in seconds."""
        return round((i - self.timestamp_begin) * SECONDS_PER_TIMESTAMP, 2)

    def split_to_words(self, ids: Sequence[int], language: str | None = "en") -> list[WordTokens]:
        """Group text ids into words.

        A word begins at a space, a punctuation mark stands alone, and for languages written without
        spaces every complete character is a word (the rules of OpenAI's word times).

        Args:
            ids: text tokens; control tokens become words of their own.
            language: code of the language; None means English.
        """
        pieces = self._split_on_characters(ids)
        if language in UNSPACED:
            return pieces
        words: list[WordTokens] = []
        for piece in pieces:
            alone = piece.ids[0] >= self.eot or piece.text.strip() in string.punctuation
            if not words or alone or piece.text.startswith(" "):
                words.append(piece)
            else:
                words[-1] = WordTokens(words[-1].text + piece.text, words[-1].ids + piece.ids)
        return words

    @cached_property
    def non_speech_tokens(self) -> tuple[int, ...]:
        """Ids that open annotations such as "[music]", and dashes and quotes before a word."""
        found = {self.encode(" -")[0], self.encode(" '")[0]}
        for symbol in (*_SYMBOLS, *_MUSIC):
            for ids in (self.encode(symbol), self.encode(" " + symbol)):
                if len(ids) == 1 or symbol in _MUSIC:
                    found.add(ids[0])
        return tuple(sorted(found))

    @cached_property
    def suppressed_by_default(self) -> tuple[int, ...]:
        """Ids that OpenAI's decoder never samples: annotations and control tokens."""
        control = (self.sot, self.sot_prev, self.sot_lm, self.no_speech)
        tasks = (self.transcribe, self.translate)
        return tuple(sorted({*self.non_speech_tokens, *control, *tasks}))

    def _special(self, *names: str) -> int:
        for name in names:
            if name in self.special_ids:
                return self.special_ids[name]
        raise CheckpointError(f"the tokenizer has no {names[0]} token: not Whisper's tokenizer")

    def _spell(self, i: int) -> bytes:
        if i in self._names:
            return self._names[i].encode()
        if i >= self.timestamp_begin:
            if i >= self.vocab_size:
                raise ValueError(f"token id {i} is outside the vocabulary of {self.vocab_size}")
            return f"<|{self.seconds(i):.2f}|>".encode()
        token = self._bpe.id_to_token(i) if i >= 0 else None
        if token is None:
            raise ValueError(f"token id {i} is outside the vocabulary of {self.vocab_size}")
        return bytes(_BYTE_OF_CHARACTER[c] for c in token)

    def _split_on_characters(self, ids: Sequence[int]) -> list[WordTokens]:
        """Cut wherever the bytes so far are whole characters (or truly U+FFFD in the text)."""
        whole = self.decode_with_timestamps(ids)
        pieces: list[WordTokens] = []
        current: list[int] = []
        offset = 0
        for i in ids:
            current.append(i)
            text = self.decode_with_timestamps(current)
            at = offset + text.find(_REPLACEMENT)
            if _REPLACEMENT not in text or (at < len(whole) and whole[at] == _REPLACEMENT):
                pieces.append(WordTokens(text, tuple(current)))
                current = []
                offset += len(text)
        if current:
            pieces.append(WordTokens(self.decode_with_timestamps(current), tuple(current)))
        return pieces


def _byte_of_character() -> dict[str, int]:
    """GPT-2's printable stand-ins: visible Latin-1 bytes are themselves, others from U+0100 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [b for b in range(256) if b not in visible]
    return {chr(b): b for b in visible} | {chr(256 + n): b for n, b in enumerate(hidden)}


_BYTE_OF_CHARACTER = _byte_of_character()


def _language_ids(special_ids: Mapping[str, int]) -> dict[str, int]:
    ids = {code: special_ids.get(f"<|{code}|>") for code in LANGUAGES}
    if ids["he"] is None:  # the English-only tokenizers spell Hebrew with its old code
        ids["he"] = special_ids.get("<|iw|>")
    return {code: i for code, i in ids.items() if i is not None}


def _is_timestamp_name(token: str) -> bool:
    return token.startswith("<|") and token[2:3].isdigit()


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise CheckpointError(f"{path} is not readable JSON: {e}") from e


def _read_tokenizer_json(
    path: Path,
) -> tuple[dict[str, int], list[tuple[str, str]], dict[str, int]]:
    values = _read_json(path)
    try:
        model = values["model"]
        specials = {t["content"]: t["id"] for t in values["added_tokens"]}
        return model["vocab"], [_pair(m) for m in model["merges"]], specials
    except (KeyError, TypeError, ValueError) as e:
        raise CheckpointError(
            f"{path} is not a byte-level BPE tokenizer: {type(e).__name__}: {e}"
        ) from e
