"""What a command can fail of, as one line each; imports no torch."""

import errno

from echoic.audio.errors import one_line

ALL_DONE, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

_MENDS = {
    errno.ENOSPC: "free some space and run the same command again",
    errno.EDQUOT: "free some of your quota and run the same command again",
    errno.EFBIG: "the system allows no larger files here, choose another place",
    errno.EROFS: "choose another place",
    errno.ENOENT: "create the folder first",
    errno.EISDIR: "a folder is in the way, choose another name",
    errno.ENOTDIR: "a file is in the way, choose another folder",
    errno.EEXIST: "a file is in the way, choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}
_FULL_OR_LOCKED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


class UsageError(ValueError):
    """The command cannot begin as it was typed; the message says what to type instead."""


class OutputError(OSError):
    """An output cannot be written; the message names it.

    Attributes:
        fatal: whether the next output of a batch would fail as well.
    """

    def __init__(self, name: str, cause: OSError) -> None:
        mend = _MENDS.get(cause.errno or 0, "choose another place, or mend its permissions")
        reason = cause.strerror or str(cause)
        super().__init__(f"{one_line(name)}: cannot be written ({reason}); {mend}")
        self.fatal = cause.errno in _FULL_OR_LOCKED


def describe(error: BaseException, name: str = "") -> str:
    """Return an error as one line, with the name of what it happened to in front.

    Errors of kinds that are not raised with a message for users are shown with their type.
    """
    message = one_line(str(error))
    if isinstance(error, OSError) and error.strerror and not isinstance(error, OutputError):
        about = f"{one_line(str(error.filename))}: " if error.filename and not name else ""
        message = f"{about}{error.strerror}; check the path and its permissions"
    elif not isinstance(error, ValueError | OSError | ImportError):
        kind = type(error).__name__
        message = f"{kind}: {message}" if message else kind
        message = f"{message} (unexpected; --debug prints where)"
    name = one_line(name)
    return message if not name or message.startswith(f"{name}: ") else f"{name}: {message}"
