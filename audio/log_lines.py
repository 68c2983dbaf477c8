"""What the package logs, as lines of a command: a user of one has set up no log."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tell = Callable[[str], None]


@contextmanager
def log_lines(note: Tell, warn: Tell) -> Iterator[None]:
    """Tell what the package logs for a while.

    Where nobody listens Python prints warnings bare, and nothing of what takes long, such as a
    build of kernels.

    Args:
        note: tells what is good to know.
        warn: tells what is not as it could be.
    """
    logger = logging.getLogger("echoic")
    handler, level = _Teller(note, warn), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


class _Teller(logging.Handler):
    def __init__(self, note: Tell, warn: Tell) -> None:
        super().__init__(logging.INFO)
        self._note, self._warn = note, warn

    def emit(self, record: logging.LogRecord) -> None:
        tell = self._note if record.levelno < logging.WARNING else self._warn
        tell(record.getMessage())
