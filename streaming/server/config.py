"""How a server behaves: one frozen object for Python and the command line."""

from dataclasses import dataclass, fields
from pathlib import Path

_MAY_BE_ZERO = ("port", "resume_seconds")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Limits and times of a server; sizes in bytes, times in seconds.

    Attributes:
        host: address to listen on; the default lets nobody in from outside.
        port: to listen on; 0 for a free one.
        allow_origins: web pages of other servers that may call, such as https://example.org.
        allow_hosts: names under which a server on a local address may be called beside localhost.
        state_dir: folder of live sessions; None keeps them in memory only.
        checkpoint_seconds: from one checkpoint of live sessions to the next.
        resume_seconds: how long a session outlives its broken socket.
        start_seconds: until a request's head must be there, and a new socket must have said what it
            wants.
        idle_seconds: without a message of a socket, or more of an upload, until it is closed; also
            how long an answer waits for a client that does not read it.
        ping_seconds: from one ping of a socket to the next, and how long its answer may take.
        max_stream_seconds: sound of one live session.
        max_frame_bytes: of one message of a socket.
        max_upload_bytes: of one request.
        max_uploads: requests with a recording that may come in at once.
        max_file_seconds: sound of one recording.
        max_sockets: open at once.
        requests_per_minute: of one client, by its key or address; sockets count when they open.
        file_workers: recordings that are transcribed at once.
        speech_workers: texts that are spoken at once.
        max_waiting: recordings, and texts, that may wait for a worker.
        drain_seconds: how long live sessions may take to end at shutdown.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    allow_origins: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    state_dir: Path | None = None
    checkpoint_seconds: float = 5.0
    resume_seconds: float = 60.0
    start_seconds: float = 10.0
    idle_seconds: float = 30.0
    ping_seconds: float = 20.0
    max_stream_seconds: float = 4 * 3600.0
    max_frame_bytes: int = 1 << 20
    max_upload_bytes: int = 200 << 20
    max_uploads: int = 64
    max_file_seconds: float = 4 * 3600.0
    max_sockets: int = 1000
    requests_per_minute: int = 1200
    file_workers: int = 1
    speech_workers: int = 8
    max_waiting: int = 8
    drain_seconds: float = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int | float):
                continue
            least = 0 if field.name in _MAY_BE_ZERO else 1e-3
            if not least <= value < float("inf"):
                raise ValueError(f"{field.name} is {value}, expected a number above 0")
