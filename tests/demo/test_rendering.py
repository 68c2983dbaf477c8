"""Captions as HTML: everything said is text, whatever it looks like."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoic.demo.rendering import clock, line_html, open_html
from echoic.demo.transcript import Captions, Line, Piece
from echoic.streaming.events import EventWord

NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "&lt;b&gt;",
    "</span></p><iframe>",
    "${alert(1)}",
    "{{value}}",
]


class Reader(HTMLParser):
    """What a browser makes of HTML: tags with attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def piece(text: str, start: float = 0.0, confidence: float = 0.5, gap: str = " ") -> Piece:
    return Piece(EventWord(text, start, start + 0.25, confidence), gap)


def check_is_only_text(html: str, texts: list[str]) -> None:
    page = Reader(html)
    assert [tag for tag, _ in page.tags] == ["time", "p", *["span"] * len(texts)]
    assert {name for _, attributes in page.tags for name in attributes} <= {"class", "title"}
    assert page.text == "0:00" + " ".join(texts)


@pytest.mark.parametrize("text", NASTY)
def test_markup_in_words_is_shown_and_not_obeyed(text: str):
    check_is_only_text(line_html(Line((piece(text), piece(text)))), [text, text])
    check_is_only_text(open_html(Captions(open=(piece(text),), stable=0)), [text])


@given(st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1), min_size=1))
def test_any_text_is_shown_as_it_is(texts: list[str]):
    check_is_only_text(line_html(Line(tuple(map(piece, texts)))), texts)


def test_markup_between_words_is_text_too():
    line = Line((piece("a"), piece("b", gap="<img src=x>")))
    assert Reader(line_html(line)).text == "0:00a<img src=x>b"


def test_words_look_as_sure_as_they_are():
    captions = Captions(
        current=Line((piece("black", 61.0),)), open=(piece("dark"), piece("grey")), stable=1
    )
    spans = [a for tag, a in Reader(open_html(captions)).tags if tag == "span"]
    assert [a["class"] for a in spans] == [
        "ec-word ec-final",
        "ec-word ec-stable",
        "ec-word ec-open",
    ]
    assert open_html(captions).startswith('<time class="ec-at">1:01</time>')


def test_a_word_tells_its_times():
    html = line_html(Line((piece("a", 1.5, 0.876), piece("b", 2.0, 0.0))))
    titles = [a["title"] for tag, a in Reader(html).tags if tag == "span"]
    assert titles == ["1.50 – 1.75 s · 88 % sure", "2.00 – 2.25 s"]


def test_nothing_said_is_nothing_shown():
    assert open_html(Captions()) == ""


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-1, "0:00"), (0.9, "0:00"), (61, "1:01"), (3661, "1:01:01")]
)
def test_clock(seconds: float, shown: str):
    assert clock(seconds) == shown
