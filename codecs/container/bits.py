"""Codes as a string of bits, each in as many as the largest code needs."""

import numpy as np


def packed_size(count: int, code_bits: int) -> int:
    """Return the bytes that so many codes take."""
    return -(-count * code_bits // 8)


def pack_codes(codes: np.ndarray, code_bits: int) -> bytes:
    """Write codes one after the other, the highest bit first, the last byte filled with zeros.

    Args:
        codes: (N,) integers from 0 to 2^code_bits - 1.
        code_bits: bits of each, 0 to 32.
    """
    shifts = np.arange(code_bits - 1, -1, -1, dtype=np.uint32)
    bits = (codes.astype(np.uint32)[:, None] >> shifts) & np.uint32(1)
    return np.packbits(bits.astype(np.uint8)).tobytes()


def unpack_codes(data: bytes, count: int, code_bits: int) -> np.ndarray:
    """Read what `pack_codes` wrote.

    Args:
        data: at least the bytes that `count` codes take.
        count: N, how many codes.
        code_bits: bits of each, 0 to 32.

    Returns:
        (N,) int64.
    """
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count * code_bits)
    powers = np.int64(1) << np.arange(code_bits - 1, -1, -1, dtype=np.int64)
    return bits.reshape(count, code_bits).astype(np.int64) @ powers
