"""Sentences for voices to read, from any prose as plain text."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

# A full stop after these, or after one letter, ends no sentence.
_ABBREVIATIONS = frozenset(
    ("Mr", "Mrs", "Ms", "Dr", "St", "Rev", "Prof", "Gen", "Col", "Capt", "Lieut", "Hon", "Messrs")
)
_END = re.compile(r"([.!?])[\"'”’)]*\s+(?=[\"'“‘(]*[A-Z])")
_CLAUSE = re.compile(r"[;:]\s+|\s*--\s*")
_CAPITALS = re.compile(r"\b[A-Z](?:[A-Z']*[A-Z])\b")
# What a voice can read and a recogniser can spell in one way only: no digits, no brackets.
_READABLE = re.compile(r"[A-Za-z][A-Za-z ,.;:!?'-]*[.!?]")


def sentences(text: str, *, shortest: int = 3, longest: int = 25) -> Iterator[str]:
    """Split prose into sentences in the spelling of a transcript.

    Quotation marks and underscores go, dashes become commas, words in capitals (stress, the start
    of a chapter) become small unless the text knows them as names only. Lines without a full stop
    (headings), sentences with digits or symbols, and repeated ones are left out; long sentences are
    cut at semicolons, colons and dashes.

    Args:
        text: plain text, paragraphs parted by empty lines.
        shortest: fewest words.
        longest: most words.

    Yields:
        Each different sentence once, in the order of the text.
    """
    capitalised = Counter(re.findall(r"\b[A-Z][a-z]+\b", text))
    small = Counter(re.findall(r"\b[a-z]+\b", text))

    def calm(match: re.Match[str]) -> str:
        name = match[0].capitalize()
        return name if capitalised[name] > small[match[0].lower()] else match[0].lower()

    seen: set[str] = set()
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in _split(paragraph, longest):
            # Never one letter: "I" and "A" are words, and an initial is no stress.
            spoken = _tidy(_CAPITALS.sub(calm, sentence))
            if not shortest <= len(spoken.split()) <= longest or spoken in seen:
                continue
            if _READABLE.fullmatch(spoken):
                seen.add(spoken)
                yield spoken


def plain(text: str) -> str:
    """Return small words with single spaces and nothing else: what two equal texts share."""
    return re.sub(r"[^\w]+", " ", text.lower()).strip()


def lines_of(paths: Iterable[Path]) -> set[str]:
    """Return the texts of files with one on every line, each `plain`.

    Raises:
        OSError: a file cannot be read.
    """
    return {
        plain(line)
        for path in paths
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
    }


def _split(paragraph: str, longest: int) -> Iterator[str]:
    words = " ".join(paragraph.split())
    begin = 0
    for match in _END.finditer(words):
        if match[1] == "." and _is_abbreviation(words[begin : match.start()]):
            continue
        yield from _shorten(words[begin : match.end()], longest)
        begin = match.end()
    yield from _shorten(words[begin:], longest)


def _is_abbreviation(before: str) -> bool:
    word = before.rsplit(" ", 1)[-1].lstrip("\"'“‘(")
    return word in _ABBREVIATIONS or (len(word) == 1 and word != "I")


def _shorten(sentence: str, longest: int) -> Iterator[str]:
    if len(sentence.split()) <= longest:
        yield sentence
        return
    clauses = _CLAUSE.split(sentence)
    for clause in clauses[:-1]:
        yield clause.rstrip(" ,.") + "."
    yield clauses[-1]


def _tidy(sentence: str) -> str:
    text = re.sub(r"[\"“”_*]", "", sentence).replace("’", "'").replace("‘", "'")
    text = re.sub(r"\s*(?:--+|—)\s*", ", ", text)
    text = re.sub(r"(?<!\w)'+|'+(?!\w)", "", text)
    text = re.sub(r",\s*(?=[,.;:!?])|(?<=[;:!?]),", "", text)
    text = " ".join(text.split()).strip(" ,;:-")
    return text[:1].upper() + text[1:]
