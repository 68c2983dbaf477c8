"""Examples with text and codes in JSON Lines: turns to learn from, and pairs to prefer one of.

The first line says what the codes mean, each other line is an example or a pair:

    {"format": {"num_codebooks": 2, "codebook_size": 1024, ...}, "codec_hash": "sha256:..."}
    {"segments": [{"text": "Hello."}, {"codes": [[3, 7], [9, 1]], "answer": true}]}
    {"given": [{"text": "Hello."}], "chosen": [{"codes": ...}], "rejected": [{"codes": ...}]}

`codes` are frames of Q numbers. `id` and any further keys of a line are kept for people.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from echoic.tts.tokens import FrameFormat
from echoic.tts.unified.sequences import Segment


@dataclass(frozen=True, slots=True)
class Codes:
    """What codes mean.

    Attributes:
        format: of the frames.
        codec_hash: of the codec's weights.
    """

    format: FrameFormat
    codec_hash: str


class Pair(NamedTuple):
    """Two answers to one prompt.

    Attributes:
        given: the prompt.
        chosen: the better answer.
        rejected: the worse one.
    """

    given: list[Segment]
    chosen: list[Segment]
    rejected: list[Segment]


class ExampleFile(NamedTuple):
    """What a file holds.

    Attributes:
        codes: what its codes mean.
        examples: turns to learn from.
        pairs: of answers.
    """

    codes: Codes
    examples: list[list[Segment]]
    pairs: list[Pair]


def read_examples(path: str | Path) -> ExampleFile:
    """Read a file.

    Raises:
        ValueError: not there, or not of this form; the message names the line.
    """
    path = Path(path)
    try:
        first, *rest = path.read_text(encoding="utf-8").splitlines() or [""]
    except (OSError, UnicodeDecodeError) as e:
        raise ValueError(f"{path} cannot be read ({e}): name a file of examples") from e
    codes = _codes(path, first)
    found = ExampleFile(codes, [], [])
    for number, line in enumerate(rest, 2):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            if "segments" in values:
                found.examples.append(_segments(values["segments"], codes))
                continue
            given = _segments(values["given"], codes)
            answers = (_segments(values[k], codes, answer=True) for k in ("chosen", "rejected"))
            found.pairs.append(Pair(given, *answers))
        except (ValueError, TypeError, KeyError, AttributeError) as e:
            reason = f"no {e}" if isinstance(e, KeyError) else str(e)
            raise ValueError(f"{path}, line {number}: no example ({reason})") from e
    return found


def write_examples(
    path: str | Path,
    codes: Codes,
    lines: Iterable[Sequence[Segment] | Pair],
    keys: Iterable[str] = (),
) -> int:
    """Write a file; it appears whole, or not at all. Return how many lines it has.

    Args:
        path: where.
        codes: what the codes of all lines mean.
        lines: examples and pairs.
        keys: their ids; fewer, or none, where they have none.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    names = iter(keys)
    count = 0
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(_line(asdict(codes)))
            for line in lines:
                file.write(_line(_values(line, next(names, None))))
                count += 1
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count


def _codes(path: Path, line: str) -> Codes:
    try:
        values = json.loads(line)
        return Codes(FrameFormat(**values["format"]), str(values["codec_hash"]))
    except (ValueError, TypeError, KeyError) as e:
        raise ValueError(
            f"{path}, line 1: expected the format and codec_hash of the codes ({e!r})"
        ) from e


def _segments(
    values: Sequence[dict[str, Any]], codes: Codes, *, answer: bool = False
) -> list[Segment]:
    made = []
    for value in values:
        if ("text" in value) == ("codes" in value):
            raise ValueError("a segment has text or codes, one of the two")
        content = value.get("text")
        if content is None:
            content = torch.tensor(value["codes"], dtype=torch.int64)
            codes.format.check(content)
        elif not isinstance(content, str):
            raise ValueError(f"text is {content!r}")
        if not len(content):
            raise ValueError("a segment is empty")
        made.append(Segment(content, answer or bool(value.get("answer"))))
    if not made:
        raise ValueError("no segments")
    return made


def _values(line: Sequence[Segment] | Pair, key: str | None) -> dict[str, Any]:
    named: dict[str, Any] = {} if key is None else {"id": key}
    if isinstance(line, Pair):
        told = {"given"}  # of the other two all is answered
        parts = line._asdict().items()
        return named | {name: list(_dicts(own, name in told)) for name, own in parts}
    return named | {"segments": list(_dicts(line, True))}


def _dicts(segments: Sequence[Segment], told: bool) -> Iterator[dict[str, Any]]:
    for segment in segments:
        content = segment.content
        value: dict[str, Any] = (
            {"text": content} if isinstance(content, str) else {"codes": content.tolist()}
        )
        yield value | ({"answer": True} if told and segment.answer else {})


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"
