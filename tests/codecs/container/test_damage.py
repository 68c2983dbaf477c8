"""Nothing damaged passes as whole, and what is whole is recovered."""

import io

import pytest
import torch
from echo_files import HOP, random_codes, read, small_header, written
from hypothesis import given, settings
from hypothesis import strategies as st

from echoic.codecs.container import EchoFileError, EchoReader
from echoic.codecs.container.header import MAGIC
from echoic.codecs.container.record import SYNC, Coding, Record

HEADER = small_header()
CODES = random_codes(HEADER, 37)  # four segments and a shorter one
WHOLE = written(HEADER, CODES)


def records(data: bytes) -> list[Record]:
    return list(EchoReader(io.BytesIO(data)).records())


def one_line(error: EchoFileError) -> str:
    text = str(error)
    assert "\n" not in text
    assert "; " in text, "the line must end in what to do"
    return text


def test_every_single_bit_is_guarded():
    for at in range(8 * len(WHOLE)):
        damaged = bytearray(WHOLE)
        damaged[at // 8] ^= 1 << at % 8
        with pytest.raises(EchoFileError) as caught:
            read(bytes(damaged))
        one_line(caught.value)


@pytest.mark.parametrize("entropy", [False, True])
def test_a_file_cut_anywhere_is_an_error_and_what_came_before_is_there(entropy):
    whole = written(HEADER, CODES, entropy=entropy)
    back = CODES[:, :, :0]
    for length in range(len(whole)):
        with pytest.raises(EchoFileError) as caught:
            read(whole[:length])
        assert any(word in one_line(caught.value) for word in ("cut", "empty"))
        if not caught.value.salvageable:
            assert length < len(whole) - sum(r.num_bytes for r in records(whole)) - 33
            continue
        reader, back = read(whole[:length], salvage=True)
        assert torch.equal(back, CODES[:, :, : back.shape[2]])
        assert reader.num_frames == back.shape[2]
        assert [(gap.start_frame, gap.end_frame) for gap in reader.gaps] == [(back.shape[2], None)]
    assert back.shape == CODES.shape  # only the end was lost


@pytest.mark.parametrize("lost", range(5))
def test_segments_around_a_damaged_one_are_recovered(lost):
    start = len(WHOLE) - 33 - sum(r.num_bytes for r in records(WHOLE)[lost:])
    damaged = bytearray(WHOLE)
    damaged[start + 15] ^= 0x40
    with pytest.raises(EchoFileError, match=f"after {lost * 8 / 100:.2f} s"):
        read(bytes(damaged))
    reader = EchoReader(io.BytesIO(bytes(damaged)), salvage=True)
    starts = []
    for segment in reader:
        starts.append(segment.start_frame)
        expected = CODES[:, :, segment.start_frame : segment.start_frame + 8]
        assert torch.equal(segment.codes, expected)
    assert starts == [8 * index for index in range(5) if index != lost]
    assert [gap[:2] for gap in reader.gaps] == [(8 * lost, min(8 * lost + 8, 37))]
    assert (reader.num_frames, reader.num_samples) == (37, 37 * HOP)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_gives_intact_segments_in_order_or_one_error(data):
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        kind = data.draw(st.sampled_from(["change", "insert", "remove"]))
        some = data.draw(st.binary(min_size=1, max_size=9))
        kept = len(some) if kind != "insert" else 0
        damaged[at : at + kept] = b"" if kind == "remove" else some
    try:
        reader = EchoReader(io.BytesIO(bytes(damaged)), salvage=True)
    except EchoFileError as e:
        one_line(e)
        return
    last = -1
    for segment in reader:
        assert segment.start_frame > last
        last = segment.start_frame
        assert torch.equal(segment.codes, CODES[:, :, last : last + segment.codes.shape[2]])
    if bytes(damaged) != WHOLE:
        with pytest.raises(EchoFileError):
            read(bytes(damaged))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_an_error(data, with_magic):
    data = MAGIC + b"\x01\x00" + data if with_magic else data
    with pytest.raises(EchoFileError) as caught:
        read(data)
    one_line(caught.value)


def test_a_mark_of_a_segment_within_codes_leads_nowhere_wrong():
    header = small_header(codebook_size=256, num_codebooks=2, segment_frames=8)
    codes = torch.tensor([SYNC[0], SYNC[1]] * 10).reshape(1, 10, 2).transpose(1, 2).contiguous()
    data = bytearray(written(header, codes))
    data[data.index(SYNC) + 3] ^= 1
    reader, back = read(bytes(data), salvage=True)
    assert torch.equal(back, codes[:, :, 8:])
    assert [gap[:2] for gap in reader.gaps] == [(0, 8)]


FOREIGN = {
    "empty": (b"", "is empty"),
    "sound": (b"RIFF\x24\x00\x00\x00WAVEfmt ", "is not an .echo file"),
    "text-mode": (WHOLE.replace(b"\r\n", b"\n"), "is not an .echo file"),
    "newer": (WHOLE[:8] + b"\x02\x00" + WHOLE[10:], "install a newer echoic"),
    "appended": (WHOLE + b"\0", "bytes behind its end"),
    "twice": (WHOLE + WHOLE, "bytes behind its end"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files_are_named(kind):
    data, said = FOREIGN[kind]
    with pytest.raises(EchoFileError) as caught:
        read(data)
    assert said in one_line(caught.value)


def tampered(**changes) -> bytes:
    """The file with a valid head of other values."""
    return small_header(num_samples=37 * HOP, **changes).to_bytes() + WHOLE[-_tail() :]


def _tail() -> int:
    return sum(record.num_bytes for record in records(WHOLE)) + 33


CONSISTENT = {
    "books": (tampered(num_codebooks=2), "damaged|bytes for"),
    "size": (tampered(codebook_size=33), "in books of 33"),
    "segment": (tampered(segment_frames=9), "segment of 8 frames|frames"),
    "short hop": (tampered(hop_length=80), "which are more"),
    "long hop": (tampered(hop_length=320), "which are fewer"),
}


@pytest.mark.parametrize("what", CONSISTENT)
def test_a_head_that_does_not_fit_its_codes_is_an_error(what):
    data, said = CONSISTENT[what]
    with pytest.raises(EchoFileError, match=said) as caught:
        read(data)
    one_line(caught.value)


def forged(*extra: Record) -> bytes:
    return WHOLE[: -_tail()] + b"".join(record.to_bytes() for record in extra)


def test_records_that_are_whole_but_out_of_place_are_errors():
    first, second, *_, last = records(WHOLE)
    for extra, said in (
        ((second,), "segment 1 in the place of 0"),
        ((first, first), "segment 0 in the place of 1"),
        ((Record(0, 5, Coding.PACKED, last.payload), second), "segment of 8 frames"),
        ((Record(0, 0, Coding.PACKED, b""),), "segment of 0 frames"),
    ):
        with pytest.raises(EchoFileError, match=said):
            read(forged(*extra))


def test_salvage_does_not_take_a_segment_twice():
    first, second, *_ = records(WHOLE)
    _, back = read(forged(first, first, second, first), salvage=True)
    assert torch.equal(back, CODES[:, :, :16])


def test_salvage_of_a_whole_file_finds_nothing_to_mend():
    reader, back = read(WHOLE, salvage=True)
    assert torch.equal(back, CODES)
    assert reader.gaps == []
