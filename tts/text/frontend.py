"""The text front end: from text in any of the known languages to utterances.

Text may come whole or piece by piece; sentences leave as soon as they are complete:

>>> reader = Reader("en")
>>> [u.text for u in reader.read("Dr. Lee paid $5. [pause 1s] Why?")]
['Doctor Lee paid five dollars.', 'Why?']
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, Protocol

from echoic.tts.text.markup import parse_markup
from echoic.tts.text.phonemes import G2P
from echoic.tts.text.pieces import Mark, Pause, Piece, Utterance, Word
from echoic.tts.text.script import Script
from echoic.tts.text.spans import Span
from echoic.tts.text.splitter import SplitRules, Splitter, split_stream
from echoic.tts.text.ssml import looks_like_ssml, parse_ssml

Markup = Literal["auto", "inline", "ssml", "none"]


class TextFrontend(Protocol):
    """Knows how a language is read aloud."""

    language: str
    """Its code, as in ISO 639."""
    split_rules: SplitRules
    """How its sentences end."""

    def normalize(self, script: Script) -> list[Piece]:
        """Return words without digits or symbols, marks and pauses, in the order of the text."""
        ...


class EnglishFrontend:
    """Reads English by the rules of `echoic.tts.text.english`."""

    language = "en"

    def __init__(self) -> None:
        from echoic.tts.text.english.normalizer import SPLIT_RULES, normalize

        self.split_rules = SPLIT_RULES
        self._normalize = normalize

    def normalize(self, script: Script) -> list[Piece]:
        """Return words without digits or symbols, marks and pauses, in the order of the text."""
        return self._normalize(script)


def _chinese() -> TextFrontend:
    from echoic.tts.text.chinese import ChineseFrontend

    return ChineseFrontend()


_FRONTENDS: dict[str, Callable[[], TextFrontend]] = {"en": EnglishFrontend, "zh": _chinese}


def register(language: str, frontend: Callable[[], TextFrontend]) -> None:
    """Make a language known under its code of two or three letters."""
    _FRONTENDS[language.lower()] = frontend


def languages() -> list[str]:
    """Return the codes of the languages that can be read."""
    return sorted(_FRONTENDS)


def frontend(language: str) -> TextFrontend:
    """Return the front end of a language, given as "en", "en-GB" or "zh_CN".

    Raises:
        ValueError: nobody here reads that language.
        ImportError: the package for it is not installed.
    """
    code = language.replace("_", "-").partition("-")[0].lower()
    if code not in _FRONTENDS:
        known = ", ".join(languages())
        raise ValueError(f"no text front end for the language {language!r}; there are {known}")
    return _FRONTENDS[code]()


class Reader:
    """Turns text into utterances.

    Args:
        language: code of the language, or the front end itself.
        g2p: gives words their phonemes; without it only those have some that mark-up gave them.
        longest: most characters of the source in an utterance.
        markup: "inline" for `[word](/phonemes/)` and `[pause 300ms]`, "ssml", "none"; "auto" is
            SSML if the text begins with `<speak`, else inline.

    Raises:
        ValueError: unknown language.
        ImportError: the package for the language is not installed.
    """

    def __init__(
        self,
        language: str | TextFrontend = "en",
        g2p: G2P | None = None,
        *,
        longest: int = 300,
        markup: Markup = "auto",
    ) -> None:
        self._frontend = frontend(language) if isinstance(language, str) else language
        self._g2p = g2p
        self._longest = longest
        self._markup = markup

    def read(self, text: str) -> list[Utterance]:
        """Read a whole text; without words and pauses in it there are no utterances.

        Raises:
            TextError: the mark-up is wrong.
        """
        ssml = self._markup == "ssml" or (self._markup == "auto" and looks_like_ssml(text))
        if not ssml:
            return list(self.stream([text]))
        script = parse_ssml(text)
        splitter = self._splitter(markup=False)
        parts = [*splitter.feed(script.text.text), *splitter.finish()]
        read = (self._utterance(s) for s in script.cut(map(len, parts)))
        return [u for u in read if u is not None]

    def stream(self, pieces: Iterable[str]) -> Iterator[Utterance]:
        """Read a text that comes in pieces; spans count from the beginning of the first.

        Inline mark-up only: SSML has to be complete.

        Raises:
            TextError: the mark-up is wrong.
        """
        inline = self._markup in ("auto", "inline")
        for start, sentence in split_stream(pieces, self._splitter(markup=inline)):
            parse = parse_markup if inline else Script.plain
            utterance = self._utterance(parse(sentence, start))
            if utterance is not None:
                yield utterance

    def _splitter(self, *, markup: bool) -> Splitter:
        return Splitter(self._frontend.split_rules, longest=self._longest, markup=markup)

    def _utterance(self, script: Script) -> Utterance | None:
        pieces = self._frontend.normalize(script)
        if all(isinstance(piece, Mark) for piece in pieces):
            return None
        span = Span(pieces[0].span.start, max(piece.span.end for piece in pieces))
        return Utterance(tuple(self._sounding(pieces)), span)

    def _sounding(self, pieces: Sequence[Piece]) -> Iterator[Piece]:
        """Yield the pieces, words with phonemes if a G2P is at hand."""
        spoken = [piece for piece in pieces if not isinstance(piece, Pause)]
        sounds = iter(self._g2p([p.text for p in spoken]) if self._g2p and spoken else ())
        for piece in pieces:
            phonemes = None if isinstance(piece, Pause) else next(sounds, None)
            if isinstance(piece, Word) and piece.phonemes is None:
                yield piece._replace(phonemes=phonemes)
            else:
                yield piece
