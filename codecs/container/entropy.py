"""Codes in fewer bits where some are more frequent than others, or stay as they are.

Each code is first told apart from the code before it in its book (one bit, often far less), then,
where it changed, coded by frequencies that begin equal and follow what was seen. Everything starts
anew with each segment, so that a lost one costs no other. No model predicts the codes: such a
prediction in floating point is not the same on all machines.
"""

import numpy as np

from echoic.codecs.container.range_coder import MAX_TOTAL, RangeDecoder, RangeEncoder

# What the frequencies of a book add up to, about, before it has seen anything, and what a code that
# was seen gains: over speech in segments of 2 s, less or more saves less.
_START_TOTAL = 1 << 16
_GAIN = 1 << 7
_FLAG_TOTAL = 1 << 12
_FLAG_RATE = 5
_MAX_TOTAL = MAX_TOTAL >> 1


def encode_codes(codes: np.ndarray, codebook_size: int) -> bytes:
    """Write the codes of a segment.

    Args:
        codes: (C, Q, F) integers from 0 to K - 1.
        codebook_size: K, at most 2^23.
    """
    books = _Books(codes.shape[0], codes.shape[1], codebook_size)
    encoder = RangeEncoder()
    for frame in codes.transpose(2, 0, 1).tolist():
        for channel, row in enumerate(frame):
            books.encode(encoder, channel, row)
    return encoder.finish()


def decode_codes(data: bytes, shape: tuple[int, int, int], codebook_size: int) -> np.ndarray:
    """Read what `encode_codes` wrote.

    Args:
        data: its bytes, whose checksum was right.
        shape: C, Q, F.
        codebook_size: K.

    Returns:
        (C, Q, F) int64.
    """
    channels, num_books, frames = shape
    books = _Books(channels, num_books, codebook_size)
    decoder = RangeDecoder(data)
    codes = [[books.decode(decoder, c) for c in range(channels)] for _ in range(frames)]
    return np.array(codes, dtype=np.int64).reshape(frames, channels, num_books).transpose(1, 2, 0)


class _Books:
    """What has been seen of each book, by all channels together; writer and reader keep the same.

    Whether a code repeats the one before has four contexts: whether this book's code before did,
    and whether the book above did in this frame.
    """

    def __init__(self, channels: int, num_books: int, codebook_size: int) -> None:
        each = max(1, _START_TOTAL // codebook_size)
        start = np.arange(codebook_size + 1, dtype=np.int64) * each
        self._above = [start.copy() for _ in range(num_books)]
        self._same = [[_FLAG_TOTAL // 2] * 4 for _ in range(num_books)]
        self._before = [[-1] * num_books for _ in range(channels)]
        self._repeated = [[0] * num_books for _ in range(channels)]

    def encode(self, encoder: RangeEncoder, channel: int, codes: list[int]) -> None:
        """Write the codes of one frame of a channel."""
        before, repeated, upper = self._before[channel], self._repeated[channel], 0
        for book, code in enumerate(codes):
            last = before[book]
            if last >= 0:
                context = 2 * repeated[book] + upper
                share, upper = self._same[book][context], int(code == last)
                start, size = (0, share) if upper else (share, _FLAG_TOTAL - share)
                encoder.encode(start, size, _FLAG_TOTAL)
                self._note_flag(book, context, upper)
                repeated[book] = upper
            if not upper or last < 0:
                self._encode_changed(encoder, book, last, code)
            before[book] = code

    def decode(self, decoder: RangeDecoder, channel: int) -> list[int]:
        """Read the codes of one frame of a channel."""
        before, repeated, upper = self._before[channel], self._repeated[channel], 0
        for book, last in enumerate(before):
            if last >= 0:
                context = 2 * repeated[book] + upper
                share = self._same[book][context]
                upper = int(decoder.target(_FLAG_TOTAL) < share)
                decoder.consume(*((0, share) if upper else (share, _FLAG_TOTAL - share)))
                self._note_flag(book, context, upper)
                repeated[book] = upper
            if not upper or last < 0:
                before[book] = self._decode_changed(decoder, book, last)
        return list(before)

    def _encode_changed(self, encoder: RangeEncoder, book: int, last: int, code: int) -> None:
        above = self._above[book]
        start, end, total = int(above[code]), int(above[code + 1]), int(above[-1])
        size = end - start
        if last >= 0:  # it cannot be the one before: that one's stretch is left out
            gone = int(above[last + 1]) - int(above[last])
            total -= gone
            start -= gone if code > last else 0
        encoder.encode(start, size, total)
        self._note_code(book, code)

    def _decode_changed(self, decoder: RangeDecoder, book: int, last: int) -> int:
        above = self._above[book]
        total, skipped, gone = int(above[-1]), int(above[-1]), 0
        if last >= 0:
            skipped = int(above[last])
            gone = int(above[last + 1]) - skipped
        place = decoder.target(total - gone)
        place += gone if place >= skipped else 0
        code = int(np.searchsorted(above, place, side="right")) - 1
        start, end = int(above[code]), int(above[code + 1])
        decoder.consume(start - (gone if code > last >= 0 else 0), end - start)
        self._note_code(book, code)
        return code

    def _note_flag(self, book: int, context: int, same: int) -> None:
        """Move a probability towards what was seen; it never reaches 0 or 1."""
        share = self._same[book][context]
        move = (_FLAG_TOTAL - share) >> _FLAG_RATE if same else -(share >> _FLAG_RATE)
        self._same[book][context] = share + move

    def _note_code(self, book: int, code: int) -> None:
        above = self._above[book]
        above[code + 1 :] += _GAIN
        if above[-1] > _MAX_TOTAL:
            frequencies = (np.diff(above) + 1) // 2
            self._above[book] = np.concatenate([[0], np.cumsum(frequencies)])
