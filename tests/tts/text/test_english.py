"""English text against the words it is read as."""

import pytest
from english_cases import CASES

from echoic.tts.text.english.normalizer import normalize
from echoic.tts.text.pieces import spoken_text
from echoic.tts.text.script import Script


def read(text: str) -> str:
    return spoken_text(normalize(Script.plain(text)))


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_reads(text: str, expected: str):
    assert read(text) == expected


@pytest.mark.parametrize("text", [text for text, _ in CASES])
def test_reads_its_own_words_as_they_are(text: str):
    once = read(text)
    assert read(once) == once
