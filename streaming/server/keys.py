"""Who may call: keys of the environment or a file, compared in constant time."""

import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ENVIRONMENT = "ECHOIC_API_KEY"
#: Browsers cannot set headers of a socket: they send the key as one of these subprotocols.
SOCKET_PREFIXES = ("echoic-key.", "openai-insecure-api-key.")


class Keys:
    """The keys that open this server; without any it is open to all who reach it.

    Args:
        keys: each of one line.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._keys = tuple(key.encode() for key in keys)

    @classmethod
    def read(cls, path: Path | None, environment: Mapping[str, str] = os.environ) -> "Keys":
        """Read the keys of a file, one a line, "#" for remarks, and that of the environment.

        Raises:
            OSError: the file cannot be read.
            ValueError: there is no key in it.
        """
        keys = [key] if (key := environment.get(ENVIRONMENT, "").strip()) else []
        if path is not None:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
            found = [line for line in lines if line and not line.startswith("#")]
            if not found:
                raise ValueError(f"{path} holds no key: write one a line")
            keys += found
        return cls(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def open_for(self, key: str | None) -> bool:
        """Return whether a key is one of ours; all are compared, whichever fits."""
        if not self._keys:
            return True
        given = (key or "").encode()
        return any([hmac.compare_digest(given, own) for own in self._keys])


def key_of(headers: Mapping[str, str], subprotocols: Sequence[str] = ()) -> str | None:
    """Return the key that a client sent: `Authorization: Bearer KEY`, or a socket's subprotocol."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    for subprotocol in subprotocols:
        for prefix in SOCKET_PREFIXES:
            if subprotocol.startswith(prefix):
                return subprotocol.removeprefix(prefix)
    return None


def fingerprint(key: str) -> str:
    """Return a short name of a key that tells nothing about it."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]
