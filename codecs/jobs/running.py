"""A job from its beginning to its exit code: whatever it raises is told in one line."""

import traceback
from collections.abc import Callable

from echoic.audio.interrupts import interrupts
from echoic.codecs.jobs.console import Console
from echoic.codecs.jobs.errors import INTERRUPTED, SOME_FAILED, WRONG_USAGE, UsageError, describe

Check = Callable[[], None]
"""Raises KeyboardInterrupt where a Ctrl-C came that could not be raised at once."""


def run_job(work: Callable[[Console, Check], int], *, quiet: bool, debug: bool) -> int:
    """Do a job; returns its exit code.

    Args:
        work: the job; it returns 0 all done or 1 something failed.
        quiet: problems only.
        debug: print tracebacks, and the warnings of libraries.

    Returns:
        0 all done, 1 something failed, 2 the command makes no sense, 130 interrupted.
    """
    console = Console(quiet=quiet)
    try:
        with interrupts() as signals, console.warnings_in_lines(debug=debug):
            return work(console, signals.check)
    except UsageError as e:
        console.close()
        console.problem(str(e))
        return WRONG_USAGE
    except BrokenPipeError:  # `| head` has seen enough
        return SOME_FAILED
    except KeyboardInterrupt:
        console.close()
        console.problem("interrupted")
        return INTERRUPTED
    except Exception as e:
        console.close()
        if debug:
            console.traceback(traceback.format_exc())
        console.problem(describe(e))
        return SOME_FAILED
    finally:
        console.close()
