"""A small part of SSML: `speak`, `p`, `s`, `break`, `sub`, `phoneme`, `say-as`.

The parser is Python's expat; document types and entities are refused, so a document cannot grow
when it is read. What SSML has and we do not is an error, never silently skipped.
"""

from xml.parsers import expat

from echoic.tts.text.pieces import Pause, Word
from echoic.tts.text.script import INSERT, KINDS, Insert, SayAs, Script, TextError, seconds, typed
from echoic.tts.text.spans import Span, Traced

ELEMENTS = ("speak", "p", "s", "break", "sub", "phoneme", "say-as")
# Seconds, by the name of a break's strength.
STRENGTHS = {
    **{"none": 0.0, "x-weak": 0.1, "weak": 0.2},
    **{"medium": 0.4, "strong": 0.7, "x-strong": 1.0},
}
_ATTRIBUTES = {
    "speak": {"version", "xmlns", "xml:lang"},
    "p": {"xml:lang"},
    "s": {"xml:lang"},
    "break": {"time", "strength"},
    "sub": {"alias"},
    "phoneme": {"ph", "alphabet"},
    "say-as": {"interpret-as", "format"},
}
_NEEDED = {"sub": "alias", "phoneme": "ph", "say-as": "interpret-as"}
_LEAVES = ("break", "sub", "phoneme", "say-as")
_DATE_FORMATS = ("", "dmy", "mdy", "ymd", "ydm", "dm", "md", "my", "ym", "d", "m", "y")


def looks_like_ssml(text: str) -> bool:
    """Tell whether text is meant as SSML: its first element is `speak`."""
    return text.lstrip("\ufeff \t\r\n").startswith(("<speak>", "<speak ", "<?xml"))


def parse_ssml(text: str) -> Script:
    """Read an SSML document.

    Args:
        text: the document, `<speak>...</speak>`.

    Raises:
        TextError: it is not well formed, holds a document type or an entity of its own, or an
            element or attribute that is not known here.

    >>> script = parse_ssml('<speak>Read <break time="1s"/> <sub alias="W H O">WHO</sub></speak>')
    >>> script.inserts
    (Pause(seconds=1.0, span=Span(start=12, end=30)),)
    """
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        try:
            self._bytes = text.encode()
        except UnicodeEncodeError as e:
            raise TextError(f"SSML: character {e.start + 1} is half a character (surrogate)") from e
        self._places = _places(text, len(self._bytes))
        self._parser = expat.ParserCreate("utf-8")
        self._parts: list[Traced] = []
        self._inserts: list[Insert] = []
        self._open: list[str] = []
        # The leaf that is open: its attributes, where its content begins, what it holds.
        self._leaf: tuple[dict[str, str], int] | None = None
        self._content = ""

    def read(self) -> Script:
        parser = self._parser
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._refuse
        try:
            parser.Parse(self._bytes, True)
        except expat.ExpatError as e:
            message = expat.ErrorString(e.code)
            raise TextError(
                f"SSML, line {e.lineno}, column {e.offset + 1}: {message}; "
                "write &amp; for & and &lt; for <, and close every element"
            ) from e
        return Script(Traced.joined(self._parts), tuple(self._inserts))

    def _refuse(self, *_: object) -> None:
        raise self._error("SSML may hold no DOCTYPE and no entities of its own; leave it out")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name not in ELEMENTS:
            raise self._error(f"<{name}> is not supported; there are {', '.join(ELEMENTS)}")
        if (name == "speak") != (not self._open):
            raise self._error("a document is one <speak>, with everything inside")
        if self._leaf is not None:
            raise self._error(f"<{self._open[-1]}> holds text only, no <{name}>")
        unknown = sorted(set(attributes) - _ATTRIBUTES[name])
        if unknown:
            known = ", ".join(sorted(_ATTRIBUTES[name]))
            raise self._error(f"<{name}> has no attribute {unknown[0]!r}; it may have {known}")
        if name in _NEEDED and not attributes.get(_NEEDED[name], "").strip():
            raise self._error(f"<{name}> needs the attribute {_NEEDED[name]}")
        self._check(name, attributes)
        self._open.append(name)
        if name in _LEAVES:
            self._leaf = (attributes, self._parser.CurrentByteIndex)
            self._content = ""

    def _check(self, name: str, attributes: dict[str, str]) -> None:
        if name == "say-as":
            self._choose("interpret-as", attributes["interpret-as"], KINDS)
            self._choose("format", attributes.get("format", ""), _DATE_FORMATS)
        elif name == "phoneme":
            self._choose("alphabet", attributes.get("alphabet", "ipa"), ("ipa",))
        elif name == "break":
            self._choose("strength", attributes.get("strength", "medium"), tuple(STRENGTHS))
            if "time" in attributes and seconds(attributes["time"]) is None:
                raise self._error(
                    f"<break> has the time {attributes['time']!r}; write 300ms or 1.5s, at most 60s"
                )

    def _choose(self, name: str, value: str, choices: tuple[str, ...]) -> None:
        if value not in choices:
            known = ", ".join(c for c in choices if c)
            raise self._error(f"{name} is {value!r}; choose of {known}")

    def _end(self, name: str) -> None:
        self._open.pop()
        end = self._after(name)
        if self._leaf is None:
            if name in ("p", "s"):  # a sentence ends even where no full stop says so
                at = self._places[self._parser.CurrentByteIndex]
                self._parts.append(Traced.instead("\n\n", Span(at, end)))
            return
        attributes, begin = self._leaf
        self._leaf = None
        self._close(name, attributes, Span(self._places[begin], end))

    def _close(self, name: str, attributes: dict[str, str], span: Span) -> None:
        content = " ".join(typed(self._content).text.split())
        if name == "break":
            if content:
                raise self._error("<break> holds no text")
            time = attributes.get("time")
            value = seconds(time) if time else STRENGTHS[attributes.get("strength", "medium")]
            self._insert(Pause(value or 0.0, span))
        elif name == "sub":
            self._parts.append(Traced.instead(f" {typed(attributes['alias']).text} ", span))
        elif not content:
            raise self._error(f"<{name}> holds no text")
        elif name == "phoneme":
            self._insert(Word(content, " ".join(attributes["ph"].split()), span))
        else:
            kind = attributes["interpret-as"]
            self._insert(SayAs(kind, content, span, attributes.get("format", "")))

    def _insert(self, insert: Insert) -> None:
        self._parts.append(Traced.instead(INSERT, insert.span))
        self._inserts.append(insert)

    def _characters(self, data: str) -> None:
        if self._leaf is not None:
            self._content += data
            return
        first = self._parser.CurrentByteIndex
        if self._bytes[first : first + 1] == b"&":
            stop = self._bytes.index(b";", first) + 1
            span = Span(self._places[first], self._places[stop])
            self._parts.append(Traced.instead(typed(data).text, span))
        else:
            self._parts.append(typed(data, self._places[first]))

    def _after(self, name: str) -> int:
        """Return the character after an element that ends, as <name/> or as <name>...</name>."""
        first = self._parser.CurrentByteIndex
        if not self._bytes.startswith(b"</" + name.encode(), first):
            return self._places[first]  # expat is past <name/> already
        return self._places[self._bytes.index(b">", first) + 1]

    def _error(self, message: str) -> TextError:
        line, column = self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber
        return TextError(f"SSML, line {line}, column {column + 1}: {message}")


def _places(text: str, count: int) -> list[int]:
    """Return for each byte of UTF-8 the character it belongs to, and one past the end."""
    if len(text) == count:
        return list(range(count + 1))
    places: list[int] = []
    for index, character in enumerate(text):
        places += [index] * len(character.encode())
    return [*places, len(text)]
