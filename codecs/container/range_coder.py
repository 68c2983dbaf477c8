"""A range coder: symbols in about as many bits as their frequencies say, integers throughout.

The coder of Martin 1979, "Range encoding: an algorithm for removing redundancy from a digitised
message", with carries, as in the variant of LZMA: the interval is [low, low + range) of a number
whose leading bytes are given out once a carry can no longer change them. Only integers are used, so
every machine writes and reads the same bytes.
"""

_RANGE_BITS = 56
_TOP = 1 << _RANGE_BITS
_BYTE = _TOP >> 8
# The range stays above 2^48: frequencies that add up to 2^24 lose less than 2^-24 of a bit.
MAX_TOTAL = 1 << 24


class RangeEncoder:
    """Writes symbols, each given as a stretch of the frequencies of all."""

    def __init__(self) -> None:
        self._low = 0
        self._range = _TOP
        self._bytes = bytearray()

    def encode(self, start: int, size: int, total: int) -> None:
        """Write the symbol that takes [start, start + size) of `total` <= MAX_TOTAL."""
        step = self._range // total
        self._low += step * start
        self._range = step * size
        if self._low >= _TOP:
            self._low -= _TOP
            self._carry()
        while self._range <= _BYTE:
            self._bytes.append(self._low >> (_RANGE_BITS - 8))
            self._low = (self._low << 8) & (_TOP - 1)
            self._range <<= 8

    def finish(self) -> bytes:
        """Return all bytes; no more of them than tell the last symbol from its neighbours.

        What is cut off are zeros, which the decoder reads behind the end.
        """
        # The number in the interval with the most zeros at its end.
        bits = self._range.bit_length() - 1
        mask = (1 << bits) - 1
        number = (self._low + mask) & ~mask
        if number >= _TOP:
            number -= _TOP
            self._carry()
        tail = number.to_bytes(_RANGE_BITS // 8, "big")
        return bytes(self._bytes + tail).rstrip(b"\0")

    def _carry(self) -> None:
        at = len(self._bytes) - 1
        while self._bytes[at] == 0xFF:
            self._bytes[at] = 0
            at -= 1
        self._bytes[at] += 1


class RangeDecoder:
    """Reads what `RangeEncoder` wrote, told the same frequencies.

    Bytes that no encoder wrote give symbols as well: whether they are right is for a checksum.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = _RANGE_BITS // 8
        self._range = _TOP
        self._number = int.from_bytes(data[: self._at].ljust(self._at, b"\0"), "big")
        self._step = 0

    def target(self, total: int) -> int:
        """Return a place in [0, total) in the stretch of the next symbol; `consume` must follow."""
        self._step = self._range // total
        return min(self._number // self._step, total - 1)

    def consume(self, start: int, size: int) -> None:
        """Go on behind the symbol that takes [start, start + size) of the total."""
        self._number -= self._step * start
        self._range = self._step * size
        while self._range <= _BYTE:
            following = self._data[self._at] if self._at < len(self._data) else 0
            self._number = ((self._number << 8) | following) & ((_TOP << 8) - 1)
            self._at += 1
            self._range <<= 8
