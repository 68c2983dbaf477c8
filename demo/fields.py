"""Fields of requests: plain values from a browser, none of which can be trusted."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

_MAX_ID_LENGTH = 64


def page_id(request: Any) -> str:
    """Return the id of the page that asks; only that page knows it.

    Raises:
        ValueError: the request is no object, or says no id.
    """
    if not isinstance(request, Mapping):
        raise ValueError(f"the request is a {type(request).__name__}, expected an object")
    name = request.get("page")
    if not isinstance(name, str) or not 8 <= len(name) <= _MAX_ID_LENGTH:
        raise ValueError("the request does not say from which page it is: reload the page")
    return name


def integer(request: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """Return a whole number of at least 0.

    Raises:
        ValueError: for anything else.
    """
    value = request.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise ValueError(f"{name} is {value!r}, expected a whole number of at least 0")
    return value


def text(request: Mapping[str, Any], name: str, *, longest: int) -> str:
    """Return a text; "" where there is none.

    Raises:
        ValueError: for anything else, or a longer one.
    """
    value = request.get(name) or ""
    if not isinstance(value, str):
        raise ValueError(f"{name} is a {type(value).__name__}, expected text")
    if len(value) > longest:
        raise ValueError(f"the text has {len(value)} characters: at most {longest} here")
    return value


def octets(request: Mapping[str, Any], name: str) -> bytes:
    """Return the bytes that are written in base64.

    Raises:
        ValueError: for anything else.
    """
    value = request.get(name)
    if not isinstance(value, str):
        raise ValueError(f"the request has no {name}: expected base64")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as e:
        raise ValueError(f"{name} is no base64 ({e})") from e


def written(data: bytes | bytearray) -> str:
    """Return bytes in base64."""
    return base64.b64encode(data).decode("ascii")
