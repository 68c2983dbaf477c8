"""Python's warnings and the log during a batch, told in the batch's own words."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from echoic.asr.batch.console import Console
from echoic.audio.errors import AudioWarning
from echoic.audio.log_lines import log_lines


@contextmanager
def warnings_in_lines(console: Console, *, debug: bool) -> Iterator[None]:
    """Tell each warning about a recording once, in one line, and the log; hide libraries' warnings.

    A library's warning is for programmers: it names a line of source and no file of the user's.

    Args:
        console: who tells.
        debug: show the libraries' warnings, too, as Python does.
    """
    told: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, AudioWarning):
            if debug:
                text = warnings.formatwarning(message, category, filename, lineno, line)
                console.raw_error(text)
        elif str(message) not in told:  # the progress bar may have measured the file before
            told.add(str(message))
            console.warning(str(message))

    with warnings.catch_warnings(), log_lines(console.note, console.warning):
        warnings.simplefilter("always", AudioWarning)
        warnings.showwarning = show
        yield
