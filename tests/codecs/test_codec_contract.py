"""What every codec keeps to: lengths, prefixes, batches, streams, and errors in one line."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from codec_parts import CODECS, one_line, sound
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echoic.codecs.codec import Codec, Encoded, NotStreamable
from echoic.streaming.module import input_time_dim, output_time_dim, run_offline, run_streamed


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> Codec:
    return CODECS[request.param]()


def streams(codec: Codec) -> list[tuple[Any, Tensor]]:
    """Return those directions that stream, each with an input of 40 frames and a half."""
    wav = sound(codec, 2, 40 * codec.hop_length + codec.hop_length // 2)
    found: list[tuple[Any, Tensor]] = []
    if not codec.encoder_waits:
        found.append((codec.streaming_encoder(), wav))
    if not codec.decoder_waits:
        found.append((codec.streaming_decoder(), codec.encode(wav).codes))
    return found


def test_any_length_comes_back(codec: Codec) -> None:
    hop = codec.hop_length

    @settings(max_examples=12, deadline=None, derandomize=True, database=None)
    @given(st.integers(1, 5 * hop))
    def any_length(samples: int) -> None:
        wav = sound(codec, 2, samples)
        encoded = codec.encode(wav)
        assert encoded.codes.shape == (2, codec.num_codebooks, -(-samples // hop))
        assert encoded.codes.dtype == torch.int64
        assert encoded.lengths.tolist() == [samples] * 2
        assert 0 <= int(encoded.codes.min()) <= int(encoded.codes.max()) < codec.codebook_size
        made = codec.decode(encoded)
        assert made.shape == (2, samples)
        assert torch.equal(made, codec.decode(encoded.codes)[:, :samples])

    for samples in (1, hop - 1, hop, hop + 1):
        any_length.hypothesis.inner_test(samples)  # pyright: ignore[reportFunctionMemberAccess]
    any_length()


def test_codes_tell_sounds_apart(codec: Codec) -> None:
    codes = codec.encode(sound(codec, 2, -50)).codes
    assert not torch.equal(codes[0], codes[1])
    assert all(len(book.unique()) > 3 for book in codes.transpose(0, 1))
    assert torch.equal(codes, codec.encode(sound(codec, 2, -50)).codes)
    assert len(codec.decode(codes)[0].unique()) > 50


def test_fewer_codes_are_the_first_of_all(codec: Codec) -> None:
    wav = sound(codec, 2, -9)
    whole = codec.encode(wav)
    outputs = []
    for n_q in range(codec.num_groups, codec.num_codebooks + 1, codec.num_groups):
        some = codec.encode(wav, n_q=n_q)
        assert torch.equal(some.codes, whole.codes[:, :n_q])
        outputs.append(codec.decode(some))
        rate = codec.frame_rate * n_q * (codec.codebook_size - 1).bit_length()
        assert codec.bits_per_second(n_q) == rate
    assert torch.equal(outputs[-1], codec.decode(whole))
    assert all(not torch.equal(some, outputs[-1]) for some in outputs[:-1])


def test_a_pass_with_gradients_gives_the_decoded_sound(codec: Codec) -> None:
    wav = sound(codec, 2, 7 * codec.hop_length - 3)
    passed, coded = codec(wav), codec.encode(wav)
    assert torch.equal(passed.quantized.codes, coded.codes)
    torch.testing.assert_close(passed.wav, codec.decode(coded))
    n_q = codec.num_groups
    assert torch.equal(codec(wav, n_q=n_q).quantized.codes, coded.codes[:, :n_q])


def test_rows_of_a_batch_have_the_codes_that_they_have_alone(codec: Codec) -> None:
    hop = codec.hop_length
    lengths = torch.tensor([30 * hop, 17 * hop + hop // 3, 1, 4 * hop])
    wav = sound(codec, len(lengths), -30)  # noise beyond the end of each row too
    together = codec.encode(wav, lengths)
    assert together.lengths.tolist() == lengths.tolist()
    made = codec.decode(together)
    for row, length in enumerate(lengths.tolist()):
        alone = codec.encode(wav[row : row + 1, :length])
        assert torch.equal(together.codes[row, :, : alone.codes.shape[2]], alone.codes[0])
        expected = codec.decode(alone)[0]
        scale = float(expected.abs().max())
        torch.testing.assert_close(made[row, :length], expected, rtol=0, atol=1e-5 * scale)
        assert not made[row, length:].any()


def test_lengths_cut_what_is_decoded(codec: Codec) -> None:
    codes = codec.encode(sound(codec, 2, -4)).codes
    lengths = torch.tensor([3 * codec.hop_length, 3 * codec.hop_length])
    cut = codec.decode(Encoded(codes, lengths))
    whole = codec.decode(codes[:, :, :3] if not codec.batchable else codes)
    assert cut.shape == (2, 3 * codec.hop_length)
    assert whole.shape[1] % codec.hop_length == 0
    assert codec.decode(codes[:, :, :0]).shape == (2, 0)


def test_streams_give_what_whole_recordings_give(codec: Codec) -> None:
    for stream, x in streams(codec):
        time = input_time_dim(stream)
        _same(run_offline(stream, x), codec, x)

        def any_cuts(sizes: list[int], *, stream: Any, x: Tensor, time: int) -> None:
            ended = x.narrow(time, 0, min(sum(sizes), x.shape[time]))
            if ended.shape[time] > 0:
                _same(run_streamed(stream, ended, sizes), codec, ended)

        sizes = st.lists(st.integers(0, x.shape[time] // 2), min_size=1, max_size=8)
        options = settings(max_examples=8, deadline=None, derandomize=True, database=None)
        once = {"stream": st.just(stream), "x": st.just(x), "time": st.just(time)}
        options(given(sizes=sizes, **once)(any_cuts))()


def _same(found: Tensor, codec: Codec, x: Tensor) -> None:
    """Check what a stream gave: codes of waveforms x, or waveforms of codes x."""
    coded = x.is_floating_point()
    expected = codec.encode(x).codes if coded else codec.decode(x)
    tolerance = 0.0 if coded else 1e-5 * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


def test_streams_wait_for_their_look_ahead_and_no_more(codec: Codec) -> None:
    for stream, x in streams(codec):
        time, out = input_time_dim(stream), output_time_dim(stream)
        blocks = (x.shape[time] - stream.lookahead) // stream.frame_size // 2
        assert blocks > 0, "lengthen the input"
        heard = blocks * stream.frame_size + stream.lookahead
        kept = blocks * getattr(stream, "output_size", 1)
        changed = x.clone()
        changed.narrow(time, heard, x.shape[time] - heard).copy_(
            x.narrow(time, heard, x.shape[time] - heard).flip(time)
        )
        a, b = run_offline(stream, x), run_offline(stream, changed)
        tolerance = 1e-5 * float(a.abs().max()) if a.is_floating_point() else 0.0
        torch.testing.assert_close(
            a.narrow(out, 0, kept), b.narrow(out, 0, kept), rtol=0, atol=tolerance
        )
        assert not torch.equal(a, b)
        state = stream.initial_state(2, device="cpu", dtype=torch.float32)
        assert stream.step(state, x.narrow(time, 0, heard))[1].shape[out] >= kept
        assert stream.latency_ms > 0


def test_what_cannot_stream_says_why(codec: Codec) -> None:
    for waits, make in (
        (codec.encoder_waits, codec.streaming_encoder),
        (codec.decoder_waits, codec.streaming_decoder),
    ):
        if waits:
            with pytest.raises(NotStreamable, match=codec.kind) as raised:
                make()
            assert waits in str(raised.value)
            assert one_line(raised.value)


Coding = Callable[[Codec], object]
INPUT: dict[str, tuple[Coding, str]] = {
    "no_samples": (lambda c: c.encode(torch.zeros(1, 0)), r"shape \(1, 0\).*nothing to code"),
    "no_rows": (lambda c: c.encode(torch.zeros(0, 9)), r"shape \(0, 9\)"),
    "no_batch": (lambda c: c.encode(torch.zeros(9)), r"shape \(9,\).*\(batch, samples\)"),
    "8_channels": (lambda c: c.encode(torch.zeros(1, 8, 99)), r"shape \(1, 8, 99\)"),
    "integers": (lambda c: c.encode(torch.zeros(1, 9, dtype=torch.int16)), "int16"),
    "nan": (lambda c: c.encode(torch.full((1, 9), float("nan"))), "NaN or infinite"),
    "infinite": (lambda c: c.encode(torch.full((1, 9), float("inf"))), "NaN or infinite"),
    "pass_of_nothing": (lambda c: c(torch.zeros(1, 0)), r"shape \(1, 0\)"),
    "length_0": (lambda c: c.encode(torch.zeros(2, 9), torch.tensor([9, 0])), r"lengths.*\[9, 0\]"),
    "too_long": (lambda c: c.encode(torch.zeros(1, 9), torch.tensor([10])), r"lengths.*\[10\]"),
    "few_lengths": (lambda c: c.encode(torch.zeros(2, 9), torch.tensor([9])), r"lengths.*\[9\]"),
    "none_of_q": (lambda c: c.encode(torch.zeros(1, 9), n_q=0), "n_q is 0"),
    "negative_q": (lambda c: c.encode(torch.zeros(1, 9), n_q=-1), "n_q is -1"),
    "too_many_q": (lambda c: c.encode(torch.zeros(1, 9), n_q=c.num_codebooks + 1), "n_q is"),
    "pass_of_too_many": (lambda c: c(torch.zeros(1, 9), n_q=99), "n_q is 99"),
    "rate_of_too_many": (lambda c: c.bits_per_second(99), "n_q is 99"),
    "code_too_large": (lambda c: c.decode(_codes(c) + c.codebook_size), "of another codec"),
    "code_negative": (lambda c: c.decode(_codes(c) - 1), "codes go from -1"),
    "code_fractions": (lambda c: c.decode(_codes(c).float()), "expected integers"),
    "codes_of_one_frame": (lambda c: c.decode(_codes(c)[:, :, 0]), r"\(batch, n_q, frames\)"),
    "no_books": (lambda c: c.decode(_codes(c)[:, :0]), "n_q is 0"),
    "too_many_books": (lambda c: c.decode(_codes(c).repeat(1, 2, 1)), "n_q is"),
    "longer_than_codes": (
        lambda c: c.decode(_codes(c), torch.tensor([3 * c.hop_length + 1])),
        r"lengths are .*\(3 frames\)",
    ),
}


def _codes(codec: Codec) -> Tensor:
    return torch.zeros(1, codec.num_codebooks, 3, dtype=torch.int64)


@pytest.mark.parametrize("fault", INPUT)
def test_wrong_input_is_one_clear_line(codec: Codec, fault: str) -> None:
    coding, message = INPUT[fault]
    with pytest.raises(ValueError, match=message) as raised:
        coding(codec)
    assert one_line(raised.value)


def test_part_of_a_layer_is_no_number_of_codes(codec: Codec) -> None:
    if codec.num_groups == 1:
        return
    with pytest.raises(ValueError, match=f"in steps of {codec.num_groups}"):
        codec.encode(sound(codec, 1, -2), n_q=codec.num_groups + 1)


def test_streams_check_their_input_too(codec: Codec) -> None:
    for stream, x in streams(codec):
        state = stream.initial_state(2, device="cpu", dtype=torch.float32)
        wrong = torch.full_like(x, codec.codebook_size)
        if x.is_floating_point():
            wrong = torch.full_like(x, float("nan"))
        with pytest.raises(ValueError, match=r"NaN or infinite|of another codec"):
            stream.step(state, wrong)
    for waits, make in (
        (codec.encoder_waits, codec.streaming_encoder),
        (codec.decoder_waits, codec.streaming_decoder),
    ):
        if not waits:
            with pytest.raises(ValueError, match="n_q is 99"):
                make(99)
