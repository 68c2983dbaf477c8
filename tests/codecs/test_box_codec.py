"""The codec in the box on real speech: what it costs, what it keeps, how quick it is."""

import io
import time
from pathlib import Path

import pytest
import torch
from codec_command import SPEECH, done

from echoic.audio.io import info, load
from echoic.codecs.box import box_codecs
from echoic.codecs.cli import DEFAULT_MODEL
from echoic.codecs.codec import Codec
from echoic.codecs.container import EchoReader
from echoic.codecs.encode_file import encode_file
from echoic.codecs.metrics.distances import mel_distance
from echoic.codecs.registry import load_codec

# What a codec that has learned stays below; silence in the place of speech is 12 to 13 away.
FURTHEST = 2.0
LARGEST = 45e6


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load_codec(DEFAULT_MODEL)


def test_it_is_what_its_name_says(codec):
    (box,) = [codec for codec in box_codecs() if codec.name == DEFAULT_MODEL]
    assert box.num_bytes < LARGEST
    assert box.description
    assert codec.sample_rate == 16000
    assert codec.bits_per_second() <= 12000


@pytest.mark.parametrize("path", SPEECH, ids=lambda path: path.stem)
def test_speech_comes_back_with_its_length_and_sounds_alike(path, tmp_path):
    done("encode", path, tmp_path / "a.echo")
    done("decode", tmp_path / "a.echo", tmp_path / "a.wav")
    before, after = load(path), load(tmp_path / "a.wav")
    assert after.wav.shape == before.wav.shape
    assert after.sample_rate == before.sample_rate
    distance = mel_distance(before.wav, after.wav, before.sample_rate)
    silence = mel_distance(before.wav, torch.zeros_like(before.wav), before.sample_rate)
    assert distance < min(FURTHEST, silence / 3)


def test_streamed_is_offline(codec):
    wav = load(SPEECH[0]).wav
    file = io.BytesIO()
    encode_file(codec, SPEECH[0], file, model=DEFAULT_MODEL)
    streamed = torch.cat([s.codes for s in EchoReader(io.BytesIO(file.getvalue()))], dim=2)
    offline = codec.encode(wav)
    # Sums in another order may put a latent on the other side of a border between two codes.
    assert (streamed == offline.codes).float().mean() > 0.99
    decoder = codec.streaming_decoder()
    state, parts = decoder.initial_state(1), []
    for chunk in offline.codes.split(7, dim=2):
        state, out = decoder.step(state, chunk)
        parts.append(out)
    parts.append(decoder.finish(state)[1])
    whole = codec.decode(offline.codes)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_more_books_lose_less(codec):
    wav = load(SPEECH[0]).wav
    distances = [
        mel_distance(wav, codec.decode(codec.encode(wav, n_q=n)), 16000)
        for n in (1, codec.num_codebooks // 2, codec.num_codebooks)
    ]
    assert distances == sorted(distances, reverse=True)


def test_it_is_quicker_than_speech_on_one_processor(codec):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        wav = torch.cat([load(path).wav for path in SPEECH], dim=1)
        encoded = codec.encode(wav)
        codec.decode(encoded)
        start = time.perf_counter()
        codec.encode(wav)
        middle = time.perf_counter()
        codec.decode(encoded)
        end = time.perf_counter()
    finally:
        torch.set_num_threads(threads)
    seconds = wav.shape[1] / 16000
    rates = ((middle - start) / seconds, (end - middle) / seconds)
    print(f"RTF on one processor: encode {rates[0]:.4f}, decode {rates[1]:.4f}")
    assert max(rates) < 0.5


def test_the_file_is_as_small_as_the_rate_says(codec, tmp_path):
    done("encode", SPEECH[0], tmp_path / "a.echo")
    seconds = info(SPEECH[0]).duration
    assert seconds is not None
    size = Path(tmp_path / "a.echo").stat().st_size
    assert size < 1.02 * codec.bits_per_second() * seconds / 8 + 600
