"""What a transcript becomes before it is learned."""

import pytest

from echoic.asr.paraformer.labels import label_text


@pytest.mark.parametrize(
    ("text", "style", "label"),
    [
        (" Don\u2019t\tGO -- now! ", "as_is", "Don\u2019t GO -- now!"),
        ("Don\u2019t GO -- \u201cnow\u201d, O'Brien's!", "words", "don't go now o'brien's"),
        ("'tis the boys' dog", "words", "tis the boys dog"),
        ("press 1 or 42.", "words", "press 1 or 42"),
        ("press 1, 20 or 42.", "english", "press one twenty or forty two"),
        ("gate 0; gate 19", "english", "gate zero gate nineteen"),
        ("in 1997", "english", None),
        ("3D audio", "english", None),
        ("version 2.5", "english", None),
        ("at 10:30", "english", None),
        ("\uff21\uff22 \u843d\u4f4e\u3002", "words", "ab \u843d\u4f4e"),
        ("...", "words", ""),
        ("under_score", "words", "under score"),
        ("caf\u00e9", "words", "caf\u00e9"),
        ("\u0939\u093f\u0928\u094d\u0926\u0940!", "words", "\u0939\u093f\u0928\u094d\u0926\u0940"),
        ("\u2764\ufe0f \u0301hearts", "words", "hearts"),
    ],
)  # fmt: skip
def test_styles(text: str, style, label: str | None) -> None:
    assert label_text(text, style) == label
    if label:
        assert label_text(label, style) == label, "done twice is done once"


def test_an_unknown_style() -> None:
    with pytest.raises(
        ValueError, match="labels are 'loud', expected one of as_is, words, english"
    ):
        label_text("a", "loud")  # pyright: ignore[reportArgumentType]
