"""Errors of a batch as one clear line each."""

import errno
import unicodedata
from collections.abc import Iterable

from echoic.audio.errors import one_line

FULL_OR_LOCKED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""Errors of the output folder itself: the next file would fail in the same way."""


class UsageError(ValueError):
    """The command cannot begin as it was typed; the message says what to type instead."""


class OutputError(OSError):
    """An output cannot be written.

    Attributes:
        path: what could not be written, fit for a message.
        cause: the system's error.
        fatal: whether the next output would fail as well, so that going on is useless.
    """

    def __init__(self, path: str, cause: OSError, *, fatal: bool = False):
        super().__init__(cause.errno, cause.strerror or str(cause), path)
        self.path = path
        self.cause = cause
        self.fatal = fatal or cause.errno in FULL_OR_LOCKED

    def __str__(self) -> str:
        mend = {
            errno.ENOSPC: "free some space and run the same command again to go on",
            errno.EDQUOT: "free some of your quota and run the same command again to go on",
            errno.EROFS: "choose another folder with -o",
            errno.EEXIST: "a file is in the way, choose another folder with -o",
            errno.ENOTDIR: "a file is in the way, choose another folder with -o",
            errno.EISDIR: "a folder is in the way, remove it or choose another one with -o",
            errno.ENAMETOOLONG: "give the recording a shorter name, or an id in a manifest",
        }.get(self.cause.errno or 0, "choose another folder with -o, or mend its permissions")
        return f"cannot write: {self.cause.strerror or self.cause}; {mend}"


def printable(name: str) -> str:
    r"""Return a file name fit for one line of a terminal.

    Bytes that are not UTF-8 become U+FFFD; line breaks, escape sequences and other controls are
    spelled out, as `\n` and `\x1b`; an empty name is shown as ''.
    """
    return "".join(map(_visible, name)) or "''"


def describe(error: BaseException, name: str, *, expected: Iterable[type] = ()) -> str:
    """Return an error as one line, without the file's name in front.

    Args:
        error: what happened.
        name: the file it happened to; cut away where the message repeats it.
        expected: types whose message was written for users; others are shown with their type.
    """
    if isinstance(error, OSError) and not isinstance(error, OutputError):
        message = _describe_os_error(error)
    else:
        message = " ".join(str(error).split())
    for repeated in (getattr(error, "name", None), one_line(name), " ".join(name.split())):
        message = message.removeprefix(f"{repeated}: ")
    if isinstance(error, (OSError, UsageError, *expected)):
        return printable(message)
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return printable(f"{text} (unexpected; --debug prints where)")


def _describe_os_error(error: OSError) -> str:
    mend = {
        errno.ENOENT: "no such file; check the path",
        errno.EACCES: "permission denied; make it readable",
        errno.EISDIR: "is a folder; name a file",
    }
    if error.errno in mend and error.filename2 is None:
        return mend[error.errno]
    if error.strerror and error.filename2 is None:
        return f"{error.strerror}; check the file and the disk it is on"
    return " ".join((error.strerror or str(error) or type(error).__name__).split())


def _visible(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return "\ufffd"
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return character.encode("unicode_escape").decode("ascii")
    return character
