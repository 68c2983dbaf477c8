"""Documents of text: a line each, plain or as JSON."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class TextDocument(NamedTuple):
    """A document.

    Attributes:
        key: its id, or what its text hashes to.
        text: without blanks around it.
    """

    key: str
    text: str


class BadLine(NamedTuple):
    """A line that is no document.

    Attributes:
        number: from 1.
        problem: what is wrong with it.
    """

    number: int
    problem: str


def read_documents(path: Path, part: int = 0, parts: int = 1) -> Iterator[TextDocument | BadLine]:
    """Read a file line by line.

    Args:
        path: JSON Lines with `text`, and perhaps `id`, where it is named .jsonl; else plain text
            with a document a line. Empty lines are passed over.
        part: of `parts` that the lines are dealt to in turn, from 0.
        parts: how many there are.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number % parts != (part + 1) % parts or not line.strip():
                continue
            try:
                yield _document(line, is_json=path.suffix == ".jsonl")
            except (ValueError, TypeError, KeyError) as e:
                reason = f"no {e}" if isinstance(e, KeyError) else str(e)
                yield BadLine(number, reason)


def _document(line: bytes, *, is_json: bool) -> TextDocument:
    text, key = line.decode("utf-8"), None
    if is_json:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"a {type(values).__name__}, expected an object with text")
        text, key = values["text"], values.get("id")
        if not isinstance(text, str):
            raise ValueError(f"text is {text!r}")
    text = text.strip()
    if not text:
        raise ValueError("its text is empty")
    if key is None:
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
    return TextDocument(str(key), text)
