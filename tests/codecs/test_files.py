"""Recordings through `.echo` files and back: lengths, rates, channels, streaming, salvage."""

import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_codec import tiny_codec, whole_codec
from torch import Tensor

from echoic.audio.io import save
from echoic.audio.resample import Resampler
from echoic.codecs.codec import Codec
from echoic.codecs.container import EchoFileError, EchoReader
from echoic.codecs.decode_file import WrongModel, check_model, decode_file
from echoic.codecs.encode_file import EncodedFile, encode_file
from echoic.codecs.weights import weights_hash

FOREVER = Path(__file__).parents[1] / "data" / "sense-and-sensibility-0890.opus"


class Sound:
    """Collects what is decoded."""

    def __init__(self) -> None:
        self.blocks: list[Tensor] = []

    def write(self, wav: Tensor) -> None:
        self.blocks.append(wav)

    @property
    def wav(self) -> Tensor:
        return torch.cat(self.blocks, dim=1)


def noise(channels: int, samples: int) -> Tensor:
    generator = torch.Generator().manual_seed(samples)
    return 0.1 * torch.randn(channels, samples, generator=generator)


def encoded(
    folder: Path, wav: Tensor, rate: int, codec: Codec | None = None, **options: Any
) -> tuple[bytes, EncodedFile]:
    save(folder / "in.wav", wav, rate, subtype="FLOAT")
    file = io.BytesIO()
    done = encode_file(codec or tiny_codec(), folder / "in.wav", file, model="tiny", **options)
    return file.getvalue(), done


def decoded(data: bytes, codec: Codec | None = None, *, salvage: bool = False) -> Tensor:
    sound, reader = Sound(), EchoReader(io.BytesIO(data), salvage=salvage)
    count = decode_file(codec or tiny_codec(), reader, sound)
    assert sound.wav.shape == (reader.header.channels, count)
    return sound.wav


@pytest.mark.parametrize("samples", [1, 319, 320, 321, 16000, 16000 * 5 + 7])
@pytest.mark.parametrize("channels", [1, 2])
def test_at_the_codecs_rate_a_file_is_what_the_codec_gives(tmp_path, channels, samples):
    wav = noise(channels, samples)
    data, done = encoded(tmp_path, wav, 16000)
    offline = tiny_codec().encode(wav)
    codes = torch.cat([s.codes for s in EchoReader(io.BytesIO(data))], dim=2)
    assert torch.equal(codes, offline.codes)
    assert (done.num_samples, done.num_frames) == (samples, offline.codes.shape[2])
    assert done.num_bytes == len(data)
    torch.testing.assert_close(decoded(data), tiny_codec().decode(offline), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("samples", [1, 2, 3, 5, 1000, 30011])
def test_any_rate_comes_back_with_its_length(tmp_path, rate, samples):
    data, done = encoded(tmp_path, noise(1, samples), rate)
    header = EchoReader(io.BytesIO(data)).header
    assert (header.original_sample_rate, header.num_samples) == (rate, samples)
    assert decoded(data).shape == (1, samples)
    assert done.duration == samples / rate


def test_resampled_sound_is_what_the_parts_give_alone(tmp_path):
    wav = noise(2, 3 * 44100 + 5)
    data, _ = encoded(tmp_path, wav, 44100)
    heard = Resampler(44100, 16000)(wav)
    codes = tiny_codec().encode(heard).codes
    expected = Resampler(16000, 44100)(tiny_codec().decode(codes))[:, : wav.shape[1]]
    torch.testing.assert_close(decoded(data), expected, rtol=1e-4, atol=1e-4)


def test_channels_are_coded_on_their_own(tmp_path):
    wav = noise(8, 9600)
    data, _ = encoded(tmp_path, wav, 96000)
    alone, _ = encoded(tmp_path, wav[5:6], 96000)
    torch.testing.assert_close(decoded(data)[5:6], decoded(alone), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("entropy", [False, True])
def test_fewer_codes_a_frame_and_entropy_coding(tmp_path, entropy):
    wav = noise(1, 40000)
    data, done = encoded(tmp_path, wav, 16000, n_q=2, entropy=entropy)
    assert done.header.num_codebooks == 2
    expected = tiny_codec().decode(tiny_codec().encode(wav, n_q=2))
    torch.testing.assert_close(decoded(data), expected, rtol=1e-4, atol=1e-4)


def test_a_codec_that_cannot_stream_says_so_and_gives_the_same(tmp_path):
    wav, notes = noise(2, 50001), []
    data, _ = encoded(tmp_path, wav, 22050, whole_codec(), note=notes.append)
    assert data == encoded(tmp_path, wav, 22050)[0]
    sound = Sound()
    decode_file(whole_codec(), EchoReader(io.BytesIO(data)), sound, note=notes.append)
    torch.testing.assert_close(sound.wav, decoded(data), rtol=1e-4, atol=1e-3)
    assert len(notes) == 2
    assert all("sees everything; the whole recording is held in memory" in n for n in notes)


def test_sound_comes_before_the_second_segment_does(tmp_path):
    data, done = encoded(tmp_path, noise(1, 16000 * 5), 16000, patch_length=False)
    reader = EchoReader(io.BytesIO(data))
    records = list(reader.records())
    sent = len(data) - 33 - sum(record.num_bytes for record in records[1:])
    sound, came = Sound(), threading.Event()
    sound.write = lambda wav: (sound.blocks.append(wav), came.set())  # type: ignore[assignment]
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as source, os.fdopen(write_end, "wb", 0) as sink:
        work = threading.Thread(
            target=lambda: decode_file(tiny_codec(), EchoReader(source), sound), daemon=True
        )
        work.start()
        sink.write(data[:sent])
        assert came.wait(20), "nothing was decoded after one segment"
        first = sum(block.shape[1] for block in sound.blocks)
        assert first >= records[0].frames * 320 - 3 * 320  # all but overlap and what may be cut
        sink.write(data[sent:])
        sink.close()
        work.join(20)
    assert sound.wav.shape == (1, done.num_samples)


def cut_at(data: bytes, segments: int) -> int:
    """Where the record after so many segments begins."""
    records = list(EchoReader(io.BytesIO(data)).records())
    return len(data) - 33 - sum(record.num_bytes for record in records[segments:])


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_a_damaged_segment_becomes_silence_and_nothing_else_changes(tmp_path, lost):
    wav = noise(2, 44100 * 7)
    data, _ = encoded(tmp_path, wav, 44100)
    damaged = bytearray(data)
    damaged[cut_at(data, lost) + 20] ^= 1
    with pytest.raises(EchoFileError, match="is damaged after"):
        decoded(bytes(damaged))
    mended, whole = decoded(bytes(damaged), salvage=True), decoded(data)
    assert mended.shape == whole.shape
    start, end = 2 * lost * 44100, min(2 * lost + 2, 7) * 44100
    before = max(0, start - 4000)
    torch.testing.assert_close(mended[:, :before], whole[:, :before])
    inside = mended[:, start + 4000 : end - 4000]
    assert inside.abs().max() < 1e-5
    # Behind it the codec begins anew: the sound is its own, not silence.
    assert end >= 7 * 44100 or mended[:, end + 4000 :].std() > 0.3 * whole[:, end + 4000 :].std()


def test_what_is_left_of_a_cut_file_is_decoded(tmp_path):
    data, _ = encoded(tmp_path, noise(1, 16000 * 7), 16000)
    half = data[: cut_at(data, 2) + 30]
    with pytest.raises(EchoFileError, match="is cut after 4"):
        decoded(half)
    mended = decoded(half, salvage=True)
    assert mended.shape == (1, 4 * 16000)
    torch.testing.assert_close(mended[:, :60000], decoded(data)[:, :60000])


def test_another_model_is_told_by_its_weights(tmp_path):
    data, _ = encoded(tmp_path, noise(1, 100), 16000)
    header = EchoReader(io.BytesIO(data)).header
    check_model(tiny_codec(), header, "tiny")
    with pytest.raises(WrongModel, match=r"was made by 'tiny' with weights .* with --model"):
        check_model(tiny_codec(seed=1), header, "other")


def test_weights_hash_knows_a_codec_again_after_saving_and_training(tmp_path):
    codec = tiny_codec()
    codec.save_pretrained(tmp_path)
    again = Codec.from_pretrained(tmp_path)
    again.quantizer.codebooks.cluster_size.fill_(7.0)
    assert weights_hash(again) == weights_hash(codec) != weights_hash(tiny_codec(seed=1))
    next(iter(again.encoder.parameters())).data.view(-1)[0] += 1e-6
    assert weights_hash(again) != weights_hash(codec)


def test_real_speech_keeps_its_length(tmp_path):
    file = io.BytesIO()
    done = encode_file(tiny_codec(), FOREVER, file, model="tiny")
    assert decoded(file.getvalue()).shape[1] == done.num_samples
    head = len(done.header.to_bytes())
    payloads = [-(-frames * 3 * 5 // 8) for frames in (100, 100, 65)]
    assert abs(done.num_bytes - head - sum(payloads) - 3 * 17 - 33) <= 20


def test_refused_settings(tmp_path):
    refused: list[tuple[dict[str, Any], str]] = [
        ({"n_q": 4}, "n_q is 4, expected 1 to 3"),
        ({"n_q": 0}, "n_q is 0"),
        ({"segment_seconds": 0.0}, "segments of 0.0 s"),
    ]
    for options, said in refused:
        with pytest.raises(ValueError, match=said):
            encoded(tmp_path, noise(1, 100), 16000, **options)
