"""Live sessions in files, so that they outlive the process.

A session has two: `ID.json` says what never changes, `ID.state` all the rest, which is replaced as
a whole with every checkpoint.
"""

import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from echoic.audio.silero import SileroVad
from echoic.streaming import state as states
from echoic.streaming.server.kept import Identity
from echoic.streaming.server.models import LiveModel
from echoic.streaming.server.stream_settings import SESSION_ID
from echoic.streaming.session import Session, SessionState

_IDENTITY, _STATE = ".json", ".state"
# Files of sessions, and those that a process did not finish to write; others are not touched.
_OURS = re.compile(
    rf"({SESSION_ID.pattern})\.(?:json|state)|\.session\.\w+|\.{SESSION_ID.pattern}\.state\.\w+"
)


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    session: SessionState
    record: str


class Restored(NamedTuple):
    """A session as its last checkpoint left it.

    Attributes:
        identity: what never changes.
        model: what heard it.
        state: of the stream.
        record: what the server noted.
    """

    identity: Identity
    model: LiveModel
    state: SessionState
    record: dict[str, Any]


class Store:
    """A folder of sessions; its files are readable by their owner alone.

    Args:
        folder: made when it is not there.
        clock: seconds since the epoch, as files have them.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._clock = clock
        self._started = clock()

    def save(self, identity: Identity, state: SessionState, record: dict[str, Any]) -> None:
        """Write a checkpoint, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        fixed = self._path(identity.id, _IDENTITY)
        if not fixed.exists():
            _write(fixed, json.dumps(identity._asdict()))
        states.save(self._path(identity.id, _STATE), _Checkpoint(state, json.dumps(record)))

    def load(
        self, session_id: str, find: Callable[[str], LiveModel], vad: SileroVad | None
    ) -> Restored | None:
        """Read a session's last checkpoint; None where there is none.

        Args:
            session_id: checked already to be one.
            find: returns a model by its name.
            vad: voice activity detector of the streams.

        Raises:
            ValueError: the file is damaged, or of another model.
        """
        fixed, path = self._path(session_id, _IDENTITY), self._path(session_id, _STATE)
        if not fixed.is_file() or not path.is_file():
            return None
        identity = Identity(**json.loads(fixed.read_text(encoding="utf-8")))
        model = find(identity.model)
        fresh = Session(
            model.recognizer, sample_rate=identity.sample_rate, config=model.config, vad=vad
        )
        found = states.load(path, _Checkpoint(fresh.snapshot(), ""))
        return Restored(identity, model, found.session, json.loads(found.record))

    def remove(self, session_id: str) -> None:
        """Forget a session."""
        for suffix in (_STATE, _IDENTITY):
            self._path(session_id, suffix).unlink(missing_ok=True)

    def sweep(self, live: set[str], keep_seconds: float) -> None:
        """Forget the sessions of before that nobody has come back to.

        Args:
            live: ids of those that are not to be touched.
            keep_seconds: since their last checkpoint, or since this process began.
        """
        now = self._clock()
        for path in self._folder.iterdir():
            session = _OURS.fullmatch(path.name)
            if session is None or session[1] in live:
                continue
            try:
                since = max(path.stat().st_mtime, self._started)
                if now - since >= keep_seconds:
                    path.unlink()
            except OSError:  # gone already, or not ours: it does no harm
                continue

    def _path(self, session_id: str, suffix: str) -> Path:
        return self._folder / f"{session_id}{suffix}"


def _write(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".session.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(name, path)
