"""Spelling out of the way of scoring: the normalisers of the Whisper paper, by language.

The rules are those of `whisper-normalizer` (extra `metrics`), OpenAI's own code as a package:
English spelling, numbers and contractions for English; case, marks and symbols for the others.
"""

from collections.abc import Callable

from echoic.asr.languages import UNSPACED, language_code

Normalizer = Callable[[str], str]

# Brahmic scripts write vowels as combining marks: dropping marks would drop the vowels.
_VOWELS_ARE_MARKS = frozenset(
    {"as", "bn", "bo", "gu", "hi", "km", "kn", "lo", "ml", "mr", "my", "ne", "pa", "sa", "si"}
    | {"ta", "te", "th"}
)


def english() -> Normalizer:
    """Return the English normaliser (Radford et al. 2022, appendix C).

    Raises:
        ImportError: `whisper-normalizer` is not installed.
    """
    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as e:
        raise _missing() from e
    return _stripped(EnglishTextNormalizer())


def basic(
    remove_diacritics: bool = False, *, split_letters: bool = False, keep_marks: bool = False
) -> Normalizer:
    """Return the normaliser for all other languages: lower case, no brackets, no symbols.

    Args:
        remove_diacritics: whether "é" becomes "e".
        split_letters: whether letters are words, for scripts without spaces.
        keep_marks: whether combining marks stay, for scripts that write vowels with them.

    Raises:
        ImportError: `whisper-normalizer` is not installed.
        ValueError: marks cannot both go and stay.
    """
    try:
        from whisper_normalizer.basic import BasicTextNormalizer
    except ImportError as e:
        raise _missing() from e
    if remove_diacritics and keep_marks:
        raise ValueError("remove_diacritics and keep_marks exclude each other: choose one")
    return _stripped(
        BasicTextNormalizer(
            remove_diacritics=remove_diacritics,
            split_letters=split_letters,
            preserve_marks=keep_marks,
        )
    )


def for_language(language: str) -> Normalizer:
    """Return the normaliser to score a language with, given by code or English name.

    Differs from the paper's choice where that deletes the vowels of Brahmic scripts.

    Raises:
        ImportError: `whisper-normalizer` is not installed.
        ValueError: unknown language.
    """
    code = language_code(language)
    if code == "en":
        return english()
    return basic(split_letters=code in UNSPACED, keep_marks=code in _VOWELS_ARE_MARKS)


def _stripped(normalizer: Normalizer) -> Normalizer:
    return lambda text: normalizer(text).strip()


def _missing() -> ImportError:
    return ImportError("whisper-normalizer is missing: pip install 'echoic[metrics]'")
