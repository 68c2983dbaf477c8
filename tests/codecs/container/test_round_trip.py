"""What is written comes back: any sizes, any cutting, packed and entropy coded, files and pipes."""

import io
import itertools
import json
import os
import threading

import numpy as np
import pytest
import torch
from echo_files import HOP, random_codes, read, small_header, written
from hypothesis import given, settings
from hypothesis import strategies as st

from echoic.codecs.container import Coding, EchoFileError, EchoReader, EchoWriter
from echoic.codecs.container.bits import pack_codes, packed_size, unpack_codes
from echoic.codecs.container.entropy import decode_codes, encode_codes
from echoic.codecs.container.range_coder import MAX_TOTAL, RangeDecoder, RangeEncoder

SIZES = st.sampled_from([1, 2, 3, 16, 17, 1000, 1024, 4096])


@settings(max_examples=60, deadline=None)
@given(
    books=st.integers(1, 9),
    size=SIZES,
    frames=st.integers(0, 40),
    channels=st.integers(1, 3),
    segment=st.integers(1, 20),
    entropy=st.booleans(),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    seed=st.integers(0, 1000),
)
def test_any_codes_come_back(books, size, frames, channels, segment, entropy, cuts, seed):
    header = small_header(
        num_codebooks=books, codebook_size=size, channels=channels, segment_frames=segment
    )
    codes = random_codes(header, frames, seed)
    file = io.BytesIO()
    writer = EchoWriter(file, header, entropy=entropy)
    places = [0, *sorted(min(cut, frames) for cut in cuts), frames]
    for start, end in itertools.pairwise(places):
        writer.write(codes[:, :, start:end])
    writer.close(frames * HOP)
    assert writer.num_bytes == len(file.getvalue())
    assert file.getvalue() == written(header, codes, entropy=entropy), "depends on the cutting"
    reader, back = read(file.getvalue())
    assert torch.equal(back, codes)
    assert (reader.num_frames, reader.num_samples) == (frames, frames * HOP)
    assert reader.header == writer.header


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 24), st.integers(0, 70), st.integers(0, 1000))
def test_packed_codes_take_their_bits(bits, count, seed):
    codes = np.random.default_rng(seed).integers(0, 2**bits, count)
    data = pack_codes(codes, bits)
    assert len(data) == packed_size(count, bits) == (count * bits + 7) // 8
    assert (unpack_codes(data, count, bits) == codes).all()


def test_packed_codes_are_written_highest_bit_first():
    assert pack_codes(np.array([0b101, 0b011, 0b110]), 3) == bytes([0b10101111, 0b00000000])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=40), st.data())
def test_range_coder_comes_back_near_the_entropy(frequencies, data):
    symbols = data.draw(st.lists(st.integers(0, len(frequencies) - 1), max_size=300))
    starts, total = np.cumsum([0, *frequencies]).tolist(), sum(frequencies)
    encoder = RangeEncoder()
    for symbol in symbols:
        encoder.encode(starts[symbol], frequencies[symbol], total)
    coded = encoder.finish()
    decoder, back = RangeDecoder(coded), []
    for _ in symbols:
        place = decoder.target(total)
        back.append(next(i for i, start in enumerate(starts[1:]) if place < start))
        decoder.consume(starts[back[-1]], frequencies[back[-1]])
    assert back == symbols
    ideal = sum(np.log2(total / frequencies[symbol]) for symbol in symbols)
    assert 8 * len(coded) <= ideal + 16


def test_range_coder_carries_through_a_row_of_full_bytes():
    """The least likely path first, then the topmost symbol: low sums up to carries."""
    encoder = RangeEncoder()
    total = MAX_TOTAL
    steps = [(total - 1, 1), (total - 1, 1), (0, 1), (total - 2, 2)] * 20
    for start, size in steps:
        encoder.encode(start, size, total)
    decoder = RangeDecoder(encoder.finish())
    for start, size in steps:
        assert start <= decoder.target(total) < start + size
        decoder.consume(start, size)


@pytest.mark.parametrize("size", [2, 7, 1024, 32768])
def test_entropy_coding_pays_where_codes_repeat(size):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(size, (1, 4, 100), generator=generator)
    codes[:, :, 20:] = codes[:, :, 19:20]
    coded = encode_codes(codes.numpy(), size)
    assert (decode_codes(coded, (1, 4, 100), size) == codes.numpy()).all()
    assert len(coded) < 0.5 * packed_size(codes.numel(), (size - 1).bit_length()) + 30


def test_entropy_coding_survives_counts_that_are_halved(monkeypatch):
    monkeypatch.setattr("echoic.codecs.container.entropy._MAX_TOTAL", 70_000)
    codes = np.random.default_rng(0).integers(0, 50, (2, 3, 200))
    assert (decode_codes(encode_codes(codes, 50), codes.shape, 50) == codes).all()


def test_bytes_of_entropy_coding_are_fixed():
    """A file written today is read by any later version, on any machine."""
    codes = (np.arange(60).reshape(1, 3, 20) ** 2) % 11
    codes[:, 1, 5:] = 3
    assert encode_codes(codes, 11).hex() == "0986c21912d5da3d09a979643742f10ba99ca6cd7830d14c"


def test_file_is_never_longer_for_entropy_coding():
    header = small_header(codebook_size=64, segment_frames=50)
    codes = random_codes(header, 150)
    assert len(written(header, codes, entropy=True)) == len(written(header, codes))
    reader = EchoReader(io.BytesIO(written(header, codes, entropy=True)))
    assert {record.coding for record in reader.records()} == {Coding.PACKED}


class Pipe(io.RawIOBase):
    """Gives a few bytes at a time, and cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        size = min(size, 5)
        given, self._data = self._data[:size], self._data[size:]
        return given


def test_a_pipe_gives_the_same():
    header = small_header()
    codes = random_codes(header, 30)
    reader = EchoReader(Pipe(written(header, codes)))  # pyright: ignore[reportArgumentType]
    assert torch.equal(torch.cat([s.codes for s in reader], dim=2), codes)


def test_first_segment_is_read_before_the_second_is_written():
    header = small_header()
    codes = random_codes(header, 2 * header.segment_frames)
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as source, os.fdopen(write_end, "wb") as sink:
        writer = EchoWriter(sink, header)
        writer.write(codes[:, :, : header.segment_frames])  # flushed when complete
        segments = iter(EchoReader(source))
        found: list = []
        thread = threading.Thread(target=lambda: found.append(next(segments)), daemon=True)
        thread.start()
        thread.join(10)
        assert torch.equal(found[0].codes, codes[:, :, : header.segment_frames])
        writer.write(codes[:, :, header.segment_frames :])
        writer.close(codes.shape[2] * HOP)
        sink.close()
        assert torch.equal(next(segments).codes, codes[:, :, header.segment_frames :])
        assert next(segments, None) is None


def test_length_is_in_the_head_of_a_file_and_only_at_the_end_of_a_pipe():
    header = small_header()
    codes = random_codes(header, 10)
    assert EchoReader(io.BytesIO(written(header, codes))).header.num_samples == 10 * HOP
    file = io.BytesIO()
    writer = EchoWriter(file, header, patch_length=False)
    writer.write(codes)
    writer.close(10 * HOP - 3)
    reader = EchoReader(io.BytesIO(file.getvalue()))
    assert reader.header.num_samples is None
    assert len(list(reader)) == 2
    assert reader.num_samples == 10 * HOP - 3


def test_file_begins_anywhere_in_another():
    file = io.BytesIO(b"before")
    file.seek(6)
    writer = EchoWriter(file, small_header())
    writer.close(0)
    assert file.getvalue()[:6] == b"before"
    assert EchoReader(io.BytesIO(file.getvalue()[6:])).header.num_samples == 0
    assert file.tell() == len(file.getvalue())


def test_head_is_json_that_others_can_read():
    data = written(small_header(model="écho"), random_codes(small_header(), 5))
    length = int.from_bytes(data[10:14], "little")
    assert data[:8] == b"\x89ECHO\r\n\x1a"
    assert json.loads(data[14 : 14 + length])["model"] == "écho"


def test_overhead_of_a_segment():
    header = small_header(segment_frames=100, codebook_size=1024, num_codebooks=4)
    one, two = (len(written(header, random_codes(header, n))) for n in (100, 200))
    assert two - one == 100 * 4 * 10 // 8 + 17


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (torch.zeros(1, 2, 5, dtype=torch.int64), "(1, 3, frames)"),
        (torch.zeros(3, 5, dtype=torch.int64), "(1, 3, frames)"),
        (torch.zeros(1, 3, 5), "integers"),
        (torch.full((1, 3, 5), 50), "0 to 49"),
        (torch.full((1, 3, 5), -1), "0 to 49"),
    ],
)
def test_writer_refuses_other_codes(codes, said):
    with pytest.raises(ValueError, match="expected") as caught:
        EchoWriter(io.BytesIO(), small_header()).write(codes)
    assert said in str(caught.value)


def test_writer_keeps_its_promise_of_a_length():
    writer = EchoWriter(io.BytesIO(), small_header(num_samples=100))
    with pytest.raises(ValueError, match="0 samples came, the header promised 100"):
        writer.close(0)


@pytest.mark.parametrize(
    "change",
    [
        {"num_codebooks": 0},
        {"codebook_size": 2**24},
        {"channels": -1},
        {"segment_frames": 2**16},
        {"sample_rate": 16000.0},
        {"hop_length": True},
        {"num_samples": -1},
        {"model": None},
    ],
)
def test_header_refuses_values_that_no_file_has(change):
    with pytest.raises(EchoFileError, match="expected"):
        small_header(**change)
