"""Long or growing text in pieces that can be spoken: sentences, none longer than a limit.

Text goes in as it comes, for instance from a language model; sentences come out as soon as the
first letter after them shows that they have ended. How the text is chopped makes no difference.
Where it is not sure whether a full stop ends a sentence ("the U.S. Senate", "J. Smith") it does not
split: too long a piece is heard less than a full stop in the middle.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_CLOSING = "\"'”’)]»」』）"
_OPENING = "\"'“‘([«「『（"
_CLAUSE_ENDS = ",;:—，；：、"
_MARKUP_LIMIT = 120  # characters in which a bracket closes, or it is no mark-up


@dataclass(frozen=True, slots=True)
class SplitRules:
    """What a language knows about the ends of sentences.

    Attributes:
        titles: words whose full stop never ends a sentence ("Dr", "e.g").
        counted: words whose full stop does not before a number ("No", "p").
        stops: characters that end a sentence without a blank after them.
    """

    titles: frozenset[str] = frozenset()
    counted: frozenset[str] = frozenset()
    stops: str = "。！？"


class Splitter:
    """Splits text into sentences.

    The pieces joined are the text; none is longer than the limit; each ends behind a sentence, else
    (no sentence fits) behind a clause, else behind a word, else at the limit.

    >>> splitter = Splitter()
    >>> splitter.feed("It is 3.5 m. Really? Ye"), splitter.feed("s!"), splitter.finish()
    (['It is 3.5 m. ', 'Really? '], [], ['Yes!'])

    Args:
        rules: of the language.
        longest: most characters of a piece.
        markup: whether `[...]` and `[...](/.../)` are kept in one piece.
    """

    def __init__(
        self, rules: SplitRules | None = None, *, longest: int = 300, markup: bool = True
    ) -> None:
        if longest < 1:
            raise ValueError(f"longest is {longest}; a piece holds one character or more")
        self._rules = rules or SplitRules()
        self._longest = longest
        self._markup = markup
        self._held = ""
        self._clear()

    def feed(self, text: str) -> list[str]:
        """Take text, return the sentences that have ended."""
        done: list[str] = []
        for character in text:
            done += self._take(character)
        return done

    def finish(self) -> list[str]:
        """End the text, return what is left; the splitter can be used again."""
        rest = [self._held] if self._held else []
        self._held = ""
        self._clear()
        return rest

    def _clear(self) -> None:
        self._clause = self._blank = 0  # where the last clause and the last word ended
        self._bracket = -1  # where mark-up began that is still open

    def _take(self, character: str) -> list[str]:
        held = self._held
        done: list[str] = []
        if held and not self._inside() and self._ends(character):
            done.append(held)
            self._held, held = "", ""
            self._clear()
        elif len(held) == self._longest:
            self._note(held, character)  # a word may end just here
            done = self._cut()
            held = self._held
        self._note(held, character)
        self._held = held + character
        return done

    def _note(self, held: str, character: str) -> None:
        """Remember the places behind which a long sentence may be cut."""
        at = len(held)
        if self._inside():
            if self._closes(held, character):
                self._bracket = -1
        elif held and held[-1].isspace() and not character.isspace():
            self._blank = at
            if held.rstrip()[-1:] in _CLAUSE_ENDS:
                self._clause = at
        elif held and held[-1] in "，；：、":
            self._clause = at
        if self._markup and character == "[" and not self._inside() and held[-1:] != "\\":
            self._bracket = at

    def _inside(self) -> bool:
        return self._bracket >= 0

    def _closes(self, held: str, character: str) -> bool:
        """Tell whether open mark-up ends with this character, or is none after all."""
        inside = held[self._bracket :] + character
        if len(inside) > min(_MARKUP_LIMIT, self._longest) or character == "\n":
            return True
        if "](" in inside:
            return character == ")"
        # Behind a "]" the next character tells whether phonemes follow.
        return len(inside) > 1 and inside[-2] == "]" and character != "("

    def _cut(self) -> list[str]:
        """Cut a piece that is as long as can be and has no end."""
        place = self._clause or self._blank or (self._bracket if self._bracket > 0 else 0)
        place = place or len(self._held)
        done, rest = self._held[:place], self._held[place:]
        self._held = ""
        self._clear()
        for character in rest:  # shorter than the limit: it cannot be cut again
            self._note(self._held, character)
            self._held += character
        return [done]

    def _ends(self, following: str) -> bool:
        """Tell whether the text held ends a sentence, seeing the character after it."""
        held = self._held
        if following.isspace() or held[-1].isalnum():
            return False
        text = held.rstrip()
        blanks = held[len(text) :]
        if blanks.count("\n") > 1:
            return bool(text)
        core = text.rstrip(_CLOSING)
        if core and core[-1] in self._rules.stops:
            return following not in _CLOSING + self._rules.stops + ".!?…"
        if not blanks or not core or core[-1] not in ".!?…":
            return False
        if following.islower() and (core[-1] not in "!?" or core != text):
            return False
        return core[-1] != "." or not self._is_abbreviation(core, following)

    def _is_abbreviation(self, core: str, following: str) -> bool:
        if core.endswith(".."):
            return False
        word = core[:-1].rsplit(None, 1)[-1].lstrip(_OPENING) if core[:-1].strip() else ""
        if word in self._rules.titles or (word in self._rules.counted and following.isdecimal()):
            return True
        if core[:-1].strip().isdecimal():  # the number of a list's item
            return True
        # Initials and "U.S." may end a sentence; "p.m." before a capital does.
        return bool(re.fullmatch(r"[A-HJ-Z]|(?:[A-Z]\.)+[A-Z]", word))


def split(text: str, rules: SplitRules | None = None, *, longest: int = 300) -> list[str]:
    """Split a whole text without mark-up; see `Splitter`."""
    splitter = Splitter(rules, longest=longest, markup=False)
    return [*splitter.feed(text), *splitter.finish()]


def split_stream(pieces: Iterable[str], splitter: Splitter) -> Iterator[tuple[int, str]]:
    """Yield sentences of a text that comes in pieces, each with the place where it begins."""
    start = 0
    for piece in pieces:
        for sentence in splitter.feed(piece):
            yield start, sentence
            start += len(sentence)
    for sentence in splitter.finish():
        yield start, sentence
