r"""Inline mark-up: `[word](/phonemes/)` and `[pause 300ms]`.

`\[` is a bracket and nothing more. Of a link as in Markdown, `[text](https://...)`, the text is
read. All other brackets are text.
"""

import re

from echoic.tts.text.pieces import Pause, Word
from echoic.tts.text.script import INSERT, Insert, Script, TextError, seconds, typed
from echoic.tts.text.spans import Span, Traced

DEFAULT_PAUSE = 0.5  # seconds, of a bare [pause]

_MARKUP = re.compile(
    r"""
    \\(?P<escaped>[\[\]\\])
    | \[\s*pause\b(?P<pause>[^\[\]]*)\]
    | \[(?P<word>[^\[\]\n]+)\]\(/(?P<phonemes>[^/()\n]*)/\)
    | \[(?P<text>[^\[\]\n]+)\]\((?:https?://|mailto:)[^\s()]*\)
    """,
    re.VERBOSE | re.IGNORECASE,
)


def parse_markup(text: str, start: int = 0) -> Script:
    """Read text with inline mark-up.

    Args:
        text: part of the source.
        start: character of the source at which it begins.

    Raises:
        TextError: a pause has no time or phonemes are empty.

    >>> script = parse_markup("A [bass](/beɪs/) [pause 1s] note")
    >>> [insert[:2] for insert in script.inserts]
    [('bass', 'beɪs'), (1.0, Span(start=17, end=27))]
    """
    parts: list[Traced] = []
    inserts: list[Insert] = []
    begin = 0
    for match in _MARKUP.finditer(text):
        parts.append(typed(text[begin : match.start()], start + begin))
        begin = match.end()
        kept = match["escaped"] or match["text"]
        if kept is not None:
            group = "escaped" if match["escaped"] else "text"
            parts.append(typed(kept, start + match.start(group)))
            continue
        span = Span(start + match.start(), start + match.end())
        parts.append(Traced.instead(INSERT, span))
        inserts.append(_pause(match, span) if match["word"] is None else _word(match, span))
    parts.append(typed(text[begin:], start + begin))
    return Script(Traced.joined(parts), tuple(inserts))


def _pause(match: re.Match[str], span: Span) -> Pause:
    time = match["pause"].strip()
    value = seconds(time) if time else DEFAULT_PAUSE
    if value is None:
        raise TextError(
            f"character {span.start + 1}: {match[0]!r} has no time from 0 to 60 seconds; "
            "write [pause 300ms] or [pause 1.5s], or \\[ for a bracket"
        )
    return Pause(value, span)


def _word(match: re.Match[str], span: Span) -> Word:
    phonemes = " ".join(match["phonemes"].split())
    if not phonemes:
        raise TextError(
            f"character {span.start + 1}: {match[0]!r} has no phonemes between its slashes; "
            "write [word](/phonemes/)"
        )
    return Word(" ".join(match["word"].split()), phonemes, span)
