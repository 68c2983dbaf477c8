"""A look ahead into a stream that can only be read forward."""

from typing import BinaryIO


class ByteWindow:
    """Bytes of a file that may be looked at before they are taken.

    Args:
        file: what to read, from its position on.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._bytes = bytearray()

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end; they stay."""
        while len(self._bytes) < size and (more := self._file.read(size - len(self._bytes))):
            self._bytes += more
        return bytes(self._bytes[:size])

    def skip(self, size: int) -> None:
        """Take bytes that were looked at."""
        del self._bytes[:size]

    def skip_to(self, mark: bytes, *, reach: int = 2**16) -> bool:
        """Take bytes up to the next `mark`; False where none follows and all are taken."""
        while data := self.peek(reach):
            found = data.find(mark)
            if found >= 0:
                self.skip(found)
                return True
            at_end = len(data) < reach
            # The last bytes may be the beginning of a mark.
            self.skip(len(data) if at_end else len(data) - len(mark) + 1)
            if at_end:
                return False
        return False
