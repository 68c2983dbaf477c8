"""Mark-up in brackets, and SSML: what it becomes, where it was, and what is wrong with it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoic.tts.text.frontend import Reader
from echoic.tts.text.markup import parse_markup
from echoic.tts.text.pieces import Pause, Word
from echoic.tts.text.script import INSERT, Script, TextError, seconds
from echoic.tts.text.spans import Span, Traced
from echoic.tts.text.ssml import looks_like_ssml, parse_ssml


def spoken(text: str) -> list[str]:
    return [u.text for u in Reader("en").read(text)]


def test_phonemes_and_pauses():
    text = "Play the [bass](/beɪs/) [pause 300ms] loud, [pause] please"
    (utterance,) = Reader("en").read(text)
    assert utterance.text == "Play the bass loud, please"
    bass = utterance.words[2]
    assert (bass.text, bass.phonemes) == ("bass", "beɪs")
    assert text[slice(*bass.span)] == "[bass](/beɪs/)"
    pauses = [p for p in utterance.pieces if isinstance(p, Pause)]
    assert [p.seconds for p in pauses] == [0.3, 0.5]
    assert [text[slice(*p.span)] for p in pauses] == ["[pause 300ms]", "[pause]"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"a \[pause 1s] b", "a, pause one second, b"),
        ("see [the page](https://example.com/x)", "see the page"),
        ("as he [Bob] said", "as he, Bob, said"),
        ("an [open", "an, open"),
        ("list[0](x)", "list, zero, x"),
        ("Dr. [Nguyen](/wɪn/) came", "Doctor Nguyen came"),
        (f"a{INSERT}b", "a b"),
    ],
)
def test_other_brackets_are_text(text: str, expected: str):
    assert spoken(text) == [expected]


@pytest.mark.parametrize(
    ("text", "place", "remedy"),
    [
        ("Wait [pause a bit] now", "character 6", r"write \[pause 300ms\]"),
        ("[pause -1s]", "character 1", "from 0 to 60 seconds"),
        ("[pause 61s]", "character 1", "from 0 to 60 seconds"),
        ("One. Two. [x](//)", "character 11", r"write \[word\]"),
    ],
)
def test_wrong_markup_says_where_and_what_to_write(text: str, place: str, remedy: str):
    with pytest.raises(TextError, match=remedy) as caught:
        Reader("en").read(text)
    assert str(caught.value).startswith(place)
    assert "\n" not in str(caught.value)
    assert Reader("en", markup="none").read(text)


@settings(max_examples=60, deadline=None)
@given(st.text("[]()/\\ paused1sm.A\n", max_size=60))
def test_any_brackets_are_read_or_refused(text: str):
    try:
        script = parse_markup(text, 7)
    except TextError:
        return
    assert all(7 <= s.start < s.end <= 7 + len(text) for s in script.text.spans)


def test_times():
    assert [seconds(t) for t in ("300ms", "1.5s", "2 S", "60s")] == [0.3, 1.5, 2.0, 60.0]
    assert {seconds(t) for t in ("", "s", "5", "-1s", "61s", "1e3s", "nan s", "1.2.3s", "٣s")} == {
        None
    }


def test_ssml():
    text = (
        '<?xml version="1.0"?>\n<speak><p>'
        '<s>I am <sub alias="World Health Org">WHO</sub> &amp; é</s>'
        '<s>Say <say-as interpret-as="characters">a1&amp;</say-as><break time="250ms"/> '
        '<phoneme alphabet="ipa" ph="beɪs">bass</phoneme></s></p><break strength="strong"/></speak>'
    )
    assert looks_like_ssml(text)
    first, second, third = Reader("en").read(text)
    assert first.text == "I am World Health Org and é"
    assert [text[slice(*w.span)] for w in first.words][2:] == [
        *['<sub alias="World Health Org">WHO</sub>'] * 3,
        "&amp;",
        "é",
    ]
    assert second.text == "Say A one and bass"
    assert second.words[-1].phonemes == "beɪs"
    (pause,) = (p for p in second.pieces if isinstance(p, Pause))
    assert pause.seconds == 0.25
    assert text[slice(*pause.span)] == '<break time="250ms"/>'
    (pause,) = third.pieces
    assert isinstance(pause, Pause)
    assert pause.seconds == 0.7
    assert text[slice(*pause.span)] == '<break strength="strong"/>'


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("characters", "WiFi-6", "W I F I dash six"),
        ("spell-out", "abc", "A B C"),
        ("digits", "1984", "one nine eight four"),
        ("cardinal", "1984", "one thousand nine hundred eighty-four"),
        ("number", "-3.5", "minus three point five"),
        ("cardinal", "XIV", "fourteen"),
        ("ordinal", "3", "third"),
        ("ordinal", "21st", "twenty-first"),
        ("ordinal", "VIII", "eighth"),
        ("fraction", "3/4", "three quarters"),
        ("time", "2:30pm", "two thirty P M"),
        ("time", "7", "seven o'clock"),
        ("telephone", "911", "nine one one"),
        ("currency", "$42.01", "forty-two dollars and one cent"),
        ("currency", "EUR 5", "five euros"),
        ("date", "2024-03-05", "March fifth, twenty twenty-four"),
        ("date", "soon", "soon"),
        ("time", "99:99", "ninety-nine to ninety-nine"),
        ("cardinal", "a few", "a few"),
        ("currency", "5 apples", "five apples"),
    ],
)
def test_say_as(kind: str, content: str, expected: str):
    text = f'<speak><say-as interpret-as="{kind}">{content}</say-as></speak>'
    assert spoken(text) == [expected]


@pytest.mark.parametrize(
    ("order", "content", "expected"),
    [
        ("dmy", "5/3/2024", "March fifth, twenty twenty-four"),
        ("mdy", "5/3/24", "May third, twenty twenty-four"),
        ("ym", "2024-03", "March twenty twenty-four"),
        ("md", "12/25", "December twenty-fifth"),
        ("d", "5", "fifth"),
        ("y", "1905", "nineteen oh five"),
        ("dmy", "1/2", "one half"),
    ],
)
def test_say_as_date(order: str, content: str, expected: str):
    tag = f'<say-as interpret-as="date" format="{order}">{content}</say-as>'
    assert spoken(f"<speak>{tag}</speak>") == [expected]


BOMB = '<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"<?xml version='1.0'?>{BOMB}<speak>&b;</speak>", "no DOCTYPE"),
        ("<speak>&undefined;</speak>", "line 1, column 8: undefined entity"),
        ("<speak>\na & b</speak>", "line 2, column 4: .*write &amp; for &"),
        ("<speak>a", "line 1, column 9: no element found"),
        ("<speak></speak><speak/>", "junk after document element"),
        ("<speak><prosody rate='slow'>a</prosody></speak>", "column 8: <prosody> is not supported"),
        ("<speak><speak/></speak>", "a document is one <speak>"),
        ("<p>a</p>", "a document is one <speak>"),
        ("<speak><sub>a</sub></speak>", "<sub> needs the attribute alias"),
        ("<speak><phoneme ph=' '>a</phoneme></speak>", "<phoneme> needs the attribute ph"),
        ("<speak><phoneme ph='a'> </phoneme></speak>", "<phoneme> holds no text"),
        ("<speak><phoneme ph='a' alphabet='x-sampa'>a</phoneme></speak>", "choose of ipa"),
        ("<speak><say-as interpret-as='joke'>a</say-as></speak>", "choose of characters"),
        ("<speak><break time='soon'/></speak>", "write 300ms or 1.5s"),
        ("<speak><break strength='odd'/></speak>", "choose of none, x-weak"),
        ("<speak><break>a</break></speak>", "<break> holds no text"),
        ("<speak><break size='1'/></speak>", "no attribute 'size'; it may have strength, time"),
        ("<speak><sub alias='a'><break/></sub></speak>", "<sub> holds text only, no <break>"),
        ("<speak>\ud800</speak>", "character 8 is half a character"),
        ("plain", "line 1, column 1: syntax error"),
    ],
)
def test_wrong_ssml_says_where_and_what(text: str, message: str):
    with pytest.raises(TextError, match=message) as caught:
        Reader("en", markup="ssml").read(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("SSML")


def test_deep_and_long_ssml_are_read():
    deep = "<speak>" + "<p>" * 5_000 + "hi" + "</p>" * 5_000 + "</speak>"
    assert spoken(deep) == ["hi"]
    long = f"<speak>{'Ü &lt; 5. ' * 1_000}</speak>"
    utterances = Reader("en").read(long)
    assert all(long[slice(*u.words[0].span)] == "Ü" for u in utterances)


def test_scripts_fit_their_inserts():
    with pytest.raises(ValueError, match="1 places for 0 inserts"):
        Script(Traced.typed(INSERT))
    with pytest.raises(ValueError, match="2 characters have 1 spans"):
        Traced("ab", (Span(0, 1),))
    with pytest.raises(ValueError, match=r"\[1, 1\) is no part of 2"):
        Traced.typed("ab").span(1, 1)
    word = Word("a", "a", Span(0, 1))
    script = Script(Traced.typed("x ") + Traced.instead(INSERT, Span(2, 3)), (word,))
    assert [len(part.inserts) for part in script.cut([2, 1])] == [0, 1]
    assert parse_ssml("<speak/>").text.text == ""
