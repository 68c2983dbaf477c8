"""The journal of an output folder: what is finished, so that a killed run can go on.

JSON Lines, only ever appended to, one file a shard. Before the outputs of a recording are put in
place a line says so ("writing"); after all of them are, another ("done"). The last line of a key
counts: "done" is finished, "writing" means that the run died in between and the recording is done
again. A last line torn by a crash is ignored. Lines that say "failed" or "run" are for people.
"""

import contextlib
import glob
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import IO, Any, NamedTuple

from echoic.asr.batch.errors import OutputError, UsageError, printable
from echoic.asr.batch.naming import Shard

STEM = ".echoic-transcribe"


@dataclass(frozen=True, slots=True)
class Record:
    """What the outputs of a key were made from.

    Attributes:
        key: path of the outputs below the folder, without suffix.
        audio: absolute path of the recording, or "-".
        size: its bytes; None where it cannot be known (standard input).
        mtime_ns: its time of change.
        offset: beginning of the stretch, in seconds.
        duration: length of the stretch, in seconds.
        options: digest of everything that shapes the text.
        formats: which outputs there are.
    """

    key: str
    audio: str
    size: int | None
    mtime_ns: int | None
    offset: float
    duration: float | None
    options: str
    formats: tuple[str, ...]


class Journal:
    """The journals of an output folder, read, and this shard's own, open for appending.

    Attributes:
        finished: records whose outputs were all in place.
        claimed: the last record of every key ever written here, finished or not.
        token: names this run's temporary files.
    """

    def __init__(self, folder: str, shard: Shard | None = None):
        """Create the folder, lock this shard's journal and read them all.

        Raises:
            UsageError: another process writes this shard's outputs at the moment.
            OutputError: the folder cannot be written.
        """
        name = STEM + (f".{shard.index}-of-{shard.count}" if shard else "") + ".jsonl"
        self.folder = folder
        self.path = os.path.join(folder, name)
        self.token = f"{os.getpid():x}-{time.time_ns():x}"
        self.finished: dict[str, Record] = {}
        self.claimed: dict[str, Record] = {}
        try:
            os.makedirs(folder, exist_ok=True)
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 (closed by close)
        except OSError as e:
            raise OutputError(printable(folder), e, fatal=True) from e
        if _lock(self._file) is False:
            self._file.close()
            raise UsageError(
                f"{printable(folder)}: another echoic transcribe is writing here; wait for it, "
                "choose another -o, or give each process its own --shard"
            )
        self._end_torn_line()
        self._read_all()

    def run(self, options: Mapping[str, Any], digest: str) -> None:
        """Note for people what the digest of this run stands for."""
        self._append({"event": "run", "options": digest, "means": dict(options)})

    def writing(self, record: Record) -> None:
        """Announce that the outputs of a record are about to be put in place."""
        self._append({"event": "writing", "token": self.token} | asdict(record))
        os.fsync(self._file.fileno())
        self.claimed[record.key] = record
        self.finished.pop(record.key, None)

    def done(self, record: Record) -> None:
        """Note that all outputs of a record are in place."""
        self._append({"event": "done"} | asdict(record))
        self.finished[record.key] = record

    def failed(self, key: str, audio: str, error: str) -> None:
        """Note for people what went wrong with a recording; the next run tries it again."""
        self._append({"event": "failed", "key": key, "audio": audio, "error": error})

    def close(self) -> None:
        """Close the file, and unlock it with that."""
        self._file.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, line: dict[str, Any]) -> None:
        data = json.dumps({"time": time.time(), **line}).encode() + b"\n"
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as e:
            raise OutputError(printable(self.path), e, fatal=True) from e

    def _end_torn_line(self) -> None:
        with open(self.path, "rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return
            file.seek(-1, os.SEEK_END)
            if file.read(1) == b"\n":
                return
        try:
            self._file.write(b"\n")
        except OSError as e:
            raise OutputError(printable(self.path), e, fatal=True) from e

    def _read_all(self) -> None:
        latest: dict[str, float] = {}
        for path in sorted(glob.glob(os.path.join(glob.escape(self.folder), STEM + "*.jsonl"))):
            states = _read(path)
            for key, state in states.items():
                if state.time < latest.get(key, 0.0):
                    continue  # another shard's journal knows later news of this key
                latest[key] = state.time
                self.claimed[key] = state.record
                self.finished.pop(key, None)
                if state.done:
                    self.finished[key] = state.record
            self._remove_leftovers(
                path, {key: state.token for key, state in states.items() if not state.done}
            )

    def _remove_leftovers(self, path: str, pending: dict[str, str]) -> None:
        """Delete temporary files of runs that died; those of a living shard stay."""
        if not pending or (path != self.path and not _is_idle(path)):
            return
        for key, token in pending.items():
            with contextlib.suppress(OSError):
                os.unlink(temporary_path(os.path.join(self.folder, key), token))


def temporary_path(output: str, token: str) -> str:
    """Return the name under which an output is written before it is renamed.

    It does not contain the output's own name, which may be as long as names can be.
    """
    return os.path.join(os.path.dirname(output), f".echoic-{token}.tmp")


class _State(NamedTuple):
    time: float
    record: Record
    done: bool
    token: str


def _lock(file: IO[bytes]) -> bool | None:
    """Lock a file for this process; False if another has it, None where there are no locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


def _is_idle(path: str) -> bool:
    try:
        with open(path, "ab") as file:
            return _lock(file) is True
    except OSError:
        return False


def _read(path: str) -> dict[str, _State]:
    """Return the last word of one journal on each key."""
    states: dict[str, _State] = {}
    for line in _lines(path):
        if (record := _record(line)) is not None:
            done = line["event"] == "done"
            states[record.key] = _State(line["time"], record, done, str(line.get("token", "")))
    return states


def _lines(path: str) -> Iterator[dict[str, Any]]:
    with open(path, "rb") as file:
        for data in file:
            try:
                line = json.loads(data)
            except ValueError:  # torn by a crash, or being written by another shard
                continue
            if isinstance(line, dict) and isinstance(line.get("time"), float):
                yield line


def _record(line: dict[str, Any]) -> Record | None:
    if line.get("event") not in ("writing", "done"):
        return None
    try:
        fields: dict[str, Any] = {name: line[name] for name in Record.__slots__}
        fields["formats"] = tuple(fields["formats"])
        return Record(**fields)
    except (KeyError, TypeError):  # a line of another version
        return None
