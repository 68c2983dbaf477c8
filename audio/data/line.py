"""One line of a manifest: an object of JSON, and the fields that every reader knows."""

import json
import math
import os
from typing import Any

from echoic.audio.data.problems import LineError

PATH_KEYS = ("audio", "audio_filepath")
LONGEST = 366 * 24 * 3600  # seconds; what lies beyond is a mistake


def parse_line(line: bytes) -> dict[str, Any]:
    """Return the object that a line holds, without NaN and infinite numbers.

    Raises:
        LineError: it holds something else.
    """
    try:
        value = _DECODER.decode(line.decode("utf-8-sig"))
    except UnicodeDecodeError as e:
        raise LineError(f"not UTF-8 (byte {e.start})", "convert the file") from e
    except json.JSONDecodeError as e:
        reason = f"not JSON ({e.msg} at column {e.colno})"
        raise LineError(reason, "a manifest has one object a line") from e
    except (ValueError, RecursionError) as e:
        reason = "brackets in brackets without end" if isinstance(e, RecursionError) else str(e)
        raise LineError(f"not JSON ({reason})", "mend or drop the line") from e
    if not isinstance(value, dict):
        what = f"a {type(value).__name__}, not an object"
        raise LineError(what, 'write {"audio": "a.wav"}, one a line')
    return value


def audio_of(fields: dict[str, Any]) -> str:
    """Return the path of the recording as the line has it (`audio`, or NeMo's `audio_filepath`).

    Raises:
        LineError: there is none, or something that is no path.
    """
    key = next((k for k in PATH_KEYS if k in fields), None)
    if key is None:
        raise LineError(
            f"no 'audio' (nor 'audio_filepath') among its fields {sorted(fields)}",
            "name the recording's path there",
        )
    audio = fields[key]
    if not isinstance(audio, str) or not audio or not can_name_a_file(audio):
        raise LineError(f"{key!r} is {audio!r}", "it must be a path")
    return audio


def stretch_of(fields: dict[str, Any]) -> tuple[float | None, float | None]:
    """Return `offset` and `duration` in seconds, each None where the line has none.

    Only with an offset do the two cut a stretch out of the recording. A duration alone describes
    the recording, as most data sets mean it.

    Raises:
        LineError: one of them is no time, or the stretch has no length.
    """
    offset, duration = _seconds(fields, "offset"), _seconds(fields, "duration")
    if offset is not None and duration == 0:
        raise LineError("duration is 0", "leave it out to read to the end")
    return offset, duration


def can_name_a_file(text: str) -> bool:
    """Tell whether the system can be asked for a file of this name."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _seconds(fields: dict[str, Any], key: str) -> float | None:
    value = fields.get(key)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= LONGEST:
        raise LineError(f"{key!r} is {value!r}", "it must be seconds, from 0 to a year")
    return float(value)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


# One for all lines: json.loads makes a new one for each as soon as it is given hooks.
_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite_float)
