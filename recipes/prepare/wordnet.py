"""Sentences of many different words for voices to read: WordNet's examples and explanations.

    python -m echoic.recipes.prepare.wordnet WN.dict.dz OUT.txt [--rarest 2.3] [--explanations N]

WN.dict.dz is the dictionary of Debian's package `dict-wn` (WordNet 3.0, Princeton University; free
for any use). OUT.txt gets a sentence a paragraph, in mixed order: what `synthetic --text` reads.

A recogniser spells words that it has read. Novels of one author repeat theirs: a model that had
learned of six had a third of the words of other texts wrong, in the voice that it knew best.
"""

import argparse
import gzip
import random
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from echoic.audio.errors import error_line

# A heading begins a line, its senses are indented: "n 1: an explanation; "an example" [syn: ...]".
_ENTRY = re.compile(r"\n(?=\S)")
_SENSE = re.compile(r"(?:^|\s)(?:(?:n|v|adj|adv)\s)?\s*\d+:\s+")
_LINKS = re.compile(r"\[(?:syn|ant|also):.*?\]")
_EXAMPLE = re.compile(r'"([^"]{8,160})"')
_ASIDE = re.compile(r'"[^"]*"|\([^)]*\)')
_WORDS = range(4, 21)

# Of words in a thousand million the logarithm: 2.3 is one word in five million.
RAREST = 2.3
# Of a heading that is read before its explanation.
_RAREST_HEADING = 2.8


class Frequencies:
    """How common words are: Zipf's scale of the package `wordfreq`.

    Raises:
        ImportError: it is not installed.
    """

    def __init__(self) -> None:
        try:
            from wordfreq import zipf_frequency  # pyright: ignore[reportMissingImports]
        except ImportError as e:
            raise ImportError("wordnet needs to know rare words: pip install wordfreq") from e
        self._zipf: Callable[[str, str], float] = zipf_frequency

    def __call__(self, word: str) -> float:
        """Return 10's logarithm of how often a word comes in a thousand million."""
        return self._zipf(word, "en")


def examples(dictionary: str) -> Iterator[str]:
    """Yield the sentences and phrases in which WordNet shows a word's use, each once."""
    seen: set[str] = set()
    for _, sense in _senses(dictionary):
        for example in _EXAMPLE.findall(sense):
            text = example.strip(" ;,.")
            if text and "--" not in text and text not in seen:
                seen.add(text)
                yield _sentence(text)


def explanations(dictionary: str, is_common: Callable[[str], bool]) -> Iterator[str]:
    """Yield what words mean, each meaning once, behind the word where that is a common one.

    Args:
        dictionary: the text.
        is_common: whether a heading is worth to be read aloud.
    """
    seen: set[str] = set()
    for heading, sense in _senses(dictionary):
        meaning = " ".join(_ASIDE.sub("", sense).partition(";")[0].split()).strip(" ,.")
        if meaning in seen or len(meaning.split()) not in _WORDS:
            continue
        seen.add(meaning)
        named = re.fullmatch("[a-z]+", heading) and is_common(heading)
        yield _sentence(f"{heading}, {meaning}" if named else meaning)


def chosen(dictionary: str, frequency: Callable[[str], float], *, rarest: float) -> list[list[str]]:
    """Return examples and explanations without rare words, which voices read wrong.

    Args:
        dictionary: the text.
        frequency: of a word, on Zipf's scale.
        rarest: the least common word that is kept.
    """

    def is_known(sentence: str) -> bool:
        words = re.findall(r"[a-z]+", re.sub(r"'s?\b", "", sentence.lower()))
        return all(frequency(word) >= rarest for word in words)

    explained = explanations(dictionary, lambda word: frequency(word) >= _RAREST_HEADING)
    return [[s for s in found if is_known(s)] for found in (examples(dictionary), explained)]


def _read(path: Path) -> str:
    packed = path.read_bytes()
    try:
        return gzip.decompress(packed).decode("utf-8", errors="replace")
    except (OSError, EOFError, zlib.error) as e:
        raise ValueError(f"{path} is no dictionary of dict-wn: {e}") from e


def _senses(dictionary: str) -> Iterator[tuple[str, str]]:
    """Yield (heading, sense) pairs."""
    for entry in _ENTRY.split(dictionary):
        heading, _, body = entry.partition("\n")
        for sense in _SENSE.split(" ".join(body.split()))[1:]:
            yield heading.strip(), _LINKS.sub("", sense)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m echoic.recipes.prepare.wordnet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dictionary", type=Path, metavar="WN.dict.dz")
    parser.add_argument("out", type=Path, metavar="OUT.txt")
    parser.add_argument("--rarest", type=float, default=RAREST, help="word, on Zipf's scale")
    parser.add_argument("--explanations", type=int, default=14_000, metavar="N", help="at most")
    parser.add_argument("--seed", type=int, default=0, help="of the order")
    given = parser.parse_args(arguments)
    try:
        shown, explained = chosen(_read(given.dictionary), Frequencies(), rarest=given.rarest)
        draw = random.Random(given.seed)
        sentences = shown + draw.sample(explained, min(given.explanations, len(explained)))
        draw.shuffle(sentences)
        given.out.write_text("\n\n".join(sentences) + "\n", encoding="utf-8")
    except (ImportError, OSError, ValueError) as e:
        print(f"wordnet: {error_line(e)}", file=sys.stderr)
        return 1
    print(f"{given.out}: {len(sentences)} sentences")
    return 0


if __name__ == "__main__":
    sys.exit(main())
