"""A session with a thread of its own, for callers that must not wait: microphones and servers."""

from collections.abc import Callable
from typing import Any

from echoic.streaming.events import Event
from echoic.streaming.session import Session
from echoic.streaming.sound_queue import Policy
from echoic.streaming.stream import Stream
from echoic.streaming.worker import RoundConfig, Worker

# Waiting sound is worked on in pieces of at most this: events keep coming while it catches up.
_PIECE_SECONDS = 1.0


class LiveSession(Stream):
    """Takes sound without waiting, and runs a session on it in a thread that ends with the stream.

    The worker takes what has gathered in larger pieces, and so catches up after a delay. When it
    is too slow for good, the queue fills, and `policy` decides; what is dropped the session skips:
    the utterance ends there, and times stay right.
    """

    def __init__(
        self,
        session: Session[Any],
        *,
        max_seconds: float = 30.0,
        policy: Policy = "refuse",
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        """Start the worker.

        Args:
            session: what to run.
            max_seconds: sound that may wait.
            policy: "refuse" or "drop_oldest", see `echoic.streaming.sound_queue`.
            on_event: called in the worker with every event; None: `poll` and `events` give them.

        Raises:
            ValueError: for a queue without length or an unknown policy.
        """
        config = RoundConfig(gather_ms=0.0, piece_seconds=_PIECE_SECONDS)
        worker = Worker(config, name="echoic-live")
        try:
            super().__init__(
                session,
                worker.owner,
                max_seconds=max_seconds,
                policy=policy,
                on_event=on_event,
            )
        except ValueError:
            worker.close()
            raise
        self.worker = worker
        worker.add(self, only=True)
