import sys

import pytest

from echoic.asr.text.normalizers import basic, english, for_language

pytest.importorskip("whisper_normalizer")

ENGLISH = [
    ("Mr. Neill's colour isn't grey!", "mister neill is color is not gray"),
    ("Twenty-three dollars and [laughs] fifty cents (sic)", "$23.50"),
    ("um, 3,000 people", "3000 people"),
]


@pytest.mark.parametrize(("text", "expected"), ENGLISH)
def test_english(text: str, expected: str):
    assert english()(text) == expected
    assert for_language("English")(text) == expected


def test_english_is_openai_s():
    theirs = pytest.importorskip("whisper.normalizers").EnglishTextNormalizer()
    for text, _ in ENGLISH:
        assert english()(text) == theirs(text).strip()


def test_basic():
    assert basic()("  Größe: Café-Crème [Musik]! ") == "größe café crème"
    assert basic(remove_diacritics=True)("Größe: Café") == "grosse cafe"
    with pytest.raises(ValueError, match="exclude each other"):
        basic(remove_diacritics=True, keep_marks=True)


def test_scripts_without_spaces_are_split():
    assert for_language("zh")("我们,今天") == "我 们 今 天"
    assert for_language("de")("Wir heute.") == "wir heute"


def test_vowels_that_are_marks_stay():
    assert for_language("hi")("हिन्दी।") == "हिन्दी"
    assert basic()("हिन्दी।") != "हिन्दी"


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    for name in ("english", "basic"):
        monkeypatch.setitem(sys.modules, f"whisper_normalizer.{name}", None)
    with pytest.raises(ImportError, match=r"pip install 'echoic\[metrics\]'"):
        english()
    with pytest.raises(ImportError, match=r"pip install 'echoic\[metrics\]'"):
        for_language("fr")
    with pytest.raises(ValueError, match="unknown language"):
        for_language("elvish")
