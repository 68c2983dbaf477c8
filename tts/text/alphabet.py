"""Utterances as ids for a model: phonemes by a table, or letters as bytes.

The ids of a table never change: it has a version, a new version may only add symbols at its end,
and a voice keeps its own table in `config.json` and reads that, not the one of the program.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from echoic.tts.text.pieces import MARKS, Mark, Pause, Piece, Utterance, Word, separator

PAD, BEGIN, END, PAUSE = "<pad>", "<begin>", "<end>", "<pause>"
PHONEMES, LETTERS = "<phonemes>", "</phonemes>"
_SPECIALS = (PAD, BEGIN, END, PAUSE)
_BYTES = 256
#: What an id is a piece of that is of none.
BETWEEN = -1


class Encoded(NamedTuple):
    """Ids of an utterance.

    Attributes:
        ids: N numbers, between a `<begin>` and an `<end>`.
        pieces: for each id the piece of the utterance it is of; -1 for begin, end and what stands
            between two pieces.
    """

    ids: list[int]
    pieces: list[int]


class Alphabet(Protocol):
    """Turns utterances into ids."""

    @property
    def size(self) -> int:
        """How many ids there are."""
        ...

    def encode(self, utterance: Utterance) -> Encoded:
        """Return the ids of an utterance."""
        ...

    def to_config(self) -> dict[str, Any]:
        """Return what `alphabet_from_config` makes the same alphabet of."""
        ...


@dataclass(frozen=True, slots=True)
class PhonemeAlphabet:
    """A table of phonemes, each one character, and marks.

    Attributes:
        name: what the phonemes are written in; the `alphabet` of the G2P that goes with it.
        version: of the table.
        symbols: a symbol's place is its id.
    """

    name: str
    version: int
    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.symbols)) != len(self.symbols):
            raise ValueError(f"alphabet {self.name!r} has a symbol twice")
        if self.symbols[: len(_SPECIALS)] != _SPECIALS:
            raise ValueError(f"alphabet {self.name!r} must begin with {' '.join(_SPECIALS)}")

    @property
    def size(self) -> int:
        """How many ids there are."""
        return len(self.symbols)

    def encode(self, utterance: Utterance) -> Encoded:
        """Return the ids of an utterance.

        Raises:
            ValueError: a word has no phonemes, or one that is not in the table.
        """
        ids = {symbol: i for i, symbol in enumerate(self.symbols)}
        encoded = Encoded([ids[BEGIN]], [BETWEEN])
        for index, symbols in self._spelled(utterance.pieces):
            for symbol in symbols:
                if symbol not in ids:
                    raise ValueError(self._unknown(symbol, utterance.pieces[index]))
                encoded.ids.append(ids[symbol])
                encoded.pieces.append(index)
        encoded.ids.append(ids[END])
        encoded.pieces.append(BETWEEN)
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        """Return phonemes and marks as a line of text, without what is special."""
        symbols = (self.symbols[i] for i in ids)
        return "".join(s for s in symbols if s not in _SPECIALS)

    def to_config(self) -> dict[str, Any]:
        """Return what `alphabet_from_config` makes the same alphabet of."""
        return {"kind": "phonemes", "name": self.name, "version": self.version} | {
            "symbols": list(self.symbols)
        }

    def _spelled(self, pieces: Sequence[Piece]) -> Iterator[tuple[int, list[str]]]:
        before: Piece | None = None
        for index, piece in enumerate(pieces):
            if isinstance(piece, Pause):
                yield index, [PAUSE]
                continue
            if isinstance(piece, Word) and piece.phonemes is None:
                raise ValueError(f"{piece.text!r} has no phonemes; give the front end a G2P")
            yield BETWEEN, list(separator(before, piece))
            yield index, list(_sound(piece))
            before = piece

    def _unknown(self, symbol: str, piece: Piece) -> str:
        of = f" of {piece.text!r}" if isinstance(piece, Word) else ""
        return f"{symbol!r}{of} is no phoneme of the alphabet {self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class ByteAlphabet:
    """Letters as the bytes of UTF-8, ids 0 to 255.

    Phonemes that mark-up gives stand as bytes too, between `<phonemes>` and `</phonemes>`; those of
    a G2P do not.
    """

    version: int = 1

    @property
    def size(self) -> int:
        """How many ids there are."""
        return _BYTES + len(self.specials)

    @property
    def specials(self) -> tuple[str, ...]:
        """What has the ids from 256 on."""
        return (*_SPECIALS, PHONEMES, LETTERS)

    def encode(self, utterance: Utterance) -> Encoded:
        """Return the ids of an utterance."""
        special = {name: _BYTES + i for i, name in enumerate(self.specials)}
        encoded = Encoded([special[BEGIN]], [BETWEEN])
        before: Piece | None = None
        for index, piece in enumerate(utterance.pieces):
            ids = [special[PAUSE]]
            if not isinstance(piece, Pause):
                between = [*_bytes(separator(before, piece))]
                encoded.ids.extend(between)
                encoded.pieces.extend([BETWEEN] * len(between))
                ids = [*_bytes(piece.text)]
                if isinstance(piece, Word) and piece.phonemes is not None:
                    ids = [special[PHONEMES], *_bytes(piece.phonemes), special[LETTERS]]
                before = piece
            encoded.ids.extend(ids)
            encoded.pieces.extend([index] * len(ids))
        encoded.ids.append(special[END])
        encoded.pieces.append(BETWEEN)
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        """Return the letters, without what is special."""
        return bytes(i for i in ids if i < _BYTES).decode(errors="replace")

    def to_config(self) -> dict[str, Any]:
        """Return what `alphabet_from_config` makes the same alphabet of."""
        return {"kind": "bytes", "version": self.version}


def alphabet_from_config(config: Mapping[str, Any]) -> PhonemeAlphabet | ByteAlphabet:
    """Return the alphabet that a voice keeps in its `config.json`.

    Raises:
        ValueError: unknown kind, version or key, or a key is missing.
    """
    kind = config.get("kind")
    keys = {"bytes": {"kind", "version"}, "phonemes": {"kind", "version", "name", "symbols"}}
    if kind not in keys:
        raise ValueError(f"alphabet has the kind {kind!r}; it is bytes or phonemes")
    if set(config) != keys[kind]:
        raise ValueError(
            f"alphabet has {sorted(config)}; of kind {kind} it has {sorted(keys[kind])}"
        )
    if kind == "phonemes":
        return PhonemeAlphabet(config["name"], config["version"], tuple(config["symbols"]))
    if config["version"] != 1:
        raise ValueError(f"alphabet of bytes has version {config['version']}; this program knows 1")
    return ByteAlphabet()


def _sound(piece: Word | Mark) -> str:
    return piece.text if isinstance(piece, Mark) else piece.phonemes or ""


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


_STRESS = "ˈˌː"
_VOWELS = "aeiouyæøœɐɑɒɔəɘɚɛɜɝɞɤɨɪɯɵɶʉʊʌʏᵊᵻ"
_CONSONANTS = "bcdfhjklmnpqrstvwxzçðħŋɓɕɖɗɟɠɡɢɣɥɦɬɭɮɰɱɲɳɴɸɹɺɻɽɾʀʁʂʃʈʋʎʐʑʒʔʕʙʜʝʟʤʣʥʦʧʨβθχ"
_DIPHTHONGS = "AIOQSTWY"  # capital letters of misaki
_SIGNS = "ʰʲʷˠˤʱʼ˞\u0303\u0329\u032a\u032f\u0361"
# The IPA with misaki's capitals: what HibariG2P and EspeakG2P write. Ids never change.
IPA = PhonemeAlphabet(
    "ipa", 1, (*_SPECIALS, " ", *MARKS, *_STRESS, *_VOWELS, *_CONSONANTS, *_DIPHTHONGS, *_SIGNS)
)
BYTES = ByteAlphabet()
